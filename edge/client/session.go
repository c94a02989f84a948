package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// Session keeps a person's device connected: it reconnects, resumes its inbox,
// resends what was not answered, acknowledges and sends heartbeats, until Close
// or until the server says not to come back. All methods are safe for
// concurrent use.
//
// Three kinds of goroutines belong to it, and Close waits for all: the run loop,
// which owns everything that changes and never blocks; the dispatcher, which
// calls Handler and CursorStore, one thing at a time; and one for each attempt
// to connect. Connections (Client) have their own two loops and pass what they
// read to the run loop through mail.
type Session struct {
	Actions

	opts   Options
	cancel context.CancelFunc // asks the run loop to end; Close
	tasks  sync.WaitGroup

	mail     chan func()   // to the run loop, which runs each; never closed
	sends    chan *Pending // to the run loop, taken while the outbox has room; never closed
	jobs     chan job      // from the run loop to the dispatcher; never closed
	finished chan struct{} // closed by finish: nothing is sent or received any more
	over     chan struct{} // closed by the run loop at its end: every event was told

	mu      sync.Mutex           // guards the fields below
	live    *Client              // nil while not connected
	who     *accountpb.AuthReply // of the newest Auth, nil before the first
	in      map[string]*Client   // the rooms wanted, and on which connection the session is in them
	alias   map[string]string    // the server's names of rooms that were joined under another spelling
	changed chan struct{}        // closed and replaced when live or in changes
	err     error                // why the session is over

	// Everything below is owned by the run loop.
	timer  *time.Timer
	link   link
	inbox  inbox
	outbox outbox
	acks   acks
	events events
	keeper keeper
	rooms  map[string]*room
}

// job is what the dispatcher does next: tell an event or save a cursor.
type job struct {
	event *event
	save  *Cursor
}

// Open loads the cursor and starts a session. It does not wait for a connection:
// use Ready, or just send. ctx bounds only Open itself; its values go on to the
// handler and the store.
func Open(ctx context.Context, o Options) (*Session, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Token == "" {
		return nil, errors.New("a session needs a token: sign in first")
	}
	o.setDefaults()
	cursor, err := o.Store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the cursor: %w", err)
	}
	s := newSession(o, cursor)
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.tasks.Go(func() { s.run(run) })
	s.tasks.Go(func() { s.dispatch(run) })
	return s, nil
}

func newSession(o Options, cursor Cursor) *Session {
	s := &Session{
		opts: o,
		mail: make(chan func()), sends: make(chan *Pending), jobs: make(chan job),
		finished: make(chan struct{}), over: make(chan struct{}), changed: make(chan struct{}),
		timer:  time.NewTimer(0),
		link:   newLink(o),
		inbox:  newInbox(cursor),
		outbox: newOutbox(o.Outbox),
		acks:   newAcks(cursor.Unacked),
		events: events{max: o.Queue},
		keeper: keeper{cursor: cursor.clone()},
		rooms:  make(map[string]*room),
		in:     make(map[string]*Client),
		alias:  make(map[string]string),
	}
	s.Actions.call = s.Call
	return s
}

// Ready waits until the session is connected and has passed Auth, or is over;
// then it gives why.
func (s *Session) Ready(ctx context.Context) error {
	_, err := s.connection(ctx)
	return err
}

// Who is what the newest Auth said, nil before the first. Do not change it.
func (s *Session) Who() *accountpb.AuthReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}

// Call is Client.Call on the connection of the moment; it waits for one until
// ctx ends. It does not try again: when the connection ends before the answer,
// nobody knows whether the action happened.
func (s *Session) Call(ctx context.Context, action idl.Action, req, rep idl.Message) error {
	c, err := s.connection(ctx)
	if err != nil {
		return err
	}
	return c.Call(ctx, action, req, rep)
}

// connection is the live connection; it waits for one.
func (s *Session) connection(ctx context.Context) (*Client, error) {
	for {
		s.mu.Lock()
		c, changed, err := s.live, s.changed, s.err
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if c != nil && c.Err() == nil { // else the run loop is about to hear of its end
			return c, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("not connected: %w", ctx.Err())
		}
	}
}

