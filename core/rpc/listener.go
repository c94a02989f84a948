package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// listener is a listening socket as netpoll takes it: with its descriptor, and
// an Accept that never waits. netpoll would wrap a plain net.Listener in one of
// its own, but that closes the same descriptor number several times over, the
// last a tenth of a second after the first; by then the number may be a file of
// the store's. This one's descriptor is closed once, by release.
type listener struct {
	net.Listener // the socket as it was opened
	fd           int
	closed       atomic.Bool
	release      func() // closes fd; more calls do nothing
}

// pollable takes over l.
func pollable(l net.Listener) (*listener, error) {
	raw, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("duplicate the listener: %w", err), l.Close())
	}
	defer raw.Close() // fd is another duplicate, which no finalizer knows
	fd, err := unix.FcntlInt(raw.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("duplicate the listener: %w", err), l.Close())
	}
	return &listener{Listener: l, fd: fd, release: sync.OnceFunc(func() { _ = unix.Close(fd) })}, nil
}

// Fd implements netpoll.Listener.
func (l *listener) Fd() int { return l.fd }

// Accept gives a connection, or nil when none waits, as netpoll's own does. After
// Close, whoever still knocks is turned away.
func (l *listener) Accept() (net.Conn, error) {
	fd, from, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch {
	case err == unix.EAGAIN, err == unix.ECONNABORTED:
		return nil, nil
	case err != nil:
		return nil, err
	case l.closed.Load():
		return nil, unix.Close(fd)
	}
	c := &accepted{fd: fd, local: l.Addr(), remote: l.Addr()}
	if tcp := tcpAddr(from); tcp != nil {
		c.remote = tcp
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return c, nil
}

// Close refuses new connections, and frees the path of a unix socket. The
// descriptor stays until release, when netpoll has let go of it.
func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.Listener.Close()
}

func tcpAddr(from unix.Sockaddr) net.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return nil
}

// accepted carries a new connection's descriptor to netpoll, which owns it from
// then on and reads and writes by itself.
type accepted struct {
	net.Conn      // nil: nothing else of it is used
	fd            int
	local, remote net.Addr
}

// Fd implements netpoll.Conn.
func (c *accepted) Fd() int              { return c.fd }
func (c *accepted) LocalAddr() net.Addr  { return c.local }
func (c *accepted) RemoteAddr() net.Addr { return c.remote }
