package rpc

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/wirepb"
)

// together is how many of the calls, which are some, are the first and those that follow
// it.
func together(calls []*corepb.Call) int {
	n := 1
	for n < len(calls) && calls[n].Follows && calls[n].Session == calls[0].Session {
		n++
	}
	return n
}

// handle has the first of calls answered aside, so that none waits for another; of one
// session the edge has only one under way, or several that follow each other: the next
// begins when the one before has its place in the order (plugin.Call.Placed), or is
// answered. Past the bound the answer is "not now", at once, for those that follow too:
// none may get ahead of another.
func (s *Server) handle(t task) {
	if !s.enter() {
		s.turnAway(t)
		return
	}
	select {
	case s.tasks <- t:
	default:
		go s.serveTasks(t)
	}
}

func (s *Server) turnAway(t task) {
	s.counts.busy.Add(int64(len(t.calls)))
	for _, c := range t.calls {
		t.link.deliver(item{reply: busy(c)})
	}
}

// stale is how long a call may have waited for one that it follows: later it is not begun,
// since the edge is about to give up on it.
const stale = 10 * time.Second

// follow goes on with the calls that follow the first of t. When the link has ended the
// edge has refused them, and what is not begun is left: the clients send it again.
func (s *Server) follow(t task) {
	t.calls = t.calls[1:]
	switch {
	case t.link.ended():
	case time.Since(t.came) > stale:
		s.turnAway(t)
	default:
		s.handle(t)
	}
}

// task is a call that came over a link, with those that follow it.
type task struct {
	link  *link
	calls []*corepb.Call
	came  time.Time
}

// idleTasks is how many goroutines stay for another call after their first, until
// Close: one that has grown its stack once is cheaper than a new one.
const idleTasks = 1024

func (s *Server) serveTasks(t task) {
	s.serveTask(t)
	if s.idle.Add(1) > idleTasks {
		s.idle.Add(-1)
		return
	}
	for {
		select {
		case t := <-s.tasks:
			s.idle.Add(-1)
			s.serveTask(t)
			s.idle.Add(1)
		case <-s.exit:
			return
		}
	}
}

func (s *Server) serveTask(t task) {
	defer s.leave()
	l, first := t.link, t.calls[0]
	call := newCall(presence.SessionRef{Edge: l.edge.id, Epoch: l.epoch, Session: first.Session}, first)
	if len(t.calls) > 1 {
		call.OnPlaced(func() { s.follow(t) })
		defer call.Placed()
	}
	var sent func()
	if s.bulky[call.Action] {
		if sent = l.enterBulk(); sent == nil {
			return // nobody waits for the answer any more
		}
		if time.Since(t.came) > stale {
			l.deliver(item{reply: busy(first), sent: sent})
			return
		}
	}
	reply, bound := s.answer(call, first)
	if bound != nil && call.Alone { // there is no session to bind
		s.unregister(*bound)
		reply.Bind, bound = nil, nil
	}
	if !l.deliver(item{reply: reply, sent: sent}) && bound != nil {
		// The edge will never hear that the session was bound. Had the reply been
		// queued, the edge's next link or the lease of routes would see to it.
		s.unregister(*bound)
	}
	s.finish(call)
}

func (s *Server) enter() bool {
	if s.inFlight.Add(1) > int64(s.options.InFlight) {
		s.leave()
		return false
	}
	return true
}

func (s *Server) leave() { s.inFlight.Add(-1) }

func newCall(ref presence.SessionRef, c *corepb.Call) *plugin.Call {
	call := &plugin.Call{
		Action: idl.Action(c.Action), Sequence: c.Sequence, Codec: idl.Codec(c.Codec),
		Session: ref, Address: c.Address, Trace: c.Trace, Alone: c.Alone,
	}
	if c.Alone {
		call.Bearer = c.Bearer
	}
	if id := c.Identity; id != nil {
		call.User, call.Device = im.UserID(id.UserId), im.DeviceID(id.DeviceId)
		call.DeviceType, call.TokenID = id.DeviceType, id.TokenId
	}
	for _, room := range c.Rooms {
		call.Rooms = append(call.Rooms, im.ConversationID(room))
	}
	return call
}

