package rpc

import (
	"context"

	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

const (
	// batchItems and batchSize (octets, roughly) end an Uplink: a core starts on
	// it when all of it is there.
	batchItems = 1024
	batchSize  = 256 << 10
	// overhead is what a call takes beside its body, roughly.
	overhead = 64
)

// outbox holds what goes up next. All but wake is guarded by the link's mu. It
// is bounded by what it is made of: the calls by Options.Pending, the rest by the
// edge's sessions.
type outbox struct {
	wake chan struct{} // has one token when the sender has something to do

	calls     []*corepb.Call
	gones     []*corepb.Gone
	registers []*corepb.Register
}

func (o *outbox) call(c *corepb.Call) {
	o.calls = append(o.calls, c)
	o.signal()
}

func (o *outbox) gone(g *corepb.Gone) {
	o.gones = append(o.gones, g)
	o.signal()
}

func (o *outbox) register(r *corepb.Register) {
	o.registers = append(o.registers, r)
	o.signal()
}

func (o *outbox) reset() { o.calls, o.gones, o.registers = nil, nil, nil }

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// send takes all that is queued and sends it, as soon as the last is sent: what
// comes meanwhile makes the next batch. It closes the stream of a core that
// drains when nothing is under way any more; the core ends it then.
func (k *link) send(ctx context.Context, stream core.Core_LinkClient) {
	var calls []*corepb.Call
	for {
		select {
		case <-k.outbox.wake:
		case <-ctx.Done():
			return
		}
		up, last := k.take(calls[:0])
		calls = up.Calls
		if err := sendAll(stream, up); err != nil {
			return // the receiver hears of it too, and says why
		}
		clear(calls)
		if last {
			_ = stream.Close() // the receiver hears how that went
			<-ctx.Done()
			return
		}
	}
}

// take swaps the queue of calls for an empty one; last says that nothing more
// will come.
func (k *link) take(spare []*corepb.Call) (up *corepb.Uplink, last bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := &k.outbox
	up = &corepb.Uplink{Calls: o.calls, Gone: o.gones, Registers: o.registers}
	o.calls, o.gones, o.registers = spare, nil, nil
	return up, k.phase == leaving && len(k.pending) == 0
}

// sendAll sends up in pieces of bounded size. Registers go before Gone: the core
// reads them in that order too.
func sendAll(stream core.Core_LinkClient, up *corepb.Uplink) error {
	if len(up.Registers)+len(up.Gone) > 0 {
		if err := stream.Send(&corepb.Uplink{Registers: up.Registers, Gone: up.Gone}); err != nil {
			return err
		}
	}
	for rest := up.Calls; len(rest) > 0; {
		n := fits(rest)
		if err := stream.Send(&corepb.Uplink{Calls: rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// fits is how many of the calls make one Uplink: one at least.
func fits(calls []*corepb.Call) int {
	size := 0
	for i, c := range calls {
		size += len(c.Body) + overhead
		if i > 0 && (i == batchItems || size > batchSize) {
			return i
		}
	}
	return len(calls)
}
