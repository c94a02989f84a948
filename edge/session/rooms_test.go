package session_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"freeim/edge/frame"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// ask sends a frame to the core and gives the call that became of it.
func (c *client) ask(action idl.Action, sequence uint32) session.Call {
	c.Helper()
	c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: action, Sequence: sequence}, false)
	return c.oneCall(action)
}

// join takes the client into a room by a reply.
func (c *client) join(name string, head int64) {
	c.Helper()
	r := answer(c.ask(idl.ActionJoinRoom, 2))
	r.Enter = &room.Enter{Room: name, Head: head}
	c.hub.Reply(r)
	c.want(idl.ActionJoinRoom, 2)
}

func said(name string, seq int64) room.Broadcast {
	return room.Broadcast{Room: name, Seq: seq, Action: idl.ActionRoomMessage, Protobuf: []byte{byte(seq)}, JSON: []byte("{}")}
}

func (w *world) broadcast(b room.Broadcast) {
	w.hub.Deliver(session.Delivery{Broadcasts: []room.Broadcast{b}})
}
func (w *world) expel(e room.Expel) { w.hub.Deliver(session.Delivery{Expels: []room.Expel{e}}) }

// roomed runs a test with a clock of its own.
func roomed(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, session.Options{})) })
}

func TestASessionInARoom(t *testing.T) {
	roomed(t, func(t *testing.T, w *world) {
		c := w.live(idl.CodecProtobuf, false)
		w.broadcast(said("r_a", 5)) // the edge is subscribed before the reply comes
		r := answer(c.ask(idl.ActionJoinRoom, 2))
		r.Enter = &room.Enter{Room: "r_a", Head: 4}
		w.hub.Reply(r)
		synctest.Wait()
		out := c.line.take()
		if len(out) != 2 || out[0].Action != idl.ActionJoinRoom || out[1].Action != idl.ActionRoomMessage {
			t.Fatalf("sent: got %+v, want the answer, then what came since", out)
		}
		c.join("r_b", 0)
		if call := c.ask(idl.ActionRoomMessage, 3); !slices.Equal(call.Rooms, []string{"r_a", "r_b"}) {
			t.Errorf("rooms of the call: got %v", call.Rooms)
		} else {
			w.hub.Reply(answer(call))
		}
		c.want(idl.ActionRoomMessage, 3)
		if call := c.ask(idl.ActionSync, 4); call.Rooms != nil {
			t.Errorf("rooms of a call that does not ask: got %v", call.Rooms)
		} else {
			w.hub.Reply(answer(call))
		}
		c.want(idl.ActionSync, 4)

		r = answer(c.ask(idl.ActionJoinRoom, 5)) // again: nothing else changes
		r.Enter = &room.Enter{Room: "r_a", Head: 5}
		w.hub.Reply(r)
		w.broadcast(said("r_a", 6))
		synctest.Wait()
		if out := c.line.take(); len(out) != 2 || out[1].Body[0] != 6 {
			t.Errorf("sent: got %+v, want the answer and 6 once", out)
		}

		r = answer(c.ask(idl.ActionLeaveRoom, 6))
		r.Leave = "r_a"
		w.hub.Reply(r)
		w.broadcast(said("r_a", 7))
		w.broadcast(said("r_b", 1))
		synctest.Wait()
		if out := c.line.take(); len(out) != 2 || out[0].Action != idl.ActionLeaveRoom || out[1].Body[0] != 1 {
			t.Errorf("sent: got %+v, want the answer and r_b's message", out)
		}
		if got := w.hub.Stats().Rooms.Members; got != 1 {
			t.Errorf("members: got %d, want 1", got)
		}
		c.Closed()
		if got := w.hub.Stats().Rooms.Members; got != 0 {
			t.Errorf("members after the end: got %d", got)
		}
	})
}

