package gateway

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	joined      = 32 << 10        // octets that a corked connection gathers before it writes anyway
	rounds      = 8               // writes that a sender makes for others before a goroutine takes over
	flushed     = 64 << 10        // octets given to netpoll's writer at a time
	linger      = time.Second     // how long a client may take to end after our end
	keptBuffers = 2 * flushed     // larger buffers are not kept for reuse
	echoBacklog = 4 * echoMessage // the echo must be able to queue the longest message
	unread      = 1 << 20         // octets that may wait to be handled; well over what a session may have unanswered
)

// outlet is what the connections of one kind share, for their way out mostly.
type outlet struct {
	unread  int           // octets that came and wait to be handled
	backlog int           // octets queued for one connection
	stall   time.Duration // for a client to take some of them, and for leaving
	buffers sync.Pool     // *[]byte
}

func newOutlet(unread, backlog int, stall time.Duration) *outlet {
	return &outlet{unread: unread, backlog: backlog, stall: stall, buffers: sync.Pool{New: func() any { return new([]byte) }}}
}

// put gives a buffer back; nil is none.
func (o *outlet) put(buf *[]byte) {
	if buf != nil && cap(*buf) <= keptBuffers {
		*buf = (*buf)[:0]
		o.buffers.Put(buf)
	}
}

// outbound is the one way out of a connection, whatever it speaks. A sender that
// finds it idle writes to the socket itself, without waiting; what others send
// meanwhile is joined and goes out with its next write. What the socket does not
// take is left to a goroutine that lives until it is gone.
type outbound struct {
	shared *outlet
	conn   *conn

	// descriptor guards fd, and is held while fd or netpoll's writer is in use:
	// netpoll closes both only after ended, which takes it.
	descriptor sync.Mutex

	mu       sync.Mutex // guards the fields below, but fd
	fd       int32      // -1 once netpoll may close it; stands here to fill a word
	corks    int32      // how many write when they are done: the read loop, deliveries
	watched  bool       // netpoll will tell of the end, so abort may close
	aborted  bool       // abort came before that
	busy     bool       // one sender or goroutine writes; the others only queue
	draining bool       // it is a goroutine, which waits for the socket
	ending   bool       // nothing more is taken
	shut     bool       // our end has been sent, or the connection is gone
	reset    bool       // end with RST: the client does not read anyway
	backlog  int        // octets queued and not yet written
	pending  *[]byte    // those of them that nobody is writing; nil: none
	refused  *refused   // broadcasts that wait for room; nil: none
	timer    *time.Timer
}

func (o *outbound) init(shared *outlet, c *conn, fd int) {
	o.shared, o.conn, o.fd = shared, c, int32(fd)
}

// send queues head and p as one, or writes them if nothing is under way; neither
// is kept. It is false when the backlog is full: nothing was queued then. A
// connection without a backlog takes any length.
func (o *outbound) send(head, p []byte) bool {
	o.mu.Lock()
	if !o.room(len(head)+len(p), o.shared.backlog) {
		o.mu.Unlock()
		return false
	}
	o.take(head, p)
	return true
}

// room is false when n octets more are over a bound of the backlog, and would be
// if what is held back by a cork alone had left. Called with mu held, which it may
// release meanwhile.
func (o *outbound) room(n, bound int) bool {
	if o.fits(n, bound) {
		return true
	}
	if o.busy || o.corks == 0 || o.pending == nil {
		return false
	}
	o.flush()
	o.mu.Lock()
	return o.fits(n, bound)
}

func (o *outbound) fits(n, bound int) bool {
	return o.ending || o.backlog == 0 || o.backlog+n <= bound
}

// take is send for what is not over the bound. Called with mu held, which it
// releases.
func (o *outbound) take(head, p []byte) {
	switch {
	case o.ending:
		o.mu.Unlock()
	case o.busy, o.corks > 0 && o.backlog+len(head)+len(p) < joined:
		o.queue(head, p)
		o.mu.Unlock()
	case o.pending == nil && len(head) == 0:
		o.busy = true
		o.mu.Unlock()
		o.write(p, nil)
	default:
		o.queue(head, p)
		o.flush()
	}
}

