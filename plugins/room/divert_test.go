package room_test

import (
	"testing"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

func diverted(t *testing.T) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured()}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
	if c.text == "spam" then return im.shadow() end
	if c.text == "off topic" then return im.reroute("lounge") end
	if c.text == "lost" then return im.reroute("nowhere") end
end, {name = "divert", on_error = "closed"})`},
		Targets: []plugin.Target{{Name: "lounge", Room: "lounge"}, {Name: "nowhere", Room: "nowhere"}}})
}

// What is shadowed reaches its sender's devices, takes no place in the room's log, and is
// in nobody's history.
func TestShadow(t *testing.T) {
	h := diverted(t)
	a, desk, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "web", idl.CodecJSON)
	for _, s := range []*plugintest.Session{a, desk, b} {
		join(t, s, "club")
	}
	say(t, a, "club", "1", "one")
	heard(t, a)
	heard(t, desk)
	rep := say(t, a, "club", "2", "spam")
	if rep.Seq != 2 || rep.MessageId == "" || rep.TimeMs == 0 || rep.Duplicate || rep.Room != "" {
		t.Errorf("got %+v", rep)
	}
	for name, s := range map[string]*plugintest.Session{"the sender": a, "his other device": desk} {
		if got := heard(t, s); len(got) != 1 || got[0].Seq != 0 || got[0].Id != rep.MessageId || got[0].Room != "club" || got[0].ClientId != "2" || got[0].Text != "spam" {
			t.Errorf("%s heard %+v", name, got)
		}
	}
	say(t, b, "club", "1", "two")
	say(t, a, "club", "3", "spam")
	say(t, a, "club", "4", "three")
	if again := say(t, desk, "club", "2", "spam"); again.MessageId != rep.MessageId || again.Seq != rep.Seq || !again.Duplicate {
		t.Errorf("got %+v, first %+v", again, rep)
	}
	_, err := said(a, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "ham"})
	wantRefusal(t, err, idl.CodeConflict, "client_id")
	if got := seqs(heard(t, b)); got != "[1 2 3]" {
		t.Errorf("bob heard %s", got)
	}
	if got := seqs(heard(t, a)); got != "[2 0 3]" {
		t.Errorf("alice heard %s", got)
	}
	for _, s := range []*plugintest.Session{a, b} {
		var log roompb.RoomHistoryReply
		if err := s.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "club"}, &log); err != nil || seqs(log.Messages) != "[3 2 1]" {
			t.Errorf("the history is %s, %v", seqs(log.Messages), err)
		}
	}
	if rep := join(t, h.As(carol, "web", idl.CodecJSON), "club"); seqs(rep.Messages) != "[1 2 3]" || rep.Head != 3 {
		t.Errorf("who comes gets %s up to %d", seqs(rep.Messages), rep.Head)
	}
	if piece, err := h.RoomSource().Since(t.Context(), "r_club", 0); err != nil || len(piece.Frames) != 3 || piece.Through != 3 {
		t.Errorf("an edge that missed all gets %+v, %v", piece, err)
	}
}

// A message goes to the other room's log and members, if its sender may write there.
func TestReroute(t *testing.T) {
	h := diverted(t)
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON), h.As(carol, "web", idl.CodecJSON)
	join(t, a, "club")
	join(t, b, "club")
	create(t, c, "lounge")
	join(t, c, "lounge")
	rep := say(t, a, "club", "1", "off topic")
	if rep.Room != "lounge" || rep.Seq != 1 {
		t.Errorf("got %+v", rep)
	}
	if got := heard(t, c); len(got) != 1 || got[0].Room != "lounge" || got[0].SenderId != int64(alice) || got[0].Text != "off topic" {
		t.Errorf("the lounge heard %+v", got)
	}
	if got := append(heard(t, a), heard(t, b)...); len(got) != 0 {
		t.Errorf("the club heard %+v", got)
	}
	if again := say(t, a, "club", "1", "off topic"); again.MessageId != rep.MessageId || again.Room != "lounge" || !again.Duplicate {
		t.Errorf("got %+v", again)
	}
	ban := &roompb.ModerateRoomRequest{Room: "lounge", Moderation: &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN, UserId: int64(alice)}}
	if err := c.Call(idl.ActionModerateRoom, ban, nil); err != nil {
		t.Fatal(err)
	}
	_, err := said(a, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "off topic"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	_, err = said(a, &roompb.RoomSendRequest{Room: "club", ClientId: "3", Text: "lost"})
	wantRefusal(t, err, idl.CodeInternal, "")
}