func TestExpelled(t *testing.T) {
	roomed(t, func(t *testing.T, w *world) {
		c := w.live(idl.CodecProtobuf, false)
		c.join("r_a", 0)
		w.expel(room.Expel{Room: "r_a", Users: []int64{5}, Action: idl.ActionLeaveRoom, Protobuf: []byte{1}, JSON: []byte("{}")})
		c.want(idl.ActionLeaveRoom, 0)
		if call := c.ask(idl.ActionRoomMessage, 3); len(call.Rooms) > 0 {
			t.Errorf("rooms of the call: got %v", call.Rooms)
		} else {
			w.hub.Reply(answer(call))
		}
		c.want(idl.ActionRoomMessage, 3)
		c.join("r_a", 0) // it may come in again
		c.line.fill()
		w.expel(room.Expel{Room: "r_a", Action: idl.ActionLeaveRoom, Protobuf: []byte{1}, JSON: []byte("{}")})
		c.wantQuit(idl.CloseSlow) // it cannot even be told
	})
}

// TestASessionThatFellBehindGoesOn: when its transport has room again the session is
// told what it missed, and gets what comes.
func TestASessionThatFellBehindGoesOn(t *testing.T) {
	roomed(t, func(t *testing.T, w *world) {
		c := w.live(idl.CodecProtobuf, false)
		c.join("r_a", 0)
		c.line.fill()
		w.broadcast(said("r_a", 1))
		synctest.Wait()
		c.line.drain()
		w.broadcast(said("r_a", 2))
		synctest.Wait()
		out := c.line.take()
		if len(out) != 2 || out[0].Action != idl.ActionRoomHistory || out[1].Action != idl.ActionRoomMessage || out[1].Body[0] != 2 {
			t.Fatalf("sent: got %+v, want what was skipped, then 2", out)
		}
		var skip roompb.RoomSkip
		if err := idl.Decode(out[0].Body, idl.CodecProtobuf, &skip); err != nil || skip.Reason != roompb.RoomSkipReason_ROOM_SKIP_SLOW {
			t.Errorf("got %+v, %v, want 1 skipped as SLOW", &skip, err)
		}
	})
}

func TestAReplyThatEntersAfterTheEnd(t *testing.T) {
	roomed(t, func(t *testing.T, w *world) {
		c := w.live(idl.CodecProtobuf, false)
		r := answer(c.ask(idl.ActionJoinRoom, 2))
		r.Enter = &room.Enter{Room: "r_a"}
		w.hub.Kick([]session.ID{c.id}, idl.CloseKicked, "", 0)
		w.hub.Reply(r)
		if got := w.hub.Stats().Rooms; got.Members != 0 || got.Rooms != 0 {
			t.Errorf("rooms: got %+v, want none", got)
		}
	})
}

// TestSessionsEndWhileTheyComeIn: whatever the order, no membership outlives its session.
func TestSessionsEndWhileTheyComeIn(t *testing.T) {
	w := newWorld(t, session.Options{})
	var all sync.WaitGroup
	for range 200 {
		c := w.live(idl.CodecProtobuf, false)
		r := answer(c.ask(idl.ActionJoinRoom, 2))
		r.Enter = &room.Enter{Room: "r_a"}
		all.Go(func() { w.hub.Reply(r) })
		all.Go(func() {
			w.expel(room.Expel{Room: "r_a", Users: []int64{5}, Action: idl.ActionLeaveRoom, Protobuf: []byte{1}, JSON: []byte("{}")})
		})
		all.Go(func() { w.hub.Kick([]session.ID{c.id}, idl.CloseKicked, "", 0) })
		all.Go(func() { w.broadcast(said("r_a", 0)) })
	}
	all.Wait()
	if got := w.hub.Stats().Rooms.Members; got != 0 {
		t.Errorf("members: got %d, want none", got)
	}
}

func TestResyncAsksForRooms(t *testing.T) {
	roomed(t, func(t *testing.T, w *world) {
		c := w.live(idl.CodecProtobuf, false)
		c.join("r_a", 3)
		w.core.mu.Lock()
		w.core.rooms = nil
		w.core.mu.Unlock()
		w.hub.Resync()
		w.core.mu.Lock()
		defer w.core.mu.Unlock()
		if got := w.core.rooms; len(got) != 1 || !got[0].Want || got[0].After != 3 {
			t.Errorf("states: got %+v, want r_a's, wanting what comes after 3", got)
		}
	})
}
