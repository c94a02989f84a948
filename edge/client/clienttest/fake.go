package clienttest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// Disturbance is what happens to a frame on its way.
type Disturbance int

const (
	Pass      Disturbance = iota
	Lose                  // pushes only: it never arrives
	Twice                 // pushes only: it arrives two times
	CutBefore             // the connection ends before it arrives
	CutAfter              // the connection ends when it has arrived
)

// FakeOptions shape a Fake. The zero value is an undisturbed TCP server.
type FakeOptions struct {
	Wire Wire
	// Disturb decides on every frame, one at a time; up is true for those of the
	// clients. Nil passes all.
	Disturb func(up bool, f frame.Frame) Disturbance
	// Refuse may refuse a send before it is looked at. Nil refuses none.
	Refuse func(*chatpb.SendRequest) *wirepb.Error
	// Rewrite is what a rule makes of a text. Nil changes none.
	Rewrite func(text string) string
	// OneOfEachType lets a sign-in end the sessions of the person's other devices of
	// its type, as a server does.
	OneOfEachType bool
	// HeartbeatMs is what Auth says. Zero means 30,000.
	HeartbeatMs int64
	// Page is the most entries in a page of Sync. Zero means 100.
	Page int
}

// Fake is a server in memory: accounts, chats, inboxes, receipts, rooms, as
// idl/README.md says. Safe for concurrent use.
type Fake struct {
	opts  FakeOptions
	tasks sync.WaitGroup // two for every session, one for every listener

	mu        sync.Mutex // guards the fields below
	closed    bool
	listeners []net.Listener
	sessions  map[*fakeSession]struct{}
	people    map[string]*person // by account
	tokens    map[string]*device
	epoch     int
	boxes     map[int64]*box
	logs      map[string][]*chatpb.Message
	sent      map[string]*sentMessage // by sender and client_id
	rooms     map[string]*fakeRoom
	messages  int
}

type person struct {
	id                          int64
	account, password, nickname string
}

type device struct {
	owner *person
	info  *accountpb.Device
}

// box is a person's inbox and the receipts for him.
type box struct {
	entries  []*chatpb.InboxEntry
	receipts []*chatpb.Receipt // in the order in which they moved
}

type sentMessage struct {
	req *chatpb.SendRequest
	rep *chatpb.SendReply
}

// NewFake starts a fake. Close ends it.
func NewFake(o FakeOptions) *Fake {
	if o.Disturb == nil {
		o.Disturb = func(bool, frame.Frame) Disturbance { return Pass }
	}
	if o.Refuse == nil {
		o.Refuse = func(*chatpb.SendRequest) *wirepb.Error { return nil }
	}
	if o.HeartbeatMs == 0 {
		o.HeartbeatMs = 30_000
	}
	if o.Page == 0 {
		o.Page = 100
	}
	f := &Fake{
		opts: o, sessions: make(map[*fakeSession]struct{}),
		people: make(map[string]*person), tokens: make(map[string]*device),
	}
	f.clear()
	return f
}

func (f *Fake) clear() {
	f.epoch++
	f.boxes = make(map[int64]*box)
	f.logs = make(map[string][]*chatpb.Message)
	f.sent = make(map[string]*sentMessage)
	f.rooms = make(map[string]*fakeRoom)
}

// Forget loses all messages and begins another epoch, as a store that was reset.
func (f *Fake) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clear()
}

// Dial is for client.Options.Dial.
func (f *Fake) Dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	if !f.serve(here) {
		return nil, net.ErrClosed
	}
	return there, nil
}

// Listen opens a real port on the loopback address and gives what to put into
// client.Options.Address.
func (f *Fake) Listen() (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners = append(f.listeners, l)
	f.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil || !f.serve(conn) {
				return
			}
		}
	})
	return fmt.Sprintf("%s://%s/ws", f.opts.Wire.Scheme(), l.Addr()), nil
}

