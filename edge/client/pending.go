package client

import (
	"context"
	"sync"

	"freeim/idl/kitex_gen/chatpb"
)

// State is what is known of a message that was given to Send.
type State int

const (
	// Queued: the session has it. It may or may not have reached the server.
	Queued State = iota
	// Committed: the server has it on disk, with an ID and a seq.
	Committed
	// Delivered: a device of the other person's holds it.
	Delivered
	// Refused: the server said no and would say no again.
	Refused
	// Held: the server keeps it for a decision, which makes it committed or refused.
	Held
	// GivenUp: the session was over first. Nobody knows; send it again with the
	// same ClientID.
	GivenUp
)

func (s State) String() string {
	switch s {
	case Queued:
		return "queued"
	case Committed:
		return "committed"
	case Delivered:
		return "delivered"
	case Refused:
		return "refused"
	case Held:
		return "held"
	case GivenUp:
		return "given up"
	}
	return "unknown"
}

// Pending is a message that was given to Send, and what became of it. Its
// methods are safe for concurrent use.
type Pending struct {
	settled   chan struct{} // closed when the state leaves Queued
	delivered chan struct{} // closed when the state becomes Delivered

	// Owned by the run loop.
	req    *chatpb.SendRequest
	flying bool
	tries  int // refusals that leave open what happened

	mu    sync.Mutex // guards the fields below
	state State
	reply *chatpb.SendReply
	err   error
}

func newPending(req *chatpb.SendRequest) *Pending {
	return &Pending{req: req, settled: make(chan struct{}), delivered: make(chan struct{})}
}

// ClientID is the message's client_id.
func (p *Pending) ClientID() string { return p.req.ClientId }

// State is what is known now.
func (p *Pending) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Settled is closed when the message is committed, held, refused or given up.
func (p *Pending) Settled() <-chan struct{} { return p.settled }

// Delivered is closed when the message is delivered. It stays open for ever when
// the message is refused, given up or never delivered, and when more than 1,024
// messages were committed after this one before the receipt came.
func (p *Pending) Delivered() <-chan struct{} { return p.delivered }

// Result is the server's answer once the message is committed or held, or why it never
// will be: a *Refusal, or the session's Err. Both are nil before. What was held has
// another one once it is decided about.
func (p *Pending) Result() (*chatpb.SendReply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reply, p.err
}

// Wait waits until the message is settled and gives Result.
func (p *Pending) Wait(ctx context.Context) (*chatpb.SendReply, error) {
	select {
	case <-p.settled:
		return p.Result()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// settle is called once, by the run loop; of what was held, a second time.
func (p *Pending) settle(state State, reply *chatpb.SendReply, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != Held {
		close(p.settled)
	}
	p.state, p.reply, p.err = state, reply, err
}

// deliver is called once, by the run loop, after settle with Committed.
func (p *Pending) deliver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = Delivered
	close(p.delivered)
}
