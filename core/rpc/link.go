package rpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"freeim/core/fanout"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

var errNoHello = errors.New("the first message of a link must be Hello with an edge ID")

// link is one Link stream. Three goroutines belong to it: Kitex's, which holds
// the stream open until done; receive; and send.
type link struct {
	edge  *edge
	epoch int64
	out   *outbox
	done  chan struct{} // closed by end
	end   func()        // drops the link; from any goroutine, any number of times
}

func newLink(e *edge, epoch int64, limit int) *link {
	l := &link{edge: e, epoch: epoch, out: newOutbox(limit), done: make(chan struct{})}
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

// deliver queues an item; false when the link has ended. An outbox that is full
// ends it.
func (l *link) deliver(i item) bool {
	ok := l.out.add(i)
	if !ok {
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
	e := s.edges.of(presence.EdgeID(strings.Clone(first.Hello.EdgeId)))
	l := newLink(e, first.Hello.Epoch, s.options.Outbox)
	if err := s.edges.attach(l); err != nil {
		return err
	}
	defer s.edges.detach(l)
	s.links.Go(func() { s.receive(l, stream) })
	s.links.Go(func() { s.send(l, stream) })
	<-l.done
	return nil
}

// receive takes what the edge sends. First come its live sessions; the first
// Uplink without any ends their list and is answered with Welcome.
func (s *Server) receive(l *link, stream corepb.Core_LinkServer) {
	defer l.end()
	welcomed := false
	for {
		up, err := stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) && !l.ended() {
				s.log.Debug("link broke", "edge", l.edge.id, "err", err)
			}
			return
		}
		if !s.book(l, up) {
			return
		}
		if !welcomed && len(up.Registers) == 0 {
			l.out.release(s.welcome)
			welcomed = true
		}
		for _, c := range up.Calls {
			s.handle(l, c)
		}
	}
}

// send takes all that is queued and sends it, as soon as the last is sent: what
// comes meanwhile makes the next batch.
func (s *Server) send(l *link, stream corepb.Core_LinkServer) {
	defer l.end()
	for {
		select {
		case <-l.out.wake:
		case <-l.done:
			return
		}
		for _, batch := range l.out.take() {
			if err := stream.SendMsg(batch); err != nil {
				return
			}
		}
	}
}

// book tells the registry of sessions that are live or gone. It takes turns with
// a newer link of the same edge, which starts from an empty registry: false when
// this link has ended and must not speak for the edge any more.
func (s *Server) book(l *link, up *corepb.Uplink) bool {
	if len(up.Registers) == 0 && len(up.Gone) == 0 {
		return true
	}
	l.edge.turn.Lock()
	defer l.edge.turn.Unlock()
	if l.ended() {
		return false
	}
	for _, r := range up.Registers {
		if r.Identity != nil {
			s.register(l, l.route(r.Session, r.Identity, r.Codec))
		}
	}
	for _, g := range up.Gone {
		if g.Identity != nil {
			s.unregister(l.route(g.Session, g.Identity, 0))
		}
	}
	return true
}

// register brings a session back that was live before the link was. Whoever is
// displaced by it, or itself when a newer one is there, missed a kick. Admit is
// asked when the route is there: who signs the device out after that finds the
// session, and who did before is seen by Admit.
func (s *Server) register(l *link, r presence.Route) {
	displaced, _, err := s.options.Registry.Register(s.work, r)
	if err != nil {
		s.log.Error("session was not registered again", "edge", r.Edge, "session", r.Session, "err", err)
		// A route that is missing would starve the client; a new session gets one.
		s.Kick(r.Edge, r.Epoch, []uint64{r.Session}, idl.CloseShutdown, "registration failed", time.Second)
		return
	}
	for _, d := range displaced {
		s.Kick(d.Edge, d.Epoch, []uint64{d.Session}, idl.CloseReplaced, "the device has connected again", 0)
	}
	if !s.options.Admit(s.work, r) {
		s.unregister(r)
		s.Kick(r.Edge, r.Epoch, []uint64{r.Session}, idl.CloseSignedOut, "signed out", 0)
	}
}

func (s *Server) unregister(r presence.Route) {
	if _, err := s.options.Registry.Unregister(context.WithoutCancel(s.work), r); err != nil {
		s.log.Error("session was not unregistered", "edge", r.Edge, "session", r.Session, "err", err)
	}
}

// Push implements fanout.Pusher: it queues d for the edge and never waits.
func (s *Server) Push(edge presence.EdgeID, epoch int64, d fanout.Delivery) {
	if l := s.edges.link(edge, epoch); l != nil {
		l.deliver(item{push: &corepb.Push{
			Action: uint32(d.Action), Sessions: d.Sessions, InboxSeqs: d.InboxSeqs, Protobuf: d.Protobuf, Json: d.JSON}})
	}
}

// Kick implements fanout.Pusher: it queues the kick behind the pushes before it.
func (s *Server) Kick(edge presence.EdgeID, epoch int64, sessions []uint64, reason idl.CloseReason, message string, retryAfter time.Duration) {
	if l := s.edges.link(edge, epoch); l != nil {
		l.deliver(item{kick: &corepb.Kick{
			Sessions: sessions, Reason: reason, Message: message, RetryAfterMs: retryAfter.Milliseconds()}})
	}
}
