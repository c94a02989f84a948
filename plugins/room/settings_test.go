package room_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

func TestCreate(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	var rep roompb.CreateRoomReply
	err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Title: "The Club", Announcement: "Be kind.",
		SlowModeMs: 5000, Overload: roompb.RoomOverload_ROOM_OVERLOAD_BATCH, LowPerSecond: 7}, &rep)
	want := roompb.RoomInfo{Room: "club", Title: "The Club", Announcement: "Be kind.", OwnerId: int64(alice), SlowModeMs: 5000,
		Overload: roompb.RoomOverload_ROOM_OVERLOAD_BATCH, LowPerSecond: 7, Presence: true, CreatedMs: h.Now().UnixMilli()}
	if err != nil || *rep.Info != want {
		t.Errorf("got %+v, %v; want %+v", rep.Info, err, &want)
	}
	var info roompb.RoomInfo
	if err := b.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "club"}, &info); err != nil || info != want {
		t.Errorf("got %+v, %v; want %+v", &info, err, &want)
	}
	wantRefusal(t, b.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club"}, nil), idl.CodeAlreadyExists, "room")
	var again roompb.CreateRoomReply
	err = a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Title: "The Club", Announcement: "Be kind.",
		SlowModeMs: 5000, Overload: roompb.RoomOverload_ROOM_OVERLOAD_BATCH, LowPerSecond: 7}, &again)
	if err != nil || *again.Info != want {
		t.Errorf("the same again: got %+v, %v; want %+v", again.Info, err, &want)
	}
	wantRefusal(t, a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Title: "Another"}, nil), idl.CodeAlreadyExists, "room")
	join(t, b, "lobby")
	say(t, b, "lobby", "m1", "ours")
	wantRefusal(t, b.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "lobby"}, nil), idl.CodeAlreadyExists, "room")
	wantRefusal(t, b.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "other"}, nil), idl.CodeNotFound, "room")
	for field, req := range map[string]*roompb.CreateRoomRequest{
		"room": {}, "title": {Room: "x", Title: strings.Repeat("界", 65)}, "announcement": {Room: "x", Announcement: strings.Repeat("x", 501)},
		"slow_mode_ms": {Room: "x", SlowModeMs: 600_001}, "overload": {Room: "x", Overload: 3}, "low_per_second": {Room: "x", LowPerSecond: -1},
	} {
		wantRefusal(t, a.Call(idl.ActionCreateRoom, req, nil), idl.CodeInvalidArgument, field)
	}
	for field, req := range map[string]*roompb.CreateRoomRequest{
		"title": {Room: "x", Title: "two\nlines"}, "announcement": {Room: "x", Announcement: "a\u202eb"},
	} {
		wantRefusal(t, a.Call(idl.ActionCreateRoom, req, nil), idl.CodeInvalidArgument, field)
	}
}

// TestCreateTakesOver: a name that somebody has only joined is not kept from whoever
// creates the room; who is in it stays, and its edges hear of the settings.
func TestCreateTakesOver(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, b, "club")
	var rep roompb.CreateRoomReply
	if err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Title: "The Club", LowPerSecond: 7}, &rep); err != nil {
		t.Fatal(err)
	}
	if i := rep.Info; i.OwnerId != int64(alice) || i.Title != "The Club" || i.Members != 1 {
		t.Errorf("got %+v", i)
	}
	want := plugintest.Configured{Room: "r_club", Policy: plugin.RoomPolicy{LowPerSecond: 7, List: 100, Version: 2}}
	if all := h.Policies(); len(all) != 1 || all[0] != want {
		t.Errorf("the edges were told %+v, want %+v", all, want)
	}
	wantRefusal(t, b.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club"}, nil), idl.CodeAlreadyExists, "room")
	say(t, b, "club", "m1", "still here")
	do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob)}) // it is hers
	join(t, b, "over")
	if err := h.As(root, "desk", idl.CodecJSON).Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "over"}, nil); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "over"}, nil), idl.CodeAlreadyExists, "room")
}

// TestCreateAfterTheFirstWord: a room in which somebody spoke just before it would have
// been taken over is not.
func TestCreateAfterTheFirstWord(t *testing.T) {
	p := configured()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, b, "club")
	changes := 0
	p.BeforeChanges(func() {
		if changes++; changes == 2 { // the first finds that there is a room, the second takes it over
			say(t, b, "club", "m1", "hello")
		}
	})
	wantRefusal(t, a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club"}, nil), idl.CodeAlreadyExists, "room")
	if changes != 2 {
		t.Errorf("it took %d transactions", changes)
	}
}

