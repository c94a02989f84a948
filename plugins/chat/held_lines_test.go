package chat

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The answer that tells of a line comes when no core can trust what it saw before, counted
// from when this core knew of the line; another one in its place counts anew.
func TestSpread(t *testing.T) {
	one := line{1, "c_1_2"}
	for name, row := range map[string]struct {
		shared bool
		known  time.Duration // since when a line begun by "a" is known; 0: it is not
		begun  string
		want   time.Duration
	}{
		"alone":           {false, 0, "a", 0},
		"just begun":      {true, 0, "a", spreading},
		"known a while":   {true, 300 * time.Millisecond, "a", spreading - 300*time.Millisecond},
		"known long":      {true, time.Minute, "a", 0},
		"begun anew":      {true, time.Minute, "b", spreading},
		"named by nobody": {true, time.Minute, "", spreading},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLines(nil, row.shared)
				if row.known > 0 {
					l.note(one)
					l.put(one, knownLine{begun: "a", since: time.Now()})
					time.Sleep(row.known)
				}
				began := time.Now()
				if err := l.spread(t.Context(), one, row.begun); err != nil || time.Since(began) != row.want {
					t.Errorf("got %v after %v, want %v", err, time.Since(began), row.want)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := l.spread(ctx, line{2, "c_1_2"}, "c"); (err != nil) != row.shared {
					t.Errorf("who does not wait any more gets %v", err)
				}
			})
		})
	}
}

// What was seen is good for a while only where others write too.
func TestCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			l := newLines(nil, shared)
			if l.current() {
				t.Error("nothing was seen, and it is current")
			}
			l.seen = time.Now()
			time.Sleep(trusted - 1)
			if !l.current() {
				t.Error("what was seen a moment ago is not current")
			}
			time.Sleep(1)
			if l.current() == shared {
				t.Errorf("shared %v: current %v later", shared, l.current())
			}
		}
	})
}
