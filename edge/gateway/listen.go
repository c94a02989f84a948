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
	config := net.ListenConfig{KeepAlive: -1}
	if g.opts.SharePorts {
		config.Control = sharePort
	}
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

// sharePort is for a socket that is not bound yet.
func sharePort(_, _ string, c syscall.RawConn) (err error) {
	if out := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
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