// TestConcurrentCreates: one of many gets the room, also when others have joined it
// before, and it is his.
func TestConcurrentCreates(t *testing.T) {
	h := start(t, nil)
	var won atomic.Int64
	var all sync.WaitGroup
	for n := range 8 {
		s := h.As(alice+im.UserID(n), "phone", idl.CodecProtobuf)
		all.Go(func() {
			if n%2 == 0 { // these come by joining: there is a room in any case
				if _, err := joined(s, &roompb.JoinRoomRequest{Room: "club"}); err != nil {
					t.Error(err)
				}
				return
			}
			switch err := s.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club"}, nil); im.CodeOf(err) {
			case idl.CodeUnknown:
				won.Add(1)
			case idl.CodeAlreadyExists:
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	var info roompb.RoomInfo
	if err := h.As(alice, "web", idl.CodecJSON).Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "club"}, &info); err != nil {
		t.Fatal(err)
	}
	if n := won.Load(); n != 1 || info.OwnerId == 0 || info.Members != 4 {
		t.Errorf("%d made the room, the owner is %d, %d members", n, info.OwnerId, info.Members)
	}
}

func TestUpdate(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, b, "club")
	req := &roompb.UpdateRoomRequest{Room: "club", Title: "New", Muted: true, LowPerSecond: 9, SlowModeMs: 1, Overload: roompb.RoomOverload_ROOM_OVERLOAD_SLOW,
		Announcement: "not named", Fields: []string{"title", "muted", "low_per_second", "overload"}}
	wantRefusal(t, b.Call(idl.ActionUpdateRoom, req, nil), idl.CodePermissionDenied, "")
	do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
	var rep roompb.UpdateRoomReply
	if err := b.Call(idl.ActionUpdateRoom, req, &rep); err != nil {
		t.Fatal(err)
	}
	if i := rep.Info; i.Title != "New" || !i.Muted || i.LowPerSecond != 9 || i.Overload != roompb.RoomOverload_ROOM_OVERLOAD_SLOW || i.SlowModeMs != 0 || i.Announcement != "" || i.Head != 2 {
		t.Errorf("got %+v", i)
	}
	got := heard(t, b)
	if len(got) != 2 || got[1].Moderation.GetVerb() != roompb.ModerationVerb_MODERATION_SETTINGS || got[1].SenderId != int64(bob) {
		t.Errorf("bob heard %+v", got)
	}
	want := plugintest.Configured{Room: "r_club", Policy: plugin.RoomPolicy{Overload: 2, LowPerSecond: 9, List: 100, Version: 3}} // a role was given, then this
	if all := h.Policies(); len(all) != 1 || all[0] != want {
		t.Errorf("the edges were told %+v, want %+v", all, want)
	}
	for field, req := range map[string]*roompb.UpdateRoomRequest{
		"room": {Fields: []string{"title"}}, "fields": {Room: "club"}, "title": {Room: "club", Fields: []string{"title"}, Title: strings.Repeat("x", 65)},
	} {
		wantRefusal(t, a.Call(idl.ActionUpdateRoom, req, nil), idl.CodeInvalidArgument, field)
	}
	wantRefusal(t, a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"owner_id"}}, nil), idl.CodeInvalidArgument, "fields")
	wantRefusal(t, a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "other", Fields: []string{"title"}}, nil), idl.CodeNotFound, "room")
}

func TestClose(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, a, "club")
	join(t, b, "club")
	do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
	wantRefusal(t, b.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}, nil), idl.CodePermissionDenied, "")
	wantRefusal(t, a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club", Reason: strings.Repeat("x", 201)}, nil), idl.CodeInvalidArgument, "reason")
	for range 2 { // closing again is no fault
		if err := a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club", Reason: "over"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, last := lastTold(t, h); last.Moderation.GetVerb() != roompb.ModerationVerb_MODERATION_CLOSE || last.Seq != 2 {
		t.Errorf("the room was told %+v", last)
	}
	for _, s := range []*plugintest.Session{a, b} {
		if left := leftOf(t, s); left.Reason != roompb.RoomLeftReason_ROOM_LEFT_CLOSED || left.Message != "over" || len(s.Rooms()) != 0 {
			t.Errorf("got %+v", left)
		}
	}
	_, err := joined(a, &roompb.JoinRoomRequest{Room: "club"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	_, err = moderated(a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob)})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	wantRefusal(t, a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"title"}}, nil), idl.CodePermissionDenied, "room")
	wantRefusal(t, b.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club"}, nil), idl.CodeAlreadyExists, "room")
}
