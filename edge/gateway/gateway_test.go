package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"

	"golang.org/x/sys/unix"
)

// transports runs a test over all of them.
func transports(t *testing.T, o gateway.Options, s session.Options, test func(*testing.T, *edge, func() *peer)) {
	for _, row := range []struct {
		name string
		dial func(testing.TB, *edge) *peer
	}{{"tcp", dialTCP}, {"websocket", dialWS}, {"tls", dialTLS}, {"wss", dialWSS}} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, o, s)
			test(t, e, func() *peer { return row.dial(t, e) })
		})
	}
}

func TestSession(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.send(heartbeat(7))
		p.want(idl.ActionHeartbeat, 7)
		p.send(chat(8, "too early"))
		p.want(idl.ActionError, 8)
		p.auth()
		p.send(chat(9, "hello"))
		if f := p.want(idl.ActionMessage, 9); string(f.Body) != "hello" {
			t.Fatalf("body: got %q, want hello", f.Body)
		}
		p.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionQuit})
		p.wantClose(idl.CloseBye)
		eventually(t, "the core to hear of it", func() bool { return e.core.gones(1) == 1 })
	})
}

func TestTextFrames(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := dialWS(t, e)
	p.write(message(1, []byte(`{"action":"account.auth","sequence_id":1,"body":{"token":"x"}}`)))
	p.want(idl.ActionAuth, 1)
	p.write(message(1, []byte(`{"action":"no.such","sequence_id":2}`)))
	p.want(idl.ActionError, 2)
	p.write(message(1, []byte(`{"action":"chat.send","sequence_id":3,"body":{"text":"hi"}}`)))
	if f := p.want(idl.ActionMessage, 3); string(f.Body) != `{"text":"hi"}` {
		t.Fatalf("body: got %q", f.Body)
	}
	p.write(message(1, []byte(`{"action":"heartbeat","sequence_id":4}`)))
	p.want(idl.ActionHeartbeat, 4)
	p.write(message(1, []byte(`{"action":"quit"}`)))
	p.wantClose(idl.CloseBye)
}

func TestFramesInPieces(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		one := p.wrap(frame.Append(nil, chat(2, "one octet at a time")))
		for i := range one {
			p.write(one[i : i+1])
		}
		p.want(idl.ActionMessage, 2)
		var many []frame.Frame
		for i := range uint32(1000) {
			many = append(many, heartbeat(i+10))
		}
		p.send(many...)
		for i := range uint32(1000) {
			p.want(idl.ActionHeartbeat, i+10)
		}
		p.send(chat(5, strings.Repeat("x", 65536)))
		if f := p.want(idl.ActionMessage, 5); len(f.Body) != 65536 {
			t.Fatalf("body: got %d octets, want 65536", len(f.Body))
		}
	})
}

// TestHalfAFrameCostsNothing is the first trap of netpoll: a reader that is not
// left empty is offered again and again. A second edge on the same poller shows
// that there was time for it.
func TestHalfAFrameCostsNothing(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.send(heartbeat(5))
		p.want(idl.ActionHeartbeat, 5)
		before := e.Stats().Reads
		half := p.wrap(frame.Append(nil, heartbeat(1)))
		p.write(half[:len(half)-3])
		other := newEdge(t, gateway.Options{}, session.Options{})
		q := dialTCP(t, other)
		for i := range uint32(200) {
			q.send(heartbeat(i + 1))
			q.want(idl.ActionHeartbeat, i+1)
		}
		if got := e.Stats().Reads - before; got > 1 {
			t.Fatalf("woken %d times for half a frame, want once", got)
		}
		p.write(half[len(half)-3:])
		p.want(idl.ActionHeartbeat, 1)
	})
}

