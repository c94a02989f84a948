package chat_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// forgetful is a store that is taken back to before all that was erased.
type forgetful struct{ timeline.Store }

func (forgetful) Erase(context.Context, []timeline.Erasure) error { return nil }

// What was recalled, or has disappeared, and comes back with a restore of the store alone is erased again; what stays, stays.
func TestRestoredIsErasedAgain(t *testing.T) {
	dir := t.TempDir()
	kept := plugintest.New(t, plugintest.Options{}).Timelines()
	open := func(store timeline.Store, epoch string) *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir,
			Timelines: life{store, epoch}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam secret" then return im.shadow() end end, {name = "x", on_error = "closed"})`}})
	}
	ab := im.ChatOf(alice, bob)
	inAll := func(h *plugintest.Host) string { return inStore(t, h, ab) + inStore(t, h, ab.Shadow(alice)) }
	emptied := func(h *plugintest.Host) {
		t.Helper()
		eventually(t, "nothing waits to be erased", func() bool {
			h.Advance(2 * time.Minute)
			return rows(t, h, "SELECT COUNT(*) FROM chat_erasures") == 0 && rows(t, h, "SELECT COUNT(*) FROM chat_sweeps") == 0
		})
	}

	h := open(forgetful{kept}, "first")
	s := h.As(alice, "phone", idl.CodecJSON)
	send(t, s, bob, "m1", "stays")
	if _, err := recall(s, send(t, s, bob, "m2", "a recalled secret")); err != nil {
		t.Fatal(err)
	}
	for i, ms := range []time.Duration{time.Minute, time.Hour, 0} {
		if _, err := settle(s, ab, ms); err != nil {
			t.Fatal(err)
		}
		send(t, s, bob, "n"+string(rune('a'+i)), map[bool]string{true: "stays too", false: "a secret of " + ms.String()}[ms == 0])
		send(t, s, bob, "s"+string(rune('a'+i)), "spam secret")
	}
	toldAll(t, h)
	h.Advance(25 * time.Hour)
	emptied(h)
	if got := inAll(h); strings.Count(got, "secret") != 6 {
		t.Fatalf("the older copy has %q", got)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	h = open(kept, "second")
	h.Advance(26 * time.Hour)
	eventually(t, "all is gone that was", func() bool {
		h.Advance(2 * time.Minute)
		return strings.Count(inAll(h), "secret") == 1 // the last of those that only she sees, which stays
	})
	emptied(h)
	s = h.As(alice, "desk", idl.CodecJSON)
	page, _ := history(t, s, &chatpb.HistoryRequest{ConversationId: string(ab)})
	var stays int
	for _, m := range page.Messages {
		if strings.HasPrefix(m.Text, "stays") {
			stays++
		}
	}
	if stays != 2 {
		t.Errorf("got %v", page)
	}
	if n := rows(t, h, "SELECT COUNT(*) FROM chat_restores WHERE stage = 2"); n != 2 {
		t.Errorf("%d lives are seen to, want 2", n)
	}
}

// A core that starts again in the same life of the store has nothing erased again.
func TestStartedAgainErasesNothing(t *testing.T) {
	dir := t.TempDir()
	kept := plugintest.New(t, plugintest.Options{}).Timelines()
	failing := &unerasing{Store: kept}
	open := func(store timeline.Store) *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir, Timelines: store})
	}
	h := open(kept)
	s := h.As(alice, "phone", idl.CodecJSON)
	if _, err := recall(s, send(t, s, bob, "m1", "the secret")); err != nil {
		t.Fatal(err)
	}
	h.Advance(25 * time.Hour)
	eventually(t, "it is erased", func() bool {
		return rows(t, h, "SELECT COUNT(*) FROM chat_erasures") == 0 && rows(t, h, "SELECT COUNT(*) FROM chat_restores WHERE stage = 2") == 1
	})
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = open(failing)
	if _, err := recall(h.As(bob, "phone", idl.CodecJSON), send(t, h.As(bob, "desk", idl.CodecJSON), alice, "m2", "another")); err != nil {
		t.Fatal(err)
	}
	h.Advance(50 * time.Hour)
	eventually(t, "the new one is due", func() bool { return failing.asked.Load() > 0 })
	if n := rows(t, h, "SELECT COUNT(*) FROM chat_erasures"); n != 1 {
		t.Errorf("%d wait to be erased, want the new one", n)
	}
}
