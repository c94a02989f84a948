package rpc

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"

	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

var errNoHello = errors.New("the first message of a link must be Hello with an edge ID")

// link is one Link stream. Four goroutines belong to it: Kitex's, which holds the
// stream open until done; receive; keepBooks; and send.
type link struct {
	edge   *edge
	epoch  int64
	missed bool // pushes found no link since the edge's last one; static after attach
	out    *outbox
	pages  chan *corepb.Uplink // from receive to keepBooks; never closed
	bulk   chan struct{}       // a token for each long reply that is being made or waits to be sent; never closed
	done   chan struct{}       // closed by end
	end    func()              // drops the link; from any goroutine, any number of times

	closing bool  // the edge sends nothing more; guarded by edges.mu
	listed  bool  // owned by receive: the list at the start has ended
	missing int64 // owned by keepBooks: sessions without a route that this census found
	partial bool  // owned by keepBooks: of some that it listed the registry said nothing
	// unlisted is owned by keepBooks: sessions of the list at the start that the registry was too slow for.
	unlisted int
}

func newLink(e *edge, epoch int64, limit int) *link {
	l := &link{edge: e, epoch: epoch, out: newOutbox(limit),
		pages: make(chan *corepb.Uplink, waitingPages), bulk: make(chan struct{}, bulkReplies()), done: make(chan struct{})}
	l.end = sync.OnceFunc(func() {
		l.out.close()
		close(l.done)
	})
	return l
}

func (l *link) life() presence.Life { return presence.Life{Edge: l.edge.id, Epoch: l.epoch} }

// ended reports whether the link was dropped.
func (l *link) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// bulkReplies is how many long replies are under way at a time for one edge, from the start
// of their making until the stream has taken them in.
func bulkReplies() int { return bulkEach * runtime.GOMAXPROCS(0) }

// enterBulk waits until another long reply may be made, and gives what is called when it is
// sent; nil when the link has ended.
func (l *link) enterBulk() (sent func()) {
	select {
	case l.bulk <- struct{}{}:
		return func() { <-l.bulk }
	case <-l.done:
		return nil
	}
}

// deliver queues an item; false when the link has ended, or does when all is sent.
// An outbox that is full ends it.
func (l *link) deliver(i item) bool {
	ok := l.out.add(i)
	if !ok && !l.out.isSealed() {
		l.end()
	}
	return ok
}

// handler is what Kitex calls.
type handler struct{ s *Server }

// Link serves one edge until its stream, the link or the server ends. Kitex
// cancels the stream when it returns, which ends both goroutines.
func (h *handler) Link(stream corepb.Core_LinkServer) error {
	s := h.s
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.Hello == nil || first.Hello.EdgeId == "" {
		return errNoHello
	}
	if err := s.knows(stream.Context(), first.Hello.Key); err != nil {
		return err
	}
	// The edge must hear at once that somebody is here: registering takes its time.
	if err := stream.Send(new(corepb.Downlink)); err != nil {
		return err
	}
	e := s.edges.of(presence.EdgeID(strings.Clone(first.Hello.EdgeId)))
	l := newLink(e, first.Hello.Epoch, s.options.Outbox)
	if err := s.edges.attach(stream.Context(), l); err != nil {
		return err
	}
	defer s.edges.detach(l)
	s.links.Go(func() { s.receive(l, stream) })
	s.links.Go(func() { s.keepBooks(l) })
	s.links.Go(func() { s.send(l, stream) })
	<-l.done
	return nil
}

var errStranger = errors.New("the link key is not this core's: core.link_key and edge.link_key must be the same")

// knows refuses who does not show the link key. That is told of once in ten
// seconds, since whoever it is comes again.
func (s *Server) knows(ctx context.Context, key string) error {
	if s.options.LinkKey == "" || subtle.ConstantTimeCompare([]byte(key), []byte(s.options.LinkKey)) == 1 {
		return nil
	}
	if now, last := time.Now().Unix(), s.told.Load(); now-last >= 10 && s.told.CompareAndSwap(last, now) {
		from := "unknown"
		if info := rpcinfo.GetRPCInfo(ctx); info != nil && info.From().Address() != nil {
			from = info.From().Address().String()
		}
		s.log.Warn("a link with a wrong link key, or none, was refused", "address", from)
	}
	return errStranger
}

