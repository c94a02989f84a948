package chat_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
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

// inStore is all that the timeline store has in a log.
func inStore(t *testing.T, h *plugintest.Host, log im.ConversationID) string {
	t.Helper()
	var all strings.Builder
	for after := int64(0); ; {
		page, err := h.Timelines().Log(t.Context(), log, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Items {
			all.Write(m.Body)
			after = m.Seq
		}
		if !page.HasMore {
			return all.String()
		}
	}
}

// What was recalled is in no store any more when keep_recalled is over, and nobody sees a difference.
func TestRecalledIsErased(t *testing.T) {
	h, of := changingHost(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam secret" then return im.shadow() end end, {name = "x", on_error = "closed"})`},
		func(c *chat.Config) { c.KeepRecalled = 2 * time.Minute })
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	ab := im.ChatOf(alice, bob)
	var sent []*chatpb.SendRequest
	var answers []*chatpb.SendReply
	for _, m := range []*chatpb.SendRequest{
		{ClientId: "m1", ToUserId: int64(bob), Text: "the secret"},
		{ClientId: "m2", ToUserId: int64(bob), Kind: kindImage, Text: "a secret", Media: &chatpb.Media{File: aFile, Name: "secret.png"}},
		{ClientId: "m3", ToUserId: int64(bob), Text: "spam secret"},
	} {
		sent = append(sent, m)
		answers = append(answers, sends(t, a, m))
	}
	send(t, b, alice, "b", "stays")
	if _, err := edit(a, answers[0], "another secret", 0); err != nil {
		t.Fatal(err)
	}
	for _, m := range answers {
		if _, err := recall(a, m); err != nil {
			t.Fatal(err)
		}
	}
	toldAll(t, h)
	both := func() string { return inStore(t, h, ab) + inStore(t, h, ab.Shadow(alice)) }
	all := func() string { return everything(t, of, a, ab) + everything(t, of, b, ab) }
	before := all()
	h.Advance(2*time.Minute - time.Millisecond)
	if got := both(); strings.Count(got, "secret") != 4 {
		t.Errorf("too early: %q", got)
	}
	h.Advance(time.Millisecond)
	eventually(t, "all are erased", func() bool { return rows(t, h, "SELECT COUNT(*) FROM chat_erasures") == 0 })
	if got := both(); strings.Contains(got, "secret") || strings.Contains(got, aFile) || !strings.Contains(got, "stays") {
		t.Errorf("the store has %q", got)
	}
	if got := all(); got != before {
		t.Errorf("got %s\nbefore %s", got, before)
	}
	for i, m := range sent {
		if again := sends(t, a, m); again.MessageId != answers[i].MessageId || again.Seq != answers[i].Seq || again.InboxSeq != answers[i].InboxSeq || !again.Duplicate {
			t.Errorf("got %v, want %v", again, answers[i])
		}
		if _, err := recall(a, answers[i]); err != nil {
			t.Errorf("recalled again: %v", err)
		}
	}
	// A directory that was taken back to before the recall brings nothing back.
	if _, err := h.DB().ExecContext(t.Context(), "DELETE FROM chat_changes"); err != nil {
		t.Fatal(err)
	}
	page, _ := history(t, b, &chatpb.HistoryRequest{ConversationId: string(ab)})
	for _, m := range page.Messages {
		if m.SenderId == int64(alice) && m.Event == "" && !m.Became.GetRecalled() {
			t.Errorf("got %v", m)
		}
	}
}

// unerasing is a store that cannot erase.
type unerasing struct {
	timeline.Store
	asked atomic.Int32
}

func (u *unerasing) Erase(context.Context, []timeline.Erasure) error {
	u.asked.Add(1)
	return errors.New("planted fault")
}

// A core that ends between a recall and the erasing, or could not erase, leaves it to another one; without keep_recalled nothing
// waits.
func TestErasingOutlivesTheCore(t *testing.T) {
	dir, keep := t.TempDir(), 24*time.Hour
	kept := plugintest.New(t, plugintest.Options{}).Timelines()
	open := func(store timeline.Store) *plugintest.Host {
		p := chat.New()
		p.Config().(*chat.Config).KeepRecalled = keep
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}, Dir: dir, Timelines: store})
	}
	recalled := func(h *plugintest.Host, clientID, text string) {
		t.Helper()
		s := h.As(alice, "phone", idl.CodecJSON)
		if _, err := recall(s, send(t, s, bob, clientID, text)); err != nil {
			t.Fatal(err)
		}
	}
	failing := &unerasing{Store: kept}
	h := open(failing)
	recalled(h, "m1", "the secret")
	h.Advance(25 * time.Hour)
	eventually(t, "it fails, and is tried again", func() bool {
		h.Advance(time.Minute)
		return failing.asked.Load() > 1
	})
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	keep = 0
	h = open(kept)
	ab := im.ChatOf(alice, bob)
	if got := inStore(t, h, ab); !strings.Contains(got, "the secret") {
		t.Errorf("the store has %q", got)
	}
	recalled(h, "m2", "a word")
	eventually(t, "it is erased at once", func() bool { return !strings.Contains(inStore(t, h, ab), "a word") })
	h.Advance(30 * 24 * time.Hour) // beyond the first core's clock, by which it was put off
	eventually(t, "the other is too", func() bool { return !strings.Contains(inStore(t, h, ab), "the secret") })
}

// What was recalled before there were erasures goes a day after its recall, not at the upgrade. That is so too when the migration
// is run again, by a core after one that was killed before it could note the version.
func TestRecalledBeforeErasures(t *testing.T) {
	dir := t.TempDir()
	kept := plugintest.New(t, plugintest.Options{}).Timelines()
	open := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir, Timelines: kept})
	}
	h := open()
	s := h.As(alice, "phone", idl.CodecJSON)
	if _, err := recall(s, send(t, s, bob, "m1", "the secret")); err != nil {
		t.Fatal(err)
	}
	for i, before := range []string{"DROP TABLE chat_erasures", "UPDATE chat_erasures SET due_ms = due_ms"} {
		for _, query := range []string{before, "DELETE FROM goose_chat WHERE version_id > 11"} {
			if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		h = open()
		if n := rows(t, h, "SELECT COUNT(*) FROM chat_erasures AS e JOIN chat_changes AS c ON c.message_id = e.message_id WHERE e.due_ms = c.recalled_ms + ?", (24 * time.Hour).Milliseconds()); n != 1 {
			t.Errorf("upgrade %d: %d messages are due a day after their recall, want 1", i, n)
		}
	}
	h.Advance(25 * time.Hour)
	eventually(t, "it is erased", func() bool { return !strings.Contains(inStore(t, h, im.ChatOf(alice, bob)), "the secret") })
}
