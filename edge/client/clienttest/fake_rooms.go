package clienttest

import (
	"slices"
	"strings"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// fakeRoom is a room of a Fake.
type fakeRoom struct {
	log     []*roompb.RoomMessage
	members map[*fakeSession]struct{}
	closed  bool
}

func (f *Fake) room(name string) *fakeRoom {
	r := f.rooms[name]
	if r == nil {
		r = &fakeRoom{members: make(map[*fakeSession]struct{})}
		f.rooms[name] = r
	}
	return r
}

// CloseRoom takes everybody out of a room; nobody may join it any more.
func (f *Fake) CloseRoom(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.room(name)
	r.closed = true
	for s := range r.members {
		s.queue(idl.ActionLeaveRoom, 0, &roompb.RoomLeft{Room: name, Reason: roompb.RoomLeftReason_ROOM_LEFT_CLOSED})
	}
	clear(r.members)
}

// SayInRoom commits a message of nobody's to a room. Unless it is told, its seq is
// declared skipped.
func (f *Fake) SayInRoom(name, text string, told bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.room(name)
	m := f.roomCommit(r, &roompb.RoomMessage{Room: name, Text: text})
	for s := range r.members {
		if told {
			s.queue(idl.ActionRoomMessage, 0, m)
		} else {
			s.queue(idl.ActionRoomHistory, 0, &roompb.RoomSkip{Room: name, Reason: roompb.RoomSkipReason_ROOM_SKIP_SAMPLED,
				Ranges: []*roompb.SeqRange{{From: m.Seq, To: m.Seq}}})
		}
	}
}

// ShowInRoom pushes a message to a room's sessions that is in no log.
func (f *Fake) ShowInRoom(name, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.room(name).members {
		s.queue(idl.ActionRoomMessage, 0, &roompb.RoomMessage{Room: name, Id: f.id(), Text: text})
	}
}

func (f *Fake) roomCommit(r *fakeRoom, m *roompb.RoomMessage) *roompb.RoomMessage {
	m.Id, m.Seq, m.TimeMs = f.id(), int64(len(r.log)+1), time.Now().UnixMilli()
	r.log = append(r.log, m)
	return m
}

func (s *fakeSession) joinRoom(req *roompb.JoinRoomRequest) (*roompb.JoinRoomReply, *wirepb.Error) {
	req.Room = strings.ToLower(req.Room) // as a server writes names in one way
	r := s.fake.room(req.Room)
	if r.closed {
		return nil, refusal(idl.CodeNotFound, "the room is closed")
	}
	rep := &roompb.JoinRoomReply{Head: int64(len(r.log)), Info: &roompb.RoomInfo{Room: req.Room, Members: int64(len(r.members))}}
	r.members[s] = struct{}{}
	last := int(req.Last)
	if last == 0 {
		last = 20
	}
	if last < 0 {
		return rep, nil
	}
	after := min(req.AfterSeq, rep.Head)
	first := max(after, rep.Head-int64(last))
	rep.Messages, rep.HasMore = r.log[first:], first > after
	return rep, nil
}

// firstOf gives the first n and whether there are more.
func firstOf(log []*roompb.RoomMessage, n int) ([]*roompb.RoomMessage, bool) {
	if len(log) <= n {
		return log, false
	}
	return log[:n], true
}

func (s *fakeSession) leaveRoom(req *roompb.LeaveRoomRequest) (*roompb.LeaveRoomReply, *wirepb.Error) {
	r := s.fake.room(req.Room)
	_, in := r.members[s]
	delete(r.members, s)
	return &roompb.LeaveRoomReply{WasIn: in}, nil
}

func (s *fakeSession) sendRoom(req *roompb.RoomSendRequest) (*roompb.RoomSendReply, *wirepb.Error) {
	r, me := s.fake.room(req.Room), s.device.owner.id
	if _, in := r.members[s]; !in {
		return nil, &wirepb.Error{Code: idl.CodePermissionDenied, Field: "room", Message: "join it first"}
	}
	for _, m := range r.log {
		if m.SenderId == me && m.ClientId == req.ClientId {
			return &roompb.RoomSendReply{MessageId: m.Id, Seq: m.Seq, TimeMs: m.TimeMs, Duplicate: true}, nil
		}
	}
	m := s.fake.roomCommit(r, &roompb.RoomMessage{Room: req.Room, SenderId: me, ClientId: req.ClientId,
		Kind: req.Kind, Text: req.Text, Data: req.Data})
	for member := range r.members {
		member.queue(idl.ActionRoomMessage, 0, m)
	}
	return &roompb.RoomSendReply{MessageId: m.Id, Seq: m.Seq, TimeMs: m.TimeMs}, nil
}

func (s *fakeSession) roomHistory(req *roompb.RoomHistoryRequest) (*roompb.RoomHistoryReply, *wirepb.Error) {
	r := s.fake.room(req.Room)
	rep := &roompb.RoomHistoryReply{Floor: 1}
	if req.AfterSeq > 0 {
		rep.Messages, rep.HasMore = firstOf(r.log[min(int(req.AfterSeq), len(r.log)):], int(req.Limit))
		return rep, nil
	}
	end := len(r.log)
	if req.BeforeSeq > 0 {
		end = min(end, int(req.BeforeSeq)-1)
	}
	newest := slices.Clone(r.log[:end])
	slices.Reverse(newest)
	rep.Messages, rep.HasMore = firstOf(newest, int(req.Limit))
	return rep, nil
}
