package plugin_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"freeim/core/plugin"
)

// background is a host that runs things aside.
type background struct {
	plugin.Host
	ctx context.Context
}

func (b background) Go(_ string, fn func(context.Context)) { go fn(b.ctx) }
func (b background) Log() *slog.Logger                     { return slog.New(slog.DiscardHandler) }

// While two queries run, what others ask gathers for the next; who has given up is not asked for.
func TestLookupsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked [][]int
		ready := make(chan struct{})
		l := plugin.NewLookups(background{ctx: t.Context()}, "look up", 3, func(_ context.Context, keys []int) (map[int]string, error) {
			mu.Lock()
			asked = append(asked, keys)
			mu.Unlock()
			<-ready
			return map[int]string{1: "one", 2: "two"}, nil
		})
		var all sync.WaitGroup
		ask := func(ctx context.Context, key int, want string, there bool, wantErr error) {
			all.Go(func() {
				if got, found, err := l.Find(ctx, key); got != want || found != there || !errors.Is(err, wantErr) {
					t.Errorf("%d: got %q, %v, %v", key, got, found, err)
				}
			})
		}
		for range 2 {
			ask(t.Context(), 1, "one", true, nil)
			synctest.Wait()
		}
		gone, leave := context.WithCancel(t.Context())
		ask(gone, 9, "", false, context.Canceled)
		for _, key := range []int{2, 1, 2, 7} {
			ask(t.Context(), key, map[int]string{1: "one", 2: "two"}[key], key != 7, nil)
			synctest.Wait()
		}
		if n := l.Waiting(); n != 5 {
			t.Errorf("%d wait, want 5", n)
		}
		leave()
		synctest.Wait()
		close(ready)
		all.Wait()
		slices.SortFunc(asked[2:], func(a, b []int) int { return len(b) - len(a) })
		if len(asked) != 4 || !slices.Equal(asked[2], []int{1, 2}) || !slices.Equal(asked[3], []int{7}) {
			t.Errorf("asked %v, want 1, 1, then three joined as 1 2, and 7", asked)
		}
	})
}

// What fails, or panics, fails those who asked, and nobody after them.
func TestLookupsGoOn(t *testing.T) {
	for name, fail := range map[string]func() (map[int]int, error){
		"error": func() (map[int]int, error) { return nil, errPlanted },
		"panic": func() (map[int]int, error) { panic("planted") },
	} {
		t.Run(name, func(t *testing.T) {
			failing := true
			l := plugin.NewLookups(background{ctx: t.Context()}, "look up", 3, func(context.Context, []int) (map[int]int, error) {
				if failing {
					return fail()
				}
				return map[int]int{1: 1}, nil
			})
			if _, _, err := l.Find(t.Context(), 1); err == nil {
				t.Error("a failure is no error")
			}
			failing = false
			if got, found, err := l.Find(t.Context(), 1); got != 1 || !found || err != nil {
				t.Errorf("afterwards: got %d, %v, %v", got, found, err)
			}
		})
	}
}

func TestMarks(t *testing.T) {
	for n, want := range map[int]string{0: "(NULL)", 1: "(?)", 3: "(?, ?, ?)"} {
		if got := plugin.Marks(n); got != want {
			t.Errorf("%d: got %s", n, got)
		}
	}
}
