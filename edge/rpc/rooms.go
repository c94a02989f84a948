package rpc

import (
	"hash/maphash"

	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/roompb"
)

// This file is what the links carry of rooms. Of each room only its newest state
// waits to go up.

// RoomState implements session.Core. A room keeps to one link while the same ones are
// up, so that its states stay in order.
func (l *Links) RoomState(s room.State) {
	up := *l.up.Load()
	if len(up) == 0 {
		return // the next link asks for all of them
	}
	up[int(maphash.String(l.seed, s.Room)%uint64(len(up)))].roomState(s)
}

// roomState queues the state of a room, if the link is open.
func (k *link) roomState(s room.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phase == open {
		k.outbox.room(stateOf(s))
	}
}

// room keeps the newest state of each room, and that something is wanted.
func (o *outbox) room(s *corepb.RoomState) {
	if o.rooms == nil {
		o.rooms = make(map[string]*corepb.RoomState)
	}
	if older := o.rooms[s.Room]; older != nil {
		s.Want = s.Want || older.Want
	}
	o.rooms[s.Room] = s
	o.signal()
}

// askRooms tells a core that has just been linked of every room: what it broadcast
// before did not come, and its registry may know nothing of this edge.
func (k *link) askRooms() {
	k.links.receiver.RoomStates(true, func(s room.State) bool {
		k.roomState(s)
		return true
	})
}

// roomPages gives the states of all rooms in pages, until take returns an error, which
// comes back, and how many there were.
func (l *Links) roomPages(take func([]*corepb.RoomState) error) (rooms int64, err error) {
	var fill []*corepb.RoomState
	l.receiver.RoomStates(false, func(s room.State) bool {
		fill = append(fill, stateOf(s))
		rooms++
		if len(fill) == page {
			err = take(fill)
			fill = nil
		}
		return err == nil
	})
	if err == nil && len(fill) > 0 {
		err = take(fill)
	}
	return rooms, err
}

// flushRooms sends the states that were taken, in pages.
func (s *sender) flushRooms() error {
	var up corepb.Uplink
	for name, state := range s.rooms {
		delete(s.rooms, name)
		if up.Rooms = append(up.Rooms, state); len(up.Rooms) < page && len(s.rooms) > 0 {
			continue
		}
		s.counts.upBatches.Add(1)
		if err := s.stream.Send(&up); err != nil {
			return err
		}
		up.Rooms = nil
	}
	s.rooms = nil
	return nil
}

func stateOf(s room.State) *corepb.RoomState {
	return &corepb.RoomState{Room: s.Room, Members: s.Members, UserIds: s.Users, After: s.After, Want: s.Want}
}

// addRooms adds what comes down for rooms.
func addRooms(to *session.Delivery, d *corepb.Downlink) {
	for _, b := range d.Broadcasts {
		to.Broadcasts = append(to.Broadcasts, room.Broadcast{Room: b.Room, Seq: b.Seq, Important: b.Lane > 0,
			Action: idl.Action(b.Action), Protobuf: b.Protobuf, JSON: b.Json})
	}
	for _, a := range d.Answers {
		answer := room.Answer{Room: a.Room, After: a.After, Through: a.Through}
		if a.Policy != nil {
			p := policyOf(a.Policy)
			answer.Policy = &p
		}
		to.Answers = append(to.Answers, answer)
	}
	for _, e := range d.Expels {
		to.Expels = append(to.Expels, room.Expel{Room: e.Room, Users: e.UserIds, Seq: e.Seq, Action: idl.Action(e.Action), Protobuf: e.Protobuf, JSON: e.Json})
	}
	for _, p := range d.Policies {
		to.Policies = append(to.Policies, session.RoomPolicy{Room: p.Room, Policy: policyOf(p)})
	}
}

func enterOf(e *corepb.Enter) *room.Enter {
	if e == nil {
		return nil
	}
	enter := &room.Enter{Room: e.Room, Head: e.Head}
	if e.Policy != nil {
		enter.Policy = policyOf(e.Policy)
	}
	return enter
}

func policyOf(p *corepb.RoomPolicy) room.Policy {
	return room.Policy{Overload: roompb.RoomOverload(p.Overload), LowPerSecond: int(p.LowPerSecond), List: int(p.List), Version: p.Version}
}