func TestBadFrames(t *testing.T) {
	header := func(action byte, length uint32) []byte {
		f := frame.AppendHeader(nil, frame.Frame{Codec: idl.CodecProtobuf}, int(length))
		f[4] = action
		return f
	}
	rows := []struct {
		name string
		auth bool
		in   []byte
		want idl.CloseReason
	}{
		{"no frame", false, []byte("GET / HTTP/1.1\r\n\r\n"), idl.CloseUnsupportedVersion},
		{"stock client", false, make([]byte, 13), idl.CloseUnsupportedVersion},
		{"long before Auth", false, header(100, 4097), idl.CloseTooLarge},
		{"long after Auth", true, header(3, 65537), idl.CloseTooLarge},
		{"negative length", true, header(3, 1<<32-1), idl.CloseTooLarge},
		{"bad after good", false, append(frame.Append(nil, heartbeat(0)), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0), idl.CloseUnsupportedVersion},
	}
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				p := dial()
				p.t = t
				if row.auth {
					p.auth()
				}
				p.write(p.wrap(row.in))
				p.wantClose(row.want)
			})
		}
		eventually(t, "all to be gone", func() bool { return e.Stats().Conns == 0 && e.hub.Stats().Sessions == 0 })
	})
}

// TestLastFrameIsNotLost: a client that goes on sending still reads why it was
// closed, although closing with unread input would reset the connection.
func TestLastFrameIsNotLost(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		for range 20 {
			p := dial()
			p.write(append(p.wrap(make([]byte, 13)), make([]byte, 100_000)...))
			p.wantClose(idl.CloseUnsupportedVersion)
		}
	})
}

func TestClientsThatVanish(t *testing.T) {
	rows := []struct {
		name   string
		vanish func(*net.TCPConn)
	}{
		{"close", func(c *net.TCPConn) { c.Close() }},
		{"half close", func(c *net.TCPConn) { c.CloseWrite() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
	}
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		before := descriptors(t)
		for _, row := range rows {
			for _, cut := range []int{0, 1, 12, 13, 20} {
				p := dial()
				p.auth()
				f := p.wrap(frame.Append(nil, chat(2, "never finished")))
				p.write(f[:cut])
				row.vanish(p.tcp)
				eventually(t, row.name, func() bool { return e.Stats().Conns == 0 && e.hub.Stats().Sessions == 0 })
				p.conn.Close()
			}
		}
		eventually(t, "descriptors to be back", func() bool { return descriptors(t) <= before })
		eventually(t, "every session to be gone once", func() bool {
			for id := range session.ID(15) {
				if e.core.gones(id+1) != 1 {
					return false
				}
			}
			return true
		})
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	return len(all)
}

func TestClientThatStopsReading(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 60_000)
	push := session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1}, Protobuf: big}

	t.Run("overflow, then it reads", func(t *testing.T) {
		transports(t, gateway.Options{Backlog: 128 << 10}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
			p := dial()
			p.auth()
			eventually(t, "overflow", func() bool {
				e.hub.Push(push)
				return e.hub.Stats().Live == 0
			})
			for {
				f, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Action == idl.ActionQuit {
					p.got = append(p.got, f)
					break
				}
				if !bytes.Equal(f.Body, big) {
					t.Fatalf("a push of %d octets came damaged", len(f.Body))
				}
			}
			p.wantClose(idl.CloseSlow)
			if got := e.hub.Stats().Closed[idl.CloseSlow]; got != 1 {
				t.Fatalf("counted %d slow clients, want 1", got)
			}
		})
	})
	t.Run("it never reads", func(t *testing.T) {
		transports(t, gateway.Options{Backlog: 64 << 20, Stall: 50 * time.Millisecond}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
			p := dial()
			p.auth()
			for range 500 {
				e.hub.Push(push)
			}
			eventually(t, "the connection to be cut", func() bool { return e.Stats().Conns == 0 })
			if got := e.hub.Stats().Closed[idl.CloseSlow]; got != 1 || e.Stats().Stalled != 1 {
				t.Fatalf("counted %d slow and %d stalled, want 1", got, e.Stats().Stalled)
			}
		})
	})
	t.Run("it reads slowly", func(t *testing.T) {
		e := newEdge(t, gateway.Options{Backlog: 64 << 20, Stall: 4 * time.Second}, session.Options{})
		p := slowPeer(t, e.TCPAddr().String())
		p.auth()
		var pushing sync.WaitGroup
		pushing.Go(func() {
			for range 200 {
				e.hub.Push(push)
			}
		})
		defer pushing.Wait()
		buf := make([]byte, 2<<10)
		pace := time.NewTicker(25 * time.Millisecond)
		defer pace.Stop()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-pace.C {
			if _, err := p.tcp.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		if e.Stats().Stalled != 0 || e.hub.Stats().Live != 1 {
			t.Fatal("it was cut off, though it reads")
		}
	})
	t.Run("it asks and does not read, then it reads", func(t *testing.T) {
		const pushes = 950 // 57 MB: over half of the backlog, whatever the kernel takes in
		transports(t, gateway.Options{Backlog: 64 << 20}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
			p := dial()
			p.auth()
			for range pushes {
				e.hub.Push(push)
			}
			e.waitsFor(p)
			for range pushes {
				p.want(idl.ActionMessage, 0)
			}
			p.want(idl.ActionJoinRoom, 2)
			p.want(idl.ActionHeartbeat, 3)
		})
	})
	t.Run("it asks again before it has read the answer", func(t *testing.T) {
		e := newEdge(t, gateway.Options{}, session.Options{})
		p := slowPeer(t, e.TCPAddr().String())
		p.auth()
		const pushes = 2 // 120 KB: less than half of the backlog is left when the kernel has taken what it takes
		for range pushes {
			e.hub.Push(push)
		}
		e.waitsFor(p)
		for range pushes {
			p.want(idl.ActionMessage, 0)
		}
		p.want(idl.ActionJoinRoom, 2)
		p.want(idl.ActionHeartbeat, 3)
	})
	t.Run("the kernel holds little for it", func(t *testing.T) {
		e := newEdge(t, gateway.Options{Backlog: 8 << 20}, session.Options{})
		p := slowPeer(t, e.TCPAddr().String())
		p.auth()
		for range 100 {
			e.hub.Push(push) // 6 MB
		}
		if got := e.Stats().OctetsOut; got > 96<<10 {
			t.Fatalf("the kernel took %d octets of which the client reads none", got)
		}
	})
	t.Run("others are not held up", func(t *testing.T) {
		transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
			dial().auth()
			p := dial()
			p.auth()
			both := session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1, 2}, Protobuf: big}
			for range 300 {
				e.hub.Push(both)
				p.want(idl.ActionMessage, 0)
			}
		})
	})
}

