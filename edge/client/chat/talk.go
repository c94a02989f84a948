package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

const (
	maxLine    = 64 << 10 // octets in a line of input
	askTime    = 10 * time.Second
	nameTime   = 2 * time.Second // to find a sender's name; else the number is shown
	maxInWatch = 256             // own messages whose states are watched
)

// errFailed is talk's when a message was not sent; the user has seen which.
var errFailed = errors.New("not everything was sent")

// talker is one run of the program.
type talker struct {
	config  config
	screen  *screen
	session *client.Session // set before the handler's first call returns; see open
	opened  chan struct{}   // closed when session is set

	// Owned by the goroutine of talk.
	to     person
	room   string // lines go there if it is not empty, else to
	failed bool   // not every line was sent, or it is not clear to whom

	watched chan *sent // from talk, closed by it, to watch

	mu    sync.Mutex       // guards the fields below
	names map[int64]string // by user ID
	mine  map[string]bool  // client IDs of this run that the inbox has not shown
	await []*sent          // committed, not delivered; at most maxInWatch
}

type person struct {
	id   int64
	name string
}

// sent is an own message on its way, or only a mark in their row.
type sent struct {
	*client.Pending
	text string
	mark chan struct{} // when not nil, closed by watch when it gets there
}

// talk opens the session and passes lines to it until the input, the session or
// ctx ends.
func talk(ctx context.Context, c config, in io.Reader, scr *screen) error {
	t := &talker{
		config: c, screen: scr, opened: make(chan struct{}), watched: make(chan *sent, maxInWatch),
		names: make(map[int64]string), mine: make(map[string]bool),
	}
	s, err := open(ctx, c, t.handler())
	if err != nil {
		return err
	}
	defer s.Close()
	t.session = s
	close(t.opened)
	if err := t.greet(ctx); err != nil {
		return err
	}
	settled := make(chan bool, 1)
	go func() { settled <- t.watch() }()
	err = t.read(ctx, in)
	close(t.watched)
	if err != nil {
		s.Close() // gives up what is not settled
	}
	return t.outcome(ctx, err, settled)
}

// outcome waits until every line is settled and says how it went.
func (t *talker) outcome(ctx context.Context, err error, settled chan bool) error {
	var good bool
	select {
	case good = <-settled:
	case <-ctx.Done():
		t.session.Close()
		good = <-settled
	}
	switch {
	case err != nil:
		return err
	case !good || t.failed:
		return errFailed
	}
	return nil
}

// greet says who one is and to whom one speaks.
func (t *talker) greet(ctx context.Context) error {
	who := t.session.Who()
	t.screen.notice("signed in as %s (%d) on %s; /help lists the commands", who.Account, who.UserId, who.DeviceId)
	if t.config.to == "" {
		return nil
	}
	return t.turnTo(ctx, t.config.to)
}

// read is the loop over the lines of in. It ends with nil at the end of the
// input or at /quit.
func (t *talker) read(ctx context.Context, in io.Reader) error {
	lines, stop, fault := t.lines(in)
	defer close(stop)
	for {
		select {
		case line, more := <-lines:
			if !more {
				return <-fault
			}
			if leave := t.line(ctx, line); leave {
				return nil
			}
		case <-t.session.Done():
			return t.session.Err()
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
}

// lines reads in on a goroutine of its own, since reading cannot be interrupted.
// The goroutine ends at the end of in, or with the next line after stop is closed.
func (t *talker) lines(in io.Reader) (lines chan string, stop chan struct{}, fault chan error) {
	lines, stop, fault = make(chan string), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(lines)
		scan := bufio.NewScanner(in)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			select {
			case lines <- scan.Text():
			case <-stop:
				return
			}
		}
		fault <- scan.Err()
	}()
	return lines, stop, fault
}

// line handles one line of input; leave is true after /quit.
func (t *talker) line(ctx context.Context, line string) (leave bool) {
	text, isCommand := command(line)
	switch {
	case isCommand:
		var err error
		if leave, err = t.obey(ctx, text); err != nil {
			t.screen.notice("%s", plain(err))
		}
	case strings.TrimSpace(text) == "":
	case t.room != "":
		t.say(ctx, text)
	case t.to.id == 0:
		t.fail("not sent, nobody to send to (/to NAME or /room NAME): %s", text)
	default:
		t.send(ctx, text)
	}
	return leave
}

// fail shows which message was not sent, and makes the exit code tell.
func (t *talker) fail(format string, args ...any) {
	t.failed = true
	t.screen.notice(format, args...)
}

func (t *talker) send(ctx context.Context, text string) {
	p, err := t.session.Send(ctx, client.Outgoing{To: t.to.id, Text: text, ClientID: t.expect()})
	if err != nil {
		t.fail("not sent: %s: %s", plain(err), text)
		return
	}
	t.watched <- &sent{Pending: p, text: text}
}

