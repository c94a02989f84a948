package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/idl/kitex_gen/wirepb"
)

// usualHeartbeat is for a server that names none.
const usualHeartbeat = 30 * time.Second

// ghostTime is how long after an Auth that was not answered what it began may
// still come to be: a session of this device, on a connection that is gone, which
// ends the one that lives. Source: idl/README.md, Close reasons.
const ghostTime = time.Minute

// errUnanswered is in the error of an attempt whose Auth may still be taken.
var errUnanswered = errors.New("no answer to Auth")

// link is the session's connection: none, being made, or live. The run loop
// owns it.
type link struct {
	addresses []string // of the service, never empty
	at        int      // the one that is tried or connected
	conn      *Client  // nil while not connected
	dialing   bool
	dialAt    time.Time // no attempt before; zero is now
	since     time.Time // when conn came
	ghost     time.Time // when an Auth was last left unanswered; zero: never
	heartbeat time.Duration
	beating   bool // a heartbeat waits for its answer
	pauses    backoff
}

func newLink(o Options) link {
	return link{addresses: o.all(), pauses: backoff{min: o.MinPause, max: o.MaxPause}}
}

// ended is closed when the connection has ended; nil while there is none.
func (l *link) ended() <-chan struct{} {
	if l.conn == nil {
		return nil
	}
	return l.conn.Done()
}

// backoff gives pauses that double from min to max.
type backoff struct {
	min, max time.Duration
	tries    int
}

// next is a random pause of at least a quarter of the ceiling and at least floor.
func (b *backoff) next(floor time.Duration) time.Duration {
	ceiling := b.ceiling()
	b.tries++
	return max(floor, ceiling/4+rand.N(ceiling-ceiling/4))
}

func (b *backoff) ceiling() time.Duration {
	d := b.min
	for range b.tries {
		if d *= 2; d >= b.max {
			return b.max
		}
	}
	return d
}

// connectDue starts an attempt to connect when it is time.
func (s *Session) connectDue(ctx context.Context, now time.Time) time.Time {
	l := &s.link
	if s.ending() || l.conn != nil || l.dialing {
		return time.Time{}
	}
	if now.Before(l.dialAt) {
		return l.dialAt
	}
	l.dialing = true
	address := l.addresses[l.at]
	s.tasks.Go(func() { s.connect(ctx, address) })
	return time.Time{}
}

// connect is one attempt, on a goroutine of its own.
func (s *Session) connect(ctx context.Context, address string) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ConnectTimeout)
	defer cancel()
	conn, who, err := s.dialAndAuth(ctx, address)
	if !s.post(func() { s.connected(conn, who, err) }) && conn != nil {
		conn.Close()
	}
}

func (s *Session) dialAndAuth(ctx context.Context, address string) (*Client, *accountpb.AuthReply, error) {
	conn, err := dial(ctx, s.opts.at(address), s.receive)
	if err != nil {
		return nil, nil, err
	}
	who, err := conn.Auth(ctx, s.opts.Token)
	if err != nil {
		conn.Close()
		if !decided(err) {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		}
		return nil, nil, err
	}
	return conn, who, nil
}

// decided reports whether an error of Auth says that the server let nobody in,
// and will not for this Auth.
func decided(err error) bool {
	if _, quit := errors.AsType[*Quit](err); quit {
		return true
	}
	r, refused := errors.AsType[*Refusal](err)
	return refused && hopeless(r.Code)
}

// connected is an attempt's result.
func (s *Session) connected(conn *Client, who *accountpb.AuthReply, err error) {
	l := &s.link
	l.dialing = false
	if err != nil {
		if errors.Is(err, errUnanswered) {
			l.ghost = time.Now()
		}
		s.parted(err)
		return
	}
	l.conn, l.since = conn, time.Now()
	l.heartbeat = orDuration(milliseconds(who.HeartbeatMs), usualHeartbeat)
	if s.ending() {
		return // leave closes it
	}
	s.publish(conn, who)
	s.events.add(&event{kind: connectedEvent, who: who})
	s.resume(who)
}

// disconnected is the end of a connection that had passed Auth.
func (s *Session) disconnected() {
	l := &s.link
	conn, lived := l.conn, time.Since(l.since)
	l.conn, l.beating = nil, false
	s.tasks.Go(func() { conn.Close() })
	s.publish(nil, nil)
	s.outbox.land()
	s.acks.land()
	s.inbox.syncing = false
	s.cutRooms()
	if lived > l.pauses.ceiling() {
		l.pauses.tries = 0 // it was a good one: begin with short pauses again
	}
	s.parted(conn.Err())
}

