package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"freeim/bench/people"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// How many sends of one session may be unanswered, and octets in them: half of what
// the edge allows (idl/README.md). An open loop that would go beyond it waits, and its
// latencies show that.
const (
	maxWaiting      = 512
	maxWaitingBytes = 128 << 10
)

// beatTime is how long the answer to a heartbeat may take before it counts as lost.
const beatTime = 10 * time.Second

// group is the sessions of one kind of a plan. The loop owns it.
type group struct {
	plan     *Group
	sessions []*session
	senders  []*session

	most  int64 // sends of a session that may be unanswered
	turn  int   // whose turn of the senders it is
	begin int64 // of an open loop
	count int64 // sends that were due, of an open loop
	under int64 // sends to all: neither refused nor with all members

	// Of a room or a crowd with a window: how many of the local members have each seq.
	members int     // that are counted
	have    []int32 // by seq&(len-1)
	whole   int64   // seqs that all of them have
	slots   []*atomic.Int64
	slot    *atomic.Int64

	total, span *Result // since the beginning, since the mark
	marked      int64
	stopped     bool // sends no more
}

func newResult(name string) *Result {
	return &Result{Name: name, Refused: map[string]int64{}, Ended: map[string]int64{}}
}

// prepare makes the sessions of the group, without connections.
func (g *group) prepare() {
	p := g.plan
	g.most = int64(max(1, min(maxWaiting, maxWaitingBytes/(p.Payload+100))))
	for i := range p.Count {
		s := &session{group: g, person: p.First + i, target: p.target(i), fd: -1}
		sends := false
		switch p.Kind {
		case Idle:
		case Chat:
			s.talk = &talk{}
			if i%2 == 1 {
				s.talk.peer = g.sessions[i-1]
				s.talk.peers.Begin(1)
				s.talk.peer.talk.peer = s
			}
			sends = i%2 == 0
		case Room, Crowd:
			s.talk = &talk{}
			sends = i < p.Publishers
			s.silent = !sends && p.Silent > 0 && i%p.Silent == p.Silent-1
		case Echo, Beat:
			s.talk = &talk{}
			s.talk.log.Begin(1)
			sends = true
		}
		if sends {
			s.talk.due = make([]int64, 1024)
			g.senders = append(g.senders, s)
		}
		g.sessions = append(g.sessions, s)
	}
}

// start begins to send.
func (g *group) start(l *loop) {
	g.begin, g.count, g.stopped = l.now, 0, false
	if g.plan.Spread() {
		g.members, g.under = 0, g.whole // everything of before has been drained
		g.have = make([]int32, ringSize(g.plan.Window))
		for _, s := range g.sessions {
			if !s.silent && s.state == ready {
				g.members++
			}
		}
	}
	if g.plan.Window > 0 && !g.plan.Spread() {
		for _, s := range g.senders {
			g.refill(l, s)
		}
	}
	l.pump(g)
}

func ringSize(window int) int {
	n := 1024
	for n < 4*window {
		n *= 2
	}
	return n
}

// refill brings the window of one sender up to what it is.
func (g *group) refill(l *loop, s *session) {
	for !g.stopped && s.state == ready && s.talk.flight < int64(g.plan.Window) && s.talk.waiting < g.most {
		g.say(l, s, l.now)
	}
}

// pump sends what a room's window allows, and what a rate says is due. It returns
// when it wants to be called again, 0: when something was delivered.
func (l *loop) pump(g *group) (next int64) {
	if g.stopped || len(g.senders) == 0 {
		return 0
	}
	if g.plan.Rate > 0 {
		return g.keepRate(l)
	}
	if g.plan.Window == 0 || !g.plan.Spread() {
		return 0
	}
	done := g.whole
	for _, other := range g.slots {
		done = min(done, other.Load())
	}
	for g.under-done < int64(g.plan.Window) {
		s := g.next()
		if s == nil {
			break
		}
		g.say(l, s, l.now)
	}
	if len(g.slots) > 1 {
		return l.now + int64(time.Millisecond) // others do not wake this process
	}
	return 0
}

// keepRate sends everything that is due, each message with the time at which it
// was, whether that was possible or not.
func (g *group) keepRate(l *loop) (next int64) {
	const mostAtOnce = 256 // so that reading gets its turn
	for range mostAtOnce {
		due := g.begin + int64(float64(g.count)*float64(time.Second)/g.plan.Rate)
		if due > l.now {
			return due
		}
		s := g.next()
		if s == nil {
			return l.now + int64(time.Millisecond)
		}
		g.count++
		g.span.Behind = max(g.span.Behind, time.Duration(l.now-due))
		g.say(l, s, due)
	}
	return l.now
}

// next is the next sender that may send; nil when all wait for answers.
func (g *group) next() *session {
	for range g.senders {
		s := g.senders[g.turn%len(g.senders)]
		g.turn++
		if s.state == ready && s.talk.waiting < g.most {
			return s
		}
	}
	return nil
}

