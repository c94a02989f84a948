package session

import (
	"context"
	"strconv"
	"sync"
	"time"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// This file is actions without a session: one request, one answer, as edge/api takes them
// over HTTP. A request goes the way of a frame, past the same limits and rules, and is a
// session of its own: nothing is bound to it, pushed to it or comes behind it.

// Visitor is who sends a request, as the gateway knows him.
type Visitor struct {
	Address string       // as in "192.0.2.1:40312"
	Peer    *limits.Peer // nil: not limited
	Secure  bool         // over TLS
}

type visitorKey struct{}

// WithVisitor gives the requests of a connection their visitor.
func WithVisitor(ctx context.Context, v Visitor) context.Context {
	return context.WithValue(ctx, visitorKey{}, v)
}

// VisitorOf is the visitor of a request.
func VisitorOf(ctx context.Context) Visitor {
	v, _ := ctx.Value(visitorKey{}).(Visitor)
	return v
}

// Kind is like Transport.Kind: "http" or "https".
func (v *Visitor) Kind() string {
	if v.Secure {
		return "https"
	}
	return "http"
}

// Request is an action without a session.
type Request struct {
	Visitor
	Action ActionInfo // as Find gave it
	Codec  idl.Codec
	Body   []byte     // not changed after the call
	Bearer string     // the token; empty: nobody's
	Trace  string     // the client's traceparent, if it sent one
	Said   *Admission // what the rules said of its connection
}

// Answer is what becomes of a request.
type Answer struct {
	Body    []byte        // in the request's codec
	Refused *wirepb.Error // nil: it was not
	// Ended says that the client does not mind being refused: its connection is to be closed.
	Ended bool
}

// Find gives what is known of an action by its name; or why it cannot be called now, or
// not without a session.
func (h *Hub) Find(name string) (info ActionInfo, no *wirepb.Error) {
	if _, blind := h.core.Action(idl.ActionError); blind { // no core was ever reached: everything is known
		return info, &wirepb.Error{Code: idl.CodeUnavailable, Message: "no core can be reached", RetryAfterMs: h.opts.RetryAfter.Milliseconds()}
	}
	a, known := h.core.ActionNamed(name)
	if known {
		info, known = h.core.Action(a)
		info.Action = a
	}
	switch {
	case !known:
		return info, &wirepb.Error{Code: idl.CodeUnknownAction, Message: "no such action"}
	case info.NeedsSession:
		return info, &wirepb.Error{Code: idl.CodeUnknownAction, Message: "this action needs a session, over TCP or a WebSocket"}
	}
	return info, nil
}

// MaxRequest is the longest body that a request may have, in octets.
func (h *Hub) MaxRequest(info ActionInfo, bearer bool) int {
	most := h.opts.MaxBodyFresh
	if bearer {
		most = h.opts.MaxBody
	}
	if info.MaxBody > 0 {
		most = min(most, info.MaxBody)
	}
	return most
}

// Refuse is for a request that its reader refuses: it counts, and is told of a limit instead
// when it is over one.
func (h *Hub) Refuse(r *Request, no *wirepb.Error) Answer {
	h.counters.received.Add(1)
	h.counters.answered.Add(1)
	if over, ended := h.overrun(r, r.Peer.Take(frame.HeaderSize)); over != nil {
		return Answer{Refused: over, Ended: ended}
	}
	h.counters.refused.Add(1)
	return Answer{Refused: no}
}

// Look is for what needs no core, as the description: it refuses who is over a limit.
func (h *Hub) Look(v Visitor) Answer {
	over, ended := h.overrun(&Request{Visitor: v}, v.Peer.Take(frame.HeaderSize))
	return Answer{Refused: over, Ended: ended}
}

// Vouch looks at the token of a request whose body was not read yet, unless it is known here:
// nobody has a large body read for a token that is none.
func (h *Hub) Vouch(ctx context.Context, r *Request) *wirepb.Error {
	if no := h.early(r); no != nil {
		return no
	}
	_, no := h.who(ctx, r)
	return no
}

// Do has a core do a request, and waits for it until ctx ends.
func (h *Hub) Do(ctx context.Context, r *Request) Answer {
	h.counters.received.Add(1)
	body, no, ended := h.do(ctx, r)
	h.counters.answered.Add(1)
	return Answer{Body: body, Refused: no, Ended: ended}
}

func (h *Hub) do(ctx context.Context, r *Request) (body []byte, no *wirepb.Error, ended bool) {
	size := frame.HeaderSize + len(r.Body)
	if no, ended := h.overrun(r, r.Peer.Take(size)); no != nil {
		return nil, no, ended
	}
	if no := h.early(r); no != nil {
		h.counters.refused.Add(1)
		return nil, no, false
	}
	who, no := h.who(ctx, r)
	if no != nil {
		return nil, no, false
	}
	if who != nil {
		user, room := h.opts.Limits.User(who.User)
		if !room {
			h.counters.refused.Add(1)
			return nil, rateLimited("too many requests and sessions of this user at once", time.Second), false
		}
		defer user.Leave()
		if no, ended := h.overrun(r, user.Take(size)); no != nil {
			return nil, no, ended
		}
	}
	if no := h.judge(r, who); no != nil {
		h.counters.refused.Add(1)
		return nil, no, false
	}
	body, no = h.pass(ctx, r, who)
	return body, no, false
}

// early refuses what needs no core to be refused.
func (h *Hub) early(r *Request) *wirepb.Error {
	switch {
	case r.Bearer == "" && !r.Action.Open:
		return &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "send a token: Authorization: Bearer TOKEN"}
	case len(r.Body) > h.MaxRequest(r.Action, r.Bearer != ""):
		return &wirepb.Error{Code: idl.CodeTooLarge, Message: "the body is over this action's limit"}
	}
	if signsIn(r.Action.Action) || r.Bearer != "" && h.callers.find(r.Bearer) == nil {
		if wait := r.Peer.MayAuth(); wait > 0 {
			return rateLimited("too many sign-ins failed", wait)
		}
	}
	return nil
}

