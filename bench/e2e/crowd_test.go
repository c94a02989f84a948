package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// crowd is pairs of people who talk while things go wrong, and what was promised
// to them meanwhile.
type crowd struct {
	t     *testing.T
	pairs []*pair
	acked atomic.Int64
}

// pair is two people who send to each other, each on one device.
type pair struct {
	devices [2]*device
	told    [2]told
}

// told is what one device has been told.
type told struct {
	mu      sync.Mutex                   // guards the fields below
	acks    map[string]*chatpb.SendReply // by client ID
	entries []*client.Entry              // as the application saw them
}

// gather makes n pairs that reach the server as options says.
func gather(t *testing.T, n int, options func() client.Options) *crowd {
	c := &crowd{t: t}
	for i := range n {
		p := &pair{}
		for side := range p.devices {
			owner, err := signUp(t.Context(), options(), fmt.Sprintf("p%d-%d", i, side))
			if err != nil {
				t.Fatal(err)
			}
			d, err := newDevice(t.Context(), options(), owner, "phone", idl.DeviceMobile)
			if err != nil {
				t.Fatal(err)
			}
			// The crowd keeps books of its own, for every entry.
			if err := d.disconnect(); err != nil {
				t.Fatal(err)
			}
			told := &p.told[side]
			told.acks = map[string]*chatpb.SendReply{}
			d.options.Store = &client.MemoryStore{}
			d.options.Handler.Message = func(_ context.Context, e *client.Entry) error {
				told.mu.Lock()
				defer told.mu.Unlock()
				told.entries = append(told.entries, e)
				return nil
			}
			if err := d.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.devices[side] = d
		}
		c.pairs = append(c.pairs, p)
	}
	return c
}

// talk has everybody send count messages and returns when all are acknowledged.
func (c *crowd) talk(ctx context.Context, count int) {
	var all sync.WaitGroup
	for _, p := range c.pairs {
		for side, d := range p.devices {
			all.Go(func() { c.speak(ctx, p, side, d, count) })
		}
	}
	all.Wait()
}

// speak sends count messages, a few ahead of their answers.
func (c *crowd) speak(ctx context.Context, p *pair, side int, d *device, count int) {
	const ahead = 4
	slots := make(chan struct{}, ahead)
	var waiting sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		sent, err := d.session.Send(ctx, client.Outgoing{
			To: p.devices[1-side].owner.id, Text: fmt.Sprint("text ", i), ClientID: fmt.Sprintf("%s-%d", d.owner.name, i)})
		if err != nil {
			c.t.Error(err)
			return
		}
		waiting.Go(func() {
			defer func() { <-slots }()
			rep, err := sent.Wait(ctx)
			if err != nil {
				c.t.Errorf("%s: %v", sent.ClientID(), err)
				return
			}
			p.told[side].mu.Lock()
			p.told[side].acks[sent.ClientID()] = rep
			p.told[side].mu.Unlock()
			c.acked.Add(1)
		})
	}
	waiting.Wait()
}

// audit holds what is stored, and what was shown, against what was promised:
// every acknowledged message is in the log at its seq, the log is dense, nobody
// was shown anything twice or out of order, and everybody was shown everything.
func (c *crowd) audit(ctx context.Context) {
	for i, p := range c.pairs {
		log := c.readLog(ctx, p)
		byClientID := map[string]*chatpb.Message{}
		for at, m := range log {
			if m.Seq != int64(at+1) {
				c.t.Fatalf("pair %d: seq %d at place %d", i, m.Seq, at+1)
			}
			if at > 0 && m.Id <= log[at-1].Id {
				c.t.Errorf("pair %d: ID %s after %s", i, m.Id, log[at-1].Id)
			}
			if twice := byClientID[m.ClientId]; twice != nil {
				c.t.Errorf("pair %d: %s is stored as seq %d and %d", i, m.ClientId, twice.Seq, m.Seq)
			}
			byClientID[m.ClientId] = m
		}
		for side := range p.told {
			c.auditSide(ctx, p, side, log, byClientID)
		}
	}
}

func (c *crowd) auditSide(ctx context.Context, p *pair, side int, log []*chatpb.Message, byClientID map[string]*chatpb.Message) {
	told, who := &p.told[side], p.devices[side].owner.name
	for id, rep := range told.acks {
		if m := byClientID[id]; m == nil || m.Id != rep.MessageId || m.Seq != rep.Seq {
			c.t.Errorf("%s: %s was acknowledged as %s, seq %d; stored is %+v", who, id, rep.MessageId, rep.Seq, m)
		}
	}
	err := until(ctx, func() (bool, error) {
		told.mu.Lock()
		defer told.mu.Unlock()
		return len(told.entries) >= len(log), nil
	})
	told.mu.Lock()
	defer told.mu.Unlock()
	if err != nil || len(told.entries) != len(log) {
		c.t.Errorf("%s was shown %d messages of %d: %v", who, len(told.entries), len(log), err)
		return
	}
	for at, e := range told.entries {
		if e.InboxSeq != int64(at+1) || e.Id != log[at].Id {
			c.t.Errorf("%s was shown %s as inbox seq %d at place %d, the log has %s", who, e.Id, e.InboxSeq, at+1, log[at].Id)
			return
		}
	}
}

// readLog reads the pair's whole conversation, oldest first.
func (c *crowd) readLog(ctx context.Context, p *pair) (log []*chatpb.Message) {
	req := &chatpb.HistoryRequest{WithUserId: p.devices[1].owner.id, Limit: 500}
	for {
		rep, err := p.devices[0].session.History(ctx, req)
		if err != nil {
			c.t.Fatal(err)
		}
		slices.Reverse(rep.Messages) // newest first, as they come
		log = append(rep.Messages, log...)
		if !rep.HasMore {
			return log
		}
		req.BeforeSeq = log[0].Seq
	}
}

// leave ends everybody's session.
func (c *crowd) leave() {
	for _, p := range c.pairs {
		for _, d := range p.devices {
			if err := d.disconnect(); err != nil {
				c.t.Error(err)
			}
		}
	}
}
