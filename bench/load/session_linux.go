package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
	"unsafe"

	"freeim/bench/people"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"

	"golang.org/x/sys/unix"
)

// state is how far a session is.
type state uint8

const (
	away       state = iota // no connection
	connecting              // the kernel's handshake
	upgrading               // the WebSocket's
	greeting                // Auth is asked
	joining                 // its room is asked
	ready
)

// The sequence-ids of requests that are no sends. A send has its number.
const (
	authSequence = 1<<31 + iota
	joinSequence
	beatSequence
)

const (
	// maxBody bounds a server's frame.
	maxBody = 4 << 20
	// smallBuffer is the receive buffer of sessions that will read nothing, so that
	// the server soon feels it.
	smallBuffer = 4096
	// perAddress is how many connections share a source address.
	perAddress = 5000
)

// session is one connection and what it is for. The loop owns it.
type session struct {
	group  *group
	person int // its index
	target *Target
	fd     int32
	state  state
	queued bool // in loop.dirty
	mute   bool // reads nothing now
	silent bool // reads nothing between start and hold
	beat   bool // a heartbeat is under way

	frames frame.Decoder
	ws     unwrapper
	out    []byte // what is to be written, or what the socket did not take
	full   bool   // the socket took not all: EPOLLOUT is waited for
	began  int64  // the attempt to connect
	spoke  int64  // the last request
	reason string // why the server ends it, as its Quit said

	talk *talk // nil for those that only live
}

// talk is what sessions that send or receive keep.
type talk struct {
	log     Stream   // of its inbox, its room or its group
	inbox   Stream   // of a member of a group
	peers   Stream   // of the numbers that its peer sends
	begun   bool     // log is
	base    int64    // the log's head when it began
	sent    int64    // the number of the last send
	waiting int64    // sends that are not answered
	flight  int64    // sends that are not delivered, of a closed loop
	peer    *session // of a pair
	due     []int64  // when the sends with number&(len-1) were due; nil for those that only receive
	lastSeq int64    // the highest seq that an answer gave
}

// dial begins to connect. It returns an error for what trying again does not help.
func (l *loop) dial(s *session) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket for session %d: %w", s.person, err)
	}
	at := l.addresses[s.target]
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	if s.silent {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, smallBuffer))
	}
	if at.Addr[0] == 127 {
		err = errors.Join(err, unix.Bind(fd, &unix.SockaddrInet4{Addr: source(s.person)}))
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("prepare the socket of session %d: %w", s.person, err)
	}
	s.fd, s.state, s.began = int32(fd), connecting, l.now
	s.frames, s.ws, s.out, s.full, s.reason, s.beat = frame.Decoder{}, unwrapper{}, nil, false, "", false
	l.dialing++
	if l.connects.From == 0 {
		l.connects.From = l.now
	}
	for len(l.byFD) <= fd {
		l.byFD = append(l.byFD, nil)
	}
	l.byFD[fd] = s
	if err := l.watch(unix.EPOLL_CTL_ADD, s, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		return err
	}
	switch err := unix.Connect(fd, at); err {
	case nil, unix.EINPROGRESS, unix.EINTR: // EPOLLOUT tells
		return nil
	default:
		return l.failed(s, err)
	}
}

// source is the address of the loopback that a person comes from, so that no
// address runs out of ports.
func source(person int) [4]byte {
	n := person / perAddress
	return [4]byte{127, 0, byte(1 + n/250), byte(1 + n%250)}
}