// waitsFor has a client that does not read enter a room, as 2, and fails if that is begun. The heartbeat behind, 3, comes when
// it is decided.
func (e *edge) waitsFor(p *peer) {
	p.t.Helper()
	before := e.hub.Stats()
	p.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionJoinRoom, Sequence: 2})
	p.send(heartbeat(3))
	eventually(p.t, "both frames to come", func() bool { return e.hub.Stats().Received == before.Received+2 })
	if got := e.hub.Stats().Calls; got != before.Calls {
		p.t.Fatalf("%d calls for a client that does not read", got-before.Calls)
	}
}

// TestManySendersOneConnection: whole frames, each sender's in order, also when
// the reader is so slow that the backlog is written by netpoll.
func TestManySendersOneConnection(t *testing.T) {
	const senders, each = 8, 400
	transports(t, gateway.Options{Backlog: 64 << 20}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		var sending sync.WaitGroup
		for s := range senders {
			sending.Go(func() {
				for i := range each {
					body := append([]byte{byte(s), byte(i >> 8), byte(i)}, make([]byte, i*7)...)
					e.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1}, Protobuf: body})
				}
			})
		}
		sending.Wait()
		var next [senders]int
		for range senders * each {
			f := p.want(idl.ActionMessage, 0)
			s, i := f.Body[0], int(f.Body[1])<<8|int(f.Body[2])
			if i != next[s] || len(f.Body) != 3+i*7 {
				t.Fatalf("sender %d: got push %d of %d octets, want push %d", s, i, len(f.Body), next[s])
			}
			next[s]++
		}
	})
}

