package plugintest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// ErrClosed is returned for calls on a session that has ended.
var ErrClosed = errors.New("session is closed")

// Session is one device's connection. It does what an edge does: it keeps the
// identity that Auth bound, passes calls on in order, takes pushes, and tells
// presence when it ends. Safe for concurrent use.
type Session struct {
	host  *Host
	codec idl.Codec
	ref   presence.SessionRef

	calls sync.Mutex // held for the length of a call: one at a time

	mu       sync.Mutex // guards the fields below
	address  string
	identity plugin.Identity // zero before Auth
	sequence uint32
	received []Received
	rooms    []im.ConversationID // that it is in
	follows  []plugin.Followed
	closed   *Closed
}

// Closed says why a session ended.
type Closed struct {
	Reason  idl.CloseReason // 0: the client left
	Message string
}

// Received is a push that reached a session.
type Received struct {
	Action   idl.Action
	InboxSeq int64  // 0: none was stamped
	Body     []byte // as on the wire, with inbox_seq
	codec    idl.Codec
}

// Decode reads the push's body into m.
func (r Received) Decode(m idl.Message) error { return idl.Decode(r.Body, r.codec, m) }

// Connect makes a session that has not passed Auth.
func (h *Host) Connect(c idl.Codec) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	ref := presence.SessionRef{Edge: life.Edge, Epoch: life.Epoch, Session: uint64(len(h.sessions)) + 1}
	s := &Session{host: h, codec: c, ref: ref, address: "192.0.2.1:4000"}
	h.sessions[ref] = s
	return s
}

// As makes a session that is the device's already, and registers it: for plugins
// under test without the account plugin. The device is a desktop.
func (h *Host) As(user im.UserID, device im.DeviceID, c idl.Codec) *Session {
	s := h.Connect(c)
	s.identity = plugin.Identity{User: user, Device: device, DeviceType: idl.DeviceDesktop, TokenID: 1, Since: h.Now()}
	if _, _, err := h.registry.Register(h.ctx, s.route()); err != nil {
		panic(err) // the test cannot go on without presence
	}
	return s
}

func (h *Host) session(ref presence.SessionRef) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[ref]
}

// From sets the client's address, and returns the session.
func (s *Session) From(address string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = address
	return s
}

// Call makes a typed call: req goes out and rep is filled in; both may be nil.
// A refusal is an *im.Error with Code, Field, Reason and RetryAfter, as the
// client sees them.
func (s *Session) Call(action idl.Action, req, rep idl.Message) error {
	return s.CallContext(s.host.ctx, action, req, rep)
}

// CallContext is Call within ctx.
func (s *Session) CallContext(ctx context.Context, action idl.Action, req, rep idl.Message) error {
	var body []byte
	if req != nil {
		var err error
		if body, err = idl.Append(nil, s.codec, req); err != nil {
			return err
		}
	}
	reply, err := s.Raw(ctx, action, body)
	if err != nil {
		return err
	}
	if reply.Action == idl.ActionError {
		return s.refusal(reply.Body)
	}
	if rep == nil {
		return nil
	}
	return idl.Decode(reply.Body, s.codec, rep)
}

func (s *Session) refusal(body []byte) error {
	var e wirepb.Error
	if err := idl.Decode(body, s.codec, &e); err != nil {
		return err
	}
	return &im.Error{Code: e.Code, Field: e.Field, Reason: e.Message, RetryAfter: time.Duration(e.RetryAfterMs) * time.Millisecond}
}

// Raw makes a call with a body as it is. It returns ErrClosed, and calls
// nothing, on a session that has ended.
func (s *Session) Raw(ctx context.Context, action idl.Action, body []byte) (dispatch.Reply, error) {
	s.calls.Lock()
	defer s.calls.Unlock()
	call, err := s.newCall(action)
	if err != nil {
		return dispatch.Reply{}, err
	}
	reply := s.host.dispatcher.Do(ctx, call, body)
	if reply.Bound != nil {
		s.bind(*reply.Bound)
	}
	if reply.Entered != nil {
		s.host.rooms.enter(s, *reply.Entered)
	}
	if reply.Left != "" {
		s.host.rooms.leave(s, reply.Left)
	}
	if reply.Follows != nil {
		s.follow(reply.Follows)
	}
	call.Finish()
	return reply, nil
}

// follow has the session follow logs, as an edge does it.
func (s *Session) follow(logs []plugin.Followed) {
	s.mu.Lock()
	s.follows = logs
	s.mu.Unlock()
	s.host.mu.Lock()
	wakes := slices.Clone(s.host.wakes)
	s.host.mu.Unlock()
	for _, w := range wakes { // what came while the call was under way
		s.wake(w.Log, w.Seq)
	}
}

// Follows are the logs that the session follows.
func (s *Session) Follows() []plugin.Followed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.follows)
}

// wake gives the session a Sync if its person has less of a log that it follows.
func (s *Session) wake(log im.ConversationID, seq int64) {
	s.mu.Lock()
	behind := slices.ContainsFunc(s.follows, func(f plugin.Followed) bool { return f.Log == log && f.Seq < seq })
	s.mu.Unlock()
	if behind {
		s.askToSync()
	}
}

func (s *Session) askToSync() { s.receive(Received{Action: idl.ActionSync, codec: s.codec}) }

func (s *Session) newCall(action idl.Action) (*plugin.Call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return nil, ErrClosed
	}
	s.sequence++
	call := &plugin.Call{
		Action: action, Sequence: s.sequence, Codec: s.codec, Session: s.ref, Address: s.address,
		User: s.identity.User, Device: s.identity.Device, DeviceType: s.identity.DeviceType, TokenID: s.identity.TokenID,
	}
	for _, spec := range s.host.Actions() {
		if spec.Action == action && spec.Rooms {
			call.Rooms = slices.Clone(s.rooms)
		}
	}
	return call, nil
}

// bind makes the session the identity's; one that was ended meanwhile is taken
// out of presence again, as the edge does it.
func (s *Session) bind(id plugin.Identity) {
	s.mu.Lock()
	s.identity = id
	closed := s.closed != nil
	s.mu.Unlock()
	if closed {
		s.unregister()
	}
}

func (s *Session) receive(r Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.received = append(s.received, r)
	}
}

// Pushes gives, and forgets, what was pushed to the session since the last call.
func (s *Session) Pushes() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.received
	s.received = nil
	return got
}

// Close ends the session as a client that leaves does.
func (s *Session) Close() { s.end(0, "") }

// Closed gives why the session ended, nil for one that is live.
func (s *Session) Closed() *Closed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Identity is whom the session belongs to, zero before Auth.
func (s *Session) Identity() plugin.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// end closes the session, once.
func (s *Session) end(reason idl.CloseReason, message string) {
	s.mu.Lock()
	first := s.closed == nil
	if first {
		s.closed = &Closed{reason, message}
	}
	s.mu.Unlock()
	if first {
		for _, room := range s.Rooms() {
			s.host.rooms.leave(s, room)
		}
		s.unregister()
	}
}

// unregister tells presence that the session is gone, if it ever was there.
func (s *Session) unregister() {
	if r := s.route(); r.User != 0 {
		if _, err := s.host.registry.Unregister(s.host.ctx, r); err != nil {
			s.host.log.Error("a session that ended stays in presence", "err", err)
		}
	}
}

func (s *Session) route() presence.Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := plugin.Call{Session: s.ref, Codec: s.codec}
	return call.Route(s.identity)
}
