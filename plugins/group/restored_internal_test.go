package group

import (
	"fmt"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
)

// Very many members go back to their places at once, and only those do whose cuts these are.
func TestManyCuts(t *testing.T) {
	const members, perStatement = 20_000, 1000
	p := New()
	stubs := append(plugintest.NewPeople(1).Stubs(), (&plugintest.Messages{}).Stub())
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: stubs})
	exec := func(query string) {
		t.Helper()
		if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	// Each tenth has left since and come again, and each seventh was let in further on.
	for first := 0; first < members; first += perStatement {
		var people, cuts []string
		for u := first; u < first+perStatement; u++ {
			joined, at := 1000, 10
			if u%10 == 0 {
				joined = 2000
			}
			if u%7 == 0 {
				at = 200
			}
			people = append(people, fmt.Sprintf("(1, %d, 0, 0, '', 0, 0, %d, %d, 0)", u, joined, at))
			cuts = append(cuts, fmt.Sprintf("(1, %d, 1000, 50)", u))
		}
		exec("INSERT INTO group_members (group_id, user_id, role, permissions, alias, notify, muted_until_ms, joined_ms, after_seq, invited_by) VALUES " + strings.Join(people, ","))
		exec("INSERT INTO group_cuts (group_id, user_id, joined_ms, after_seq) VALUES " + strings.Join(cuts, ","))
	}
	tx, err := h.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.uncut(t.Context(), tx, 1, 100); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	rows, err := h.DB().QueryContext(t.Context(), "SELECT user_id, after_seq FROM group_members WHERE group_id = 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var user, at, want int64 = 0, 0, 50
		if err := rows.Scan(&user, &at); err != nil {
			t.Fatal(err)
		}
		switch {
		case user%7 == 0:
			want = 200
		case user%10 == 0:
			want = 10
		}
		if at != want {
			t.Fatalf("the place of %d is %d, want %d", user, at, want)
		}
	}
	if err := rows.Err(); err != nil || n != members {
		t.Errorf("%d members, %v", n, err)
	}
}
