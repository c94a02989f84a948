package gateway_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// block is frames with a number, a sender and filling each, for one wire.
func block(t testing.TB, w session.Wire, sender byte, first, many, filling int) []byte {
	t.Helper()
	var frames []frame.Frame
	for i := range many {
		body := append([]byte{sender}, binary.BigEndian.AppendUint32(nil, uint32(first+i))...)
		frames = append(frames, frame.Frame{Action: idl.ActionMessage, Body: append(body, make([]byte, filling)...)})
	}
	p, err := session.AppendBlock(nil, w, frames...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantNumbered takes one frame of a block.
func (p *peer) wantNumbered() (sender byte, number int) {
	p.t.Helper()
	f := p.want(idl.ActionMessage, 0)
	if len(f.Body) < 5 {
		p.t.Fatalf("got a body of %d octets", len(f.Body))
	}
	return f.Body[0], int(binary.BigEndian.Uint32(f.Body[1:]))
}

// onlyTransport is the one connection's.
func (e *edge) onlyTransport(t testing.TB) session.Transport {
	t.Helper()
	var all []session.Transport
	eventually(t, "the connection", func() bool { all = e.Transports(); return len(all) == 1 })
	return all[0]
}

// waiter counts calls.
type waiter struct{ called atomic.Int32 }

func (w *waiter) Writable() { w.called.Add(1) }

func TestWires(t *testing.T) {
	for _, row := range []struct {
		name string
		dial func(testing.TB, *edge) *peer
		want [3]session.Wire // JSON, protobuf, text
	}{
		{"tcp", dialTCP, [3]session.Wire{session.WireJSON, session.WireProtobuf, session.WireJSON}},
		{"tls", dialTLS, [3]session.Wire{session.WireJSON, session.WireProtobuf, session.WireJSON}},
		{"websocket", dialWS, [3]session.Wire{session.WireMessageJSON, session.WireMessageProtobuf, session.WireText}},
		{"wss", dialWSS, [3]session.Wire{session.WireMessageJSON, session.WireMessageProtobuf, session.WireText}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{}, session.Options{})
			row.dial(t, e).auth()
			to := e.onlyTransport(t)
			got := [3]session.Wire{to.Wire(idl.CodecJSON, false), to.Wire(idl.CodecProtobuf, false), to.Wire(idl.CodecJSON, true)}
			if got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

// TestBroadcastToOneThatStopsReading: a room's share fills, and is refused; chats
// still pass; when the client reads on, everything comes in order and who was
// refused hears of it once.
func TestBroadcastToOneThatStopsReading(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		to := e.onlyTransport(t)
		wire := to.Wire(idl.CodecProtobuf, false)
		const many = 4
		var first, second waiter
		var sent [4]int // by sender
		for to.Broadcast(block(t, wire, 1, sent[1], many, 2000), &first) {
			sent[1] += many
		}
		for to.Broadcast(block(t, wire, 2, sent[2], many, 2000), &second) { // the socket may have taken some more
			sent[2] += many
		}
		for ; sent[3] < 100; sent[3]++ {
			e.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1}, Protobuf: []byte{3, 0, 0, 0, byte(sent[3])}})
		}
		if got := e.hub.Stats(); got.Live != 1 {
			t.Fatal("chats did not pass: the session is closed")
		}
		var next [4]int
		for range sent[1] + sent[2] + sent[3] {
			sender, n := p.wantNumbered()
			if n != next[sender] {
				t.Fatalf("got frame %d of %d, want %d", n, sender, next[sender])
			}
			next[sender]++
		}
		eventually(t, "both to hear of room", func() bool { return first.called.Load() == 1 && second.called.Load() == 1 })
		if !to.Broadcast(block(t, wire, 2, 7, 1, 0), &second) {
			t.Fatal("refused, though there is room")
		}
		if sender, n := p.wantNumbered(); sender != 2 || n != 7 {
			t.Fatalf("got frame %d of %d, want 7 of 2", n, sender)
		}
	})
}

