package load

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"freeim/edge/frame"

	"golang.org/x/sys/unix"
)

const (
	readBuffer    = 256 << 10
	progressEvery = 100 * time.Millisecond
	idleWait      = 50 * time.Millisecond // between two looks at heartbeats and waits
)

// loop owns everything of a worker. All of it belongs to the goroutine that runs it.
type loop struct {
	clock    clock
	now      int64 // ns, at the last event
	plan     Plan
	run      []byte // what client IDs begin with
	epoll    int
	wake     int // an eventfd: a command waits
	commands <-chan command
	say      func(event)

	addresses map[*Target]*unix.SockaddrInet4
	groups    []*group
	sessions  []*session
	byFD      []*session
	shared    []byte

	// Connecting.
	undialed []*session
	waiting  []waiting
	dialing  int
	ready    int
	connects *Connects
	breaking bool // sessions are being cut

	// Under way.
	pending  *command // is answered when its condition holds
	deadline int64    // of pending
	beatTurn int      // whose heartbeat is next
	beatAt   int64    // when heartbeats were last looked at
	told     int64    // when progress was last looked at
	known    Progress // what was told of it

	// Of one turn.
	current *session
	dirty   []*session // to be flushed
	hungry  []*session // whose window may have room
	buffer  []byte
	wrapped []byte
	body    []byte
	text    []byte
	id      []byte

	onData    func([]byte) error
	onFrame   func(frame.Frame) error
	onControl func(byte, []byte) error
}

// waiting is a session that connects at a time.
type waiting struct {
	session *session
	at      int64
}

func newLoop(commands <-chan command, say func(event)) (l *loop, err error) {
	l = &loop{commands: commands, say: say, buffer: make([]byte, readBuffer), connects: &Connects{}, epoll: -1, wake: -1}
	l.onData, l.onFrame, l.onControl = l.onDataOf, l.onFrameOf, l.onControlOf
	l.run = []byte(strconv.FormatInt(time.Now().UnixNano(), 36) + "-")
	if l.clock, err = newClock(); err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l.now = l.clock.now()
	return l, unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.wake)})
}

// serve runs until the commands end.
func (l *loop) serve() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.close()
	events := make([]unix.EpollEvent, 1024)
	for {
		wait, err := l.turn()
		if err != nil {
			return err
		}
		n, err := unix.EpollWait(l.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		l.now = l.clock.now()
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.wake {
				open, err := l.command()
				if err != nil || !open {
					return err
				}
				continue
			}
			if err := l.event(e); err != nil {
				return err
			}
		}
	}
}

func (l *loop) event(e unix.EpollEvent) error {
	s := l.byFD[e.Fd]
	if s == nil {
		return nil
	}
	if e.Events&unix.EPOLLOUT != 0 {
		if err := l.writable(s); err != nil || s.state == away {
			return err
		}
	}
	if e.Events&^unix.EPOLLOUT != 0 && (!s.mute || e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0) {
		return l.readable(s)
	}
	return nil
}

// turn does what is due between two waits, and says how long the next may be in ms.
func (l *loop) turn() (wait int, err error) {
	for _, s := range l.hungry {
		if s.group.plan.Window > 0 && !s.group.plan.Spread() {
			s.group.refill(l, s)
		}
	}
	l.hungry = l.hungry[:0]
	next := l.now + int64(idleWait)
	for _, g := range l.groups {
		if at := l.pump(g); at > 0 {
			next = min(next, at)
		}
	}
	l.heartbeats()
	if err := l.dialMore(); err != nil {
		return 0, err
	}
	for len(l.dirty) > 0 {
		dirty := l.dirty
		l.dirty = nil
		for _, s := range dirty {
			s.queued = false
			if err := l.flush(s); err != nil {
				return 0, err
			}
		}
	}
	l.conclude()
	if l.now-l.told >= int64(progressEvery) {
		l.told = l.now
		if p := l.progress(); *p != l.known {
			l.known = *p
			l.say(event{Is: isProgress, Progress: p})
		}
	}
	now := l.clock.now()
	if next <= now {
		return 0, nil
	}
	return int((next - now + int64(time.Millisecond) - 1) / int64(time.Millisecond)), nil
}

