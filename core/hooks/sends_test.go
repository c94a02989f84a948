package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/idl"
	"freeim/scripts/engine"
)

// outbox is a chat plugin whose store fails as told.
type outbox struct {
	mu    sync.Mutex
	fails map[string][]error // by text, one after the other
	sent  []string
	tries int
}

func (o *outbox) send(_ context.Context, m hooks.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries++
	if all := o.fails[m.Text]; len(all) > 0 {
		o.fails[m.Text] = all[1:]
		return all[0]
	}
	o.sent = append(o.sent, fmt.Sprint(m.From, " ", m.To, " ", m.ClientID, " ", m.Text))
	return nil
}

func message(to, text string) engine.Effect {
	return engine.Effect{Kind: "send", Sender: "42", Target: to, ClientID: "id-" + text, Text: text}
}

// Messages are tried again while it may help, and those to one person keep their order.
func TestSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := im.Unavailable(0, errors.New("away"))
		o := outbox{fails: map[string][]error{"b": {away, errors.New("broken"), away}, "c": {away, away, away, away}, "d": {im.Errorf(idl.CodeNotFound, "nobody")}}}
		e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{Send: o.send})
		running(t, e)
		for _, text := range []string{"a", "b", "c", "d", "e"} {
			e.Do([]engine.Effect{message("17", text)})
		}
		e.Drain(t.Context())
		if want := []string{"42 17 id-a a", "42 17 id-b b", "42 17 id-e e"}; !slices.Equal(o.sent, want) || o.tries != 1+4+4+1+1 {
			t.Errorf("got %q after %d tries, want %q", o.sent, o.tries, want)
		}
		if done, lost, unsent := e.Counts(); done["send"] != 3 || lost != 0 || unsent != 2 {
			t.Errorf("got %v, %d, %d", done, lost, unsent)
		}
	})
}

// A store that does not answer keeps neither other effects nor the end, and what is
// too much is dropped.
func TestSendsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{Send: func(ctx context.Context, _ hooks.Message) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		running(t, e)
		e.Do([]engine.Effect{message("17", "first")})
		synctest.Wait() // it is in hand
		for range 130 {
			e.Do([]engine.Effect{message("17", "x")})
		}
		e.Do([]engine.Effect{emitted("one")})
		synctest.Wait()
		if events, _, _ := e.Events(0); len(events) != 1 {
			t.Error("an event waits for a store")
		}
		if _, lost, _ := e.Counts(); lost != 2 {
			t.Errorf("got %d lost, want 2", lost)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e.Drain(ctx)
	})
}
