package group_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"freeim/core/plugin/plugintest"
	"freeim/plugins/group"
)

// TestListingsUseIndexes: no query that runs with messages, or lists, reads a whole table or sorts.
func TestListingsUseIndexes(t *testing.T) {
	w := start(t)
	exec := func(query string) {
		t.Helper()
		if _, err := w.DB().ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for g := 100001; g <= 100040; g++ { // so that no engine takes a table for small
		exec(fmt.Sprintf("INSERT INTO group_groups (id, creator_id, client_id, name, avatar, description, announcement, owner_id, policy, question, answer, history, "+
			"history_last, slow_mode_ms, muted_until_ms, member_permissions, members, dissolved, created_ms, version, events) "+
			"VALUES (%d, 1, 'c%d', 'n', '', '', '', 1, 0, '', '', 0, 0, 0, 0, 3, 40, 0, 1, 1, 0)", g, g))
		var members, waiting, bans, events []string
		for u := 200001; u <= 200040; u++ {
			members = append(members, fmt.Sprintf("(%d, %d, %d, 0, '', 0, 0, 1, 0, 0)", g, u, 1+u%3))
			waiting = append(waiting, fmt.Sprintf("(%d, %d, 0, '', 1, %d)", g, u, 1000+u))
			bans = append(bans, fmt.Sprintf("(%d, %d, -1, 1, '', 1)", g, u))
			events = append(events, fmt.Sprintf("(%d, %d, 1, 'group.x', '{}', '')", g, u))
		}
		exec("INSERT INTO group_members (group_id, user_id, role, permissions, alias, notify, muted_until_ms, joined_ms, after_seq, invited_by) VALUES " + strings.Join(members, ", "))
		exec("INSERT INTO group_requests (group_id, user_id, invited_by, remark, created_ms, expires_ms) VALUES " + strings.Join(waiting, ", "))
		exec("INSERT INTO group_bans (group_id, user_id, until_ms, by_id, reason, created_ms) VALUES " + strings.Join(bans, ", "))
		exec("INSERT INTO group_outbox (group_id, number, actor_id, name, data, audience) VALUES " + strings.Join(events, ", "))
	}
	for name, q := range group.Listings() {
		t.Run(name, func(t *testing.T) { wantIndexed(t, w.Host, q.Text, q.Args...) })
	}
}

// wantIndexed fails if the query's plan scans a table or sorts.
func wantIndexed(t *testing.T, h *plugintest.Host, query string, args ...any) {
	t.Helper()
	explain := "EXPLAIN QUERY PLAN "
	if os.Getenv(plugintest.Stores) == "production" {
		explain = "EXPLAIN "
	}
	rows, err := h.DB().QueryContext(t.Context(), explain+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for ; rows.Next(); steps++ {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for i, column := range columns {
			if b, ok := row[i].([]byte); ok {
				row[i] = string(b)
			}
			fmt.Fprintf(&text, "%s=%v ", strings.ToLower(column), row[i])
		}
		for _, bad := range []string{"SCAN", "TEMP B-TREE", "type=ALL", "type=index ", "filesort", "Using temporary"} {
			if strings.Contains(text.String(), bad) {
				t.Errorf("plan of %s\n%s", query, text.String())
			}
		}
	}
	if steps == 0 || rows.Err() != nil {
		t.Errorf("no plan: %v", rows.Err())
	}
}
