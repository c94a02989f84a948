package room_test

import (
	"fmt"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

func changes(t *testing.T, h *plugintest.Host, name string) (n int) {
	t.Helper()
	if err := h.DB().QueryRowContext(t.Context(), "SELECT changes FROM room_rooms WHERE name = ?", name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRefusalsAreCheap: who may not moderate begins no transaction, and is bounded over
// all rooms together, also over those that are not there.
func TestRefusalsAreCheap(t *testing.T) {
	h := start(t, nil)
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON), h.As(carol, "web", idl.CodecJSON)
	create(t, a, "club")
	before := changes(t, h, "club")
	attempts := []func(name string) error{
		func(name string) error {
			return b.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: name}, nil)
		},
		func(name string) error {
			return b.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: name, Fields: []string{"title"}}, nil)
		},
		func(name string) error {
			_, err := moderated(b, name, roompb.Moderation{Verb: mute, UserId: int64(carol)})
			return err
		},
	}
	for i := range 50 {
		wantRefusal(t, attempts[i%3]("club"), idl.CodePermissionDenied, "")
	}
	for i, attempt := range attempts {
		wantRefusal(t, attempt(fmt.Sprint("other", i)), idl.CodeRateLimited, "")
	}
	if n := changes(t, h, "club"); n != before {
		t.Errorf("%d transactions were begun", n-before)
	}
	for i := range 50 { // so are questions
		wantRefusal(t, c.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: fmt.Sprint("other", i)}, nil), idl.CodeNotFound, "room")
	}
	wantRefusal(t, c.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "club"}, nil), idl.CodeRateLimited, "")
	wantRefusal(t, c.Call(idl.ActionRoomRoles, &roompb.ListRolesRequest{Room: "club"}, nil), idl.CodeRateLimited, "")
}

// TestMutedAdmin: a mute holds for admins and owners too, and a ban takes the owner's
// say while it lasts; operators are above both.
func TestMutedAdmin(t *testing.T) {
	h := start(t, nil)
	a, b, o := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON), h.As(root, "web", idl.CodecJSON)
	create(t, a, "club")
	do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
	join(t, a, "club")
	join(t, b, "club")
	do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob)})
	_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "x"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	do(t, o, "club", roompb.Moderation{Verb: ban, UserId: int64(alice)})
	_, err = moderated(a, "club", roompb.Moderation{Verb: unmute, UserId: int64(bob)})
	wantRefusal(t, err, idl.CodePermissionDenied, "")
	wantRefusal(t, a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}, nil), idl.CodePermissionDenied, "")
	_, err = moderated(b, "club", roompb.Moderation{Verb: unban, UserId: int64(alice)})
	wantRefusal(t, err, idl.CodePermissionDenied, "moderation.user_id")
	do(t, o, "club", roompb.Moderation{Verb: unban, UserId: int64(alice)})
	do(t, a, "club", roompb.Moderation{Verb: unmute, UserId: int64(bob)})
	say(t, b, "club", "1", "x")
}

// TestBusyRoomTakesNoTurn: who is refused since the room is busy still has his turn of
// slow mode; who is refused by slow mode takes nothing of the room's.
func TestBusyRoomTakesNoTurn(t *testing.T) {
	h := start(t, nil)
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON), h.As(carol, "web", idl.CodecJSON)
	err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", SlowModeMs: 60_000, Overload: roompb.RoomOverload_ROOM_OVERLOAD_SLOW, LowPerSecond: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	join(t, b, "club")
	join(t, c, "club")
	say(t, c, "club", "1", "x")
	_, err = said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "x"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
	h.Advance(time.Second)
	_, err = said(c, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "x"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
	say(t, b, "club", "1", "x")
}

// TestGiftsAreCounted: where senders are slowed, gifts are too, by themselves.
func TestGiftsAreCounted(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Overload: roompb.RoomOverload_ROOM_OVERLOAD_SLOW, LowPerSecond: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	join(t, b, "club")
	for _, kind := range []roompb.RoomKind{roompb.RoomKind_ROOM_KIND_TEXT, roompb.RoomKind_ROOM_KIND_GIFT} {
		for i := range 6 {
			_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: fmt.Sprintf("%d.%d", kind, i), Kind: kind, Text: "x"})
			switch {
			case i == 5:
				wantRefusal(t, err, idl.CodeRateLimited, "")
			case err != nil:
				t.Errorf("%v %d: %v", kind, i, err)
			}
		}
	}
}

// TestUnsentTakesNoTurn: a message that is not committed gives its turn back, once.
func TestUnsentTakesNoTurn(t *testing.T) {
	people := new(forgetful)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured()}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: people}}})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	if err := b.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", SlowModeMs: 60_000}, nil); err != nil {
		t.Fatal(err)
	}
	join(t, a, "club")
	people.fails.Store(true)
	if _, err := said(a, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "x"}); err == nil {
		t.Error("it was sent without a nickname")
	}
	people.fails.Store(false)
	say(t, a, "club", "1", "x")
	_, err := said(a, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "x"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
}

// TestJoinAgainCounts: a join by a session that is in counts as a join, and doubles
// nothing.
func TestJoinAgainCounts(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.JoinsPerMinute = 3 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	for range 3 {
		join(t, a, "lobby")
	}
	say(t, a, "lobby", "1", "x")
	if got := heard(t, a); seqs(got) != "[1]" {
		t.Errorf("alice heard %s", seqs(got))
	}
	_, err := joined(a, &roompb.JoinRoomRequest{Room: "lobby"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
}
