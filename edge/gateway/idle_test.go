package gateway_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// BenchmarkIdleSession reports the memory of a session that has passed Auth and
// is silent: heap-B/session is what the collector finds alive, netpoll's part
// included. The clients are bare descriptors and cost none. Run it with
// -benchtime 5000x: one iteration is one session.
func BenchmarkIdleSession(b *testing.B) {
	for _, row := range []struct {
		name string
		open func(testing.TB, *edge) int
	}{{"tcp", openTCP}, {"websocket", openWS}, {"tls", openTLS}, {"wss", openWSS}} {
		b.Run(row.name, func(b *testing.B) {
			e := newEdge(b, gateway.Options{}, session.Options{Heartbeat: time.Hour})
			unix.Close(row.open(b, e)) // whatever is made once
			eventually(b, "the first to go", func() bool { return e.hub.Stats().Sessions == 0 })
			fds := make([]int, 0, b.N)
			defer func() {
				for _, fd := range fds {
					unix.Close(fd)
				}
			}()
			before := liveHeap()
			for range b.N {
				fds = append(fds, row.open(b, e))
			}
			eventually(b, "all to be live", func() bool { return e.hub.Stats().Live == int64(b.N) })
			b.ReportMetric(float64(liveHeap()-before)/float64(b.N), "heap-B/session")
			b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		})
	}
}

// TestIdleSessionsCostLittle: no goroutine comes with an idle session, and no
// more memory than a bound well below what netpoll's own buffers would take: that
// is the second trap of netpoll, 12 kB for each connection.
func TestIdleSessionsCostLittle(t *testing.T) {
	for _, row := range []struct {
		name  string
		open  func(testing.TB, *edge) int
		many  int
		bound float64 // octets of heap
	}{
		{"tcp", openTCP, 1000, 5000},
		{"websocket", openWS, 1000, 5000},
		{"tls", openTLS, 40, 14_000},
		{"wss", openWSS, 40, 14_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{}, session.Options{Heartbeat: time.Hour})
			unix.Close(row.open(t, e)) // whatever is made once
			eventually(t, "the first to go", func() bool { return e.hub.Stats().Sessions == 0 })
			before, goroutines := liveHeap(), runtime.NumGoroutine()
			for range row.many {
				fd := row.open(t, e)
				defer unix.Close(fd)
			}
			eventually(t, "all to be live", func() bool { return e.hub.Stats().Live == int64(row.many) })
			const workers = 20 // of netpoll's pool, which end by themselves
			eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+workers })
			if got := float64(int64(liveHeap())-int64(before)) / float64(row.many); got > row.bound {
				t.Errorf("%.0f octets of heap for each idle session, want at most %.0f", got, row.bound)
			}
		})
	}
}

func liveHeap() uint64 {
	var m runtime.MemStats
	for range 3 { // sync.Pools need two collections to be emptied
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func authFrame() []byte {
	return frame.Append(nil, frame.Frame{
		Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1,
		Body: []byte("a token of the usual length: 43 characters.."),
	})
}

func openTCP(b testing.TB, e *edge) int {
	fd := connect(b, e.TCPAddr().String())
	exchange(b, fd, authFrame())
	return fd
}

func openWS(b testing.TB, e *edge) int {
	fd := connect(b, e.HTTPAddr().String())
	exchange(b, fd, []byte(upgrade))
	exchange(b, fd, message(2, authFrame()))
	return fd
}

func openTLS(b testing.TB, e *edge) int {
	fd := connect(b, e.TCPSAddr().String())
	c := bareTLS(b, fd)
	exchangeOver(b, c, authFrame())
	return fd
}

func openWSS(b testing.TB, e *edge) int {
	fd := connect(b, e.HTTPSAddr().String())
	c := bareTLS(b, fd)
	exchangeOver(b, c, []byte(upgrade))
	exchangeOver(b, c, message(2, authFrame()))
	return fd
}

// bareTLS passes the handshake; what it returns is dropped, so that only the
// edge's side is measured.
func bareTLS(b testing.TB, fd int) *tls.Conn {
	b.Helper()
	c := tls.Client(bare{fd: fd}, &tls.Config{RootCAs: authority.pool(), ServerName: "edge"})
	if err := c.Handshake(); err != nil {
		b.Fatal(err)
	}
	return c
}

// bare is a net.Conn of a descriptor that Go's runtime knows nothing of.
type bare struct {
	net.Conn
	fd int
}

func (c bare) Read(p []byte) (int, error) {
	n, err := unix.Read(c.fd, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c bare) Write(p []byte) (int, error) { return unix.Write(c.fd, p) }

func exchangeOver(b testing.TB, c *tls.Conn, p []byte) {
	b.Helper()
	var buf [512]byte
	if _, err := c.Write(p); err != nil {
		b.Fatal(err)
	}
	if n, err := c.Read(buf[:]); err != nil || n == 0 {
		b.Fatalf("read: %d, %v", n, err)
	}
}

// connect opens a socket that Go's runtime knows nothing of.
func connect(b testing.TB, address string) int {
	b.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		b.Fatal(err)
	}
	return fd
}

// exchange writes p and waits for something to come back.
func exchange(b testing.TB, fd int, p []byte) {
	b.Helper()
	var buf [512]byte
	if _, err := unix.Write(fd, p); err != nil {
		b.Fatal(err)
	}
	if n, err := unix.Read(fd, buf[:]); err != nil || n == 0 {
		b.Fatalf("read: %d, %v", n, err)
	}
}