// Done is closed when the session is over and every event was told; Err says why.
func (s *Session) Done() <-chan struct{} { return s.over }

// Err is why the session is over: ErrClosed after Close, else as Handler.Ended
// got it. Nil while it goes on.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session and waits for its goroutines: for the handler's
// function that runs, then for a last Save. Events that wait are dropped and
// come again after the next Open. What Send took and the server has not
// answered is given up: its Pending ends with ErrClosed.
func (s *Session) Close() error {
	s.cancel()
	s.tasks.Wait()
	return nil
}

// run is the run loop.
func (s *Session) run(ctx context.Context) {
	defer s.leave()
	closing := ctx.Done()
	for !s.idle() {
		s.advance(ctx)
		jobs, j := s.offer()
		select {
		case f := <-s.mail:
			f()
		case p := <-s.taking():
			s.outbox.add(p)
		case jobs <- j:
			s.handed(j)
		case <-s.link.ended():
			s.disconnected()
		case <-s.timer.C:
		case <-closing:
			closing = nil
			s.close()
		}
	}
}

// post gives f to the run loop. It is false when that has ended.
func (s *Session) post(f func()) bool {
	select {
	case s.mail <- f:
		return true
	case <-s.over:
		return false
	}
}

// advance does what can be done now and sets the timer for the rest.
func (s *Session) advance(ctx context.Context) {
	now := time.Now()
	wake := wakeUp{now: now}
	wake.at(s.connectDue(ctx, now))
	if s.link.conn != nil {
		wake.at(s.syncDue(now))
		wake.at(s.acksDue(now))
		wake.at(s.sendsDue(now))
		wake.at(s.roomsDue(now))
		wake.at(s.heartbeatDue(now))
	}
	wake.at(s.keeper.due())
	s.timer.Reset(wake.pause())
}

// soon is when to look again for room among the requests of a connection that
// Call shares.
const soon = 50 * time.Millisecond

// wakeUp finds the earliest of several times; the zero time is never.
type wakeUp struct {
	now, next time.Time
}

func (w *wakeUp) at(t time.Time) {
	if !t.IsZero() && (w.next.IsZero() || t.Before(w.next)) {
		w.next = t
	}
}

func (w *wakeUp) pause() time.Duration {
	if w.next.IsZero() {
		return time.Hour
	}
	return max(w.next.Sub(w.now), time.Millisecond)
}

// taking is sends while the outbox has room, else nil.
func (s *Session) taking() <-chan *Pending {
	if s.ending() || s.outbox.full() {
		return nil
	}
	return s.sends
}

// finish makes the session end with err, the first that is given.
func (s *Session) finish(err error) {
	if s.ending() {
		return
	}
	s.mu.Lock()
	s.err = err
	close(s.finished)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.outbox.giveUp(err)
	if !errors.Is(err, ErrClosed) {
		s.opts.Log.Info("session is over", "reason", err)
		s.events.add(&event{kind: endedEvent, err: err})
	}
}

// close is Close arriving at the run loop.
func (s *Session) close() {
	s.finish(ErrClosed)
	s.events.clear()
}

// ending reports whether finish was called.
func (s *Session) ending() bool {
	select {
	case <-s.finished:
		return true
	default:
		return false
	}
}

// idle reports whether the session is over and all that follows is done.
func (s *Session) idle() bool {
	return s.ending() && s.events.empty() && s.keeper.rest()
}

// leave is the end of the run loop: it frees whoever waits for it, then the
// connection, whose read loop may have been among them.
func (s *Session) leave() {
	close(s.over)
	s.cancel()
	s.timer.Stop()
	if s.link.conn != nil {
		s.acksDue(time.Now()) // those of the last save; Close flushes them
		s.link.conn.Close()
	}
}

// request starts a request on the connection; then gets its answer on the run
// loop, unless the connection is replaced by then: whoever waits for the answer
// must start again after disconnected. It gives what start gives.
func (s *Session) request(action idl.Action, req, rep idl.Message, then func(error)) error {
	conn := s.link.conn
	return conn.start(action, req, func(f frame.Frame) {
		err := decodeAnswer(f, action, rep)
		s.post(func() {
			if s.link.conn == conn && !s.ending() {
				then(err)
			}
		})
	})
}
