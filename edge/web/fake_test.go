package web_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"freeim/edge/frame"
	"freeim/edge/web"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// fakeServer is what the demo page needs of an edge and a core, in memory: the
// page itself, and /ws with accounts, sending, syncing and receipts in JSON.
type fakeServer struct {
	url string
	ids int

	mu       sync.Mutex // guards the fields below
	down     bool       // connections are refused
	deaf     bool       // sends are not answered
	closing  chan bool  // when not nil: who reads a Close frame keeps the connection open until it is closed
	rule     func(text string) (rewritten string, refusal *wirepb.Error)
	people   []*person
	tokens   map[string]*person
	devices  map[string]*accountpb.Device // by token
	logs     map[string][]*chatpb.Message
	receipts []*chatpb.Receipt
	conns    map[*fakeConn]bool
	rooms    map[string]*fakeRoom
}

type person struct {
	id                          int64
	account, password, nickname string
	inbox                       []*chatpb.InboxEntry
}

// fakeConn is one client; its fields are guarded by the server's mu.
type fakeConn struct {
	net.Conn
	text   bool // the client writes text frames
	who    *person
	device string

	closed atomic.Bool // a Close frame was sent: nothing may follow it
}

func (c *fakeConn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func newFakeServer(t *testing.T) *fakeServer {
	s := &fakeServer{
		tokens: make(map[string]*person), devices: make(map[string]*accountpb.Device),
		logs: make(map[string][]*chatpb.Message), conns: make(map[*fakeConn]bool),
		rooms: make(map[string]*fakeRoom),
		rule:  func(text string) (string, *wirepb.Error) { return text, nil },
	}
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc("/ws", s.serve)
	site := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.set(func() { s.down = true })
		s.cut()
		site.Close()
	})
	s.url = site.URL
	return s
}

// set changes what is guarded.
func (s *fakeServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// cut breaks every connection.
func (s *fakeServer) cut() {
	s.set(func() {
		for c := range s.conns {
			c.Close()
		}
	})
}

// quit tells all of an account's sessions why they end, and ends them.
func (s *fakeServer) quit(account string, q *wirepb.Quit) {
	s.set(func() {
		for c := range s.conns {
			if c.who != nil && c.who.account == account {
				c.say(idl.ActionQuit, 0, q)
				ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(q.Reason), q.Message)))
				c.Close()
			}
		}
	})
}

// startClosing sends all a Close frame and leaves their connections open until
// the function that it gives is called: the pages' WebSockets are closing, not closed.
func (s *fakeServer) startClosing() (finish func()) {
	closing := make(chan bool)
	s.set(func() {
		s.closing = closing
		for c := range s.conns {
			ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "")))
			c.closed.Store(true)
		}
	})
	return func() {
		s.set(func() { s.closing = nil })
		close(closing)
	}
}