// TestRefusedAndGone: nobody is called when the connection ends first.
func TestRefusedAndGone(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		to := e.onlyTransport(t)
		var w waiter
		p1 := block(t, to.Wire(idl.CodecProtobuf, false), 1, 0, 4, 2000)
		for to.Broadcast(p1, &w) {
		}
		p.tcp.SetLinger(0)
		p.tcp.Close()
		eventually(t, "the session to be gone", func() bool { return e.hub.Stats().Sessions == 0 })
		if !to.Broadcast(p1, &w) {
			t.Error("a connection that has ended refuses")
		}
		if got := w.called.Load(); got > 0 {
			t.Errorf("called %d times", got)
		}
	})
}

// TestBroadcastKeepsOrder: rooms, chats and answers of many goroutines, to a
// client that reads now and then; of each the order is kept, nothing is torn.
func TestBroadcastKeepsOrder(t *testing.T) {
	const rooms, blocks, many = 4, 300, 3
	transports(t, gateway.Options{Backlog: 64 << 20}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		to := e.onlyTransport(t)
		wire := to.Wire(idl.CodecProtobuf, false)
		var sending sync.WaitGroup
		for r := range byte(rooms) {
			sending.Go(func() {
				for i := range blocks {
					if !to.Broadcast(block(t, wire, r, i*many, many, i*4), nil) {
						t.Error("refused")
						return
					}
				}
			})
			sending.Go(func() {
				for i := range blocks * many {
					body := binary.BigEndian.AppendUint32([]byte{rooms + r}, uint32(i))
					e.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1}, Protobuf: body})
				}
			})
		}
		sending.Go(func() {
			for i := range uint32(200) {
				p.send(chat(i+1, "\xff"+strings.Repeat("x", 100)))
			}
		})
		next := make(map[byte]int)
		for range rooms*2*blocks*many + 200 {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			sender, n := f.Body[0], int(f.Sequence)-1
			if f.Sequence == 0 {
				n = int(binary.BigEndian.Uint32(f.Body[1:]))
			}
			if n != next[sender] {
				t.Fatalf("sender %d: got %d, want %d", sender, n, next[sender])
			}
			next[sender]++
		}
		sending.Wait()
	})
}

// TestBroadcastSharesItsBytes: they are neither changed nor kept.
func TestBroadcastSharesItsBytes(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		to := e.onlyTransport(t)
		shared := block(t, to.Wire(idl.CodecProtobuf, false), 1, 0, 1, 10_000)
		before := bytes.Clone(shared)
		sent := 0
		for ; to.Broadcast(shared, new(waiter)); sent++ { // until part of it is left to netpoll
		}
		if !bytes.Equal(shared, before) {
			t.Error("the bytes were changed")
		}
		clear(shared)
		for range sent {
			if sender, n := p.wantNumbered(); sender != 1 || n != 0 {
				t.Fatalf("got frame %d of %d: the bytes were kept", n, sender)
			}
		}
	})
}

// TestBroadcastAllocatesNothing, as long as the socket takes it.
func TestBroadcastAllocatesNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		dial func(testing.TB, *edge) *peer
	}{{"tcp", dialTCP}, {"websocket", dialWS}} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{}, session.Options{})
			p := row.dial(t, e)
			p.auth()
			to := e.onlyTransport(t)
			shared := block(t, to.Wire(idl.CodecProtobuf, false), 1, 0, 8, 100)
			w := new(waiter)
			if got := testing.AllocsPerRun(20, func() { to.Broadcast(shared, w) }); got != 0 {
				t.Errorf("%v allocations, want none", got)
			}
		})
	}
}

// BenchmarkBroadcast is one block to one connection after the other, as in a
// room's pass.
func BenchmarkBroadcast(b *testing.B) {
	const members = 100
	e := newEdge(b, gateway.Options{}, session.Options{})
	for range members {
		p := dialTCP(b, e)
		p.auth()
		go discard(p)
	}
	var all []session.Transport
	eventually(b, "the connections", func() bool { all = e.Transports(); return len(all) == members })
	shared := block(b, session.WireProtobuf, 1, 0, 4, 123)
	w := new(waiter)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		all[i%members].Broadcast(shared, w)
	}
}

// discard reads until the end.
func discard(p *peer) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := p.tcp.Read(buf); err != nil {
			return
		}
	}
}
