package clienttest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// handle answers one request; fake.mu is held, as in everything below.
func (s *fakeSession) handle(f frame.Frame) {
	if s.device == nil {
		s.codec = f.Codec
	}
	rep, refused := s.answer(f)
	if refused != nil {
		s.queue(idl.ActionError, f.Sequence, refused)
	} else if f.Sequence != 0 {
		s.queue(f.Action, f.Sequence, rep)
	}
	if s.quit != nil {
		s.queue(idl.ActionQuit, 0, s.quit)
	}
}

func (s *fakeSession) answer(f frame.Frame) (idl.Message, *wirepb.Error) {
	switch f.Action {
	case idl.ActionSignUp:
		return act(f, s.fake.signUp)
	case idl.ActionSignIn:
		return act(f, s.fake.signIn)
	case idl.ActionAuth:
		return act(f, s.auth)
	case idl.ActionHeartbeat:
		return new(wirepb.HeartbeatReply), nil
	case idl.ActionQuit:
		return nil, nil
	}
	if s.device == nil {
		return nil, refusal(idl.CodeUnauthenticated, "no Auth yet")
	}
	switch f.Action {
	case idl.ActionMessage:
		return act(f, s.send)
	case idl.ActionSync:
		return act(f, s.sync)
	case idl.ActionMessageAck:
		return act(f, s.ack)
	case idl.ActionHistory:
		return act(f, s.history)
	case idl.ActionListDevices:
		return act(f, s.devices)
	case idl.ActionFindUser:
		return act(f, s.findUser)
	case idl.ActionSignOut:
		return act(f, s.signOut)
	case idl.ActionJoinRoom:
		return act(f, s.joinRoom)
	case idl.ActionLeaveRoom:
		return act(f, s.leaveRoom)
	case idl.ActionRoomMessage:
		return act(f, s.sendRoom)
	case idl.ActionRoomHistory:
		return act(f, s.roomHistory)
	case idl.ActionGetMessageID:
		return &chatpb.GetMessageIdReply{MessageId: s.fake.id()}, nil
	}
	return nil, refusal(idl.CodeUnknownAction, "no such action")
}

// act decodes the body and calls do.
func act[Req any, Rep idl.Message, P interface {
	*Req
	idl.Message
}](f frame.Frame, do func(P) (Rep, *wirepb.Error)) (idl.Message, *wirepb.Error) {
	req := P(new(Req))
	if err := idl.Decode(f.Body, f.Codec, req); err != nil {
		return nil, refusal(idl.CodeMalformedBody, err.Error())
	}
	return do(req)
}

func refusal(c idl.Code, text string) *wirepb.Error { return &wirepb.Error{Code: c, Message: text} }

func (f *Fake) id() string {
	f.messages++
	return fmt.Sprintf("22222222%08d", f.messages)
}

func (f *Fake) signUp(r *accountpb.SignUpRequest) (*accountpb.SignUpReply, *wirepb.Error) {
	if f.people[r.Account] != nil {
		return nil, refusal(idl.CodeAlreadyExists, "the account name is taken")
	}
	p := &person{
		id: int64(100001 + len(f.people)), account: r.Account, password: r.Password,
		nickname: cmp.Or(r.Nickname, r.Account),
	}
	f.people[r.Account] = p
	return &accountpb.SignUpReply{UserId: p.id}, nil
}

func (f *Fake) signIn(r *accountpb.SignInRequest) (*accountpb.SignInReply, *wirepb.Error) {
	if r.GetDevice().GetType() == idl.DeviceUnknown {
		no := refusal(idl.CodeInvalidArgument, "must be a known type of device")
		no.Field = "device.type"
		return nil, no
	}
	p := f.people[r.Account]
	if p == nil || p.password != r.Password {
		return nil, refusal(idl.CodeBadCredentials, "account name or password is wrong")
	}
	info := r.Device
	if info == nil {
		return nil, &wirepb.Error{Code: idl.CodeInvalidArgument, Field: "device.id", Message: "must have 1-64 characters"}
	}
	for s := range f.sessions {
		if f.opts.OneOfEachType && s.device != nil && s.device.owner == p && s.device.info.Type == info.Type {
			s.queue(idl.ActionQuit, 0, &wirepb.Quit{Reason: idl.CloseKicked})
		}
	}
	token := fmt.Sprintf("token-%d", len(f.tokens)+1)
	f.tokens[token] = &device{owner: p, info: info}
	return &accountpb.SignInReply{Token: token, UserId: p.id}, nil
}

