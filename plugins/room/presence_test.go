package room_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// told decodes what came and went, as pushed to a session.
func told(t *testing.T, s *plugintest.Session) (out []string) {
	t.Helper()
	for _, p := range s.Pushes() {
		if p.Action != idl.ActionRoomMembers {
			continue
		}
		var m roompb.RoomPresence
		if err := p.Decode(&m); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s +%v -%v", m.Room, m.Came, m.Went))
	}
	return out
}

func members(t *testing.T, s *plugintest.Session, name string) *roompb.RoomMembersReply {
	t.Helper()
	rep := new(roompb.RoomMembersReply)
	if err := s.Call(idl.ActionRoomMembers, &roompb.RoomMembersRequest{Room: name}, rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestPresenceOfSmallRooms(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.PresenceLimit = 3 })
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, a, "lobby")
	join(t, b, "lobby")
	if got, want := told(t, a), []string{"lobby +[100001] -[]", "lobby +[100002] -[]"}; !slices.Equal(got, want) {
		t.Errorf("alice was told %q, want %q", got, want)
	}
	again := h.As(bob, "phone", idl.CodecJSON)
	join(t, again, "lobby") // a second device: nobody comes
	if rep := members(t, a, "lobby"); rep.Members != 3 || fmt.Sprint(rep.UserIds) != "[100001 100002]" {
		t.Errorf("got %+v", rep)
	}
	b.Close()
	again.Close()
	if got, want := told(t, a), []string{"lobby +[] -[100002]"}; !slices.Equal(got, want) {
		t.Errorf("alice was told %q, want %q", got, want)
	}
	var crowd []*plugintest.Session
	for i := range 3 {
		crowd = append(crowd, h.As(carol+im.UserID(i), "web", idl.CodecJSON))
		join(t, crowd[i], "lobby")
	}
	if rep := join(t, crowd[0], "lobby"); rep.Info.Presence || rep.Info.Members != 4 {
		t.Errorf("a larger room: got %+v", rep.Info)
	}
	if rep := members(t, a, "lobby"); rep.Members != 4 || len(rep.UserIds) != 0 {
		t.Errorf("a larger room: got %+v", rep)
	}
	told(t, a)
	crowd[2].Close() // it is small again: all are told
	if got, want := told(t, a), []string{"lobby +[100001 100003 100004] -[]"}; !slices.Equal(got, want) {
		t.Errorf("alice was told %q, want %q", got, want)
	}
	wantRefusal(t, b2(h).Call(idl.ActionRoomMembers, &roompb.RoomMembersRequest{Room: "lobby"}, nil), idl.CodePermissionDenied, "room")
}

func b2(h *plugintest.Host) *plugintest.Session { return h.As(bob, "desk", idl.CodecProtobuf) }

// TestSizeIsToldNowAndThen: however many come, a room hears its size at once and then
// at most every five seconds.
func TestSizeIsToldNowAndThen(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	say(t, a, "lobby", "1", "x")
	sizes := func() (all []int64) {
		for _, b := range h.Broadcasts() {
			if b.Action == idl.ActionRoomInfo {
				info := b.Body.(*roompb.RoomInfo)
				if b.Seq != 0 || b.Important || info.Room != "lobby" {
					t.Errorf("the size went as %+v", b)
				}
				all = append(all, info.Members)
			}
		}
		return all
	}
	until(t, func() bool { return slices.Equal(sizes(), []int64{1}) })
	for i := range 30 {
		join(t, h.As(bob+im.UserID(i), "web", idl.CodecJSON), "lobby")
	}
	if got := sizes(); len(got) != 1 {
		t.Errorf("told %v before it was time", got)
	}
	h.Advance(5 * time.Second)
	until(t, func() bool { return slices.Equal(sizes(), []int64{1, 31}) })
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(20 * time.Second); !done(); <-tick.C {
		if time.Now().After(late) {
			t.Fatal("it does not come about")
		}
	}
}

