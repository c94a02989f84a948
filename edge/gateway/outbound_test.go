package gateway

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"freeim/edge/frame"
)

// silent is a protocol that takes everything and says nothing.
type silent struct{ gone chan struct{} }

func (s silent) feed([]byte) bool     { return true }
func (silent) fail(*frame.CloseError) {}
func (s silent) ended()               { close(s.gone) }

// TestNoWriteToADescriptorUsedAgain: once netpoll has closed a connection, its
// number means another file, which must not get the bytes.
func TestNoWriteToADescriptorUsedAgain(t *testing.T) {
	g, err := New(Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, row := range []struct {
		name string
		end  func(*conn, net.Conn)
	}{
		{"ended by us", func(c *conn, _ net.Conn) { c.out.abort() }},
		{"ended by the client", func(_ *conn, far net.Conn) { far.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			far, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			near, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			var c *conn
			gone := make(chan struct{})
			g.adopt(newArrival(near.(*net.TCPConn)), g.clients, func(made *conn) protocol { c = made; return silent{gone} }, nil)
			c.out.descriptor.Lock()
			number := int(c.out.fd)
			c.out.descriptor.Unlock()
			row.end(c, far)
			<-gone
			reader := reuse(t, number)
			if n, err := c.out.try([]byte("stray")); n != 0 || err != errGone {
				t.Errorf("wrote %d octets, %v, want none and errGone", n, err)
			}
			c.out.send(nil, []byte("stray"))
			c.out.end([]byte("stray"))
			c.out.abort()
			var buf [16]byte
			if n, err := unix.Read(reader, buf[:]); err != unix.EAGAIN {
				t.Fatalf("the new owner of the number got %d octets %q, %v", n, buf[:max(n, 0)], err)
			}
		})
	}
}

// reuse waits until netpoll has closed number and makes it the writing end of a
// pipe; it returns the reading end, which does not block.
func reuse(t *testing.T, number int) (reader int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := unix.FcntlInt(uintptr(number), unix.F_GETFD, 0); err == unix.EBADF {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the descriptor is not closed")
		}
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if ends[1] != number {
		if err := unix.Dup2(ends[1], number); err != nil {
			t.Fatal(err)
		}
	}
	if ends[0] == number {
		t.Skip("the pipe took the number for its other end")
	}
	t.Cleanup(func() {
		unix.Close(ends[0])
		unix.Close(ends[1])
		if ends[1] != number {
			unix.Close(number)
		}
	})
	return ends[0]
}
