package rpc

import (
	"context"
	"strings"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl/kitex_gen/corepb"
)

var _ fanout.RoomPusher = (*Server)(nil)

// hearRooms hands on what an edge says of rooms. It is kept: the names must not hold
// on to the whole batch they came in.
func (s *Server) hearRooms(l *link, told []*corepb.RoomState) {
	if len(told) == 0 {
		return
	}
	states := make([]fanout.RoomState, 0, len(told))
	for _, one := range told {
		state := fanout.RoomState{After: one.After, Want: one.Want, RoomReport: presence.RoomReport{
			Room: im.ConversationID(strings.Clone(one.Room)), Members: max(0, one.Members)}}
		for _, user := range one.UserIds {
			state.Users = append(state.Users, im.UserID(user))
		}
		states = append(states, state)
	}
	s.options.Rooms(l.life(), states)
}

// deliverRoom queues an item of a room for that life of the edge. One that finds no
// link is lost: the edge asks for what its rooms miss by each new link, and gets with it the
// expulsions that the log tells of and the policy of now.
func (s *Server) deliverRoom(life presence.Life, i item) {
	if l := s.edges.link(life.Edge, life.Epoch); l == nil || !l.deliver(i) {
		s.counts.missed.Add(1)
	}
}

// Ease implements fanout.RoomPusher.
func (s *Server) Ease(ctx context.Context, life presence.Life) error {
	for {
		l := s.edges.link(life.Edge, life.Epoch)
		if l == nil {
			return nil
		}
		eased := l.out.easing()
		if eased == nil {
			return nil
		}
		select {
		case <-eased:
		case <-l.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Broadcast implements fanout.RoomPusher, and never waits.
func (s *Server) Broadcast(life presence.Life, f fanout.RoomFrame) {
	b := &corepb.Broadcast{Room: string(f.Room), Seq: f.Seq, Action: uint32(f.Action), Protobuf: f.Protobuf, Json: f.JSON}
	if f.Important {
		b.Lane = 1
	}
	s.deliverRoom(life, item{broadcast: b})
}

// Answer implements fanout.RoomPusher.
func (s *Server) Answer(life presence.Life, room im.ConversationID, after, through int64, p plugin.RoomPolicy) {
	s.deliverRoom(life, item{answer: &corepb.RoomAnswer{
		Room: string(room), After: after, Through: through, Policy: policy("", p)}})
}

// Expel implements fanout.RoomPusher.
func (s *Server) Expel(life presence.Life, e fanout.RoomExpulsion) {
	expel := &corepb.Expel{Room: string(e.Room), Seq: e.Seq, Action: uint32(e.Action), Protobuf: e.Protobuf, Json: e.JSON}
	for _, user := range e.Users {
		expel.UserIds = append(expel.UserIds, int64(user))
	}
	s.deliverRoom(life, item{expel: expel})
}

// Configure implements fanout.RoomPusher.
func (s *Server) Configure(life presence.Life, room im.ConversationID, p plugin.RoomPolicy) {
	s.deliverRoom(life, item{policy: policy(string(room), p)})
}

func policy(room string, p plugin.RoomPolicy) *corepb.RoomPolicy {
	return &corepb.RoomPolicy{Room: room, Overload: p.Overload, LowPerSecond: int32(p.LowPerSecond), List: int32(p.List), Version: p.Version}
}