// TestSince: what an edge missed it is given.
func TestSince(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond = 0 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	const n = 1100
	for i := range n {
		say(t, a, "lobby", fmt.Sprint(i), "x")
	}
	for _, row := range []struct{ after, first, count int64 }{
		{n, 0, 0}, {n + 5, 0, 0}, {n - 1, n, 1}, {n - 10, n - 9, 10}, {n - 500, n - 499, 500},
	} {
		piece, err := h.RoomSource().Since(t.Context(), "r_lobby", row.after)
		if err != nil {
			t.Fatal(err)
		}
		if piece.Through != n || int64(len(piece.Frames)) != row.count || piece.Policy.List != 100 || piece.Policy.LowPerSecond != 50 {
			t.Errorf("after %d: got %d frames through %d, %+v", row.after, len(piece.Frames), piece.Through, piece.Policy)
		}
		for i, f := range piece.Frames {
			if f.Seq != row.first+int64(i) || f.Body.(*roompb.RoomMessage).Seq != f.Seq {
				t.Errorf("after %d: frame %d is %+v", row.after, i, f)
				break
			}
		}
	}
	if piece, err := h.RoomSource().Since(t.Context(), "r_nowhere", 0); err != nil || len(piece.Frames) != 0 || piece.Through != 0 {
		t.Errorf("a room that never was: got %+v, %v", piece, err)
	}
	if _, err := h.RoomSource().Since(t.Context(), "c_1_2", 0); err == nil {
		t.Error("a chat is given as a room")
	}
}

// TestJoinWhileBanned: whatever the order of a join and a ban at the same time, the
// person is out in the end, and hears nothing that is said later.
func TestJoinWhileBanned(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.JoinsPerMinute, c.SendsPerSecond = 0, 0 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	create(t, a, "club")
	join(t, a, "club")
	for i := range 40 {
		b := h.As(bob, "web", idl.CodecJSON)
		var both sync.WaitGroup
		both.Go(func() { _, _ = joined(b, &roompb.JoinRoomRequest{Room: "club"}) })
		both.Go(func() { do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob)}) })
		both.Wait()
		if len(b.Rooms()) != 0 {
			t.Fatalf("round %d: banned, and in %v", i, b.Rooms())
		}
		b.Pushes()
		say(t, a, "club", fmt.Sprint(i), "not for bob")
		if got := heard(t, b); len(got) != 0 {
			t.Fatalf("round %d: banned, and heard %+v", i, got)
		}
		do(t, a, "club", roompb.Moderation{Verb: unban, UserId: int64(bob)})
		b.Close()
	}
}

// TestCloseWhileSending: who is acknowledged is in the log, and when the room is
// closed nobody is in it.
func TestCloseWhileSending(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond = 0 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	create(t, a, "club")
	join(t, a, "club")
	var all sync.WaitGroup
	var mu sync.Mutex
	acked := map[int64]string{}
	begun := make(chan struct{}, 64)
	for n := range 4 {
		s := h.As(bob+im.UserID(n), "web", idl.CodecJSON)
		join(t, s, "club")
		all.Go(func() {
			for i := 0; ; i++ {
				rep, err := said(s, &roompb.RoomSendRequest{Room: "club", ClientId: fmt.Sprintf("%d.%d", n, i), Text: "x"})
				if err != nil {
					wantRefusal(t, err, idl.CodePermissionDenied, "room")
					return
				}
				mu.Lock()
				acked[rep.Seq] = rep.MessageId
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 {
		<-begun
	}
	if err := a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}, nil); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	page, err := h.Timelines().Log(t.Context(), "r_club", 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != len(acked)+1 {
		t.Errorf("%d in the log, %d acknowledged", len(page.Items), len(acked))
	}
	for _, m := range page.Items {
		if id, ok := acked[m.Seq]; ok && id != m.ID.String() {
			t.Errorf("seq %d is %s, acknowledged as %s", m.Seq, m.ID, id)
		}
	}
	if there := h.As(carol, "web", idl.CodecJSON); len(a.Rooms()) != 0 {
		t.Errorf("the owner is in %v; %v", a.Rooms(), there)
	}
}
