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
	"strings"
	"testing"

	"freeim/core/hooks"
	"freeim/core/im"
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
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), nil)
	for i := range 1030 {
		e.Do([]engine.Effect{emitted(fmt.Sprint("e", i))})
	}
	if _, _, lost := e.Counts(); lost != 6 {
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
	if n, _, _ := e.Counts(); n != 1024 {
		t.Errorf("got %d emitted", n)
	}
}

func TestKicks(t *testing.T) {
	k := make(kicked, 2)
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), k.kick)
	running(t, e)
	e.Do([]engine.Effect{{Kind: "kick", Target: "404"}, {Kind: "kick", Target: "17", Reason: "why"}, emitted("after")})
	if first, second := <-k, <-k; first != "404 " || second != "17 why" {
		t.Errorf("got %q and %q", first, second)
	}
	if events, _, fresh := e.Events(0); len(events) == 0 {
		<-fresh
	}
	if _, n, _ := e.Counts(); n != 1 {
		t.Errorf("got %d kicked, one failed", n)
	}
}

// A reader sees what was, and follows what comes, until the server ends.
func TestEventsPage(t *testing.T) {
	e := hooks.NewEffects(slog.New(slog.DiscardHandler), nil)
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
