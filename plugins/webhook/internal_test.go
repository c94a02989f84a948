package webhook

import (
	"errors"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
)

// A lease is one core's; who lost it changes nothing.
func TestLease(t *testing.T) {
	hook := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{hook}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
	s, ctx, at := hook.store, t.Context(), cursor{feed: -3, place: 5, epoch: "e"}
	if err := s.begin(ctx, "x", []cursor{at}); err != nil {
		t.Fatal(err)
	}
	if err := s.begin(ctx, "x", []cursor{at}); err == nil {
		t.Error("it was begun twice")
	}
	take := func(core string, after time.Duration) *lease {
		t.Helper()
		l, _, err := s.take(ctx, "x", core, h.Now().Add(after), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a := take("a", 0)
	if a == nil || take("b", 59*time.Second) != nil {
		t.Fatal("two have it")
	}
	if err := s.renew(ctx, "x", a, h.Now().Add(2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if take("b", 90*time.Second) != nil {
		t.Fatal("what was renewed is over")
	}
	b := take("b", 3*time.Minute)
	if b == nil {
		t.Fatal("nobody gets it")
	}
	at.place = 6
	if err := s.move(ctx, "x", a.fence, at, []letter{{feed: -3, place: 6}}); !errors.Is(err, errFenced) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(s.renew(ctx, "x", a, h.Now()), s.stop(ctx, "x", a.fence, "w")); !errors.Is(err, errFenced) {
		t.Errorf("got %v", err)
	}
	if err := s.giveBack(ctx, "x", a.fence); err != nil {
		t.Fatal(err)
	}
	if n, err := s.countDead(ctx, "x", 10); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
	if err := s.move(ctx, "x", b.fence, at, []letter{{feed: -3, place: 6}}); err != nil {
		t.Error(err)
	}
	if got, err := s.cursor(ctx, "x", -3); got.place != 6 || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.giveBack(ctx, "x", b.fence); err != nil || take("c", 3*time.Minute) == nil {
		t.Errorf("nobody gets what was given back: %v", err)
	}
	plugintest.WantIndexed(t, h, selectState, "x")
	plugintest.WantOrdered(t, h, selectDead, "x", -3, 0, 10)
}

// An endpoint that fails is left alone, longer each time, and one tries for all.
func TestPace(t *testing.T) {
	p := New()
	p.config.Pause, p.config.MostPause = time.Hour, 3*time.Hour
	e := &endpoint{plugin: p}
	for range breakAt {
		if d := e.turn(); d != 0 {
			t.Fatalf("it waits %v", d)
		}
		e.settle(result{verdict: away})
	}
	if d := e.turn(); d < 29*time.Minute || d > time.Hour || !e.broken() {
		t.Errorf("it waits %v", d)
	}
	e.until = time.Now()
	if d := e.turn(); d != 0 {
		t.Errorf("nobody tries for %v", d)
	}
	if d := e.turn(); d == 0 {
		t.Error("two try")
	}
	e.settle(result{verdict: taken})
	if d := e.turn(); d != 0 || e.broken() {
		t.Errorf("it waits %v", d)
	}
	for failures, most := range map[int]time.Duration{1: time.Hour, 2: 2 * time.Hour, 3: 3 * time.Hour, 1000: 3 * time.Hour} {
		if d := p.pause(failures, 0); d < most/2 || d > most {
			t.Errorf("after %d failures it waits %v", failures, d)
		}
	}
	if d := p.pause(1, 100*time.Hour); d != 3*time.Hour {
		t.Errorf("with advice it waits %v", d)
	}
}

func TestIsPrivate(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:80": true, "10.1.2.3:443": true, "169.254.169.254:80": true, "192.168.1.1:80": true, "[::1]:80": true, "[fe80::1%eth0]:80": true,
		"[::ffff:127.0.0.1]:80": true, "[64:ff9b::7f00:1]:80": true, "0.0.0.0:80": true, "[::]:80": true, "100.64.0.1:1": true, "x": true,
		"93.184.216.34:443": false, "[2606:2800:220:1::1]:443": false,
	} {
		if got := isPrivate(address); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}

func TestAdvice(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "99999999999999999999": 0, "soon": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		if got := advice(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func FuzzPosition(f *testing.F) {
	for _, text := range []string{"3-1042", "16-0", "0-1", "17-1", "+3-1", "3--1", "3-01", "3-9223372036854775808"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err == nil && (p.String() != text || !p.feed.IsFeed() || p.place < 0) {
			t.Errorf("%q is %+v", text, p)
		}
		if err != nil && p != (position{}) {
			t.Errorf("%q is refused, and %+v", text, p)
		}
	})
}