func (l *loop) watch(op int, s *session, events uint32) error {
	if err := unix.EpollCtl(l.epoll, op, int(s.fd), &unix.EpollEvent{Events: events, Fd: s.fd}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// failed is an attempt to connect that did not work: fatal, unless sessions may
// connect again.
func (l *loop) failed(s *session, err error) error {
	l.connects.Failed++
	l.leave(s)
	if l.plan.Reconnect == 0 {
		return fmt.Errorf("connect session %d to %s: %w", s.person, s.target.Address, err)
	}
	l.later(s, 0)
	return nil
}

// leave closes the connection.
func (l *loop) leave(s *session) {
	if s.state == away {
		return
	}
	if s.state == ready {
		l.ready--
	} else {
		l.dialing--
	}
	s.state, s.mute = away, false
	l.byFD[s.fd] = nil
	unix.Close(int(s.fd))
}

// ended is a connection that the server, or the network, ended.
func (l *loop) ended(s *session, why string) error {
	if s.reason != "" {
		why = s.reason
	}
	was := s.state
	if was != ready && l.plan.Reconnect == 0 && !l.breaking {
		l.leave(s)
		return fmt.Errorf("session %d ended before it was ready: %s", s.person, why)
	}
	l.leave(s)
	g := s.group
	if s.silent && slow(why) {
		g.total.Silenced++
		return nil
	}
	g.total.Ended[why]++
	g.span.Ended[why]++
	g.gone(s)
	if l.plan.Reconnect > 0 {
		l.later(s, 0)
	}
	return nil
}

// slow says whether a session was ended for reading nothing. Its Quit may be behind
// what it did not read, and lost with a reset.
func slow(why string) bool {
	switch why {
	case idl.CloseSlow.String(), roompb.RoomLeftReason_ROOM_LEFT_SLOW.String(), unix.ECONNRESET.Error(), unix.EPIPE.Error():
		return true
	}
	return false
}

// later has s connect again, after least at the earliest.
func (l *loop) later(s *session, least time.Duration) {
	wait := least + rand.N(max(l.plan.Reconnect, time.Millisecond))
	l.waiting = append(l.waiting, waiting{s, l.now + int64(wait)})
}

// writable goes on with connecting, or with what was not written.
func (l *loop) writable(s *session) error {
	if s.state != connecting {
		s.full = false
		if err := l.flush(s); err != nil || s.full || s.state == away {
			return err
		}
		return l.watch(unix.EPOLL_CTL_MOD, s, unix.EPOLLIN)
	}
	code, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return l.failed(s, err)
	}
	if err := l.watch(unix.EPOLL_CTL_MOD, s, unix.EPOLLIN); err != nil {
		return err
	}
	if s.target.WebSocket {
		s.state = upgrading
		s.out = appendHandshake(s.out, s.target)
		return l.flush(s)
	}
	return l.connected(s)
}

// connected asks for Auth where there is any.
func (l *loop) connected(s *session) error {
	if s.group.plan.Kind == Echo {
		return l.isReady(s)
	}
	s.state = greeting
	return l.request(s, idl.ActionAuth, authSequence, &accountpb.AuthRequest{Token: people.Token(l.plan.Seed, s.person)})
}

// request sends a request that is not of the hot path.
func (l *loop) request(s *session, a idl.Action, sequence uint32, body idl.Message) error {
	b, err := idl.Append(l.body[:0], s.group.plan.Codec, body)
	if err != nil {
		return err
	}
	l.body = b
	l.send(s, frame.Frame{Codec: s.group.plan.Codec, Action: a, Sequence: sequence, Body: b})
	return nil
}

// send appends a frame to what is to be written after this turn of the loop.
func (l *loop) send(s *session, f frame.Frame) {
	s.spoke = l.now
	if s.target.WebSocket {
		l.wrapped = frame.Append(l.wrapped[:0], f)
		s.out = appendMasked(s.out, opBinary, rand.Uint32(), l.wrapped)
	} else {
		s.out = frame.Append(s.out, f)
	}
	l.touch(s)
}

// touch has s flushed after this turn of the loop.
func (l *loop) touch(s *session) {
	if !s.queued {
		s.queued = true
		l.dirty = append(l.dirty, s)
	}
}

// flush writes what is to be written.
func (l *loop) flush(s *session) error {
	if s.state <= connecting || s.full || len(s.out) == 0 {
		return nil
	}
	n, errno := write(s.fd, s.out)
	switch {
	case errno == unix.EAGAIN:
		n = 0
	case errno != 0:
		return l.ended(s, errno.Error())
	}
	if n == len(s.out) {
		if cap(s.out) > 4096 || s.talk == nil {
			s.out = nil
		}
		s.out = s.out[:0]
		return nil
	}
	s.out = append(s.out[:0], s.out[n:]...)
	s.full = true
	if s.mute {
		return nil
	}
	return l.watch(unix.EPOLL_CTL_MOD, s, unix.EPOLLIN|unix.EPOLLOUT)
}

// readable reads what is there, up to a bound so that others get their turn.
func (l *loop) readable(s *session) error {
	for range 4 {
		n, errno := read(s.fd, l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno != 0:
			if s.state == connecting {
				return l.failed(s, errno)
			}
			return l.ended(s, errno.Error())
		case n == 0:
			return l.ended(s, "the connection was closed")
		}
		l.now = l.clock.now()
		before := s.group.total.Checks.Received
		if err := l.take(s, l.buffer[:n]); err != nil {
			if ended, ok := errors.AsType[*overError](err); ok {
				return l.ended(s, ended.why)
			}
			return err
		}
		if s.group.total.Checks.Received > before {
			s.group.span.Reads++
		}
		if s.state == away || n < len(l.buffer) {
			return nil
		}
	}
	return nil
}

// overError ends one session, not the worker.
type overError struct{ why string }

func (e *overError) Error() string { return e.why }

// take handles octets that arrived.
func (l *loop) take(s *session, p []byte) error {
	l.current = s
	if s.state == upgrading {
		s.ws.kept = append(s.ws.kept, p...)
		rest, err := upgraded(s.ws.kept)
		if err != nil {
			return err
		}
		if rest == nil {
			return nil
		}
		s.ws.kept = nil
		if err := l.connected(s); err != nil || len(rest) == 0 {
			return err
		}
		p = rest
	}
	if s.target.WebSocket {
		return s.ws.feed(p, l.onData, l.onControl)
	}
	return l.onData(p)
}

func (l *loop) onDataOf(p []byte) error {
	err := l.current.frames.Feed(p, maxBody, l.onFrame)
	if fault, ok := errors.AsType[*frame.CloseError](err); ok {
		l.current.group.total.Checks.Garbled++
		return &overError{fault.Error()}
	}
	return err
}

func (l *loop) onControlOf(op byte, p []byte) error {
	s := l.current
	switch op {
	case opPing:
		s.out = appendMasked(s.out, opPong, rand.Uint32(), p)
		l.touch(s)
	case opClose:
		if s.reason == "" && len(p) >= 2 {
			return &overError{fmt.Sprintf("the WebSocket was closed with %d", int(p[0])<<8|int(p[1]))}
		}
	}
	return nil
}

// onFrameOf handles one frame of the current session.
func (l *loop) onFrameOf(f frame.Frame) error {
	s := l.current
	if s.group.plan.Kind == Echo {
		return l.echoed(s, f.Body)
	}
	switch f.Action {
	case idl.ActionMessage, idl.ActionRoomMessage:
		if f.Sequence != 0 {
			return l.answered(s, f)
		}
		return l.pushed(s, f)
	case idl.ActionHeartbeat:
		return l.beaten(s, f)
	case idl.ActionAuth:
		return l.greeted(s, f)
	case idl.ActionJoinRoom:
		return l.joined(s, f)
	case idl.ActionError:
		return l.refused(s, f)
	case idl.ActionQuit:
		var quit wirepb.Quit
		if err := idl.Decode(f.Body, f.Codec, &quit); err != nil {
			return err
		}
		s.reason = quit.Reason.String()
	case idl.ActionLeaveRoom:
		var left roompb.RoomLeft
		if err := idl.Decode(f.Body, f.Codec, &left); err != nil {
			return err
		}
		return &overError{left.Reason.String()}
	case idl.ActionRoomHistory:
		return l.skipped(s, f)
	case idl.ActionSync:
		s.group.total.Resyncs++
		s.group.span.Resyncs++
	case idl.ActionRoomInfo, idl.ActionRoomMembers, idl.ActionMessageAck, idl.ActionNotice:
	default:
		s.group.total.Checks.Garbled++
	}
	return nil
}

// greeted is Auth's answer.
func (l *loop) greeted(s *session, f frame.Frame) error {
	var rep accountpb.AuthReply
	if err := idl.Decode(f.Body, f.Codec, &rep); err != nil {
		return err
	}
	if s.state != greeting || f.Sequence != authSequence {
		s.group.total.Checks.Garbled++
		return nil
	}
	if s.group.plan.Kind != Room {
		switch t := s.talk; s.group.plan.Kind {
		case Chat:
			t.begin(rep.InboxHead)
		case Crowd:
			t.inbox.Begin(rep.InboxHead + 1)
			t.begin(s.group.plan.Base)
		}
		return l.isReady(s)
	}
	s.state = joining
	return l.request(s, idl.ActionJoinRoom, joinSequence, &roompb.JoinRoomRequest{Room: s.group.plan.Room, Last: -1})
}

func (l *loop) joined(s *session, f frame.Frame) error {
	var rep roompb.JoinRoomReply
	if err := idl.Decode(f.Body, f.Codec, &rep); err != nil {
		return err
	}
	if s.state != joining || f.Sequence != joinSequence {
		s.group.total.Checks.Garbled++
		return nil
	}
	s.talk.begin(rep.Head)
	return l.isReady(s)
}

func (t *talk) begin(head int64) {
	t.log.Begin(head + 1)
	t.base, t.begun = head, true
}

func (l *loop) isReady(s *session) error {
	s.state = ready
	l.dialing--
	l.ready++
	l.connects.Count++
	l.connects.To = l.now
	l.connects.Took.Record(time.Duration(l.now - s.began))
	return nil
}

// refused is an answer of action 255: of a send, or of what every session needs.
func (l *loop) refused(s *session, f frame.Frame) error {
	var refusal wirepb.Error
	if err := idl.Decode(f.Body, f.Codec, &refusal); err != nil {
		return err
	}
	if f.Sequence >= authSequence || s.talk == nil {
		if s.state != ready && refusal.RetryAfterMs > 0 { // as clients do; it is counted, and the time to connect bounds it
			l.connects.Failed++
			l.leave(s)
			l.later(s, time.Duration(refusal.RetryAfterMs)*time.Millisecond)
			return nil
		}
		return fmt.Errorf("session %d was refused: %v: %s", s.person, refusal.Code, refusal.Message)
	}
	s.group.refusedSend(l, s, int64(f.Sequence), &refusal)
	return nil
}

// read and write are the system calls without the scheduler's part: the sockets
// never block.
func read(fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

func write(fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}