func (s *fakeServer) serve(w http.ResponseWriter, r *http.Request) {
	var refuse bool
	s.set(func() { refuse = s.down })
	if refuse {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	raw, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	c := &fakeConn{Conn: raw}
	s.set(func() { s.conns[c] = true })
	defer s.set(func() { delete(s.conns, c) })
	defer c.Close()
	for {
		data, op, err := wsutil.ReadClientData(c)
		if err != nil {
			var closing chan bool
			s.set(func() { closing = s.closing })
			if closing != nil {
				<-closing
			}
			return
		}
		s.take(c, data, op == ws.OpText)
	}
}

func (s *fakeServer) take(c *fakeConn, data []byte, text bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.text = text
	if text {
		f, err := frame.ParseText(data, func(string) (idl.Action, bool) { return 0, false })
		if err == nil {
			s.answer(c, f)
		}
		return
	}
	var d frame.Decoder
	d.Feed(data, 1<<16, func(f frame.Frame) error { s.answer(c, f); return nil })
}

// say writes one frame in the form the client speaks.
func (c *fakeConn) say(action idl.Action, sequence uint32, body idl.Message) {
	b, err := idl.Append(nil, idl.CodecJSON, body)
	if err != nil {
		panic(err)
	}
	f := frame.Frame{Action: action, Sequence: sequence, Body: b}
	if !c.text {
		wsutil.WriteServerBinary(c, frame.Append(nil, f))
		return
	}
	text, err := frame.AppendText(nil, f)
	if err != nil {
		panic(err)
	}
	wsutil.WriteServerText(c, text)
}

// request decodes a body; the page's are always valid.
func request[T any](f frame.Frame) *T {
	v := new(T)
	if err := json.Unmarshal(f.Body, v); err != nil {
		panic(err)
	}
	return v
}

func (s *fakeServer) answer(c *fakeConn, f frame.Frame) {
	var reply idl.Message
	var refusal *wirepb.Error
	switch f.Action {
	case idl.ActionSignUp:
		reply, refusal = s.signUp(request[accountpb.SignUpRequest](f))
	case idl.ActionSignIn:
		reply, refusal = s.signIn(request[accountpb.SignInRequest](f))
	case idl.ActionAuth:
		reply, refusal = s.auth(c, request[accountpb.AuthRequest](f))
	case idl.ActionSignOut:
		reply, refusal = &accountpb.SignOutReply{DeviceIds: []string{c.device}}, nil
	case idl.ActionFindUser:
		reply, refusal = s.find(request[accountpb.FindUserRequest](f))
	case idl.ActionMessage:
		if s.deaf {
			return
		}
		reply, refusal = s.send(c, request[chatpb.SendRequest](f))
	case idl.ActionSync:
		reply, refusal = s.sync(c, request[chatpb.SyncRequest](f)), nil
	case idl.ActionMessageAck:
		reply, refusal = s.ack(c, request[chatpb.AckRequest](f)), nil
	case idl.ActionHistory:
		reply, refusal = s.history(c, request[chatpb.HistoryRequest](f)), nil
	case idl.ActionHeartbeat:
		reply, refusal = &wirepb.HeartbeatReply{}, nil
	case idl.ActionQuit:
		return
	default:
		reply, refusal = s.answerRoom(c, f)
	}
	if refusal != nil {
		c.say(idl.ActionError, f.Sequence, refusal)
		return
	}
	c.say(f.Action, f.Sequence, reply)
}

// named finds a person; nil when there is none.
func (s *fakeServer) named(account string) *person {
	for _, p := range s.people {
		if p.account == account {
			return p
		}
	}
	return nil
}

func (s *fakeServer) signUp(r *accountpb.SignUpRequest) (*accountpb.SignUpReply, *wirepb.Error) {
	if s.named(r.Account) != nil {
		return nil, &wirepb.Error{Code: idl.CodeAlreadyExists, Field: "account"}
	}
	if r.Account[0] < 'a' {
		return nil, &wirepb.Error{Code: idl.CodeInvalidArgument, Field: "account", Message: "must begin with a letter"}
	}
	nickname := r.Nickname
	if nickname == "" {
		nickname = r.Account
	}
	p := &person{id: int64(100001 + len(s.people)), account: r.Account, password: r.Password, nickname: nickname}
	s.people = append(s.people, p)
	return &accountpb.SignUpReply{UserId: p.id}, nil
}

// signIn kicks the person's other web sessions, as the account plugin does.
func (s *fakeServer) signIn(r *accountpb.SignInRequest) (*accountpb.SignInReply, *wirepb.Error) {
	p := s.named(r.Account)
	if p == nil || p.password != r.Password {
		return nil, &wirepb.Error{Code: idl.CodeBadCredentials}
	}
	for c := range s.conns {
		if c.who == p && c.device != r.Device.Id {
			c.say(idl.ActionQuit, 0, &wirepb.Quit{Reason: idl.CloseKicked, Message: "signed in on another device"})
			c.Close()
		}
	}
	s.ids++
	token := fmt.Sprintf("token-%d", s.ids)
	s.tokens[token], s.devices[token] = p, r.Device
	return &accountpb.SignInReply{Token: token, UserId: p.id}, nil
}

func (s *fakeServer) auth(c *fakeConn, r *accountpb.AuthRequest) (*accountpb.AuthReply, *wirepb.Error) {
	p := s.tokens[r.Token]
	if p == nil {
		return nil, &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "the token is not valid"}
	}
	c.who, c.device = p, s.devices[r.Token].Id
	return &accountpb.AuthReply{
		UserId: p.id, DeviceId: c.device, Account: p.account, Nickname: p.nickname, Epoch: "e1",
		HeartbeatMs: 30000, MaxBody: 65536, InboxHead: int64(len(p.inbox)),
	}, nil
}