// say sends one message that was due at that time.
func (g *group) say(l *loop, s *session, due int64) {
	t := s.talk
	t.sent++
	t.waiting++
	t.flight++
	t.due[t.sent&int64(len(t.due)-1)] = due
	g.span.Sent++
	g.total.Sent++
	p := g.plan
	l.text = appendText(l.text[:0], stamp{due, t.sent, s.person}, p.Payload)
	f := frame.Frame{Codec: p.Codec, Sequence: uint32(t.sent)}
	switch p.Kind {
	case Echo:
		f.Body = l.text
	case Beat:
		f.Action, f.Body = idl.ActionHeartbeat, l.text
	case Chat:
		l.body = appendSend(l.body[:0], p.Codec, l.clientID(t.sent), people.UserID(t.peer.person), l.text)
		f.Action, f.Body = idl.ActionMessage, l.body
	case Crowd:
		g.under++
		l.body = appendSendTo(l.body[:0], p.Codec, l.clientID(t.sent), p.Room, l.text)
		f.Action, f.Body = idl.ActionMessage, l.body
	case Room:
		g.under++
		important := p.Important > 0 && rand.IntN(100) < p.Important
		l.body = appendRoomSend(l.body[:0], p.Codec, p.Room, l.clientID(t.sent), important, l.text)
		f.Action, f.Body = idl.ActionRoomMessage, l.body
	}
	l.send(s, f)
}

// clientID names a send; the run keeps it apart from those of earlier ones.
func (l *loop) clientID(number int64) []byte {
	l.id = strconv.AppendInt(append(l.id[:0], l.run...), number, 36)
	return l.id
}

// answered is the reply to a send.
func (l *loop) answered(s *session, f frame.Frame) error {
	g, t := s.group, s.talk
	field := 3
	if g.plan.Kind == Room {
		field = 2
	}
	seq, ok := parseReply(f.Codec, f.Body, field, `"seq":`)
	inbox, filed := parseReply(f.Codec, f.Body, 4, `"inbox_seq":`)
	if t == nil || t.due == nil || !ok || !filed && g.plan.Kind != Room {
		g.total.Checks.Garbled++
		return nil
	}
	g.replied(l, t, int64(f.Sequence))
	t.lastSeq = max(t.lastSeq, seq)
	g.beside(func(c *Checks) { // an answer is no delivery
		switch g.plan.Kind {
		case Chat:
			t.log.Take(inbox, 1, c)
		case Crowd: // whose sender gets his own by the answer alone
			t.inbox.Take(inbox, 1, c)
			was := t.log.Next()
			g.passed(s, was, t.log.Take(seq, 1, c))
		}
	})
	return nil
}

func (g *group) replied(l *loop, t *talk, number int64) {
	if t.waiting <= 0 || number != t.sent-t.waiting+1 { // answers come in the order of the requests
		g.total.Checks.Reordered++
		return
	}
	t.waiting--
	g.total.Answered++
	g.span.Answered++
	g.span.Answer.Record(time.Duration(l.now - t.due[number&int64(len(t.due)-1)]))
}

// maxReasons bounds how many different reasons of refusals are told apart.
const maxReasons = 16

// refusedSend is a send that will not be delivered.
func (g *group) refusedSend(l *loop, s *session, number int64, why *wirepb.Error) {
	code := why.Code.String()
	if reason := fmt.Sprintf("%s (%.80s)", code, why.Message); g.total.Refused[reason] > 0 || len(g.total.Refused) < maxReasons {
		code = reason
	}
	t := s.talk
	g.replied(l, t, number)
	g.total.Answered--
	g.span.Answered--
	g.total.Refused[code]++
	g.span.Refused[code]++
	t.flight--
	switch g.plan.Kind {
	case Chat:
		var declared Checks
		t.peer.talk.peers.Skip(number, number, &declared)
	case Room, Crowd:
		g.under--
	}
	l.hungry = append(l.hungry, s)
}

// pushed is a delivery of a chat, a group or a room.
func (l *loop) pushed(s *session, f frame.Frame) error {
	g, t := s.group, s.talk
	chat := f.Action == idl.ActionMessage
	m, ok := parsePush(f.Codec, chat, f.Body)
	sent, stamped := parseText(m.text)
	if !ok || !stamped || t == nil || chat == (g.plan.Kind == Room) || !t.begun {
		g.total.Checks.Garbled++
		return nil
	}
	g.delivered(l, sent.due)
	if g.plan.Kind == Crowd {
		g.beside(func(c *Checks) { t.inbox.Take(m.inboxSeq, 0, c) }) // the group's log counts it
		m.kind = 0
	} else if chat {
		t.log.Take(m.inboxSeq, 0, &g.total.Checks)
		g.beside(func(c *Checks) { t.peers.Take(sent.number, 0, c) }) // the inbox has counted it
		if t.peer != nil && t.peer.person == sent.sender {
			t.peer.talk.flight--
			l.hungry = append(l.hungry, t.peer)
		} else {
			g.total.Checks.Garbled++
		}
		return nil
	}
	lane := 0
	if m.kind != 0 {
		lane = 1
	}
	was := t.log.Next()
	g.passed(s, was, t.log.Take(m.seq, lane, &g.total.Checks))
	return nil
}

