package gateway

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens one address and accepts there until the listener is closed.
func (g *Gateway) listen(d *door) error {
	// Dead clients are found by their silence, so TCP need not probe.
	share := g.opts.SharePorts
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, share) }}
	config.SetMultipathTCP(false) // TCP_INFO tells of its first path only, which may be dead while the client reads
	l, err := config.Listen(context.Background(), "tcp", d.address)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.listeners[d.name] = l
	g.mu.Unlock()
	g.running.Go(func() { g.accept(l.(*net.TCPListener), d) })
	return nil
}

// unsent is how many octets the kernel takes for a connection beyond those that are under way to the client,
// give or take a segment of 64 KiB. Without it it takes megabytes for a client that does not read, which
// nobody counts, and the client seems to have read the answers that lie there.
const unsent = 32 << 10

// prepare is for a socket that is not bound yet; its connections inherit the settings.
func prepare(c syscall.RawConn, share bool) (err error) {
	if out := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
		if share && err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
	}); out != nil {
		return out
	}
	return err
}

// accept hands out connections. When descriptors run out it waits for some to
// come free, up to a second between attempts.
func (g *Gateway) accept(l *net.TCPListener, d *door) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		c, err := l.AcceptTCP()
		switch {
		case err == nil:
			pause = shortest
			g.counters.accepted.Add(1)
			g.arrive(c, d)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			g.log.Debug("accept", "err", err)
			time.Sleep(pause)
			pause = min(2*pause, longest)
		}
	}
}

// serveTCP makes a session of a connection.
func (g *Gateway) serveTCP(a *arrival) {
	said := g.judge(a, nil)
	g.adopt(a, g.clients, func(c *conn) protocol { return newFrames(c, said) }, a.plain())
}

// descriptor takes the socket out of Go's own poller, which netpoll replaces.
func descriptor(c *net.TCPConn) (fd int, err error) {
	defer c.Close() // fd is a duplicate: the connection goes on
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var dupErr error
	if err := raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return 0, err
	}
	return fd, dupErr
}
