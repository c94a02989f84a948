package room_test

import (
	"fmt"
	"os"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// cores are two hosts on one directory and the same timelines: two cores of one site.
func cores(t *testing.T, change ...func(*room.Config)) [2]*plugintest.Host {
	t.Helper()
	if os.Getenv(plugintest.Stores) != "production" {
		t.Skip("no two cores have one SQLite open")
	}
	o := plugintest.Options{Dir: t.TempDir(), Plugins: []plugin.Plugin{configured(change...)}, Stubs: []plugintest.Stub{directory}}
	first := plugintest.New(t, o)
	o.Timelines, o.Plugins = first.Timelines(), []plugin.Plugin{configured(change...)}
	return [2]*plugintest.Host{first, plugintest.New(t, o)}
}

// TestModerationOverCores: what one core has answered holds at the other at once, though the other
// remembers what was before. The clock stands still, so nothing is forgotten by itself.
func TestModerationOverCores(t *testing.T) {
	both := cores(t, func(c *room.Config) { c.SendsPerSecond = 0 })
	a, b := both[0].As(alice, "phone", idl.CodecProtobuf), both[1].As(bob, "web", idl.CodecJSON)
	info := func() error { return b.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "club"}, nil) }
	wantRefusal(t, info(), idl.CodeNotFound, "room")
	create(t, a, "club")
	if err := info(); err != nil {
		t.Errorf("a room that the other core has made: %v", err)
	}
	join(t, a, "club")
	join(t, b, "club")
	n := 0
	send := func(kind roompb.RoomKind) error {
		n++
		_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: fmt.Sprint(n), Kind: kind, Text: "x"})
		return err
	}
	text, announcement := roompb.RoomKind_ROOM_KIND_TEXT, roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT
	taken := func(kind roompb.RoomKind) {
		t.Helper()
		if err := send(kind); err != nil {
			t.Error(err)
		}
	}
	set := func(muted bool) {
		t.Helper()
		req := &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"muted"}, Muted: muted}
		if err := a.Call(idl.ActionUpdateRoom, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // each change lies between two looks of the other core
		taken(text)
		do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob)})
		wantRefusal(t, send(text), idl.CodePermissionDenied, "room")
		do(t, a, "club", roompb.Moderation{Verb: unmute, UserId: int64(bob)})
		taken(text)
		set(true)
		wantRefusal(t, send(text), idl.CodePermissionDenied, "room")
		do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
		taken(announcement)
		do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob)})
		set(false)
		wantRefusal(t, send(announcement), idl.CodePermissionDenied, "kind")
		do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob)})
		wantRefusal(t, send(text), idl.CodePermissionDenied, "room")
		wantRefusal(t, b.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "club"}, nil), idl.CodePermissionDenied, "room")
		wantRefusal(t, b.Call(idl.ActionRoomMembers, &roompb.RoomMembersRequest{Room: "club"}, nil), idl.CodePermissionDenied, "room")
		_, err := joined(both[1].As(bob, "phone", idl.CodecJSON), &roompb.JoinRoomRequest{Room: "club"})
		wantRefusal(t, err, idl.CodePermissionDenied, "room")
		do(t, a, "club", roompb.Moderation{Verb: unban, UserId: int64(bob)})
		join(t, b, "club")
	}
	if err := a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}, nil); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, send(text), idl.CodePermissionDenied, "room")
}

// BenchmarkSend is a message of one of many members of a room, or of one of a room each, from the
// action to its answer, the pushes to all 64 sessions with it: with embedded stores one core alone, with the production stores one that asks
// with each message whether another has changed the room.
func BenchmarkSend(b *testing.B) {
	for _, rooms := range []int{1, 64} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			h := plugintest.New(b, plugintest.Options{Stubs: []plugintest.Stub{directory}, Plugins: []plugin.Plugin{
				configured(func(c *room.Config) { c.SendsPerSecond, c.LowPerSecond, c.CreationsPerSecond = 0, 0, 0 })}})
			type speaker struct {
				in   *plugintest.Session
				room string
			}
			speakers := make(chan speaker, 64)
			for i := range cap(speakers) {
				one := speaker{h.As(alice+im.UserID(i), "phone", idl.CodecProtobuf), fmt.Sprint("room-", i%rooms)}
				if _, err := joined(one.in, &roompb.JoinRoomRequest{Room: one.room}); err != nil {
					b.Fatal(err)
				}
				speakers <- one
			}
			b.SetParallelism(cap(speakers) / 4)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				one := <-speakers
				defer func() { speakers <- one }()
				for n := 0; pb.Next(); n++ {
					req := &roompb.RoomSendRequest{Room: one.room, ClientId: fmt.Sprint(b.N, ".", n), Text: "hello"}
					if _, err := said(one.in, req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
