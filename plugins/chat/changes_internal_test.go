package chat

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// A change looks for the row of a message, finds none, and another one begins it and commits before the first goes
// on, as on MySQL: that is not undone. What is there of another life of the store is.
func TestChangesBegunByTwo(t *testing.T) {
	p := New()
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	at, s := stored{"c_1_2", 5}, p.changes
	recalled := func(id string) error {
		return p.host.Tx(t.Context(), func(tx *sql.Tx) error {
			b, err := s.begin(t.Context(), tx, at, id)
			if err != nil {
				return err
			}
			b.recalledBy, b.recalledMs = 1, 7
			return errors.Join(s.version(t.Context(), tx, b), s.keep(t.Context(), tx, b))
		})
	}
	if err := recalled("m"); err != nil {
		t.Fatal(err)
	}
	if err := recalled("m"); err == nil {
		t.Error("the second began it too")
	}
	if b, err := s.one(t.Context(), p.host.DB(), at, "m"); err != nil || !b.recalled() {
		t.Errorf("left is %+v, %v", b, err)
	}
	if all, err := s.versions(t.Context(), at, 0, 9); err != nil || len(all) != 1 {
		t.Errorf("left are versions %v, %v", all, err)
	}
	if err := recalled("of another life"); err != nil {
		t.Error(err)
	}
	if b, err := s.one(t.Context(), p.host.DB(), at, "m"); err != nil || b != nil {
		t.Errorf("left is %+v, %v", b, err)
	}
}

// A core is about to commit what stands behind others when its sender takes it back, or the other way: one of them
// is first, and the other learns it.
func TestHeldClaimedOrWithdrawn(t *testing.T) {
	p := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}},
		Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) return im.hold("newcomers", {deadline = "24h"}) end, {name = "hold", on_error = "closed"})`}})
	phone := h.As(1, "phone", idl.CodecProtobuf)
	var sent []chatpb.SendReply
	for _, id := range []string{"m1", "m2", "m3"} {
		var rep chatpb.SendReply
		if err := phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: id, ToUserId: 2, Text: "x"}, &rep); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, rep)
	}
	if _, err := h.DB().ExecContext(t.Context(), "UPDATE chat_held SET state = ? WHERE id <> ?", int(behind), sent[0].HeldId); err != nil {
		t.Fatal(err)
	}
	of := func(i int) *held {
		one, err := p.held.first(t.Context(), p.held.db, "WHERE id = ?", sent[i].HeldId)
		if err != nil || one == nil {
			t.Fatal(err)
		}
		return one
	}
	seen := of(1)
	if mine, err := p.held.claim(t.Context(), *of(1)); err != nil || !mine {
		t.Errorf("claimed %v, %v", mine, err)
	}
	if done, err := p.refuse(t.Context(), seen, recalledReason); err != nil || done || of(1).state != approved {
		t.Errorf("denied behind that: %v, %v", done, err)
	}
	seen = of(2)
	if err := phone.Call(idl.ActionRecall, &chatpb.RecallRequest{HeldId: seen.id}, nil); err != nil {
		t.Fatal(err)
	}
	if mine, err := p.held.claim(t.Context(), *seen); err != nil || mine || of(2).state != denied {
		t.Errorf("claimed behind that: %v, %v", mine, err)
	}
}

// Reviewers see all that a message is, not its text alone.
func TestReviewersSeeAll(t *testing.T) {
	h := held{message: message{content: chatpb.Content{Kind: kindPlace, Place: &chatpb.Place{Address: "Elm Street"}, Mentions: []int64{7}}}}
	text, err := json.Marshal(h.shown())
	if err != nil || !strings.Contains(string(text), `"content":{"place":{"address":"Elm Street"},"mentions":[7]}`) {
		t.Errorf("shown is %s, %v", text, err)
	}
	h.content = chatpb.Content{Text: "hi"}
	if text, err = json.Marshal(h.shown()); err != nil || strings.Contains(string(text), "content") {
		t.Errorf("shown is %s, %v", text, err)
	}
}

// What became of a message that nobody else sees has its writer read nothing.
func TestShadowedChangeReadsNothing(t *testing.T) {
	l, now := &listed{}, time.Now()
	l.add(newEntry{inbox: 1, seq: 1}, now)
	l.add(newEntry{inbox: 2, seq: 2}, now)
	if l.add(newEntry{inbox: 3, seq: 3, shadow: true, quiet: true}, now); l.unread(now) != 2 {
		t.Errorf("%d are unread", l.unread(now))
	}
	if l.add(newEntry{inbox: 4, seq: 3, shadow: true}, now); l.unread(now) != 0 {
		t.Errorf("%d are unread", l.unread(now))
	}
}