// Close ends every session and waits for it.
func (f *Fake) Close() {
	f.mu.Lock()
	f.closed = true
	for _, l := range f.listeners {
		l.Close()
	}
	for s := range f.sessions {
		s.cut()
	}
	f.mu.Unlock()
	f.tasks.Wait()
}

// CutAll ends every connection without a word.
func (f *Fake) CutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		s.cut()
	}
}

// Quit closes every session of an account with q.
func (f *Fake) Quit(account string, q *wirepb.Quit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		if s.device != nil && s.device.owner.account == account {
			s.queue(idl.ActionQuit, 0, q)
		}
	}
}

// Notify pushes n to every session of an account.
func (f *Fake) Notify(account string, n *wirepb.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.people[account]; p != nil {
		f.push(p.id, idl.ActionNotice, n, nil)
	}
}

// Inbox gives the texts in an account's inbox, the oldest first.
func (f *Fake) Inbox(account string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var texts []string
	if p := f.people[account]; p != nil {
		for _, e := range f.box(p.id).entries {
			texts = append(texts, e.Message.Text)
		}
	}
	return texts
}

func (f *Fake) box(user int64) *box {
	b := f.boxes[user]
	if b == nil {
		b = new(box)
		f.boxes[user] = b
	}
	return b
}

// serve runs a session on conn; false when the fake is closed.
func (f *Fake) serve(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		conn.Close()
		return false
	}
	s := &fakeSession{fake: f, conn: conn, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	f.sessions[s] = struct{}{}
	f.tasks.Go(s.run)
	return true
}

// fakeSession is one connection.
type fakeSession struct {
	fake *Fake
	conn net.Conn
	line *line         // set by run before the writer starts
	wake chan struct{} // tells the writer of out
	gone chan struct{} // closed when run ends

	// Guarded by fake.mu.
	device *device // nil before Auth
	codec  idl.Codec
	out    []frame.Frame
	quit   *wirepb.Quit // set by an action after which the session ends
}

func (s *fakeSession) cut() { s.conn.Close() }

func (s *fakeSession) run() {
	defer s.leave()
	l, err := newLine(s.conn, s.fake.opts.Wire)
	if err != nil {
		return
	}
	s.line = l
	s.fake.tasks.Go(s.write)
	for {
		f, err := l.read()
		if err != nil || !s.taken(f) {
			return
		}
	}
}

func (s *fakeSession) leave() {
	s.conn.Close()
	close(s.gone)
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	delete(s.fake.sessions, s)
	for _, r := range s.fake.rooms {
		delete(r.members, s)
	}
}

// taken handles a frame; false when the connection ends with it.
func (s *fakeSession) taken(f frame.Frame) bool {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	d := s.fake.opts.Disturb(true, f)
	if d != CutBefore {
		s.handle(f)
	}
	return d != CutBefore && d != CutAfter && f.Action != idl.ActionQuit
}

// queue adds a frame for the writer; fake.mu is held.
func (s *fakeSession) queue(action idl.Action, sequence uint32, body idl.Message) {
	s.out = append(s.out, newFrame(s.codec, action, sequence, body))
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write is the writer: it ends with run.
func (s *fakeSession) write() {
	for {
		select {
		case <-s.wake:
		case <-s.gone:
			return
		}
		for _, f := range s.take() {
			if !s.deliver(f) {
				s.conn.Close()
				return
			}
		}
	}
}

func (s *fakeSession) take() []frame.Frame {
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}

// deliver writes a frame, or what the disturbance leaves of it; false when the
// connection ends.
func (s *fakeSession) deliver(f frame.Frame) bool {
	s.fake.mu.Lock()
	d := s.fake.opts.Disturb(false, f)
	s.fake.mu.Unlock()
	push := f.Sequence == 0
	switch {
	case d == CutBefore:
		return false
	case d == Lose && push:
		return true
	case d == Twice && push:
		if s.line.write(f) != nil {
			return false
		}
	}
	return s.line.write(f) == nil && d != CutAfter && f.Action != idl.ActionQuit
}
