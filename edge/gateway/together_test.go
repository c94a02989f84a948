package gateway_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// TestSeveralTogether: what a client says at once goes to the core together, and is
// answered in its order and codec, whichever answer comes first.
func TestSeveralTogether(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		const rounds, each = 20, 40
		codec := func(n uint32) idl.Codec { return []idl.Codec{idl.CodecProtobuf, idl.CodecJSON}[n%2] }
		next := uint32(1)
		for range rounds {
			first := next + 1
			for range 2 { // two writes, one behind the other
				var said []frame.Frame
				for range each / 2 {
					next++
					said = append(said, frame.Frame{Codec: codec(next), Action: idl.ActionMessage, Sequence: next, Body: fmt.Append(nil, next)})
				}
				p.send(append(said, heartbeat(1<<20))...)
			}
			for n := first; n <= next; n++ {
				if f := p.want(idl.ActionMessage, n); string(f.Body) != fmt.Sprint(n) || f.Codec != codec(n) {
					t.Fatalf("%d is answered with %q by codec %v", n, f.Body, f.Codec)
				}
				if (n-first)%(each/2) == each/2-1 {
					p.want(idl.ActionHeartbeat, 1<<20)
				}
			}
		}
		if got := e.core.together(); got < each/4 {
			t.Errorf("at most %d came together, want %d perhaps", got, each/2)
		}
	})
}

// TestDeliveryLeavesInOneWrite for each session, and one thing alone before
// Deliver returns.
func TestDeliveryLeavesInOneWrite(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		q := dial()
		q.auth()
		// A client may have its answer before the write of it is counted.
		eventually(t, "both answers to be counted", func() bool { return e.Stats().Writes >= 2 })
		push := func(n int, to ...session.ID) (all []session.Push) {
			for i := range n {
				all = append(all, session.Push{Action: idl.ActionMessage, Sessions: to, Protobuf: []byte{byte(i)}})
			}
			return all
		}
		for _, row := range []struct {
			name   string
			pushes []session.Push
			writes int64
		}{
			{"one to one", push(1, 1), 1},
			{"20 to each of two", push(20, 1, 2), 2},
			{"one to each of two", append(push(1, 1), push(1, 2)...), 2},
		} {
			before := e.Stats().Writes
			e.hub.Deliver(session.Delivery{Pushes: row.pushes})
			if got := e.Stats().Writes - before; got != row.writes {
				t.Errorf("%s: got %d writes, want %d", row.name, got, row.writes)
			}
		}
		for _, to := range []*peer{p, q} {
			to.send(heartbeat(9))
			for n, want := 0, map[*peer]int{p: 22, q: 21}[to]; n < want; n++ {
				to.want(idl.ActionMessage, 0)
			}
			to.want(idl.ActionHeartbeat, 9)
		}
	})
}

// TestDeliveryLongerThanTheBacklog: what a cork holds back does not make a long
// frame too much.
func TestDeliveryLongerThanTheBacklog(t *testing.T) {
	transports(t, gateway.Options{Backlog: 16 << 10}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		var pushes []session.Push
		for i := range 6 {
			pushes = append(pushes, session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1}, Protobuf: make([]byte, 1+i%2*20_000)})
		}
		e.hub.Deliver(session.Delivery{Pushes: pushes})
		for i := range 6 {
			if f := p.want(idl.ActionMessage, 0); len(f.Body) != 1+i%2*20_000 {
				t.Fatalf("push %d: got %d octets", i, len(f.Body))
			}
		}
	})
}

// BenchmarkDeliver is what one push costs when a core says several for each of 64
// sessions at once, given to the hub together or one by one. cpu-ns/push is the
// processor time of everything, reading clients included.
func BenchmarkDeliver(b *testing.B) {
	const sessions = 64
	for _, each := range []int{1, 2, 4, 8} {
		for _, row := range []struct {
			name    string
			deliver func(*session.Hub, session.Delivery)
		}{
			{"one by one", func(h *session.Hub, d session.Delivery) {
				for _, p := range d.Pushes {
					h.Push(p)
				}
			}},
			{"together", (*session.Hub).Deliver},
		} {
			b.Run(fmt.Sprintf("%d each, %s", each, row.name), func(b *testing.B) {
				e := newEdge(b, gateway.Options{}, session.Options{})
				var d session.Delivery
				for i := range sessions {
					p := dialTCP(b, e)
					p.auth()
					p.tcp.SetDeadline(time.Time{})
					go discard(p)
					for range each {
						d.Pushes = append(d.Pushes, session.Push{Action: idl.ActionMessage, Sessions: []session.ID{session.ID(i + 1)}, Protobuf: make([]byte, 128)})
					}
				}
				b.ReportAllocs()
				before := processor()
				for b.Loop() {
					row.deliver(e.hub, d)
				}
				b.ReportMetric(float64(processor()-before)/float64(b.N*len(d.Pushes)), "cpu-ns/push")
			})
		}
	}
}

// processor is the time that this process has had, user and system.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
