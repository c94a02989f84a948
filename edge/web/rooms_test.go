package web_test

import (
	"fmt"
	"testing"
	"time"

	"freeim/bench/e2e/browser"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// fakeRoom is a room of the server; its fields are guarded by the server's mu.
type fakeRoom struct {
	log     []*roompb.RoomMessage
	members map[*fakeConn]bool
}

func (s *fakeServer) room(name string) *fakeRoom {
	if s.rooms[name] == nil {
		s.rooms[name] = &fakeRoom{members: make(map[*fakeConn]bool)}
	}
	return s.rooms[name]
}

// answerRoom is answer for the actions of rooms.
func (s *fakeServer) answerRoom(c *fakeConn, f frame.Frame) (idl.Message, *wirepb.Error) {
	switch f.Action {
	case idl.ActionJoinRoom:
		r := request[roompb.JoinRoomRequest](f)
		room := s.room(r.Room)
		room.members[c] = true
		head := int64(len(room.log))
		return &roompb.JoinRoomReply{Head: head, Messages: room.log[max(r.AfterSeq, head-20, 0):],
			Info: &roompb.RoomInfo{Room: r.Room, Members: int64(len(room.members))}}, nil
	case idl.ActionLeaveRoom:
		r := request[roompb.LeaveRoomRequest](f)
		delete(s.room(r.Room).members, c)
		return &roompb.LeaveRoomReply{WasIn: true}, nil
	case idl.ActionRoomMessage:
		r := request[roompb.RoomSendRequest](f)
		text, refusal := s.rule(r.Text)
		if refusal != nil {
			return nil, refusal
		}
		m := s.commitRoom(r.Room, &roompb.RoomMessage{SenderId: c.who.id, Nickname: c.who.nickname, ClientId: r.ClientId, Kind: r.Kind, Text: text})
		return &roompb.RoomSendReply{MessageId: m.Id, Seq: m.Seq, TimeMs: m.TimeMs}, nil
	case idl.ActionRoomHistory:
		r := request[roompb.RoomHistoryRequest](f)
		log := s.room(r.Room).log
		rep := new(roompb.RoomHistoryReply)
		for i := min(int64(len(log)), max(0, r.BeforeSeq-1)) - 1; i >= 0; i-- {
			rep.Messages = append(rep.Messages, log[i])
		}
		return rep, nil
	}
	return nil, &wirepb.Error{Code: idl.CodeUnknownAction}
}

func (s *fakeServer) commitRoom(name string, m *roompb.RoomMessage) *roompb.RoomMessage {
	room := s.room(name)
	s.ids++
	m.Room, m.Seq, m.Id, m.TimeMs = name, int64(len(room.log)+1), fmt.Sprintf("22222222222%05d", s.ids), time.Now().UnixMilli()
	room.log = append(room.log, m)
	for c := range room.members {
		c.say(idl.ActionRoomMessage, 0, m)
	}
	return m
}

func (u user) enterRoom(name string) {
	u.Fill("#find", "#"+name)
	u.Press("Enter")
	u.WaitText("#peer-name", "#"+name)
}

func testRoom(t *testing.T, b *browser.Browser) {
	s := newFakeServer(t)
	s.set(func() {
		for i := range 30 {
			s.commitRoom("lobby", &roompb.RoomMessage{SenderId: 7, Nickname: "Grace", Text: fmt.Sprint("earlier ", i+1)})
		}
		s.rule = func(text string) (string, *wirepb.Error) {
			if text == "casino" {
				return "", &wirepb.Error{Code: idl.CodeRejected, Message: "no ads"}
			}
			return text, nil
		}
	})
	alice, bob := enter(t, b, s.url, "alice"), enter(t, b, s.url, "bob")
	alice.enterRoom("lobby")
	alice.WaitText("#peer-account", "1 here")
	alice.WaitText(".message .text", "earlier 11")
	bob.enterRoom("lobby")
	alice.say("Hello everybody!")
	alice.has(1, "committed")
	bob.WaitText(".message:not(.own) .text", "Hello everybody!")
	bob.WaitText(".speaker", "Alice")
	alice.say("casino")
	alice.has(1, "refused")
	s.set(func() {
		s.commitRoom("lobby", &roompb.RoomMessage{SenderId: 8, Nickname: "Ken", Kind: roompb.RoomKind_ROOM_KIND_GIFT, Text: "a rocket"})
		for c := range s.room("lobby").members {
			c.say(idl.ActionRoomHistory, 0, &roompb.RoomSkip{Room: "lobby", Ranges: []*roompb.SeqRange{{From: 33, To: 40}}, Reason: 1})
			c.say(idl.ActionRoomInfo, 0, &roompb.RoomInfo{Room: "lobby", Members: 12345})
		}
	})
	bob.WaitText(".message .text", "a rocket")
	bob.WaitText(".day", "8 messages are not shown")
	bob.WaitText("#peer-account", "12345 here")
	bob.shoot("room")
	bob.Click("#earlier")
	bob.WaitText(".message .text", "earlier 1")

	bob.Reload()
	bob.WaitText("#connection", "Online")
	bob.Click(".row")
	alice.say("Still there?")
	bob.WaitText(".message:not(.own) .text", "Still there?")
	bob.Click("#leave")
	bob.WaitFor(`document.querySelectorAll("#conversations .row").length === 0`)
	s.set(func() {
		for c := range s.room("lobby").members {
			c.say(idl.ActionLeaveRoom, 0, &roompb.RoomLeft{Room: "lobby", Reason: roompb.RoomLeftReason_ROOM_LEFT_CLOSED})
		}
	})
	alice.WaitText("#peer-account", "The room is closed.")
	alice.WaitFor(`document.querySelector("#text").disabled`)
	alice.NoFaults()
	bob.NoFaults()
}
