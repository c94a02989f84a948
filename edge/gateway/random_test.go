package gateway_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// TestConnectionsAtRandom opens, closes, resets and stalls connections of every
// kind while pushes, broadcasts and kicks are sent to them. Each room's frames must
// come whole and in order, every bound session must be gone once in the end, and
// nothing may be left. It is meant for the race detector.
func TestConnectionsAtRandom(t *testing.T) {
	const clients, lives = 16, 10
	e := newEdge(t, gateway.Options{Backlog: 64 << 10, Stall: 100 * time.Millisecond}, session.Options{Heartbeat: 500 * time.Millisecond})
	var living, disturbing sync.WaitGroup
	stop := make(chan struct{})
	disturb := func(every time.Duration, do func(i int)) {
		disturbing.Go(func() {
			pace := time.NewTicker(every)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-pace.C:
					do(i)
				}
			}
		})
	}
	disturb(200*time.Microsecond, func(int) { pushAtRandom(e) })
	disturb(300*time.Microsecond, func(i int) { broadcastToAll(t, e, 1, i) })
	disturb(300*time.Microsecond, func(i int) { broadcastToAll(t, e, 2, i) })
	disturb(5*time.Millisecond, func(int) { e.hub.Kick([]session.ID{anyone()}, idl.CloseKicked, "", 0) })
	for range clients {
		living.Go(func() {
			for range lives {
				liveAtRandom(t, e)
			}
		})
	}
	living.Wait()
	close(stop)
	disturbing.Wait()
	eventually(t, "all to be gone", func() bool { return e.hub.Stats().Sessions == 0 && e.Stats().Conns == 0 })
	if got := e.Stats().Panics; got > 0 {
		t.Errorf("%d connections broke", got)
	}
	for id := range session.ID(clients * lives) {
		eventually(t, "the core to hear of each once", func() bool { return e.core.gones(id+1) == e.core.binds(id+1) })
	}
}

// anyone is a session that may be there, or have been, or be about to be.
func anyone() session.ID { return session.ID(1 + rand.IntN(170)) }

// pushAtRandom delivers a few things at once.
func pushAtRandom(e *edge) {
	var d session.Delivery
	for range rand.IntN(20) {
		body := append([]byte{9, 0, 0, 0, 0}, make([]byte, rand.IntN(3000))...)
		d.Pushes = append(d.Pushes, session.Push{Action: idl.ActionMessage, Sessions: []session.ID{anyone(), anyone()}, Protobuf: body})
	}
	e.hub.Deliver(d)
}

// broadcastToAll is a room's i-th pass: one block to whoever is there.
func broadcastToAll(t *testing.T, e *edge, room byte, i int) {
	const most = 3
	var blocks [session.Wires][]byte
	for w := range blocks {
		blocks[w] = block(t, session.Wire(w), room, i*most, 1+i%most, rand.IntN(2000))
	}
	for n, to := range e.Transports() {
		wire := to.Wire(idl.CodecProtobuf, n%3 == 0)
		if wire == session.WireText { // whose bodies would have to be JSON
			wire = session.WireMessageProtobuf
		}
		to.Broadcast(blocks[wire], new(waiter))
	}
}

// liveAtRandom is one client's life.
func liveAtRandom(t *testing.T, e *edge) {
	p := [](func(testing.TB, *edge) *peer){dialTCP, dialWS, dialTLS, dialWSS}[rand.IntN(4)](t, e)
	defer p.conn.Close()
	out := frame.Append(nil, frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1})
	next := make(map[byte]int)
	for i := range uint32(1 + rand.IntN(80)) {
		if _, err := p.conn.Write(p.wrap(out)); err != nil || !p.readSome(next, 1+rand.IntN(8)) {
			return
		}
		out = frame.Append(nil, chat(i+2, string([]byte{9, 0, 0, 0, 0})))
		switch rand.IntN(60) {
		case 0:
			p.tcp.SetLinger(0)
			return
		case 1:
			p.tcp.CloseWrite()
			p.readSome(next, 1<<30)
			return
		case 2:
			p.conn.Write(p.wrap(out)[:rand.IntN(len(out))])
			return
		case 3: // nothing is read until long after the edge has given up
			<-time.After(300 * time.Millisecond)
			return
		}
	}
	p.conn.Write(p.wrap(frame.Append(nil, frame.Frame{Action: idl.ActionQuit})))
	p.readSome(next, 1<<30)
}

// readSome reads frames and holds those of rooms to their order; false: the
// connection has ended.
func (p *peer) readSome(next map[byte]int, many int) bool {
	for range many {
		f, err := p.next()
		if fault, ok := errors.AsType[*frame.CloseError](err); ok {
			p.t.Errorf("what came is no frame: %v", fault)
		}
		if err != nil {
			return false
		}
		if f.Action != idl.ActionMessage || len(f.Body) == 0 || f.Body[0] == 9 {
			continue
		}
		room, n := f.Body[0], int(binary.BigEndian.Uint32(f.Body[1:]))
		if n < next[room] {
			p.t.Errorf("room %d: got %d, want %d or later", room, n, next[room])
		}
		next[room] = n + 1
	}
	return true
}
