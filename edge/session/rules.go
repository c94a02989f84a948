package session

import (
	"strconv"
	"strings"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// This file is where the operators' rules are asked. Without any (Options.Rules is nil, or
// none is for the question) a frame pays for a comparison and a load. Rules take time, so
// no lock is held meanwhile, and never the goroutine that a core's answers come by.

// Rules are the operators' rules at the edge; edge/hooks implements them. They are safe
// for concurrent use, and answer within a bounded time: of a few milliseconds, and up to a
// second more while there is a rush on them.
type Rules interface {
	// Asks reports, at the cost of a load, whether there are rules for any of the
	// questions now.
	Asks(q Questions) bool
	// Edition names the rules that there are now, and which of them are switched on: routes
	// that others chose are asked for again.
	Edition() string
	// Connect says whether a connection may become a session, and what it is tagged with.
	Connect(a *Arrival) (tags []string, no *Refusal)
	// Frame says no to a frame of an action, or nil.
	Frame(f *Asked) *Refusal
	// Route names the pool of cores that a session's actions go to; empty: the default.
	Route(f *Asked) (pool string)
}

// Questions is a set of what rules may be asked.
type Questions uint8

// The questions.
const (
	AboutConnections Questions = 1 << iota
	AboutFrames
	AboutRoutes
)

// Arrival is a connection that is about to become a session.
type Arrival struct {
	Address   string  // as in "192.0.2.1:40312"
	Transport string  // as Transport.Kind, or Visitor.Kind
	Path      string  // of an HTTP request, a WebSocket's too, without a query
	Fields    []Field // of that request: those that rules may see
}

// Field is a field of a request, its name in lower case.
type Field struct{ Name, Value string }

// shownValue is what rules see of a field's line at most, in octets. How many lines there
// are, the head's size bounds: a client could hide what a proxy adds behind a number of its own.
const shownValue = 1 << 10

// Show adds a field, its name in lower case, if rules may see it: no cookies, and nothing
// by which somebody signs in.
func (a *Arrival) Show(name, value string) {
	switch name {
	case "host", "origin", "user-agent", "accept-language", "referer", "sec-websocket-protocol":
	default:
		if !strings.HasPrefix(name, "x-") {
			return
		}
	}
	a.Fields = append(a.Fields, Field{name, strings.ToValidUTF8(value[:min(len(value), shownValue)], "\ufffd")})
}

// Asked is a frame that rules are asked about, and its session.
type Asked struct {
	Action    string // "chat.send"; a number if no core has named it
	Size      int    // octets of the body
	Codec     idl.Codec
	Sequence  uint32
	Waiting   int       // frames behind it
	Excess    int       // frames that the limits refused, less those let pass since
	Who       *Identity // nil before Auth
	Address   string
	Transport string   // as Transport.Kind
	Tags      []string // of the connection
}

// Refusal is a rule's no.
type Refusal struct {
	Code       idl.Code
	Reason     string        // for the client's developer
	RetryAfter time.Duration // advice; 0: none
	Rule       string        // "name@file:line"
	Bundle     string        // hash of the rules
}

// Admission is what the rules said of an arrival; nil: nothing.
type Admission struct {
	Refused *Refusal // nil: it may come in
	tags    []string
}

// ruled is what rules said of a session: nil while they have said nothing.
type ruled struct {
	tags []string // static

	// Owned by whoever handles a frame: the route that was chosen, by what.
	asked   bool
	edition string
	who     *Identity
	pool    string
}

// asks reports whether there are rules for any of the questions.
func (h *Hub) asks(q Questions) bool { return h.opts.Rules != nil && h.opts.Rules.Asks(q) }

// Judges reports whether Admit would ask anybody: then it takes time.
func (h *Hub) Judges() bool { return h.asks(AboutConnections) }

// Admit asks the rules about a connection; what they say is for OpenAs. Whoever calls it
// tells a refused client why, or has OpenAs do so.
func (h *Hub) Admit(a *Arrival) *Admission {
	if !h.Judges() || h.draining.Load() { // when it drains Open says so
		return nil
	}
	tags, no := h.opts.Rules.Connect(a)
	if no == nil && len(tags) == 0 {
		return nil
	}
	if no != nil {
		h.counters.barred.Add(1)
		h.log.Debug("a rule refuses a connection", "rule", no.Rule, "bundle", no.Bundle, "code", no.Code, "reason", no.Reason, "address", a.Address, "transport", a.Transport)
	}
	return &Admission{Refused: no, tags: tags}
}

// review asks the rules about a frame that is otherwise admitted; nil lets it pass.
func (s *Session) review(in inbound, info ActionInfo) *wirepb.Error {
	if !s.hub.asks(AboutFrames) {
		return nil
	}
	asked := s.asked(in, info)
	return s.hub.frame(&asked)
}

// frame asks the rules about a frame, or a request.
func (h *Hub) frame(asked *Asked) *wirepb.Error {
	no := h.opts.Rules.Frame(asked)
	if no == nil {
		return nil
	}
	h.log.Debug("a rule refuses a frame", "rule", no.Rule, "bundle", no.Bundle, "code", no.Code, "reason", no.Reason, "action", asked.Action, "address", asked.Address)
	return &wirepb.Error{Code: no.Code, Message: no.Reason, RetryAfterMs: no.RetryAfter.Milliseconds()}
}

// pool is the pool of cores that the session's actions go to. It is chosen with the first
// of them, again when the session has become somebody's, and by other rules; and as no
// action is at a core when the next is handled, none overtakes another by that.
func (s *Session) pool(in inbound) string {
	if !s.hub.asks(AboutRoutes) {
		return ""
	}
	if s.routed() {
		return s.ruled.pool
	}
	edition := s.hub.opts.Rules.Edition()
	s.mu.Lock()
	who := s.identity
	s.mu.Unlock()
	if s.ruled == nil {
		s.ruled = &ruled{}
	}
	r := s.ruled
	info, _ := s.hub.core.Action(in.action)
	asked := s.asked(in, info)
	r.pool = s.hub.opts.Rules.Route(&asked)
	r.asked, r.edition, r.who = true, edition, who
	return r.pool
}

// routed reports whether the route that was chosen still holds.
func (s *Session) routed() bool {
	r := s.ruled
	if r == nil || !r.asked || r.edition != s.hub.opts.Rules.Edition() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.who == s.identity
}

// asked is what rules see of a frame.
func (s *Session) asked(in inbound, info ActionInfo) Asked {
	a := Asked{Action: info.Name, Size: len(in.body), Codec: in.form.codec, Sequence: in.sequence, Excess: int(s.excess),
		Address: s.transport.Address(), Transport: s.transport.Kind()}
	if a.Action == "" {
		a.Action = strconv.Itoa(int(in.action))
	}
	if s.ruled != nil {
		a.Tags = s.ruled.tags
	}
	s.mu.Lock()
	a.Who = s.identity
	if s.waiting != nil {
		a.Waiting = len(s.waiting.frames) - s.waiting.taken
	}
	s.mu.Unlock()
	return a
}

// goOn is work for whoever has brought an answer: that is many sessions' way, so where
// rules will be asked the work is done elsewhere. The session stays busy meanwhile.
func (s *Session) goOn(in inbound) {
	if s.hub.asks(AboutFrames) || s.hub.asks(AboutRoutes) && !s.routed() {
		s.hub.asking.Go(func() { s.work(in) })
		return
	}
	s.work(in)
}