// parted decides what follows a connection that ended or never came to be.
// Source: idl/README.md, Close reasons.
func (s *Session) parted(err error) {
	if s.ending() {
		return
	}
	var floor time.Duration
	q, quit := errors.AsType[*Quit](err)
	r, refused := errors.AsType[*Refusal](err)
	switch {
	case haunted(err) && time.Since(s.link.ghost) < ghostTime:
		// By a connection of its own, most likely, that is gone.
	case quit && !q.Reconnect, refused && !quit && hopeless(r.Code):
		s.events.add(&event{kind: disconnectedEvent, cut: Disconnect{Err: err}})
		s.finish(err)
		return
	case quit:
		floor = q.pause()
	case refused:
		floor = r.RetryAfter
	}
	pause := s.link.pauses.next(floor)
	s.link.at = (s.link.at + 1) % len(s.link.addresses)
	s.link.dialAt = time.Now().Add(pause)
	s.opts.Log.Info("disconnected", "reason", err, "retry", pause)
	s.events.add(&event{kind: disconnectedEvent, cut: Disconnect{Err: err, Retry: pause}})
}

// haunted reports whether err says that the device has a newer session.
func haunted(err error) bool {
	if q, quit := errors.AsType[*Quit](err); quit {
		return q.Reason == idl.CloseReplaced
	}
	return CodeOf(err) == idl.CodePermissionDenied
}

// hopeless reports whether an Auth refused with c would be refused again.
func hopeless(c idl.Code) bool {
	f := fateOf(c)
	return f == final || f == signIn
}

// publish shows the live connection to callers.
func (s *Session) publish(conn *Client, who *accountpb.AuthReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = conn
	if who != nil {
		s.who = who
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// heartbeatDue sends a heartbeat when nothing else was sent for the interval.
func (s *Session) heartbeatDue(now time.Time) time.Time {
	l := &s.link
	due := time.Unix(0, l.conn.lastSent.Load()).Add(l.heartbeat)
	if l.beating || s.ending() {
		return time.Time{}
	}
	if now.Before(due) {
		return due
	}
	req, rep := new(wirepb.HeartbeatRequest), new(wirepb.HeartbeatReply)
	if err := s.request(idl.ActionHeartbeat, req, rep, func(error) { l.beating = false }); err != nil {
		return now.Add(soon)
	}
	l.beating = true
	return time.Time{} // the answer wakes the loop again
}

// authAgain gives the connection up when err says that it lost its Auth; the
// Auth of the next one decides whether the session is over.
func (s *Session) authAgain(err error) {
	if fateOf(CodeOf(err)) == signIn {
		s.link.conn.end(fmt.Errorf("server wants Auth again: %s", err))
	}
}

// receive gets the connection's pushes, on its read loop.
func (s *Session) receive(conn *Client, p Push) {
	var handle func()
	var err error
	switch p.Action {
	case idl.ActionMessage:
		e := new(chatpb.InboxEntry)
		err = p.Decode(e)
		handle = func() { s.pushed(e) }
	case idl.ActionMessageAck:
		r := new(chatpb.Receipt)
		err = p.Decode(r)
		handle = func() { s.receiptPushed(r) }
	case idl.ActionRead:
		r := new(chatpb.Read)
		err = p.Decode(r)
		handle = func() { s.readPushed(r) }
	case idl.ActionTyping:
		t := new(chatpb.Typing)
		err = p.Decode(t)
		handle = func() { s.events.addTyping(t) }
	case idl.ActionPresence:
		f := new(socialpb.Presence)
		err = p.Decode(f)
		handle = func() { s.events.addFriends(f) }
	case idl.ActionHeld:
		h := new(chatpb.Held)
		err = p.Decode(h)
		handle = func() { s.heldPushed(h) }
	case idl.ActionSync:
		handle = func() { s.inbox.behind = true }
	case idl.ActionNotice:
		n := new(wirepb.Notice)
		err = p.Decode(n)
		handle = func() { s.events.addNotice(n) }
	case idl.ActionRoomMessage:
		m := new(roompb.RoomMessage)
		err = p.Decode(m)
		handle = func() { s.roomPushed(m) }
	case idl.ActionRoomHistory:
		skip := new(roompb.RoomSkip)
		err = p.Decode(skip)
		handle = func() { s.roomSkipped(skip) }
	case idl.ActionLeaveRoom:
		left := new(roompb.RoomLeft)
		err = p.Decode(left)
		handle = func() { s.roomLeft(left) }
	case idl.ActionRoomInfo:
		info := new(roompb.RoomInfo)
		err = p.Decode(info)
		handle = func() { s.events.addRoomInfo(info) }
	case idl.ActionRoomMembers:
		who := new(roompb.RoomPresence)
		err = p.Decode(who)
		handle = func() { s.events.addPresence(who) }
	default:
		s.opts.Log.Debug("push of an action not known here", "action", p.Action)
		return
	}
	if err != nil { // of no use as it is; what it said comes with Sync
		s.opts.Log.Warn("push cannot be read", "action", p.Action, "err", err)
		handle = func() { s.inbox.behind = true }
	}
	s.post(func() {
		if s.link.conn == conn && !s.ending() {
			handle()
		}
	})
}
