package chat

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// Of two cores that see a part of a log is due one takes it; who was believed to be over changes nothing any more; and a part
// of another life of the store begins anew.
func TestSweepClaimed(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	l, later := p.lifetimes, h.Now().Add(1000*time.Hour)
	if err := l.begin(t.Context(), h.DB(), sweep{conversation: "c_1_2", lifetimeMs: 60_000, swept: 7, epoch: "another", nextMs: later.UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	read := func() *sweep {
		t.Helper()
		all, err := l.due(t.Context(), later.Add(1000*time.Hour), 9)
		if err != nil || len(all) != 1 {
			t.Fatalf("got %v, %v", all, err)
		}
		return all[0]
	}
	one, other := read(), read()
	claim := func(s *sweep, until time.Duration, want bool) {
		t.Helper()
		if got, err := l.claim(t.Context(), s, later.Add(until)); got != want || err != nil {
			t.Errorf("for %s: got %t, %v", until, got, err)
		}
	}
	claim(one, time.Minute, true)
	claim(other, 2*time.Minute, false)
	claim(read(), 3*time.Minute, true) // the first is believed to be over
	one.swept = 99
	if err := l.moved(t.Context(), one, later); err != nil {
		t.Fatal(err)
	}
	if now := read(); now.swept != 7 || now.nextMs != later.Add(3*time.Minute).UnixMilli() {
		t.Errorf("left is %+v", now)
	}
	s := read()
	if next, err := p.sweepStep(t.Context(), s); err != nil || s.swept != 0 || s.epoch != h.Timelines().Epoch() || !next.Equal(h.Now().Add(2*time.Minute)) {
		t.Errorf("got %+v, next %s, %v", s, next, err)
	}
	// It was closed: as soon as nobody can commit by it any more it ends, also if nothing was ever there.
	s.closedMs = h.Now().Add(-sweepGrace).UnixMilli()
	if next, err := p.sweepStep(t.Context(), s); err != nil || next.IsZero() || s.through != 0 {
		t.Errorf("got %+v, next %s, %v", s, next, err)
	}
	s.closedMs--
	if next, err := p.sweepStep(t.Context(), s); err != nil || !next.IsZero() {
		t.Errorf("got %+v, next %s, %v", s, next, err)
	}
}

// What two settle at once is what one of them said, and there is one part for it; what a core remembers is what the directory has.
func TestLifetimesSettledAtOnce(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	c := im.ChatOf(1, 2)
	sessions := []*plugintest.Session{h.As(1, "phone", idl.CodecProtobuf), h.As(2, "phone", idl.CodecJSON)}
	for round := range 20 {
		h.Advance(time.Hour) // each may be settled so many times
		done := make(chan error, 2)
		for who, s := range sessions {
			go func() {
				done <- s.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(c), LifetimeMs: new(int64(20_000 + 1000*(2*round+who)))}, nil)
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		kept, err := p.lifetimes.one(t.Context(), h.DB(), c)
		if err != nil {
			t.Fatal(err)
		}
		if ms, err := p.lifetimes.of(t.Context(), c); err != nil || ms != kept.ms {
			t.Errorf("remembered is %d, %v; kept %d", ms, err, kept.ms)
		}
		var open int
		var ms int64
		if err := h.DB().QueryRowContext(t.Context(), "SELECT COUNT(*), MAX(lifetime_ms) FROM chat_sweeps WHERE closed_ms = 0").Scan(&open, &ms); err != nil || open != 1 || ms != kept.ms {
			t.Errorf("%d parts are open, of %d, %v; kept %d", open, ms, err, kept.ms)
		}
	}
}

// A part waits for messages of its lifetime alone: those that were committed beside them by another one are another part's.
func TestSweepOfOneLifetime(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	s := h.As(1, "phone", idl.CodecProtobuf)
	c := im.ChatOf(1, 2)
	for i, ms := range []int64{3600_000, 60_000, 3600_000} {
		if _, err := p.settleLifetime(t.Context(), lifetime{conversation: c, ms: ms, setBy: 1, setMs: h.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
		if err := s.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: string(rune('a' + i)), ToUserId: 2, Text: "goes"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for { // each change is told in the log
		heads, _, err := h.Timelines().Heads(t.Context(), []im.ConversationID{c}, nil)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("got %v, %v", heads, err)
		}
		if heads[0] == 6 {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	h.Advance(time.Minute + sweepGrace)
	part := &sweep{conversation: c, lifetimeMs: 60_000, epoch: h.Timelines().Epoch()}
	if next, err := p.sweepStep(t.Context(), part); err != nil || part.swept != 6 || !next.Equal(h.Now().Add(2*time.Minute)) {
		t.Errorf("got %+v, next %s, %v", part, next, err)
	}
	part = &sweep{conversation: c, lifetimeMs: 3600_000, epoch: h.Timelines().Epoch()}
	if next, err := p.sweepStep(t.Context(), part); err != nil || part.swept > 2 || !next.Equal(h.Now().Add(59*time.Minute)) {
		t.Errorf("got %+v, next %s, %v", part, next, err)
	}
}

// What closes a part has it be looked at as soon as its end is known, and who swept it meanwhile does not put that off; and a
// conversation has so many parts in an hour.
func TestPartsClosed(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	c := im.ChatOf(1, 2)
	settle := func(ms int64) error {
		_, err := p.settleLifetime(t.Context(), lifetime{conversation: c, ms: ms, setBy: 1, setMs: h.Now().UnixMilli()})
		return err
	}
	if err := settle(mostLifetime.Milliseconds()); err != nil {
		t.Fatal(err)
	}
	year := h.Now().Add(2 * mostLifetime)
	all, err := p.lifetimes.due(t.Context(), year, 9)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	if mine, err := p.lifetimes.claim(t.Context(), all[0], h.Now().Add(sweepBelieved)); !mine || err != nil {
		t.Fatal(mine, err)
	}
	if err := settle(0); err != nil {
		t.Fatal(err)
	}
	if err := p.lifetimes.moved(t.Context(), all[0], year); err != nil {
		t.Fatal(err)
	}
	soon := h.Now().Add(sweepGrace + 2*time.Second)
	if all, err = p.lifetimes.due(t.Context(), soon, 9); err != nil || len(all) != 1 || all[0].closedMs == 0 {
		t.Errorf("got %v, %v", all, err)
	}
	for i := range settledPerHour - 2 {
		if err := settle(int64(60_000 + i)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := settle(60_000 + settledPerHour - 3); err != nil {
		t.Errorf("what changes nothing is refused: %v", err)
	}
	if err := settle(3600_000); im.CodeOf(err) != idl.CodeRateLimited {
		t.Errorf("got %v", err)
	}
	if all, err = p.lifetimes.due(t.Context(), soon, 99); err != nil || len(all) != settledPerHour-2 {
		t.Errorf("got %d parts, %v", len(all), err)
	}
}
