package chat_test

import (
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// TestHeldForwardOfWhatIsRecalled: what was recalled while a copy of it waited does not come out by that.
func TestHeldForwardOfWhatIsRecalled(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs, carols := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON), r.As(carol, "phone", idl.CodecJSON)
	gone, stays := send(t, carols, alice, "gone", "nobody else"), send(t, carols, alice, "stays", "anybody")
	first := send(t, phone, bob, "m1", "wait one")
	forward := func(clientID string, m *chatpb.SendReply) *chatpb.SendReply {
		return sends(t, phone, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Forward: &chatpb.Source{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId}})
	}
	if copies := []*chatpb.SendReply{forward("copy1", gone), forward("copy2", stays)}; copies[0].HeldId == "" || copies[1].HeldId == "" {
		t.Fatalf("got %+v", copies)
	}
	if _, err := recall(carols, gone); err != nil {
		t.Fatal(err)
	}
	phone.Pushes()
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "the others come", func() bool { return inbox(t, bobs) == "1 wait one, 2 anybody" })
	eventually(t, "its sender hears", func() bool {
		held := listed(t, phone, &chatpb.HeldRequest{}).Held
		return len(held) == 1 && held[0].ClientId == "copy1" && held[0].State == chatpb.HeldState_HELD_STATE_DENIED && held[0].Reason == "what it forwards was recalled"
	})
}

// TestHeldForwardOfWhatDisappears: nor does what has disappeared meanwhile.
func TestHeldForwardOfWhatDisappears(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs, carols := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON), r.As(carol, "phone", idl.CodecJSON)
	stays := send(t, carols, alice, "stays", "anybody")
	if _, err := settle(carols, im.ChatOf(alice, carol), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	gone := send(t, carols, alice, "gone", "nobody else")
	first := send(t, phone, bob, "m1", "wait one")
	for clientID, m := range map[string]*chatpb.SendReply{"copy1": gone, "copy2": stays} {
		if copied := sends(t, phone, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Forward: &chatpb.Source{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId}}); copied.HeldId == "" {
			t.Fatalf("got %+v", copied)
		}
	}
	r.Advance(11 * time.Minute)
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "the others come", func() bool { return inbox(t, bobs) == "1 wait one, 2 anybody" })
	eventually(t, "its sender hears", func() bool {
		held := listed(t, phone, &chatpb.HeldRequest{}).Held
		return len(held) == 1 && held[0].ClientId == "copy1" && held[0].State == chatpb.HeldState_HELD_STATE_DENIED && held[0].Reason == "what it forwards has disappeared"
	})
}

// TestHeldOfTheOperator: about what the operator sends nobody is asked, also when it stood behind one that waited.
func TestHeldOfTheOperator(t *testing.T) {
	p, c := chat.New(), &company{members: []im.UserID{alice, bob}, reach: map[im.UserID]plugin.Reach{}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p, c}, Stubs: []plugintest.Stub{directory}, Scripts: map[string]string{"a.lua": holding}})
	r := review{h, p, p.Pages()}
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "wait one")
	if err := p.SendFor(t.Context(), alice, bob, "m2", "of the operator"); err != nil {
		t.Fatal(err)
	}
	send(t, phone, bob, "m3", "of hers")
	c.set(func() { c.guard = func(im.UserID, im.UserID) error { return errOut } })
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "nothing waits", func() bool { return inbox(t, bobs) == "1 of the operator" })
	eventually(t, "hers are denied", func() bool {
		var denied []string
		for _, m := range listed(t, phone, &chatpb.HeldRequest{}).Held {
			if m.State == chatpb.HeldState_HELD_STATE_DENIED {
				denied = append(denied, m.ClientId)
			}
		}
		return slices.Equal(denied, []string{"m1", "m3"})
	})
}