func (s *fakeSession) auth(r *accountpb.AuthRequest) (*accountpb.AuthReply, *wirepb.Error) {
	d := s.fake.tokens[r.Token]
	if d == nil {
		return nil, refusal(idl.CodeUnauthenticated, "the token is not valid")
	}
	s.device = d
	return &accountpb.AuthReply{
		UserId: d.owner.id, DeviceId: d.info.Id, Account: d.owner.account, Nickname: d.owner.nickname,
		TimeMs: time.Now().UnixMilli(), HeartbeatMs: s.fake.opts.HeartbeatMs, MaxBody: maxBody,
		Epoch: s.fake.epochName(), InboxHead: int64(len(s.fake.box(d.owner.id).entries)),
	}, nil
}

func (f *Fake) epochName() string { return fmt.Sprintf("epoch-%d", f.epoch) }

func (s *fakeSession) send(r *chatpb.SendRequest) (*chatpb.SendReply, *wirepb.Error) {
	f, me := s.fake, s.device.owner.id
	if e := f.opts.Refuse(r); e != nil {
		return nil, e
	}
	if f.personByID(r.ToUserId) == nil {
		return nil, &wirepb.Error{Code: idl.CodeNotFound, Field: "to_user_id", Message: "no such user"}
	}
	key := fmt.Sprintf("%d/%s", me, r.ClientId)
	if was := f.sent[key]; was != nil {
		if !reflect.DeepEqual(was.req, r) {
			return nil, refusal(idl.CodeConflict, "the client_id was used for another message")
		}
		rep := *was.rep
		rep.Duplicate = true
		return &rep, nil
	}
	rep := s.commit(me, r)
	f.sent[key] = &sentMessage{req: r, rep: rep}
	return rep, nil
}

func (s *fakeSession) commit(me int64, r *chatpb.SendRequest) *chatpb.SendReply {
	f := s.fake
	conversation := Conversation(me, r.ToUserId)
	m := &chatpb.Message{
		Id: f.id(), ConversationId: conversation, Seq: int64(len(f.logs[conversation]) + 1), SenderId: me,
		ClientId: r.ClientId, TimeMs: time.Now().UnixMilli(), Kind: r.Kind, Text: r.Text,
		Media: r.Media, Place: r.Place, Payload: r.Payload, ReplyTo: r.ReplyTo, Mentions: r.Mentions, MentionsAll: r.MentionsAll,
	}
	f.logs[conversation] = append(f.logs[conversation], m)
	rep := &chatpb.SendReply{MessageId: m.Id, ConversationId: conversation, Seq: m.Seq, TimeMs: m.TimeMs}
	if f.opts.Rewrite != nil {
		m.Text = f.opts.Rewrite(r.Text)
	}
	if m.Text != r.Text {
		rep.Rewritten, rep.Text = true, m.Text
	}
	rep.InboxSeq = f.put(me, m, s)
	if r.ToUserId != me {
		f.put(r.ToUserId, m, s)
	}
	return rep
}

// Conversation is the ID of the chat of two people. Source: idl/README.md, Message IDs.
func Conversation(a, b int64) string { return fmt.Sprintf("c_%d_%d", min(a, b), max(a, b)) }

// put adds m to a person's inbox and pushes it to all his sessions but one.
func (f *Fake) put(user int64, m *chatpb.Message, but *fakeSession) int64 {
	b := f.box(user)
	e := &chatpb.InboxEntry{InboxSeq: int64(len(b.entries) + 1), Message: m}
	b.entries = append(b.entries, e)
	f.push(user, idl.ActionMessage, e, but)
	return e.InboxSeq
}

func (f *Fake) push(user int64, action idl.Action, body idl.Message, but *fakeSession) {
	for s := range f.sessions {
		if s != but && s.device != nil && s.device.owner.id == user {
			s.queue(action, 0, body)
		}
	}
}