// receive takes what the edge sends. An Uplink that holds nothing asks whether
// this core is there, once the list of live sessions has ended. An edge that
// closes its side while this core drains has all its answers: what is pushed still
// goes down, until Close.
func (s *Server) receive(l *link, stream corepb.Core_LinkServer) {
	for {
		up, err := stream.Recv()
		if errors.Is(err, io.EOF) && s.edges.closed(l) {
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !l.ended() {
				s.log.Debug("link broke", "edge", l.edge.id, "err", err)
			}
			l.end()
			return
		}
		s.counts.upBatches.Add(1)
		s.counts.calls.Add(int64(len(up.Calls)))
		if l.listed && len(up.Calls) == 0 && len(up.Registers) == 0 && len(up.Gone) == 0 && up.Census == nil && len(up.Rooms) == 0 {
			l.deliver(item{here: true})
			continue
		}
		s.hearRooms(l, up.Rooms)
		s.note(l, up)
		l.listed = l.listed || len(up.Registers) == 0
		now := time.Now()
		for rest := up.Calls; len(rest) > 0; {
			n := together(rest)
			s.handle(task{l, rest[:n], now})
			rest = rest[n:]
		}
	}
}

// send takes all that is queued and sends it, as soon as the last is sent: what
// comes meanwhile makes the next batch. Before it takes, it lets those run who are
// ready to: of the callers that one flush has woken, the first wakes the sender, and
// the others are about to queue their replies too. No timer is involved, and when
// nobody else is ready nothing is lost.
func (s *Server) send(l *link, stream corepb.Core_LinkServer) {
	defer l.end()
	for {
		select {
		case <-l.out.wake:
		case <-l.done:
			return
		}
		runtime.Gosched()
		for _, batch := range l.out.take() {
			s.counts.downBatches.Add(1)
			s.counts.answered.Add(int64(batch.items))
			if err := stream.SendMsg(batch); err != nil {
				return
			}
			l.out.sent(batch)
		}
		if l.out.finished() {
			return
		}
	}
}

// Push implements fanout.Pusher: it queues d for the edge and never waits.
func (s *Server) Push(edge presence.EdgeID, epoch int64, d fanout.Delivery) {
	s.deliver(edge, epoch, item{push: &corepb.Push{
		Action: uint32(d.Action), Sessions: d.Sessions, InboxSeqs: d.InboxSeqs, Protobuf: d.Protobuf, Json: d.JSON}})
}

// Wake implements fanout.Pusher. An edge that has no link here has its clients sync by the next one.
func (s *Server) Wake(log im.ConversationID, seq int64) {
	for _, l := range s.edges.here() {
		l.deliver(item{wake: &corepb.Wake{Log: string(log), Seq: seq, Epoch: s.epoch(), Everybody: log.Type() == im.Announcements}})
	}
}

// epoch is that of the timeline store.
func (s *Server) epoch() string {
	if s.options.StoreEpoch == nil {
		return ""
	}
	return s.options.StoreEpoch()
}

// Resync implements fanout.Pusher: every edge lists its sessions, and when the
// registry has them has their clients sync.
func (s *Server) Resync() { s.edges.ask() }

// Kick implements fanout.Pusher: it queues the kick behind the pushes before it.
func (s *Server) Kick(edge presence.EdgeID, epoch int64, sessions []uint64, reason idl.CloseReason, message string, retryAfter time.Duration) {
	s.deliver(edge, epoch, item{kick: &corepb.Kick{
		Sessions: sessions, Reason: reason, Message: message, RetryAfterMs: retryAfter.Milliseconds()}})
}

// deliver queues an item for that life of the edge. One that finds no link is
// lost: the edge's next link here makes its clients sync, and the census finds
// who should have been kicked.
func (s *Server) deliver(edge presence.EdgeID, epoch int64, i item) {
	l := s.edges.link(edge, epoch)
	if l == nil {
		l = s.edges.miss(edge, epoch)
	}
	if l == nil {
		s.counts.missed.Add(1)
		return
	}
	l.deliver(i)
}
