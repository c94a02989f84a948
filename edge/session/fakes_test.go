package session_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCore keeps calls until a test answers them.
type fakeCore struct {
	mu    sync.Mutex // guards the fields below
	calls []session.Call
	gone  map[session.ID]int
	rooms []room.State
	joins bool // messages may be joined; static
	apart bool // but no link takes them together; static
	most  int  // octets of the body of a message; static
}

func (c *fakeCore) Call(call session.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

// CallTogether implements session.Core; false while the core is apart.
func (c *fakeCore) CallTogether(calls []session.Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apart {
		return false
	}
	c.calls = append(c.calls, calls...)
	return true
}

func (c *fakeCore) Gone(s session.ID, _ session.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = make(map[session.ID]int)
	}
	c.gone[s]++
}

func (c *fakeCore) RoomState(s room.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rooms = append(c.rooms, s)
}

func (c *fakeCore) gones(s session.ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[s]
}

// take returns the calls since it was last asked.
func (c *fakeCore) take() []session.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

const scripted idl.Action = 201 // an action with a rate: 2 a minute

const shortBodies = idl.ActionFindUser // an action whose body may have 8 octets

func (c *fakeCore) Action(a idl.Action) (session.ActionInfo, bool) {
	switch a {
	case idl.ActionAuth, idl.ActionSignIn, idl.ActionSignInExternal:
		return session.ActionInfo{Open: true}, true
	case idl.ActionMessage:
		return session.ActionInfo{Joins: c.joins, MaxBody: c.most}, true
	case idl.ActionSync:
		return session.ActionInfo{}, true
	case idl.ActionJoinRoom, idl.ActionRoomMessage, idl.ActionLeaveRoom:
		return session.ActionInfo{Rooms: true}, true
	case scripted:
		return session.ActionInfo{Name: "lua.poll.vote", Rate: 2, Per: time.Minute, MaxBody: 100}, true
	case shortBodies:
		return session.ActionInfo{MaxBody: 8}, true
	}
	return session.ActionInfo{}, false
}

func (c *fakeCore) ActionNamed(name string) (idl.Action, bool) {
	return idl.ActionMessage, name == "chat.send"
}

// sent is one frame that left, as the client reads it.
type sent struct {
	frame.Frame
	text bool
	raw  []byte // the slice that Send got, not a copy
}

// fakeTransport keeps what is sent.
type fakeTransport struct {
	mu       sync.Mutex // guards the fields below
	out      []sent
	full     bool             // Send refuses
	stuffed  bool             // Behind is true
	refusals []session.Waiter // to be called when it is not any more
	reason   idl.CloseReason
	closes   int
	corks    int // not yet pulled
	corked   int // ever

	peer *limits.Peer // set before it is opened
}

func (f *fakeTransport) Send(p []byte, text bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return false
	}
	if f.closes == 0 {
		f.out = append(f.out, decode(p, text))
	}
	return true
}

func decode(p []byte, text bool) sent {
	s := sent{text: text, raw: p}
	if text {
		f, err := frame.ParseText(p, nil)
		if err != nil {
			panic(err)
		}
		s.Frame = f
		return s
	}
	all := decodeFrames(p)
	if len(all) != 1 {
		panic(fmt.Sprintf("sent %d frames as one", len(all)))
	}
	return all[0]
}

func decodeFrames(p []byte) (all []sent) {
	var d frame.Decoder
	err := d.Feed(p, 1<<20, func(f frame.Frame) error {
		f.Body = append([]byte(nil), f.Body...)
		all = append(all, sent{Frame: f, raw: p})
		return nil
	})
	if err != nil || d.Buffered() > 0 {
		panic(fmt.Sprintf("sent no whole frame: %v %q", err, p))
	}
	return all
}

func (f *fakeTransport) Close(reason idl.CloseReason, _ string, quit []byte, text bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closes++
	if f.closes == 1 {
		f.reason = reason
		f.out = append(f.out, decode(quit, text))
	}
}

// Broadcast is like Send; drain calls the waiters that were refused.
func (f *fakeTransport) Broadcast(p []byte, w session.Waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		f.refusals = append(f.refusals, w)
		return false
	}
	if f.closes == 0 {
		f.out = append(f.out, decodeFrames(p)...)
	}
	return true
}

// Behind is true from stuff to drain.
func (f *fakeTransport) Behind(w session.Waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuffed {
		f.refusals = append(f.refusals, w)
	}
	return f.stuffed
}

// stuff has the client behind with reading until drain.
func (f *fakeTransport) stuff() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stuffed = true
}

// fill has what is sent refused until drain.
func (f *fakeTransport) fill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = true
}