// answer runs a call. bound is the route of the session when the call bound it.
func (s *Server) answer(call *plugin.Call, c *corepb.Call) (reply *corepb.Reply, bound *presence.Route) {
	answer := s.do(call, c.Body)
	reply = &corepb.Reply{Session: c.Session, Action: uint32(answer.Action), Sequence: c.Sequence, Body: answer.Body}
	if answer.Bound != nil {
		route := call.Route(*answer.Bound)
		bound, reply.Bind = &route, identity(*answer.Bound)
	}
	if in := answer.Entered; in != nil {
		reply.Enter = &corepb.Enter{Room: string(in.Room), Head: in.Head, Policy: policy("", in.Policy)}
	}
	reply.Leave = string(answer.Left)
	if answer.Follows != nil {
		reply.Follows = followsOf(answer.Follows, s.epoch())
	}
	if call.Alone && call.User != 0 {
		reply.Caller = &corepb.Identity{UserId: int64(call.User), DeviceId: string(call.Device), DeviceType: call.DeviceType, TokenId: call.TokenID}
	}
	return reply, bound
}

func followsOf(logs []plugin.Followed, epoch string) *corepb.Follows {
	f := &corepb.Follows{Epoch: epoch}
	for _, one := range logs {
		f.Logs, f.Seqs = append(f.Logs, string(one.Log)), append(f.Seqs, one.Seq)
	}
	return f
}

// do is the last barrier: dispatch has one around the handler, this one is around
// dispatch.
func (s *Server) do(call *plugin.Call, body []byte) (answer dispatch.Reply) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("dispatch panicked", "action", call.Action, "cause", cause, "stack", string(debug.Stack()))
			answer = dispatch.Reply{Action: idl.ActionError,
				Body: refusal(call.Codec, &wirepb.Error{Code: idl.CodeInternal, Message: "internal error"})}
		}
	}()
	return s.dispatcher.Do(s.work, call, body)
}

// finish does what the handler left for after the reply.
func (s *Server) finish(call *plugin.Call) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("handler panicked after its reply", "action", call.Name, "cause", cause, "stack", string(debug.Stack()))
		}
	}()
	call.Finish()
}

// Exchange answers a batch of calls that belong to no link. Nothing can be bound
// here: there is no connection to bind.
func (h *handler) Exchange(ctx context.Context, batch *corepb.CallBatch) (*corepb.ReplyBatch, error) {
	s := h.s
	if err := s.knows(ctx, batch.Key); err != nil {
		return nil, err
	}
	replies := make([]*corepb.Reply, len(batch.Calls))
	var all sync.WaitGroup
	for i, c := range batch.Calls {
		if !s.enter() {
			replies[i] = busy(c)
			continue
		}
		all.Go(func() {
			defer s.leave()
			call := newCall(presence.SessionRef{Session: c.Session}, c)
			reply, bound := s.answer(call, c)
			if bound != nil {
				s.unregister(*bound)
				reply.Bind = nil
			}
			replies[i] = reply
			s.finish(call)
		})
	}
	all.Wait()
	return &corepb.ReplyBatch{Replies: replies}, nil
}

// busy is the answer past the bound: come back in 500 to 1,500 ms, not all at once.
func busy(c *corepb.Call) *corepb.Reply {
	return &corepb.Reply{Session: c.Session, Action: uint32(idl.ActionError), Sequence: c.Sequence,
		Body: refusal(idl.Codec(c.Codec), &wirepb.Error{
			Code: idl.CodeUnavailable, Message: "the core is busy", RetryAfterMs: 500 + rand.Int64N(1000)})}
}

// refusal encodes e; it is empty in a codec that is not known, which the edge has
// refused long before.
func refusal(c idl.Codec, e *wirepb.Error) []byte {
	body, err := idl.Append(nil, c, e)
	if err != nil {
		return nil
	}
	return body
}

func identity(id plugin.Identity) *corepb.Identity {
	return &corepb.Identity{
		UserId: int64(id.User), DeviceId: string(id.Device), DeviceType: id.DeviceType,
		TokenId: id.TokenID, SinceMs: id.Since.UnixMilli(),
	}
}

// route is a session of this link as the registry knows it. The registry keeps
// it: the device ID must not hold on to the whole batch it came in.
func (l *link) route(session uint64, id *corepb.Identity, codec uint32) presence.Route {
	return presence.Route{
		SessionRef: presence.SessionRef{Edge: l.edge.id, Epoch: l.epoch, Session: session},
		User:       im.UserID(id.UserId), Device: im.DeviceID(strings.Clone(id.DeviceId)),
		DeviceType: id.DeviceType, TokenID: id.TokenId, Codec: idl.Codec(codec), Since: time.UnixMilli(id.SinceMs),
	}
}