// beside is a check whose messages another one counts.
func (g *group) beside(check func(*Checks)) {
	var found Checks
	check(&found)
	found.Received, found.Skipped = 0, 0
	g.total.Checks.add(found)
}

// delivered counts a delivery of what was due at that time.
func (g *group) delivered(l *loop, due int64) {
	g.span.Checks.Received++
	g.span.Delivery.Record(time.Duration(l.now - due))
}

// skipped is the server's word that seqs of a room will not be pushed.
func (l *loop) skipped(s *session, f frame.Frame) error {
	var skip roompb.RoomSkip
	if err := idl.Decode(f.Body, f.Codec, &skip); err != nil {
		return err
	}
	g, t := s.group, s.talk
	if t == nil || !t.begun || f.Sequence != 0 {
		g.total.Checks.Garbled++
		return nil
	}
	before := g.total.Checks.Skipped
	for _, r := range skip.Ranges {
		was := t.log.Next()
		g.passed(s, was, t.log.Skip(r.From, r.To, &g.total.Checks))
	}
	g.span.Checks.Skipped += g.total.Checks.Skipped - before
	return nil
}

// passed counts that a member of a room or a crowd has the seqs from was to next-1.
func (g *group) passed(s *session, was, next int64) {
	if g.plan.Window == 0 || s.silent || g.members == 0 {
		return
	}
	for seq := was; seq < next; seq++ {
		at := &g.have[seq&int64(len(g.have)-1)]
		if *at++; int(*at) >= g.members {
			*at = 0
			g.whole++
			if g.slot != nil {
				g.slot.Store(g.whole)
			}
		}
	}
}

// gone takes an ended session out of what is waited for.
func (g *group) gone(s *session) {
	if g.plan.Spread() && g.members > 0 && !s.silent {
		g.members--
	}
}

// echoed is what an echo, or the edge's heartbeat, gives back.
func (l *loop) echoed(s *session, body []byte) error {
	sent, ok := parseText(body)
	if !ok || sent.sender != s.person {
		s.group.total.Checks.Garbled++
		return nil
	}
	l.back(s, sent.number, sent.due)
	return nil
}

func (l *loop) back(s *session, number, due int64) {
	g, t := s.group, s.talk
	g.delivered(l, due)
	t.log.Take(number, 0, &g.total.Checks)
	t.waiting--
	t.flight--
	g.total.Answered++
	g.span.Answered++
	l.hungry = append(l.hungry, s)
}

// beaten is the answer to a heartbeat.
func (l *loop) beaten(s *session, f frame.Frame) error {
	g := s.group
	switch {
	case f.Sequence == beatSequence && s.beat:
		s.beat = false
		g.total.Beats++
		g.span.Beats++
	case g.plan.Kind == Beat && f.Sequence < authSequence:
		number := int64(f.Sequence)
		l.back(s, number, s.talk.due[number&int64(len(s.talk.due)-1)])
	default:
		g.total.Checks.Garbled++
	}
	return nil
}

// hold stops sending; it is true when everything that was sent is answered.
func (g *group) hold() bool {
	g.stopped = true
	for _, s := range g.senders {
		if s.state == ready && s.talk.waiting > 0 {
			return false
		}
	}
	return true
}

// head is the highest seq that an answer gave to a room or a crowd.
func (g *group) head() (head int64) {
	for _, s := range g.senders {
		head = max(head, s.talk.lastSeq)
	}
	return head
}

// drained reports whether everything that is on its way has come, but for
// heartbeats of just now.
func (g *group) drained(head, now int64) bool {
	for _, s := range g.sessions {
		if s.overdue(now) {
			return false
		}
		if s.state != ready || s.talk == nil {
			continue
		}
		switch g.plan.Kind {
		case Chat:
			if t := s.talk; t.due == nil && t.peer.state == ready && t.peers.Next() <= t.peer.talk.sent {
				return false
			}
		case Room, Crowd:
			if s.talk.log.Next() <= head {
				return false
			}
		}
	}
	return true
}

// overdue reports whether the answer to a heartbeat should have come by now.
func (s *session) overdue(now int64) bool {
	return s.state == ready && s.beat && !s.silent && now-s.spoke > int64(beatTime)
}

// judge says of every live session what it should have and has not.
func (g *group) judge(head, now int64) {
	for _, s := range g.sessions {
		t := s.talk
		if s.overdue(now) {
			g.total.Checks.Lost++
		}
		if s.state != ready || t == nil {
			continue
		}
		switch g.plan.Kind {
		case Chat:
			if t.due == nil && t.peer.state == ready {
				t.peers.End(t.peer.talk.sent, &g.total.Checks)
			}
			t.log.End(t.log.Next()-1, &g.total.Checks) // its inbox has no hole
		case Room:
			t.log.End(max(head, t.base), &g.total.Checks)
		case Crowd:
			t.log.End(max(head, t.base), &g.total.Checks)
			g.beside(func(c *Checks) { t.inbox.End(t.inbox.Next()-1, c) }) // its inbox has no hole
		case Echo, Beat:
			t.log.End(t.sent, &g.total.Checks)
		}
	}
}