// end queues last, whatever the backlog, and ends the connection when all is
// written: first our side, then, when the client has ended its own or a moment
// has passed, the whole. So the last bytes are not lost to a reset, which unread
// input would cause. Only the first call counts.
func (o *outbound) end(last []byte) {
	o.mu.Lock()
	if o.ending {
		o.mu.Unlock()
		return
	}
	o.ending = true
	o.queue(last, nil)
	o.timer = time.AfterFunc(o.shared.stall, o.abort)
	if o.busy || o.corks > 0 {
		o.mu.Unlock()
		return
	}
	o.flush()
}

// cork lets what is sent pile up until as many calls of uncork: the read loop
// answers many frames with one write, and what a core says at once leaves so.
func (o *outbound) cork() {
	o.mu.Lock()
	o.corks++
	o.mu.Unlock()
}

func (o *outbound) uncork() {
	o.mu.Lock()
	o.corks--
	if o.corks > 0 || o.busy || o.pending == nil && (!o.ending || o.shut) {
		o.mu.Unlock()
		return
	}
	o.flush()
}

// queue copies bytes to pending. Called with mu held.
func (o *outbound) queue(head, p []byte) {
	if len(head)+len(p) == 0 {
		return
	}
	if o.pending == nil {
		o.pending = o.shared.buffers.Get().(*[]byte)
	}
	*o.pending = append(append(*o.pending, head...), p...)
	o.backlog += len(head) + len(p)
}

// flush writes what is pending. Called with mu held, which it releases, and with
// nobody busy.
func (o *outbound) flush() {
	o.busy = true
	buf := o.pending
	o.pending = nil
	o.mu.Unlock()
	if buf != nil {
		o.write(*buf, buf)
	} else {
		o.next(0)
	}
}

// write writes p to the socket, and then what has been queued meanwhile. The
// caller is the one who is busy. buf, if not nil, is the queued buffer that p is.
func (o *outbound) write(p []byte, buf *[]byte) {
	for round := 1; ; round++ {
		queued := 0 // octets of the backlog that p stands for
		if buf != nil {
			queued = len(p)
		}
		p, buf = o.seal(p, buf)
		n, err := o.try(p)
		if err != nil {
			o.fail()
			return
		}
		if n < len(p) || round == rounds {
			o.leave(p, n, buf, queued)
			return
		}
		o.shared.put(buf)
		if buf = o.next(queued); buf == nil {
			return
		}
		p = *buf
	}
}

// seal encrypts what is about to leave, under TLS; the caller is the one who is
// busy. The last octets of an ending connection are followed by TLS's own end.
func (o *outbound) seal(p []byte, buf *[]byte) ([]byte, *[]byte) {
	s := o.conn.secure
	if s == nil {
		return p, buf
	}
	o.mu.Lock()
	last := o.ending && o.pending == nil
	o.mu.Unlock()
	sealed := s.seal(p, last, o.shared)
	o.shared.put(buf)
	return *sealed, sealed
}

// errGone says that netpoll has ended the connection.
var errGone = errors.New("the connection has ended")

// try writes what the socket takes at once.
func (o *outbound) try(p []byte) (n int, err error) {
	o.descriptor.Lock()
	defer o.descriptor.Unlock()
	if o.fd < 0 {
		return 0, errGone
	}
	for {
		switch n, err = unix.Write(int(o.fd), p); err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			o.conn.gateway.counters.wrote(n)
			return n, err
		}
	}
}

// next takes what is pending, after `written` queued octets have left. When
// there is nothing, nobody is busy any more, and an ending connection ends.
func (o *outbound) next(written int) *[]byte {
	o.mu.Lock()
	o.left(written)
	buf := o.pending
	if buf != nil && !(o.corks > 0 && len(*buf) < joined) {
		o.pending = nil
		o.mu.Unlock()
		return buf
	}
	o.busy, o.draining = false, false
	over := buf == nil && o.ending && !o.shut
	o.shut = o.shut || over
	o.mu.Unlock()
	if over {
		o.shutWrite()
	}
	return nil
}

