package limit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"freeim/edge/frame"

	"golang.org/x/sys/unix"
)

const (
	maxBody    = 64 << 10 // octets of a frame's body
	maxUnread  = 4 << 20  // octets kept for a client that does not read; beyond it is closed
	readBuffer = 256 << 10
)

// Server is a baseline. All of it belongs to the goroutine that calls Run.
type Server struct {
	mode   Mode
	addr   string
	epoll  int
	listen int
	wake   int // an eventfd: Run's context has ended

	conns  map[int]*conn // by descriptor
	rooms  map[string]*room
	busy   []*room // that have messages to pass on
	dead   []*conn // to be closed after the passes, which may stand on them
	users  int64   // given out
	counts Counts

	buffer []byte // of reads
	body   []byte // of encoding
	joined []byte // of passes
}

// conn is a client.
type conn struct {
	fd    int
	user  int64
	dead  bool
	in    frame.Decoder
	out   []byte // what the socket was too full for
	seats []seat // of the rooms it is in
}

// Listen makes a server that accepts from now on; Run serves.
func Listen(o Options) (_ *Server, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(o.Addr)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf("listen: %q is no IPv4 address and port", o.Addr)
	}
	s := &Server{mode: o.Mode, epoll: -1, listen: -1, wake: -1, conns: map[int]*conn{}, rooms: map[string]*room{}, buffer: make([]byte, readBuffer)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if s.listen, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// What is set here is passed on to the accepted sockets (tcp(7)).
	err = errors.Join(
		unix.SetsockoptInt(s.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(s.listen, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(s.listen, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}),
		unix.Listen(s.listen, 1<<16-1),
		s.watch(s.listen, unix.EPOLL_CTL_ADD, unix.EPOLLIN),
		s.watch(s.wake, unix.EPOLL_CTL_ADD, unix.EPOLLIN),
	)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Addr, err)
	}
	name, err := unix.Getsockname(s.listen)
	if err != nil {
		return nil, err
	}
	s.addr = netip.AddrPortFrom(at.Addr(), uint16(name.(*unix.SockaddrInet4).Port)).String()
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.addr }

// Run serves until ctx ends, closes everything and says what was done. It fails
// when the process has no open files left for another client.
func (s *Server) Run(ctx context.Context) (Counts, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.close()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_, _ = unix.Write(s.wake, []byte{7: 1}) // any number but 0
	})
	defer func() {
		if !stop() {
			<-ended // wake is not closed under it
		}
	}()
	events := make([]unix.EpollEvent, 1024)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return s.counts, fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:n] {
			switch fd := int(e.Fd); fd {
			case s.wake:
				return s.counts, nil
			case s.listen:
				if err := s.accept(); err != nil {
					return s.counts, err
				}
			default:
				if c := s.conns[fd]; c != nil {
					s.serve(c, e.Events)
				}
			}
		}
		s.passAll()
		s.bury()
	}
}

func (s *Server) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("accept a client beside %d: %w", len(s.conns), err)
		}
		if err := s.watch(fd, unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
			unix.Close(fd)
			return fmt.Errorf("watch a client beside %d: %w", len(s.conns), err)
		}
		s.counts.Accepted++
		s.conns[fd] = &conn{fd: fd}
	}
}

// serve reads what a client sent, once, and writes what waits for it.
func (s *Server) serve(c *conn, events uint32) {
	if events&unix.EPOLLOUT != 0 && !c.dead {
		rest := c.out
		c.out = nil
		s.write(c, rest)
		if len(c.out) == 0 && !c.dead {
			_ = s.watch(c.fd, unix.EPOLL_CTL_MOD, unix.EPOLLIN) // it fails for what is no descriptor only
		}
	}
	if events&^unix.EPOLLOUT == 0 || c.dead {
		return
	}
	n, err := unix.Read(c.fd, s.buffer)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n == 0:
		s.end(c)
	default:
		if err := c.in.Feed(s.buffer[:n], maxBody, func(f frame.Frame) error { return s.handle(c, f) }); err != nil {
			s.counts.Closed++
			s.end(c)
		}
	}
}

// write sends p, and keeps what the socket is too full for.
func (s *Server) write(c *conn, p []byte) {
	switch {
	case c.dead:
		return
	case len(c.out) > 0: // it keeps its order
		c.out = append(c.out, p...)
	default:
		s.counts.Writes++
		n, err := send(c.fd, p)
		if err != 0 && err != unix.EAGAIN {
			s.end(c)
			return
		}
		if n == len(p) {
			return
		}
		s.counts.Full++
		c.out = append(c.out, p[n:]...)
		_ = s.watch(c.fd, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
	}
	if len(c.out) > maxUnread {
		s.counts.Closed++
		s.end(c)
	}
}

// send is send(2) without the scheduler's part, which waits for nothing here.
func send(fd int, p []byte) (int, unix.Errno) {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

func (s *Server) watch(fd, op int, events uint32) error {
	return unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// end marks a client as gone.
func (s *Server) end(c *conn) {
	if !c.dead {
		c.dead = true
		s.dead = append(s.dead, c)
	}
}

// bury closes those that are gone.
func (s *Server) bury() {
	for _, c := range s.dead {
		for len(c.seats) > 0 {
			s.leave(c, c.seats[0].room)
		}
		delete(s.conns, c.fd)
		unix.Close(c.fd)
	}
	s.dead = s.dead[:0]
}

func (s *Server) close() {
	for fd := range s.conns {
		unix.Close(fd)
	}
	for _, fd := range []int{s.listen, s.wake, s.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
