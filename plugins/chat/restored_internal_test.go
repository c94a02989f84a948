package chat

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
)

// anew is a store that begins a life.
type anew struct{ timeline.Store }

func (anew) Epoch() string { return "anew" }

// What is to be erased again is found in steps, each message once; a core that comes to a step that another has done does nothing.
func TestRestoredInSteps(t *testing.T) {
	its := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{its}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	count := func(query string) (n int) {
		t.Helper()
		if err := h.DB().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); count("SELECT COUNT(*) FROM chat_restores WHERE stage = 2") == 0; { // the host's own has nothing to do any more
		if time.Now().After(deadline) {
			t.Fatal("the life of the host's store is not seen to")
		}
		<-time.After(5 * time.Millisecond)
	}
	const logs, ofLog = 3, restoredBatch + 50
	recalled := h.Now().UnixMilli()
	err := its.host.Tx(t.Context(), func(tx *sql.Tx) error {
		for log := range logs {
			for i := range ofLog {
				_, err := tx.ExecContext(t.Context(), "INSERT INTO chat_changes ("+becameColumns+") VALUES (?, ?, ?, 1, 1, ?, 1, 0, '', '')",
					fmt.Sprintf("g_%d", log+1), i+1, fmt.Sprint("m", i), int64(i%2)*recalled)
				if err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO chat_lifetimes (conversation, lifetime_ms, set_by, set_ms) VALUES (?, 0, 1, 1)", fmt.Sprintf("g_%d", log+1)); err != nil {
				return err
			}
		}
		waits := &became{stored: stored{"g_2", 2}, id: "m1", recalledMs: recalled} // already
		return its.changes.eraseLater(t.Context(), tx, waits, its.config.KeepRecalled)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &Chat{config: its.config, host: its.host, timelines: anew{its.timelines}, lifetimes: its.lifetimes}
	steps := 0
	for done := false; !done; steps++ {
		err := p.host.Tx(t.Context(), func(tx *sql.Tx) error {
			at, err := p.restoredAt(t.Context(), tx)
			if err != nil || at.stage == allAgain {
				return err
			}
			at.seq++ // as it was when another core looked
			if at.stage == expiredAgain {
				err = p.expiredStep(t.Context(), tx, at)
			} else {
				err = p.recalledStep(t.Context(), tx, at)
			}
			if !errors.Is(err, errOtherCore) {
				return fmt.Errorf("a step from where another core is no more: %w", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if done, err = p.restoredStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if steps < 2*logs {
		t.Errorf("%d steps, want %d at least", steps, 2*logs)
	}
	if n := count("SELECT COUNT(*) FROM chat_erasures"); n != logs*ofLog/2 {
		t.Errorf("%d wait to be erased, want %d", n, logs*ofLog/2)
	}
	if n := count("SELECT COUNT(*) FROM chat_sweeps"); n != logs {
		t.Errorf("%d parts, want %d", n, logs)
	}
}