// TestOnePath: a client that offers Multipath TCP gets TCP, by whose figures it is seen whether it reads.
func TestOnePath(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	for _, address := range []net.Addr{e.TCPAddr(), e.HTTPAddr()} {
		var dialer net.Dialer
		dialer.SetMultipathTCP(true)
		c, err := dialer.Dial("tcp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if many, err := c.(*net.TCPConn).MultipathTCP(); err != nil || many {
			t.Errorf("%v: Multipath TCP is %v (%v)", address, many, err)
		}
	}
}

// slowPeer has a small window and segments as on a real network: over loopback
// they are so long that a slow reader's window opens only now and then.
func slowPeer(t *testing.T, address string) *peer {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10)
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
		})
	}}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{t: t, conn: c, tcp: c.(*net.TCPConn), in: bufio.NewReader(c)}
}

func TestNoRoomForAnother(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{MaxSessions: 1}, func(t *testing.T, e *edge, dial func() *peer) {
		first := dial()
		first.auth()
		second := dial()
		second.wantClose(idl.CloseOverloaded)
		first.send(heartbeat(2))
		first.want(idl.ActionHeartbeat, 2)
	})
}

func TestDrainStopsAcceptingOnly(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, address := range []net.Addr{e.TCPAddr(), e.HTTPAddr(), e.EchoAddr()} {
			if c, err := net.Dial("tcp", address.String()); err == nil {
				c.Close()
				t.Fatalf("%s still accepts", address)
			}
		}
		p.send(heartbeat(2))
		p.want(idl.ActionHeartbeat, 2)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- e.hub.Drain(ctx) }()
		p.wantClose(idl.CloseShutdown)
		p.conn.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	before := descriptors(t)
	e := newEdge(t, gateway.Options{}, session.Options{})
	var peers []*peer
	for range 10 {
		p := dialTCP(t, e)
		p.auth()
		q := dialWS(t, e)
		q.auth()
		waiting := newPeer(t, e.HTTPAddr().String())
		waiting.write([]byte("GET / HT"))
		peers = append(peers, p, q, waiting, dialEcho(t, e))
	}
	eventually(t, "all to be there", func() bool { return e.Stats().Conns == 30 && e.Stats().HTTP == 10 })
	e.Close()
	if got := e.hub.Stats(); got.Sessions != 0 || e.Stats().Conns != 0 {
		t.Fatalf("left over: %+v", got)
	}
	for _, p := range peers {
		if _, err := io.Copy(io.Discard, p.conn); err != nil {
			t.Logf("the client saw %v", err) // a reset is as good as an end
		}
		p.conn.Close()
	}
	eventually(t, "descriptors to be back", func() bool { return descriptors(t) <= before })
}

// TestPanicEndsOneConnection: Named panics in this core for one name.
func TestPanicEndsOneConnection(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	other, p := dialWS(t, e), dialWS(t, e)
	p.write(message(1, []byte(`{"action":"panic"}`)))
	p.wantEnd()
	if got := e.Stats().Panics; got != 1 {
		t.Fatalf("panics: got %d, want 1", got)
	}
	other.send(heartbeat(1))
	other.want(idl.ActionHeartbeat, 1)
}

func TestAddressIsTheClients(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, e *edge, dial func() *peer) {
		p := dial()
		p.auth()
		p.send(frame.Frame{Action: idl.ActionGetMessageID, Sequence: 2})
		eventually(t, "the call", func() bool { return e.core.address() == p.conn.LocalAddr().String() })
	})
}

func TestOptionsAreChecked(t *testing.T) {
	rows := []struct {
		name string
		opts gateway.Options
	}{
		{"no hub", gateway.Options{TCP: ":0"}},
		{"negative limit", gateway.Options{Backlog: -1}},
		{"negative duration", gateway.Options{Stall: -1}},
	}
	for _, row := range rows {
		if _, err := gateway.New(row.opts); err == nil {
			t.Errorf("%s: got no error", row.name)
		}
	}
	g, err := gateway.New(gateway.Options{Echo: "256.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err == nil {
		t.Error("an impossible address: got no error")
	}
}