// watch shows the states of own messages, in the order in which they were sent;
// good is true when all were committed.
func (t *talker) watch() (good bool) {
	good = true
	for m := range t.watched {
		if m.mark != nil {
			close(m.mark)
			continue
		}
		<-m.Settled()
		rep, err := m.Result()
		if err != nil {
			good = false
			t.shown(m.ClientID()) // it never will be
			t.screen.state("✗", m.text)
			t.screen.notice("not sent: %s", plain(err))
			continue
		}
		if rep.Rewritten {
			m.text = rep.Text
			t.screen.notice("changed by a rule: %s", rep.Text)
		}
		t.screen.state("✓", m.text)
		t.mu.Lock()
		t.await = append(t.await, m)
		t.await = t.await[max(0, len(t.await)-maxInWatch):]
		t.mu.Unlock()
		t.showDelivered()
	}
	return good
}

// caughtUp waits until all that was sent is settled and shown.
func (t *talker) caughtUp(ctx context.Context) error {
	mark := make(chan struct{})
	select {
	case t.watched <- &sent{mark: mark}:
	case <-ctx.Done():
		return errors.New("too much is not committed yet")
	}
	select {
	case <-mark:
		return nil
	case <-ctx.Done():
		return errors.New("not everything is committed yet")
	}
}

// showDelivered shows what has been delivered since the last time.
func (t *talker) showDelivered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.await[:0]
	for _, m := range t.await {
		if m.State() == client.Delivered {
			t.screen.state("✓✓", m.text)
		} else {
			rest = append(rest, m)
		}
	}
	clear(t.await[len(rest):])
	t.await = rest
}

// handler shows the session's events.
func (t *talker) handler() client.Handler {
	h := client.Handler{
		Message:   t.message,
		Delivered: func(context.Context, *chatpb.Receipt) { t.showDelivered() },
		Disconnected: func(_ context.Context, d client.Disconnect) {
			if d.Retry > 0 {
				t.screen.notice("not connected: %s; trying again in %v", plain(d.Err), d.Retry.Round(100*time.Millisecond))
			}
		},
		Connected: func(context.Context, *accountpb.AuthReply) { t.screen.notice("connected") },
		Notice: func(_ context.Context, n *wirepb.Notice) {
			t.screen.notice("%s, from the server: %s", n.Event, cmp.Or(n.Text, n.Data))
		},
		Reset: func(_ context.Context, r client.Reset) {
			t.screen.notice("the server's inbox begins anew (%v); what follows may be known", r.Reason)
		},
	}
	t.roomEvents(&h)
	return h
}

func (t *talker) message(ctx context.Context, e *client.Entry) error {
	select {
	case <-t.opened:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case e.Kind == chatpb.MessageKind_MESSAGE_KIND_EVENT:
		t.screen.notice("%s %s", e.Event, e.Data)
	case !e.Mine:
		t.screen.message(e.TimeMs, t.name(ctx, e.SenderId), e.Text)
	case t.shown(e.ClientId):
	default:
		t.screen.message(e.TimeMs, "you to "+t.name(ctx, peer(e)), e.Text)
	}
	return nil
}

// shown reports whether an own message is of this run: then its state is shown,
// and its sender has just typed it.
func (t *talker) shown(clientID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.mine[clientID]
	delete(t.mine, clientID)
	return known
}

// peer is the other person of a chat. Source: idl/README.md, Message IDs.
func peer(e *client.Entry) int64 {
	var a, b int64
	if _, err := fmt.Sscanf(e.ConversationId, "c_%d_%d", &a, &b); err != nil {
		return 0
	}
	if a == e.SenderId {
		return b
	}
	return a
}

// name is a person's account name, or the number when it cannot be found now.
func (t *talker) name(ctx context.Context, id int64) string {
	t.mu.Lock()
	name := t.names[id]
	t.mu.Unlock()
	if name != "" {
		return name
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	who, err := t.session.FindUserID(ctx, id)
	if err != nil {
		return strconv.FormatInt(id, 10)
	}
	t.learn(who)
	return who.Account
}

func (t *talker) learn(who *accountpb.FindUserReply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names[who.UserId] = who.Account
}

// turnTo makes the person with that account name or user ID the one to write to.
func (t *talker) turnTo(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	find := func() (*accountpb.FindUserReply, error) { return t.session.FindUser(ctx, name) }
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		find = func() (*accountpb.FindUserReply, error) { return t.session.FindUserID(ctx, id) }
	}
	who, err := find()
	if client.CodeOf(err) == idl.CodeNotFound {
		return fmt.Errorf("there is no user %q", name)
	}
	if err != nil {
		return err
	}
	t.learn(who)
	t.to, t.room = person{id: who.UserId, name: who.Account}, ""
	t.screen.notice("writing to %s (%d)", who.Account, who.UserId)
	return nil
}