// dialMore keeps as many connections on their way as the plan allows.
func (l *loop) dialMore() error {
	if len(l.waiting) > 0 {
		left := l.waiting[:0]
		for _, w := range l.waiting {
			if w.at <= l.now {
				l.undialed = append(l.undialed, w.session)
			} else {
				left = append(left, w)
			}
		}
		l.waiting = left
	}
	for len(l.undialed) > 0 && l.dialing < l.plan.Dialing {
		s := l.undialed[0]
		l.undialed = l.undialed[1:]
		if err := l.dial(s); err != nil {
			return err
		}
	}
	return nil
}

// heartbeats looks at a part of the sessions, so that each is looked at several
// times within a heartbeat, and lets those speak that have been silent.
func (l *loop) heartbeats() {
	const looks = 8
	since := l.now - l.beatAt
	if since < int64(10*time.Millisecond) || len(l.sessions) == 0 {
		return
	}
	l.beatAt = l.now
	part := float64(since) * looks / float64(l.plan.Heartbeat)
	for range min(len(l.sessions), int(part*float64(len(l.sessions)))+1) {
		s := l.sessions[l.beatTurn%len(l.sessions)]
		l.beatTurn++
		if s.state == ready && !s.beat && s.group.plan.Kind != Echo && l.now-s.spoke > int64(l.plan.Heartbeat)*(looks-1)/looks {
			s.beat = true
			l.send(s, frame.Frame{Codec: s.group.plan.Codec, Action: actionHeartbeat, Sequence: beatSequence})
		}
	}
}

func (l *loop) progress() *Progress {
	p := &Progress{Sessions: len(l.sessions), Ready: l.ready}
	for _, g := range l.groups {
		p.Sent += g.total.Sent
		p.Received += g.total.Checks.Received
		p.Faults += g.total.Checks.Faults()
		for _, n := range g.total.Ended {
			p.Ended += n
		}
	}
	return p
}

// connect makes the plan's sessions and begins to connect them.
func (l *loop) connect(plan Plan) error {
	plan.setDefaults()
	l.plan = plan
	l.addresses = map[*Target]*unix.SockaddrInet4{}
	if err := l.share(); err != nil {
		return err
	}
	for i := range l.plan.Groups {
		p := &l.plan.Groups[i]
		for t := range p.Target {
			at, err := netip.ParseAddrPort(p.Target[t].Address)
			if err != nil || !at.Addr().Is4() {
				return fmt.Errorf("target %q is no IPv4 address and port", p.Target[t].Address)
			}
			l.addresses[&p.Target[t]] = &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
		}
		if len(p.Target) == 0 || p.Kind == Chat && p.Count%2 != 0 || p.Of > 0 && p.At+p.Count > p.Of {
			return fmt.Errorf("group %s: no target, half a pair, or more sessions than there are in all", p.Name)
		}
		g := &group{plan: p, total: newResult(p.Name), span: newResult(p.Name), stopped: true}
		for _, slot := range p.Slots {
			g.slots = append(g.slots, l.slotOf(slot))
		}
		if len(p.Slots) > 0 {
			g.slot = l.slotOf(p.Slot)
		}
		g.prepare()
		l.groups = append(l.groups, g)
		l.sessions = append(l.sessions, g.sessions...)
	}
	l.undialed = append(l.undialed, l.sessions...)
	return nil
}

// share maps the file that workers share.
func (l *loop) share() error {
	if l.plan.Shared == "" {
		return nil
	}
	f, err := os.OpenFile(l.plan.Shared, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	l.shared, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", l.plan.Shared, err)
	}
	return nil
}

func (l *loop) slotOf(i int) *atomic.Int64 {
	at := l.shared[i*slotSize:][:8] // a slot that is not there is the parent's fault: panics
	return (*atomic.Int64)(unsafe.Pointer(unsafe.SliceData(at)))
}

func (l *loop) close() {
	for _, s := range l.sessions {
		if s.state != away {
			// A reset leaves nothing behind that the kernel waits for.
			_ = unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(int(s.fd))
		}
	}
	for _, fd := range []int{l.epoll, l.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
