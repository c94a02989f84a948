package hooks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/scripts/engine"
)

// kicked tells of kicks.
type kicked chan string

func (k kicked) kick(_ context.Context, user im.UserID, reason string) error {
	k <- fmt.Sprint(user, " ", reason)
	if user == 404 {
		return errors.New("nobody answers")
	}
	return nil
}

func running(t *testing.T, e *hooks.Effects) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func emitted(name string) engine.Effect {
	return engine.Effect{Kind: "emit", Event: name, Data: `{"k":"v"}`, Rule: "h@a.lua:1", Action: "chat.send", User: "17"}
}

// What waits beyond the queue is dropped and counted: the newest.
func TestEffectsOverflow(t *testing.T) {
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{})
	for i := range 1030 {
		e.Do([]engine.Effect{emitted(fmt.Sprint("e", i))})
	}
	if _, lost, _ := e.Counts(); lost != 6 {
		t.Errorf("got %d lost", lost)
	}
	running(t, e)
	var events []hooks.Event
	for len(events) == 0 || events[len(events)-1].Event != "e1023" {
		var fresh <-chan struct{}
		events, _, fresh = e.Events(0)
		if len(events) > 0 && events[len(events)-1].Event == "e1023" {
			break
		}
		<-fresh
	}
	if len(events) != 1000 || events[0].Event != "e24" || events[0].Number != 24 {
		t.Errorf("got %d events, the first %+v", len(events), events[0])
	}
	if done, _, _ := e.Counts(); done["emit"] != 1024 {
		t.Errorf("got %d emitted", done["emit"])
	}
}

func TestKicks(t *testing.T) {
	k := make(kicked, 2)
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{Kick: k.kick})
	running(t, e)
	e.Do([]engine.Effect{{Kind: "kick", Target: "404"}, {Kind: "kick", Target: "17", Reason: "why"}, emitted("after")})
	if first, second := <-k, <-k; first != "404 " || second != "17 why" {
		t.Errorf("got %q and %q", first, second)
	}
	if events, _, fresh := e.Events(0); len(events) == 0 {
		<-fresh
	}
	if done, _, _ := e.Counts(); done["kick"] != 1 {
		t.Errorf("got %d kicked, one failed", done["kick"])
	}
}

func TestNotices(t *testing.T) {
	pushed := make(chan plugin.Push, 1)
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{Push: func(p plugin.Push) { pushed <- p }})
	running(t, e)
	e.Do([]engine.Effect{{Kind: "push", At: time.UnixMilli(5), Target: "17", Event: "poll.closed", Text: "It is over", Data: `{"yes":2}`}})
	got := <-pushed
	body, ok := got.Body.(*wirepb.Notice)
	if !ok || got.Action != idl.ActionNotice || !slices.Equal(got.Users, []im.UserID{17}) || len(got.InboxSeqs) != 0 ||
		*body != (wirepb.Notice{Event: "poll.closed", Text: "It is over", Data: `{"yes":2}`, TimeMs: 5}) {
		t.Errorf("got %+v, %+v", got, body)
	}
	if done, _, _ := e.Counts(); done["push"] != 1 {
		t.Errorf("got %d pushed", done["push"])
	}
}

// A reader sees what was, and follows what comes, until the server ends.
func TestEventsPage(t *testing.T) {
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), hooks.Means{})
	running(t, e)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	s := httptest.NewServer(e.Page(ctx))
	defer s.Close()
	e.Do([]engine.Effect{emitted("one")})
	response, err := http.Get(s.URL + "?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for i, name := range []string{"one", "two", "three"} {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var got hooks.Event
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil || got.Event != name || got.Number != int64(i) || string(got.Data) != `{"k":"v"}` {
			t.Errorf("got %s and %v, want %s", lines.Text(), err, name)
		}
		if next := []string{"two", "three", ""}[i]; next != "" {
			e.Do([]engine.Effect{emitted(next)})
		}
	}
	end()
	if lines.Scan() {
		t.Errorf("got %s after the end", lines.Text())
	}
	once := httptest.NewRecorder()
	e.Page(t.Context()).ServeHTTP(once, httptest.NewRequest(http.MethodGet, "/rules/events", nil))
	if n := strings.Count(once.Body.String(), "\n"); n != 3 {
		t.Errorf("got %d lines without follow", n)
	}
}