func (s *fakeSession) sync(r *chatpb.SyncRequest) (*chatpb.SyncReply, *wirepb.Error) {
	f := s.fake
	b := f.box(s.device.owner.id)
	rep := &chatpb.SyncReply{Epoch: f.epochName(), Head: int64(len(b.entries)), Floor: 1}
	after, receipts := r.AfterSeq, r.ReceiptsAfter
	if r.Epoch != "" && r.Epoch != rep.Epoch || after > rep.Head {
		rep.Restarted = true
		after, receipts = 0, 0
	}
	limit := min(int64(cmp.Or(r.Limit, 100)), int64(f.opts.Page))
	last := min(after+limit, rep.Head)
	rep.Entries = b.entries[after:last]
	if rep.HasMore = last < rep.Head; !rep.HasMore {
		all := int64(len(b.receipts))
		first := min(receipts, all)
		rep.ReceiptsHead = min(first+int64(f.opts.Page), all)
		rep.Receipts, rep.MoreReceipts = b.receipts[first:rep.ReceiptsHead], rep.ReceiptsHead < all
	}
	return rep, nil
}

func (s *fakeSession) ack(r *chatpb.AckRequest) (*chatpb.AckReply, *wirepb.Error) {
	f, me := s.fake, s.device.owner.id
	if r.Seq < 1 || r.Seq > int64(len(f.logs[r.ConversationId])) {
		return nil, &wirepb.Error{Code: idl.CodeInvalidArgument, Field: "seq", Message: "the conversation does not reach it"}
	}
	peer := otherOf(r.ConversationId, me)
	b := f.box(peer)
	for _, old := range b.receipts {
		if old.ConversationId == r.ConversationId && old.Seq >= r.Seq {
			return new(chatpb.AckReply), nil
		}
	}
	moved := &chatpb.Receipt{ConversationId: r.ConversationId, UserId: me, Seq: r.Seq}
	b.receipts = append(b.receipts, moved)
	f.push(peer, idl.ActionMessageAck, moved, nil)
	return new(chatpb.AckReply), nil
}

func otherOf(conversation string, me int64) int64 {
	var a, b int64
	if _, err := fmt.Sscanf(conversation, "c_%d_%d", &a, &b); err == nil && a == me {
		return b
	}
	return a
}

func (s *fakeSession) history(r *chatpb.HistoryRequest) (*chatpb.HistoryReply, *wirepb.Error) {
	c := cmp.Or(r.ConversationId, Conversation(s.device.owner.id, r.WithUserId))
	log := s.fake.logs[c]
	if r.BeforeSeq > 0 {
		log = log[:min(r.BeforeSeq-1, int64(len(log)))]
	}
	n := min(len(log), int(cmp.Or(r.Limit, 50)))
	page := slices.Clone(log[len(log)-n:])
	slices.Reverse(page)
	return &chatpb.HistoryReply{ConversationId: c, Messages: page, HasMore: n < len(log), Floor: 1}, nil
}

func (s *fakeSession) devices(*accountpb.ListDevicesRequest) (*accountpb.ListDevicesReply, *wirepb.Error) {
	rep := new(accountpb.ListDevicesReply)
	for _, d := range s.fake.tokens {
		if d.owner == s.device.owner {
			rep.Devices = append(rep.Devices, &accountpb.DeviceInfo{
				Device: d.info, Online: true, ThisDevice: d == s.device, SignedInMs: time.Now().UnixMilli(),
			})
		}
	}
	return rep, nil
}

func (s *fakeSession) findUser(r *accountpb.FindUserRequest) (*accountpb.FindUserReply, *wirepb.Error) {
	p := s.fake.people[r.Account]
	if r.Account == "" {
		p = s.fake.personByID(r.UserId)
	}
	if p == nil {
		return nil, refusal(idl.CodeNotFound, "no such user")
	}
	return &accountpb.FindUserReply{UserId: p.id, Account: p.account, Nickname: p.nickname}, nil
}

func (f *Fake) personByID(id int64) *person {
	for _, p := range f.people {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (s *fakeSession) signOut(*accountpb.SignOutRequest) (*accountpb.SignOutReply, *wirepb.Error) {
	for token, d := range s.fake.tokens {
		if d == s.device {
			delete(s.fake.tokens, token)
		}
	}
	s.quit = &wirepb.Quit{Reason: idl.CloseSignedOut, Message: "signed out"}
	return &accountpb.SignOutReply{DeviceIds: []string{s.device.info.Id}}, nil
}
