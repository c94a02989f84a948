package account

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"freeim/core/im"
	"freeim/idl"
)

func TestPasswordHash(t *testing.T) {
	hash := hashPassword("correct horse", cost{64, 1})
	if other := hashPassword("correct horse", cost{64, 1}); other == hash {
		t.Error("two hashes of one password are equal: no salt")
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsE": false, "correct hors": false, "": false, "correct horse ": false} {
		if got, err := passwordMatches(hash, password); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", password, got, err, want)
		}
	}
}

// TestKnownHash checks a hash made by the reference implementation:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
func TestKnownHash(t *testing.T) {
	const known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if got, err := passwordMatches(known, "password"); err != nil || !got {
		t.Errorf("got %v, %v, want a match", got, err)
	}
}

func TestUnreadableHashes(t *testing.T) {
	for _, stored := range []string{
		"", "x", "$2b$10$abc", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8", "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
		"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8", "$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8", "$argon2id$v=19$m=64,t=1,p=1$!$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$", "$argon2id$v=19$t=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
	} {
		_, err := passwordMatches(stored, "password")
		if err == nil {
			t.Errorf("%q is taken for a hash", stored)
		} else if len(stored) > 8 && strings.Contains(err.Error(), stored[len(stored)-8:]) {
			t.Errorf("the error tells the hash: %v", err)
		}
	}
}

func TestHashingIsBounded(t *testing.T) {
	const atOnce, waiting = 2, 3
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(cost{64, 1}, atOnce, waiting)
		running, finish := make(chan struct{}, 100), make(chan struct{})
		var wg sync.WaitGroup
		for range atOnce + waiting {
			wg.Go(func() {
				if err := h.run(t.Context(), func() { running <- struct{}{}; <-finish }); err != nil {
					t.Errorf("one that fits is refused: %v", err)
				}
			})
		}
		synctest.Wait()
		if len(running) != atOnce {
			t.Errorf("%d run at once, want %d", len(running), atOnce)
		}
		err := h.run(t.Context(), func() { t.Error("one too many runs") })
		if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeUnavailable || refused.RetryAfter <= 0 {
			t.Errorf("got %v, want UNAVAILABLE with advice", err)
		}
		close(finish)
		wg.Wait()
		if len(running) != atOnce+waiting {
			t.Errorf("%d have run, want all %d", len(running), atOnce+waiting)
		}
	})
}

func TestWaitingForAHashEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(cost{64, 1}, 1, 1)
		finish := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.run(t.Context(), func() { <-finish }) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		wg.Go(func() { ended <- h.run(ctx, func() { t.Error("runs after its call has ended") }) })
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
		close(finish)
		wg.Wait()
	})
}

func TestUnknownAccountCostsAHash(t *testing.T) {
	h := newHasher(cost{64, 1}, 1, 1)
	h.prepare()
	parsed, err := parseHash(h.dummy)
	if err != nil || parsed.cost != h.cost {
		t.Errorf("got %+v, %v, want a hash at the cost of new ones", parsed.cost, err)
	}
	if h.outdated(h.dummy) || !h.outdated(hashPassword("x", cost{128, 1})) || !h.outdated(hashPassword("x", cost{64, 2})) {
		t.Error("outdated does not compare costs")
	}
}