// leave hands the rest of p, of which n octets are written, to a goroutine; it
// stood in the backlog with `queued` octets. What is not in a buffer of ours is
// copied: it belongs to the sender.
func (o *outbound) leave(p []byte, n int, buf *[]byte, queued int) {
	o.mu.Lock()
	o.draining = true
	o.backlog += len(p) - n - queued
	o.mu.Unlock()
	rest := p[n:]
	if buf == nil {
		buf = o.shared.buffers.Get().(*[]byte)
		*buf = append((*buf)[:0], rest...)
		rest = *buf
	}
	go o.drain(rest, buf)
}

// drain writes p, which lies in buf, and what is queued behind it with netpoll,
// which waits for the socket, until nothing is left or the client has taken
// nothing for too long. The timer is ours: netpoll's own timeout wants to name a
// remote address that it does not have here.
func (o *outbound) drain(p []byte, buf *[]byte) {
	client := o.watchReader()
	defer client.stop()
	for {
		for len(p) > 0 {
			n := min(len(p), flushed)
			if o.await(p[:n]) != nil {
				o.fail()
				return
			}
			client.went()
			p = p[n:]
			o.mu.Lock()
			o.left(n)
			o.mu.Unlock()
		}
		o.shared.put(buf)
		if buf = o.next(0); buf == nil {
			return
		}
		queued := len(*buf)
		p, buf = o.seal(*buf, buf)
		o.mu.Lock()
		o.backlog += len(p) - queued
		o.mu.Unlock()
	}
}

// watchReader has the client cut off when it takes nothing for too long.
func (o *outbound) watchReader() *reading {
	o.descriptor.Lock()
	fd := int(o.fd) // it may be another's when it is asked: then the time is wrong once
	o.descriptor.Unlock()
	return watchReading(o.shared.stall, func() uint64 { return acked(fd) }, o.stalled)
}

// await returns when the socket has taken p, or the connection has ended.
func (o *outbound) await(p []byte) error {
	o.descriptor.Lock()
	defer o.descriptor.Unlock()
	if o.fd < 0 {
		return errGone
	}
	to := o.conn.np.Writer()
	if _, err := to.WriteBinary(p); err != nil {
		return err
	}
	o.conn.gateway.counters.wrote(len(p))
	return to.Flush()
}

// stalled cuts off a client that reads nothing; that wakes drain.
func (o *outbound) stalled() {
	o.conn.stalled()
	o.abort()
}

// fail gives up: the connection is broken. It is called from within send, where
// closing could call back into a session that is sending; so that happens aside.
func (o *outbound) fail() {
	o.mu.Lock()
	o.drop()
	o.mu.Unlock()
	go o.abort()
}

// drop forgets what is queued and takes nothing more. Called with mu held.
func (o *outbound) drop() {
	o.ending, o.shut = true, true
	o.pending, o.backlog, o.refused = nil, 0, nil
}

// shutWrite ends our side and gives the client a moment to end its own.
func (o *outbound) shutWrite() {
	o.descriptor.Lock()
	if o.fd >= 0 {
		unix.Shutdown(int(o.fd), unix.SHUT_WR)
	}
	o.descriptor.Unlock()
	o.mu.Lock()
	o.timer.Reset(linger)
	o.mu.Unlock()
}

// abort ends the connection now. It must not be called from within a session.
func (o *outbound) abort() {
	o.mu.Lock()
	o.reset = o.reset || o.backlog > 0
	o.aborted = true
	watched := o.watched
	o.mu.Unlock()
	if watched {
		o.conn.np.Close()
	}
}

// watch says that netpoll will call ended. It reports whether abort waits for that.
func (o *outbound) watch() (aborted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watched = true
	return o.aborted
}

// ended gives the descriptor up: from here on netpoll may close it, and the
// number may soon mean another connection.
func (o *outbound) ended() {
	o.mu.Lock()
	reset := o.reset
	o.drop()
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	o.descriptor.Lock()
	defer o.descriptor.Unlock()
	if reset {
		unix.SetsockoptLinger(int(o.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	o.fd = -1
}