// drain calls each waiter once, as a transport does, with no lock held.
func (f *fakeTransport) drain() {
	f.mu.Lock()
	waiters := f.refusals
	f.full, f.stuffed, f.refusals = false, false, nil
	f.mu.Unlock()
	for _, w := range waiters {
		w.Writable()
	}
}

func (f *fakeTransport) Cork() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.corks++
	f.corked++
}

func (f *fakeTransport) Uncork() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.corks--
}

// corksNow is how many corks are left, and how many there ever were.
func (f *fakeTransport) corksNow() (left, ever int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.corks, f.corked
}

// Wire is that of TCP.
func (f *fakeTransport) Wire(codec idl.Codec, _ bool) session.Wire {
	if codec == idl.CodecProtobuf {
		return session.WireProtobuf
	}
	return session.WireJSON
}

func (f *fakeTransport) Address() string    { return "192.0.2.1:7" }
func (f *fakeTransport) Kind() string       { return "fake" }
func (f *fakeTransport) Peer() *limits.Peer { return f.peer }

// take returns what was sent since it was last asked.
func (f *fakeTransport) take() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.out
	f.out = nil
	return out
}

func (f *fakeTransport) closed() (idl.CloseReason, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reason, f.closes
}

// world is a hub between a fake core and fake transports.
type world struct {
	*testing.T
	hub  *session.Hub
	core *fakeCore
}

func newWorld(t *testing.T, o session.Options) *world {
	t.Helper()
	w := &world{T: t, core: new(fakeCore)}
	if o.Core = w.core; o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	hub, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	w.hub = hub
	return w
}

// client is one session with its ends.
type client struct {
	*world
	*session.Session
	line *fakeTransport
	id   session.ID
}

func (w *world) open() *client {
	c := &client{world: w, line: new(fakeTransport)}
	c.Session = w.hub.Open(c.line)
	return c
}

// live is a client that has passed Auth.
func (w *world) live(codec idl.Codec, text bool) *client {
	w.Helper()
	c := w.open()
	c.send(frame.Frame{Codec: codec, Action: idl.ActionAuth, Sequence: 1}, text)
	call := c.oneCall(idl.ActionAuth)
	c.id = call.Session
	c.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: 1, Bind: &session.Identity{User: 5, Device: "d"}})
	c.want(idl.ActionAuth, 1)
	return c
}

func (c *client) send(f frame.Frame, text bool) {
	c.Helper()
	if err := c.Receive(f, text); err != nil {
		c.Fatalf("receive %v: %v", f.Action, err)
	}
}

func (c *client) oneCall(action idl.Action) session.Call {
	c.Helper()
	calls := c.core.take()
	if len(calls) != 1 || calls[0].Action != action {
		c.Fatalf("calls: got %+v, want one of %v", calls, action)
	}
	return calls[0]
}

// want takes the one frame that must have been sent.
func (c *client) want(action idl.Action, sequence uint32) sent {
	c.Helper()
	out := c.line.take()
	if len(out) != 1 || out[0].Action != action || out[0].Sequence != sequence {
		c.Fatalf("sent: got %+v, want %v with sequence %d", out, action, sequence)
	}
	return out[0]
}

func (c *client) wantNothing() {
	c.Helper()
	if out := c.line.take(); len(out) > 0 {
		c.Fatalf("sent: got %+v, want nothing", out)
	}
}

func (c *client) wantRefusal(code idl.Code, sequence uint32) {
	c.Helper()
	f := c.want(idl.ActionError, sequence)
	var no wirepb.Error
	if err := idl.Decode(f.Body, f.Codec, &no); err != nil {
		c.Fatal(err)
	}
	if no.Code != code {
		c.Fatalf("refusal: got %v, want %v", no.Code, code)
	}
}

func (c *client) wantQuit(reason idl.CloseReason) *wirepb.Quit {
	c.Helper()
	if got, n := c.line.closed(); got != reason || n != 1 {
		c.Fatalf("closed: got %v, %d times, want %v once", got, n, reason)
	}
	quit := c.quit(c.want(idl.ActionQuit, 0))
	if quit.Reason != reason || quit.Reconnect != idl.Reconnect(reason) {
		c.Fatalf("quit: got %+v, want reason %v", quit, reason)
	}
	return quit
}

// quit is the Quit that a frame holds.
func (c *client) quit(f sent) *wirepb.Quit {
	c.Helper()
	quit := new(wirepb.Quit)
	if err := idl.Decode(f.Body, f.Codec, quit); err != nil {
		c.Fatal(err)
	}
	return quit
}

// eventually polls until what is true; the deadline only ends a failed test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func answer(call session.Call) session.Reply {
	return session.Reply{Session: call.Session, Action: call.Action, Sequence: call.Sequence, Body: call.Body}
}
