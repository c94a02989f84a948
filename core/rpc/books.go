package rpc

import (
	"context"
	"errors"
	"time"

	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

const (
	// waitingPages is how many Uplinks with registers or gones wait for the
	// registry. The list at the start of a link waits at the edge beyond that;
	// later nothing does, since calls come by the same stream.
	waitingPages = 256
	// booking bounds one call to the registry, and how long the list at the start of
	// a link may take: an edge waits for its end.
	booking = 5 * time.Second
)

// note hands what up says of sessions to the bookkeeper. Past the bound it is
// dropped once calls flow: the next census lists what is live, and what has ended
// is over by the lease of routes. That pushes were lost, which the end of a census
// that was asked for stands for, is told at once: what has no route yet will be
// told to sync when a later census finds it.
func (s *Server) note(l *link, up *corepb.Uplink) {
	if !l.listed {
		select {
		case l.pages <- up:
		case <-l.done:
		}
		return
	}
	if len(up.Registers) == 0 && len(up.Gone) == 0 && up.Census == nil {
		return
	}
	select {
	case l.pages <- up:
	default:
		s.counts.unlisted.Add(int64(len(up.Registers) + len(up.Gone)))
		if up.Census != nil && up.Census.Asked {
			l.deliver(item{missed: true})
		}
	}
}

// keepBooks tells the registry of sessions that are live or gone, in the order in
// which the edge told of them. First come its live sessions; the first Uplink
// without any ends their list and is answered with Welcome.
func (s *Server) keepBooks(l *link) {
	defer l.end()
	welcomed, late := false, time.Now().Add(booking)
	for {
		var up *corepb.Uplink
		select {
		case up = <-l.pages:
		case <-l.done:
			return
		}
		if !welcomed && len(up.Registers) > 0 && time.Now().After(late) {
			l.unlisted += len(up.Registers)
			continue
		}
		if !s.book(l, up, welcomed) {
			return
		}
		if !welcomed && len(up.Registers) == 0 {
			l.out.release(s.welcome(l))
			welcomed = true
			s.catchUp(l)
		}
		if up.Census != nil {
			s.edges.counted(l, up.Census.Sessions)
			if up.Census.Asked {
				l.deliver(item{missed: true})
			}
		}
	}
}

// catchUp has the edge list its sessions again when the registry was too slow for
// all of those that the link began with: calls flow meanwhile.
func (s *Server) catchUp(l *link) {
	if l.unlisted == 0 {
		return
	}
	s.log.Warn("the registry, or the directory, is slow: sessions are registered after their link", "edge", l.edge.id, "sessions", l.unlisted)
	s.counts.unlisted.Add(int64(l.unlisted))
	l.deliver(item{census: true})
}

// book tells the registry what up says. It is false when this link has ended and
// must not speak for the edge any more.
func (s *Server) book(l *link, up *corepb.Uplink, census bool) bool {
	if !s.restore(l, up.Registers, census) {
		return false
	}
	gone := make([]presence.Route, 0, len(up.Gone))
	for _, g := range up.Gone {
		if g.Identity != nil {
			gone = append(gone, l.route(g.Session, g.Identity, 0))
		}
	}
	return len(gone) == 0 || s.inTurn(l, func() { s.unregister(gone...) })
}

// inTurn makes one call to the registry for l, in turns with the other links of its
// edge. It is false, and the call is not made, when l has ended.
func (s *Server) inTurn(l *link, call func()) bool {
	select {
	case l.edge.turn <- struct{}{}:
		defer func() { <-l.edge.turn }()
	case <-l.done:
	}
	if l.ended() {
		return false
	}
	call()
	return true
}

// restore registers sessions that the edge lists as live: at the start of a link,
// or in a census. Whoever is displaced by one, or itself when a newer one is
// there, missed a kick. One that had no route may have missed a kick as well:
// Admit is asked, when the route is there, so that who signs the device out after
// that finds the session, and who did before is seen by Admit. Pushes did not find
// it either: it is told to sync, when a census finds it; at the start of a link the
// edge sees to that.
//
// A registry that does not answer costs no session: without routes there are no
// pushes, but calls are served, and when it answers again the edges are asked for
// a census.
func (s *Server) restore(l *link, registers []*corepb.Register, census bool) bool {
	routes := make([]presence.Route, 0, len(registers))
	for _, r := range registers {
		if r.Identity != nil {
			routes = append(routes, l.route(r.Session, r.Identity, r.Codec))
		}
	}
	if len(routes) == 0 {
		return true
	}
	var all []presence.Restored
	var err error
	if !s.inTurn(l, func() {
		ctx, cancel := context.WithTimeout(s.work, booking)
		defer cancel()
		all, err = s.options.Registry.Restore(ctx, routes)
	}) {
		return false
	}
	switch {
	case errors.Is(err, presence.ErrFenced):
		s.log.Warn("a later life of the edge is known", "edge", l.edge.id, "epoch", l.epoch)
		return false
	case err != nil:
		s.edges.doubt.Store(true)
		l.partial = true
		s.log.Warn("sessions were not registered again yet", "edge", l.edge.id, "sessions", len(routes), "err", err)
		return true
	}
	var unknown []presence.Route
	for i, r := range all {
		for _, d := range r.Displaced {
			s.Kick(d.Edge, d.Epoch, []uint64{d.Session}, idl.CloseReplaced, "the device has connected again", 0)
		}
		if r.Registered && !r.Known {
			unknown = append(unknown, routes[i])
		}
	}
	admitted := s.admit(unknown)
	if census && len(admitted) > 0 {
		l.missing += int64(len(admitted))
		s.counts.found.Add(int64(len(admitted)))
		l.deliver(item{push: &corepb.Push{Action: uint32(idl.ActionSync), Sessions: admitted, Protobuf: []byte{}, Json: []byte("{}")}})
	}
	return true
}

// admit ends the sessions that may not come back, and gives the others. It needs no
// turn: whichever link told of it, such a session is over.
func (s *Server) admit(routes []presence.Route) (admitted []uint64) {
	if len(routes) == 0 {
		return nil
	}
	var out []presence.Route
	ctx, cancel := context.WithTimeout(s.work, booking)
	defer cancel()
	for i, in := range s.options.Admit(ctx, routes) {
		if in {
			admitted = append(admitted, routes[i].Session)
		} else {
			out = append(out, routes[i])
		}
	}
	if len(out) == 0 {
		return admitted
	}
	s.unregister(out...)
	for _, r := range out {
		s.Kick(r.Edge, r.Epoch, []uint64{r.Session}, idl.CloseSignedOut, "signed out", 0)
	}
	return admitted
}

// unregister takes routes of sessions of one edge away, in one call.
func (s *Server) unregister(routes ...presence.Route) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.work), booking)
	defer cancel()
	if _, err := s.options.Registry.Unregister(ctx, routes...); err != nil {
		s.log.Warn("sessions were not unregistered: their routes end by their lease", "edge", routes[0].Edge, "sessions", len(routes), "err", err)
	}
}
