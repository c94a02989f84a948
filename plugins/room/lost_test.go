package room_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// TestExpulsionsAreRepeated: what an edge may have missed are also those who were put
// out, each with the message that tells of it, also when it has the message.
func TestExpulsionsAreRepeated(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond = 0 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	create(t, a, "club")
	join(t, a, "club")
	since := func(after int64) (all []string) {
		t.Helper()
		piece, err := h.RoomSource().Since(t.Context(), "r_club", after)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range piece.Expulsions {
			left := e.Body.(*roompb.RoomLeft)
			if e.Room != "r_club" || e.Action != idl.ActionLeaveRoom || left.Room != "club" {
				t.Errorf("got %+v", e)
			}
			all = append(all, fmt.Sprint(e.Users, e.Seq, left.Reason, left.Message, left.UntilMs))
		}
		return all
	}
	want := func(after int64, want ...string) {
		t.Helper()
		if got := since(after); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after %d: got %q, want %q", after, got, want)
		}
	}
	until := h.Now().Add(time.Hour).UnixMilli()
	do(t, a, "club", roompb.Moderation{Verb: remove, UserId: int64(carol), Reason: "go"}) // 1
	do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(carol)})                 // 2
	do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob), UntilMs: until})    // 3
	removed, banned := fmt.Sprint([]im.UserID{carol}, 1, roompb.RoomLeftReason_ROOM_LEFT_REMOVED, "go", 0),
		fmt.Sprint([]im.UserID{bob}, 3, roompb.RoomLeftReason_ROOM_LEFT_BANNED, "", until)
	want(0, removed, banned)
	want(3, removed, banned) // the message came, the expulsion behind it perhaps not
	for i := range 1030 {
		say(t, a, "club", fmt.Sprint(i), "x")
	}
	want(1033)
	want(0, fmt.Sprint([]im.UserID{bob}, 1033, roompb.RoomLeftReason_ROOM_LEFT_BANNED, "", 0)) // the message is too far back
	if err := a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}, nil); err != nil {
		t.Fatal(err)
	}
	want(1033, fmt.Sprint([]im.UserID(nil), 1034, roompb.RoomLeftReason_ROOM_LEFT_CLOSED, "", 0))
}

// TestRepeatedOctets: an edge is not given more than it keeps.
func TestRepeatedOctets(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond = 0 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	data := strings.Repeat("x", 2000)
	for i := range 300 {
		if _, err := said(a, &roompb.RoomSendRequest{Room: "lobby", ClientId: fmt.Sprint(i), Text: "x", Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	piece, err := h.RoomSource().Since(t.Context(), "r_lobby", 0)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, f := range piece.Frames {
		size += sizeOf(t, idl.CodecJSON, f.Body)
	}
	if n := len(piece.Frames); size > 256<<10 || size < 200<<10 || piece.Frames[n-1].Seq != 300 || piece.Frames[0].Seq != int64(301-n) || piece.Through != 300 {
		t.Errorf("got %d frames of %d octets through %d", n, size, piece.Through)
	}
}

// TestBannedReadsNothing: a session whose edge has not heard of the ban is refused
// history and members.
func TestBannedReadsNothing(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, b, "club")
	if _, err := h.DB().ExecContext(t.Context(), "INSERT INTO room_people (room, user_id, role, muted_until_ms, banned_until_ms) VALUES ('club', ?, 0, 0, -1)", int64(bob)); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute)
	wantRefusal(t, b.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "club"}, nil), idl.CodePermissionDenied, "room")
	wantRefusal(t, b.Call(idl.ActionRoomMembers, &roompb.RoomMembersRequest{Room: "club"}, nil), idl.CodePermissionDenied, "room")
}

// forgetful is a directory that can fail to say how alice is called.
type forgetful struct{ fails atomic.Bool }

func (f *forgetful) Nickname(ctx context.Context, u im.UserID) (string, bool, error) {
	if u == alice && f.fails.Load() {
		return "", false, errors.New("away")
	}
	return everybody{}.Nickname(ctx, u)
}

// TestNoBanWithoutExpulsion: when the message that tells of a ban cannot be made, the
// ban is not done either.
func TestNoBanWithoutExpulsion(t *testing.T) {
	people := new(forgetful)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured()}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: people}}})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, b, "club")
	people.fails.Store(true)
	if _, err := moderated(a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob)}); err == nil {
		t.Error("it was done")
	}
	people.fails.Store(false)
	join(t, h.As(bob, "phone", idl.CodecJSON), "club")
	if len(b.Rooms()) != 1 {
		t.Errorf("bob is in %v", b.Rooms())
	}
}
