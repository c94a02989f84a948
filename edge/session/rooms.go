package session

import (
	"slices"

	"freeim/edge/frame"
	"freeim/edge/room"
	"freeim/idl"
)

// This file joins sessions and rooms: a session comes in and goes with a reply, and
// goes when it ends or is taken out.

// rooms is what a session is in. It exists only while there was a reply that took the
// session in; guarded by the session's mu.
type rooms struct{ in []*room.Member }

func (h *Hub) newRooms() *room.Rooms {
	return room.New(room.Options{
		Report: h.core.RoomState,
		Block:  h.block,
		Codec:  func(f room.Form) idl.Codec { return Wire(f).Codec() },
		Left:   h.left,
		Slow: func(id uint64) {
			if s := h.sessions.find(ID(id)); s != nil {
				s.slow()
			}
		},
	})
}

func (h *Hub) block(dst []byte, f room.Form, frames []frame.Frame) []byte {
	out, err := h.AppendBlock(dst, Wire(f), frames...)
	if err != nil {
		h.log.Error("block could not be written", "err", err)
	}
	return out
}

func (h *Hub) deliverRooms(d Delivery) {
	for _, b := range d.Broadcasts {
		h.rooms.Broadcast(b)
	}
	for _, a := range d.Answers {
		h.rooms.Answer(a)
	}
	for _, e := range d.Expels {
		h.rooms.Expel(e)
	}
	for _, p := range d.Policies {
		h.rooms.Policy(p.Room, p.Policy)
	}
}

// Unlinked says that no core is linked any more.
func (h *Hub) Unlinked() { h.rooms.Unlinked() }

// RoomStates gives the state of every room that has members, until yield returns
// false; want asks for what they may have missed. yield may block.
func (h *Hub) RoomStates(want bool, yield func(room.State) bool) { h.rooms.States(want, yield) }

// move answers a frame, and takes the session into a room or out of one with it. It
// is false when the answer was not sent, since the client does not read. Whoever
// answers the frame at the core calls it, with no lock held.
func (s *Session) move(to header, r Reply) (sent bool) {
	answer := func() bool { return s.deliver(to, r.Action, r.Body) }
	if r.Leave != "" {
		if m := s.memberOf(r.Leave); m != nil {
			m.Leave() // nothing of the room comes behind the answer
			s.forget()
		}
	}
	if r.Enter == nil {
		return answer()
	}
	s.mu.Lock()
	who := room.Who{Session: uint64(s.id), Out: s.transport}
	if s.state == live {
		who.User = s.identity.User
		who.Form = room.Form(s.transport.Wire(s.pushForm.codec, s.pushForm.text))
	}
	alive := s.state == live
	s.mu.Unlock()
	if !alive || s.memberOf(r.Enter.Room) != nil {
		return answer()
	}
	m, sent := s.hub.rooms.Enter(*r.Enter, who, answer)
	if m != nil && !s.keep(m) {
		m.Leave()
	}
	return sent
}

// keep notes a membership; false: the session is not live any more.
func (s *Session) keep(m *room.Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != live {
		return false
	}
	if s.rooms == nil {
		s.rooms = new(rooms)
	}
	if m.In() { // it may have been taken out at once
		s.rooms.in = append(s.rooms.in, m)
	}
	return true
}

// memberOf is the session's membership of a room; nil: it is not in it.
func (s *Session) memberOf(name string) *room.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms == nil {
		return nil
	}
	i := slices.IndexFunc(s.rooms.in, func(m *room.Member) bool { return m.Room() == name && m.In() })
	if i < 0 {
		return nil
	}
	return s.rooms.in[i]
}

// forget drops the memberships that have ended.
func (s *Session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms == nil {
		return
	}
	s.rooms.in = slices.DeleteFunc(s.rooms.in, func(m *room.Member) bool { return !m.In() })
	if len(s.rooms.in) == 0 {
		s.rooms = nil
	}
}

// roomsFor names the rooms that the session is in, if the core wants to know them
// with this action. Called with mu held.
func (s *Session) roomsFor(a idl.Action) (names []string) {
	if s.rooms == nil {
		return nil
	}
	if info, _ := s.hub.core.Action(a); !info.Rooms {
		return nil
	}
	for _, m := range s.rooms.in {
		if m.In() {
			names = append(names, m.Room())
		}
	}
	return names
}

// leave takes an ended session out of its rooms; nil is none.
func (r *rooms) leave() {
	if r != nil {
		for _, m := range r.in {
			m.Leave()
		}
	}
}

// left tells a session that a room has let it go; see room.Options. A room's lock is
// held.
func (h *Hub) left(id uint64, action idl.Action, protobuf, json []byte) bool {
	s := h.sessions.find(ID(id))
	if s == nil {
		return true
	}
	s.forget()
	out := outgoing{hub: h, push: Push{Action: action, Protobuf: protobuf, JSON: json}}
	return out.try(s, 0)
}
