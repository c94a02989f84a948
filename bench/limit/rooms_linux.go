package limit

import (
	"fmt"
	"strings"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// heartbeat is what clients are told: nobody is missed here.
const heartbeat = 10 * time.Minute

// room has its members by codec: a message is encoded once for each.
type room struct {
	name    string
	seq     int64
	members [2][]*conn  // by codec
	waiting [2][][]byte // frames for the next pass, by codec
	busy    bool        // it is in Server.busy
}

// seat is where a client sits in a room.
type seat struct {
	room  *room
	codec idl.Codec
	index int // in room.members[codec]
}

// handle answers one frame. Its error closes the client.
func (s *Server) handle(c *conn, f frame.Frame) error {
	if c.dead {
		return nil
	}
	switch f.Action {
	case idl.ActionHeartbeat:
		return s.answer(c, f, &wirepb.HeartbeatReply{})
	case idl.ActionSignUp:
		s.users++
		return s.answer(c, f, &accountpb.SignUpReply{UserId: s.users})
	case idl.ActionSignIn:
		s.users++
		return s.answer(c, f, &accountpb.SignInReply{UserId: s.users, Token: fmt.Sprintf("limit-%d", s.users)})
	case idl.ActionAuth:
		s.users++
		c.user = s.users
		return s.answer(c, f, &accountpb.AuthReply{
			UserId: c.user, DeviceId: "limit", Account: "limit", TimeMs: time.Now().UnixMilli(),
			HeartbeatMs: heartbeat.Milliseconds(), MaxBody: maxBody, Epoch: "limit",
		})
	case idl.ActionSync:
		return s.answer(c, f, &chatpb.SyncReply{Epoch: "limit"})
	case idl.ActionMessageAck:
		return s.answer(c, f, &chatpb.AckReply{})
	case idl.ActionCreateRoom:
		return s.create(c, f)
	case idl.ActionJoinRoom:
		return s.join(c, f)
	case idl.ActionLeaveRoom:
		return s.out(c, f)
	case idl.ActionRoomMessage:
		return s.say(c, f)
	case idl.ActionQuit:
		s.end(c)
		return nil
	}
	return s.refuse(c, f, idl.CodeUnknownAction, "the limit server knows rooms only")
}

func (s *Server) create(c *conn, f frame.Frame) error {
	req := &roompb.CreateRoomRequest{}
	if err := idl.Decode(f.Body, f.Codec, req); err != nil {
		return err
	}
	return s.answer(c, f, &roompb.CreateRoomReply{Info: s.room(req.Room).info()})
}

func (s *Server) join(c *conn, f frame.Frame) error {
	req := &roompb.JoinRoomRequest{}
	if err := idl.Decode(f.Body, f.Codec, req); err != nil {
		return err
	}
	r := s.room(req.Room)
	s.pass(r) // what comes after the answer has a seq after its head
	if seatOf(c, r) < 0 {
		c.seats = append(c.seats, seat{r, f.Codec, len(r.members[f.Codec])})
		r.members[f.Codec] = append(r.members[f.Codec], c)
	}
	return s.answer(c, f, &roompb.JoinRoomReply{Info: r.info(), Head: r.seq})
}

func (s *Server) out(c *conn, f frame.Frame) error {
	req := &roompb.LeaveRoomRequest{}
	if err := idl.Decode(f.Body, f.Codec, req); err != nil {
		return err
	}
	r := s.rooms[req.Room]
	was := r != nil && seatOf(c, r) >= 0
	if was {
		s.pass(r)
		s.leave(c, r)
	}
	return s.answer(c, f, &roompb.LeaveRoomReply{WasIn: was})
}

// say gives a message its seq, answers, and leaves the rest to the next pass.
func (s *Server) say(c *conn, f frame.Frame) error {
	req := &roompb.RoomSendRequest{}
	if err := idl.Decode(f.Body, f.Codec, req); err != nil {
		return err
	}
	r := s.rooms[req.Room]
	if r == nil || seatOf(c, r) < 0 {
		return s.refuse(c, f, idl.CodePermissionDenied, "join the room first")
	}
	r.seq++
	m := &roompb.RoomMessage{
		Room: r.name, Seq: r.seq, Id: fmt.Sprintf("%016d", r.seq), SenderId: c.user, Nickname: "limit",
		ClientId: req.ClientId, TimeMs: time.Now().UnixMilli(), Kind: req.Kind, Text: req.Text, Data: req.Data,
	}
	for codec := range r.members {
		if len(r.members[codec]) == 0 {
			continue
		}
		push, err := s.encode(frame.Frame{Codec: idl.Codec(codec), Action: idl.ActionRoomMessage}, m)
		if err != nil {
			return err
		}
		r.waiting[codec] = append(r.waiting[codec], push)
	}
	if !r.busy {
		r.busy = true
		s.busy = append(s.busy, r)
	}
	return s.answer(c, f, &roompb.RoomSendReply{MessageId: m.Id, Seq: m.Seq, TimeMs: m.TimeMs})
}

func (s *Server) room(name string) *room {
	r := s.rooms[name]
	if r == nil {
		name = strings.Clone(name)
		r = &room{name: name}
		s.rooms[name] = r
	}
	return r
}

func (r *room) info() *roompb.RoomInfo {
	return &roompb.RoomInfo{Room: r.name, Members: int64(len(r.members[0]) + len(r.members[1])), Head: r.seq}
}

// seatOf is the index of a client's seat in a room, -1 if there is none.
func seatOf(c *conn, r *room) int {
	for i := range c.seats {
		if c.seats[i].room == r {
			return i
		}
	}
	return -1
}

// leave takes a client out of a room; the last member takes its place. It is not
// called during a pass over that room.
func (s *Server) leave(c *conn, r *room) {
	i := seatOf(c, r)
	at := c.seats[i]
	c.seats[i] = c.seats[len(c.seats)-1]
	c.seats = c.seats[:len(c.seats)-1]
	members := r.members[at.codec]
	last := members[len(members)-1]
	if last != c {
		members[at.index] = last
		last.seats[seatOf(last, r)].index = at.index
	}
	members[len(members)-1] = nil
	r.members[at.codec] = members[:len(members)-1]
}

// passAll sends what waits in every room.
func (s *Server) passAll() {
	for _, r := range s.busy {
		s.pass(r)
		r.busy = false
	}
	s.busy = s.busy[:0]
}

// pass sends what waits in a room to its members.
func (s *Server) pass(r *room) {
	for codec, frames := range r.waiting {
		if len(frames) == 0 {
			continue
		}
		if s.mode == Joined && len(frames) > 1 {
			s.joined = s.joined[:0]
			for _, f := range frames {
				s.joined = append(s.joined, f...)
			}
			frames = [][]byte{s.joined}
		}
		for _, f := range frames {
			s.counts.Passes++
			for _, c := range r.members[codec] {
				s.write(c, f)
			}
		}
		clear(r.waiting[codec])
		r.waiting[codec] = r.waiting[codec][:0]
	}
}

// answer sends the reply to a request that wants one.
func (s *Server) answer(c *conn, f frame.Frame, body idl.Message) error {
	if f.Sequence == 0 {
		return nil
	}
	out, err := s.encode(frame.Frame{Codec: f.Codec, Action: f.Action, Sequence: f.Sequence}, body)
	if err == nil {
		s.write(c, out)
	}
	return err
}

func (s *Server) refuse(c *conn, f frame.Frame, code idl.Code, text string) error {
	out, err := s.encode(frame.Frame{Codec: f.Codec, Action: idl.ActionError, Sequence: f.Sequence}, &wirepb.Error{Code: code, Message: text})
	if err == nil {
		s.write(c, out)
	}
	return err
}

func (s *Server) encode(f frame.Frame, body idl.Message) ([]byte, error) {
	var err error
	if s.body, err = idl.Append(s.body[:0], f.Codec, body); err != nil {
		return nil, fmt.Errorf("encode %v: %w", f.Action, err)
	}
	f.Body = s.body
	return frame.Append(make([]byte, 0, frame.HeaderSize+len(s.body)), f), nil
}