func (s *fakeServer) find(r *accountpb.FindUserRequest) (*accountpb.FindUserReply, *wirepb.Error) {
	for _, p := range s.people {
		if p.account == r.Account || p.id == r.UserId {
			return &accountpb.FindUserReply{UserId: p.id, Account: p.account, Nickname: p.nickname}, nil
		}
	}
	return nil, &wirepb.Error{Code: idl.CodeNotFound, Field: "account"}
}

func (s *fakeServer) send(c *fakeConn, r *chatpb.SendRequest) (*chatpb.SendReply, *wirepb.Error) {
	text, refusal := s.rule(r.Text)
	if refusal != nil {
		return nil, refusal
	}
	conversation := fmt.Sprintf("c_%d_%d", min(c.who.id, r.ToUserId), max(c.who.id, r.ToUserId))
	for _, m := range s.logs[conversation] {
		if m.ClientId == r.ClientId {
			return &chatpb.SendReply{MessageId: m.Id, ConversationId: m.ConversationId, Seq: m.Seq, TimeMs: m.TimeMs, Duplicate: true}, nil
		}
	}
	s.ids++
	m := &chatpb.Message{
		Id: fmt.Sprintf("22222222222%05d", s.ids), ConversationId: conversation, Seq: int64(len(s.logs[conversation]) + 1),
		SenderId: c.who.id, ClientId: r.ClientId, TimeMs: time.Now().UnixMilli(), Text: text,
	}
	s.logs[conversation] = append(s.logs[conversation], m)
	for _, p := range s.people {
		if p.id == c.who.id || p.id == r.ToUserId {
			s.deliver(p, m, c)
		}
	}
	reply := &chatpb.SendReply{MessageId: m.Id, ConversationId: conversation, Seq: m.Seq, TimeMs: m.TimeMs, InboxSeq: int64(len(c.who.inbox))}
	if text != r.Text {
		reply.Rewritten, reply.Text = true, text
	}
	return reply, nil
}

// deliver puts a message into an inbox and pushes it to all sessions but one.
func (s *fakeServer) deliver(p *person, m *chatpb.Message, except *fakeConn) {
	entry := &chatpb.InboxEntry{InboxSeq: int64(len(p.inbox) + 1), Message: m}
	p.inbox = append(p.inbox, entry)
	for c := range s.conns {
		if c.who == p && c != except {
			c.say(idl.ActionMessage, 0, entry)
		}
	}
}

func (s *fakeServer) sync(c *fakeConn, r *chatpb.SyncRequest) *chatpb.SyncReply {
	reply := &chatpb.SyncReply{Head: int64(len(c.who.inbox)), Floor: 1, Epoch: "e1", ReceiptsHead: int64(len(s.receipts))}
	reply.Entries = c.who.inbox[min(r.AfterSeq, reply.Head):]
	for _, receipt := range s.receipts[min(r.ReceiptsAfter, reply.ReceiptsHead):] {
		if receipt.UserId != c.who.id && strings.Contains(receipt.ConversationId, fmt.Sprint(c.who.id)) {
			reply.Receipts = append(reply.Receipts, receipt)
		}
	}
	return reply
}

func (s *fakeServer) ack(c *fakeConn, r *chatpb.AckRequest) *chatpb.AckReply {
	receipt := &chatpb.Receipt{ConversationId: r.ConversationId, UserId: c.who.id, Seq: r.Seq}
	s.receipts = append(s.receipts, receipt)
	for other := range s.conns {
		if other.who != nil && other.who != c.who && strings.Contains(r.ConversationId, fmt.Sprint(other.who.id)) {
			other.say(idl.ActionMessageAck, 0, receipt)
		}
	}
	return &chatpb.AckReply{}
}

// history gives up to 20 messages below before_seq, newest first.
func (s *fakeServer) history(c *fakeConn, r *chatpb.HistoryRequest) *chatpb.HistoryReply {
	log := s.logs[r.ConversationId]
	end := len(log)
	if r.BeforeSeq > 0 {
		end = min(end, int(r.BeforeSeq)-1)
	}
	start := max(0, end-20)
	reply := &chatpb.HistoryReply{ConversationId: r.ConversationId, Floor: 1, HasMore: start > 0}
	for i := end - 1; i >= start; i-- {
		reply.Messages = append(reply.Messages, log[i])
	}
	return reply
}