// overrun says no to a request that is more than the limits allow, as Session.limited does.
func (h *Hub) overrun(r *Request, wait time.Duration) (no *wirepb.Error, ended bool) {
	if wait == 0 {
		r.Peer.Passed()
		return nil, false
	}
	h.counters.refused.Add(1)
	if r.Peer.Refused(h.opts.Patience) {
		r.Peer.Offend(tooMuch)
		ended = true
	}
	return rateLimited("too much in too short a time", wait), ended
}

func rateLimited(message string, wait time.Duration) *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeRateLimited, Message: message, RetryAfterMs: (wait + time.Millisecond - 1).Milliseconds()}
}

// who says whose the token of a request is: the limits and rules of users need to know. A
// core is asked for a token that is new here; what it does for the request it lets pass by
// the token alone. nil: nobody's.
func (h *Hub) who(ctx context.Context, r *Request) (*Identity, *wirepb.Error) {
	if r.Bearer == "" {
		return nil, nil
	}
	if who := h.callers.find(r.Bearer); who != nil {
		return who, nil
	}
	reply, no := h.ask(ctx, Call{Action: idl.ActionAuth, Codec: r.Codec, Address: r.Address, Alone: true, Bearer: r.Bearer})
	if no == nil && reply.Caller == nil {
		no = &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "the core takes no tokens of requests"} // an older one
	}
	if no != nil {
		h.blame(r, no)
		return nil, no
	}
	h.callers.add(r.Bearer, reply.Caller)
	return reply.Caller, nil
}

// blame counts a token, or a sign-in, that was wrong.
func (h *Hub) blame(r *Request, no *wirepb.Error) {
	switch no.Code {
	case idl.CodeUnauthenticated:
		h.callers.forget(r.Bearer)
		r.Peer.AuthFailed()
	case idl.CodeBadCredentials:
		r.Peer.AuthFailed()
	}
}

