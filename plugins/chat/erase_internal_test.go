package chat

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
)

// Of two cores that see the same messages are due each erases those that it has taken, a batch at a time; who was believed to be
// over is followed by another.
func TestErasuresClaimed(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	due := h.Now().Add(1000 * time.Hour) // the host's own looks find nothing
	const more = 50
	err := p.host.Tx(t.Context(), func(tx *sql.Tx) error {
		for i := range eraseBatch + more {
			b := &became{stored: stored{"c_1_2", int64(i + 1)}, id: fmt.Sprint("m", i), recalledMs: due.UnixMilli()}
			if err := p.changes.eraseLater(t.Context(), tx, b, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	look := func(now time.Time) []erasure {
		t.Helper()
		all, err := p.changes.erasures(t.Context(), now, eraseBatch)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	claim := func(all []erasure, until time.Time, want int) {
		t.Helper()
		if mine, err := p.changes.claimErasures(t.Context(), all, until); err != nil || len(mine) != want {
			t.Errorf("took %d of %d, %v, want %d", len(mine), len(all), err, want)
		}
	}
	one, other := look(due), look(due)
	claim(one[:60], due.Add(time.Minute), 60)
	claim(other, due.Add(time.Minute), eraseBatch-60)
	claim(one, due.Add(time.Minute), 0)
	claim(look(due), due.Add(time.Minute), more)
	if left := look(due); len(left) != 0 {
		t.Errorf("%d are due, want none: all are taken", len(left))
	}
	claim(look(due.Add(time.Minute)), due.Add(2*time.Minute), eraseBatch)
}
