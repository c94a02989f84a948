package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// errNoRoom is what start gives while too much is unanswered.
var errNoRoom = errors.New("too many unanswered requests")

// request is a frame that waits for its answer.
type request struct {
	size  int // octets of the frame
	since time.Time
	// done gets the answer, on the read loop: while it blocks, nothing is read.
	// It is not called when the connection ends first.
	done func(frame.Frame)
}

// Call sends req and waits for the answer, which it decodes into rep; rep must
// be empty. A refusal is a *Refusal. When ctx or the connection ends first,
// nobody knows whether the action happened. While too much is unanswered on
// this connection, Call waits before it sends.
func (c *Client) Call(ctx context.Context, action idl.Action, req, rep idl.Message) error {
	answers := make(chan frame.Frame, 1)
	done := func(f frame.Frame) {
		f.Body = bytes.Clone(f.Body)
		answers <- f
	}
	if err := c.startWhenRoom(ctx, action, req, done); err != nil {
		return err
	}
	select {
	case f := <-answers:
		return decodeAnswer(f, action, rep)
	case <-ctx.Done():
		return fmt.Errorf("%v without answer: %w", action, ctx.Err())
	case <-c.ended:
	}
	select {
	case f := <-answers: // it came just before the end
		return decodeAnswer(f, action, rep)
	default:
		return fmt.Errorf("%v without answer: %w", action, c.Err())
	}
}

func (c *Client) startWhenRoom(ctx context.Context, action idl.Action, req idl.Message, done func(frame.Frame)) error {
	for {
		c.mu.Lock()
		room := c.room
		c.mu.Unlock()
		err := c.start(action, req, done)
		if !errors.Is(err, errNoRoom) {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%v not sent: %w", action, ctx.Err())
		case <-c.ended:
		}
	}
}

// start queues a request and returns. It gives errNoRoom, a *Refusal TOO_LARGE
// when the server would close the session for the body, or why the connection
// has ended.
func (c *Client) start(action idl.Action, req idl.Message, done func(frame.Frame)) error {
	body, err := idl.Append(nil, c.opts.Codec, req)
	if err != nil {
		return fmt.Errorf("body of %v: %w", action, err)
	}
	if limit := c.maxBody.Load(); int64(len(body)) > limit {
		text := fmt.Sprintf("the body has %d octets, at most %d are allowed", len(body), limit)
		return &Refusal{Action: action, Code: idl.CodeTooLarge, Message: text}
	}
	r := &request{size: frame.HeaderSize + len(body), since: time.Now(), done: done}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("%v not sent: %w", action, c.err)
	}
	if len(c.flying) >= maxFlying || c.bytes > 0 && c.bytes+r.size > maxFlyingBytes {
		return errNoRoom
	}
	return c.fly(r, action, body)
}

// fly queues r for the write loop. It is called with mu held, so that requests
// are written in the order of their sequence-ids. It does not block: out is full
// only when the server answers what it was not asked yet.
func (c *Client) fly(r *request, action idl.Action, body []byte) error {
	c.next = max(c.next+1, 1)
	b, err := c.encode(action, c.next, body)
	if err != nil {
		return err
	}
	select {
	case c.out <- b:
	default:
		return errNoRoom
	}
	if len(c.flying) == 0 {
		c.watchdog.Reset(c.opts.AnswerTimeout)
	}
	c.flying[c.next] = r
	c.bytes += r.size
	c.lastSent.Store(r.since.UnixNano())
	return nil
}

func (c *Client) encode(action idl.Action, sequence uint32, body []byte) ([]byte, error) {
	return c.transport.encode(frame.Frame{Codec: c.opts.Codec, Action: action, Sequence: sequence, Body: body})
}

// answered hands an answer to its request. Read loop only.
func (c *Client) answered(f frame.Frame) {
	r := c.landed(f.Sequence)
	if r == nil {
		c.opts.Log.Debug("answer to no request", "action", f.Action, "sequence", f.Sequence)
		return
	}
	r.done(f)
}

func (c *Client) landed(sequence uint32) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.flying[sequence]
	if r == nil {
		return nil
	}
	delete(c.flying, sequence)
	c.bytes -= r.size
	close(c.room)
	c.room = make(chan struct{})
	if len(c.flying) == 0 {
		c.watchdog.Stop()
	}
	return r
}

// watch is the watchdog: it ends the connection when the oldest request has
// waited for AnswerTimeout, and looks again later when it has not.
func (c *Client) watch() {
	if c.silent() {
		c.end(fmt.Errorf("no answer for %v: %w", c.opts.AnswerTimeout, ErrSilent))
	}
}

func (c *Client) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.flying) == 0 || c.err != nil {
		return false
	}
	oldest := time.Now()
	for _, r := range c.flying {
		if r.since.Before(oldest) {
			oldest = r.since
		}
	}
	left := time.Until(oldest.Add(c.opts.AnswerTimeout))
	if left > 0 {
		c.watchdog.Reset(left)
	}
	return left <= 0
}

func decodeAnswer(f frame.Frame, action idl.Action, rep idl.Message) error {
	if f.Action == idl.ActionError {
		var e wirepb.Error
		if err := idl.Decode(f.Body, f.Codec, &e); err != nil {
			return fmt.Errorf("body of a refusal of %v: %w", action, err)
		}
		return refusal(action, &e)
	}
	if f.Action != action {
		return fmt.Errorf("answer to %v is of action %v", action, f.Action)
	}
	if err := idl.Decode(f.Body, f.Codec, rep); err != nil {
		return fmt.Errorf("answer to %v: %w", action, err)
	}
	return nil
}