// judge keeps the action to its rate, and asks the rules.
func (h *Hub) judge(r *Request, who *Identity) *wirepb.Error {
	if rate := r.Action.Rate; rate > 0 {
		if wait := h.rates.Take(int32(r.Action.Action), callerOf(who, r.Address), rate, r.Action.Per); wait > 0 {
			return rateLimited("this action was called too often", wait)
		}
	}
	if !h.asks(AboutFrames) {
		return nil
	}
	asked := r.asked(who)
	return h.frame(&asked)
}

// asked is what rules see of a request.
func (r *Request) asked(who *Identity) Asked {
	a := Asked{Action: r.Action.Name, Size: len(r.Body), Codec: r.Codec, Who: who, Address: r.Address, Transport: r.Kind()}
	if a.Action == "" {
		a.Action = strconv.Itoa(int(r.Action.Action))
	}
	if r.Said != nil {
		a.Tags = r.Said.tags
	}
	return a
}

// pass hands the request to a core.
func (h *Hub) pass(ctx context.Context, r *Request, who *Identity) ([]byte, *wirepb.Error) {
	c := Call{Action: r.Action.Action, Codec: r.Codec, Body: r.Body, Address: r.Address, Alone: true, Bearer: r.Bearer}
	if h.asks(AboutRoutes) {
		asked := r.asked(who)
		c.Pool = h.opts.Rules.Route(&asked)
	}
	c.Session = h.nextID()
	traced := h.traces.sampled()
	if traced {
		c.Trace = h.traces.start(c.Session, spanned{c.Action, r.Action.Name, c.Codec, r.Kind(), r.Trace})
	}
	h.counters.calls.Add(1)
	reply, no := h.ask(ctx, c)
	switch {
	case traced && ctx.Err() != nil:
		h.traces.end(c.Session, 0, "the client went first")
	case traced && no != nil:
		h.traces.end(c.Session, idl.ActionError, "")
	case traced:
		h.traces.end(c.Session, c.Action, "")
	}
	if no != nil {
		if r.Bearer != "" || signsIn(c.Action) {
			h.blame(r, no)
		}
		return nil, no
	}
	return reply.Body, nil
}

func (h *Hub) nextID() ID { return ID(h.lastID.Add(1)) }

// ask makes a call and waits for its reply.
func (h *Hub) ask(ctx context.Context, c Call) (Reply, *wirepb.Error) {
	if c.Session == 0 {
		c.Session = h.nextID()
	}
	answer := h.requests.add(c.Session)
	defer h.requests.remove(c.Session)
	h.core.Call(c)
	select {
	case reply := <-answer:
		if reply.Action != idl.ActionError {
			return reply, nil
		}
		no := new(wirepb.Error)
		if err := idl.Decode(reply.Body, c.Codec, no); err != nil {
			h.log.Error("a refusal could not be read", "err", err)
			no = &wirepb.Error{Code: idl.CodeInternal, Message: "internal error"}
		}
		return reply, no
	case <-ctx.Done():
		return Reply{}, &wirepb.Error{Code: idl.CodeDeadlineExceeded, Message: "no answer in time"}
	}
}

// requests finds who waits for the reply to a call without a session.
type requests struct {
	mu      sync.Mutex // guards waiting
	waiting map[ID]chan Reply
}

// add begins to wait: the channel has room for the one reply that there is.
func (q *requests) add(id ID) <-chan Reply {
	answer := make(chan Reply, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = make(map[ID]chan Reply)
	}
	q.waiting[id] = answer
	return answer
}

func (q *requests) remove(id ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, id)
}

// answer gives a reply to who waits for it; false: nobody does.
func (q *requests) answer(r Reply) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waits, ok := q.waiting[r.Session]
	if ok {
		delete(q.waiting, r.Session)
		waits <- r
	}
	return ok
}
