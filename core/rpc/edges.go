package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/presence"
)

var errLeaving = errors.New("this core is leaving")

// edges knows every edge that has linked since the start, and what is its link
// now. Entries stay: edge IDs are few and stable, and their epochs are a fence.
type edges struct {
	server *Server

	mu      sync.RWMutex // guards the fields below and the marked ones of edge
	byID    map[presence.EdgeID]*edge
	leaving bool // no new links
	woken   bool // logs have grown, and those edges were told that were linked by then
	// generation is the registry's, as seen last: before the first edge listed
	// anything, then by keep.
	generation string

	doubt atomic.Bool // the registry failed: it may lack sessions that are live
}

// edge is one edge across its restarts and links.
type edge struct {
	id presence.EdgeID
	// turn holds a token while the registry is told about this edge as a whole or for
	// one link of it, so that a newer link never mixes with what an older link still
	// says: for one call, or the two of attach, of booking at most. Nothing but links
	// of this one edge waits for it, in the order in which they came, and none that
	// has ended.
	turn chan struct{}

	// Guarded by edges.mu.
	epoch      int64
	link       *link // nil: none now
	missed     int64 // the life that a push was for while it had no link here; 0: none
	unroutable int64 // sessions without a route, as the last census here found them
}

func newEdges(s *Server) *edges {
	return &edges{server: s, byID: make(map[presence.EdgeID]*edge)}
}

// of gives the edge's entry, new for one that is not known.
func (t *edges) of(id presence.EdgeID) *edge {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byID[id]
	if e == nil {
		e = &edge{id: id, turn: make(chan struct{}, 1)}
		t.byID[id] = e
	}
	return e
}

// attach makes l its edge's link in place of any other, and its life the edge's:
// of earlier ones all routes go. The edge lists its live sessions next. A registry
// that does not answer hears of the life when it is kept. stream's end ends the wait
// for the edge's turn.
func (t *edges) attach(stream context.Context, l *link) error {
	e := l.edge
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-stream.Done():
	case <-t.server.work.Done():
	}
	if err := cmp.Or(stream.Err(), t.server.work.Err()); err != nil {
		return fmt.Errorf("wait for the turn of edge %s: %w", e.id, err)
	}
	if err := t.claim(l); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.server.work, booking)
	defer cancel()
	switch err := t.enrol(ctx, l.life()); {
	case errors.Is(err, presence.ErrFenced):
		t.detach(l)
		return fmt.Errorf("attach edge %s: %w", e.id, err)
	case err != nil:
		t.doubt.Store(true)
		t.server.log.Warn("edge linked, unknown to the registry yet", "edge", e.id, "epoch", l.epoch, "err", err)
	default:
		t.server.log.Info("edge linked", "edge", e.id, "epoch", l.epoch)
	}
	return nil
}

// enrol tells the registry of life.
func (t *edges) enrol(ctx context.Context, life presence.Life) error {
	if t.seen("") == "" {
		generation, err := t.server.options.Registry.Generation(ctx)
		if err != nil {
			return err
		}
		t.seen(generation)
	}
	return t.server.options.Registry.Attach(ctx, life)
}

// seen notes the generation, if it is not empty, and gives the one before.
func (t *edges) seen(generation string) (before string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.generation
	if generation != "" {
		t.generation = generation
	}
	return before
}

// claim is the part of attach under mu.
func (t *edges) claim(l *link) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := l.edge
	if t.leaving {
		return errLeaving
	}
	if l.epoch < e.epoch {
		return fmt.Errorf("edge %s speaks for epoch %d, but %d has linked: %w", e.id, l.epoch, e.epoch, presence.ErrFenced)
	}
	if e.link != nil {
		e.link.end()
	}
	l.missed = e.missed == l.epoch || e.epoch == 0 && t.woken // an edge may be older than this core
	e.epoch, e.link, e.missed, e.unroutable = l.epoch, l, 0, 0
	return nil
}

// detach takes l away, if it still is its edge's link. The edge's routes are left
// alone: another core may reach it, and when none does they lapse, since nobody
// keeps them.
func (t *edges) detach(l *link) {
	l.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := l.edge; e.link == l {
		e.link = nil
		t.server.log.Info("edge lost its link", "edge", e.id, "epoch", l.epoch)
	}
}

// keep renews the lives of all edges that are linked, until Close: one goroutine,
// three times in a lease, so that two rounds may fail.
func (t *edges) keep() {
	every := t.server.options.Lease / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.renew(every)
		case <-t.server.work.Done():
			return
		}
	}
}

// renew keeps once. A link of a life that is over ends: the later one is linked
// to another core. When the registry has forgotten routes, or may have missed
// some while it failed, all edges are asked for a census.
func (t *edges) renew(patience time.Duration) {
	ctx, cancel := context.WithTimeout(t.server.work, patience)
	defer cancel()
	registry, lives := t.server.options.Registry, t.lives()
	doubt := t.doubt.Swap(false)
	var over []presence.Life
	generation, err := registry.Generation(ctx)
	if err == nil && len(lives) > 0 {
		over, err = registry.Keep(ctx, lives...)
	}
	if err != nil {
		t.doubt.Store(true)
		if t.server.work.Err() == nil {
			t.server.log.Warn("edges were not kept", "edges", len(lives), "err", err)
		}
		return
	}
	for _, life := range over {
		if l := t.link(life.Edge, life.Epoch); l != nil {
			t.server.log.Warn("a later life of the edge is known", "edge", life.Edge, "epoch", life.Epoch)
			l.end()
		}
	}
	before := t.seen(generation)
	if lost := before != "" && before != generation; lost || doubt {
		t.server.log.Warn("the registry may lack routes: edges list their sessions", "lost", lost, "edges", len(lives))
		t.ask()
	}
}

// ask has every edge list its sessions.
func (t *edges) ask() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil {
			e.link.deliver(item{census: true})
		}
	}
}

// counted ends a census that came by l. One that the registry answered in part says
// how many are missing at least, and not that no more are.
func (t *edges) counted(l *link, sessions int64) {
	missing, partial := l.missing, l.partial
	l.missing, l.partial = 0, false
	t.mu.Lock()
	if l.edge.link == l && (!partial || missing > l.edge.unroutable) {
		l.edge.unroutable = missing
	}
	t.mu.Unlock()
	if !partial {
		t.server.counts.censuses.Add(1)
	}
	if missing > 0 {
		t.server.log.Warn("sessions had no route", "edge", l.edge.id, "missing", missing, "sessions", sessions)
	}
}

// unroutable is what the last censuses found, of the edges that are linked.
func (t *edges) unroutable() (n int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil {
			n += e.unroutable
		}
	}
	return n
}

// lives are those of the edges that are linked now.
func (t *edges) lives() (all []presence.Life) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil {
			all = append(all, e.link.life())
		}
	}
	return all
}

// here are the links of all edges. Of one without a link it is noted that it missed something.
func (t *edges) here() (links []*link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = true
	for _, e := range t.byID {
		if e.link != nil {
			links = append(links, e.link)
		} else {
			e.missed = max(e.missed, e.epoch)
		}
	}
	return links
}

// link gives the link of that life of the edge, nil for none.
func (t *edges) link(id presence.EdgeID, epoch int64) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.byID[id]; e != nil && e.link != nil && e.epoch == epoch {
		return e.link
	}
	return nil
}

// miss notes that something for that life of the edge found no link, so that its
// next one here tells its clients to sync. It gives the link that came meanwhile.
func (t *edges) miss(id presence.EdgeID, epoch int64) *link {
	e := t.of(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.link != nil && e.epoch == epoch {
		return e.link
	}
	e.missed = max(e.missed, epoch)
	return nil
}

// drain refuses new links and tells the edges that are linked.
func (t *edges) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
	for _, e := range t.byID {
		if e.link != nil {
			e.link.deliver(item{drain: true})
		}
	}
}

// closed notes that the edge has closed its side of l; false unless this core drains.
func (t *edges) closed(l *link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.closing = t.leaving
	return t.leaving
}

// linked is the number of edges that have a link, and have not closed their side.
func (t *edges) linked() (n int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil && !e.link.closing {
			n++
		}
	}
	return n
}

// flushing is how long close waits for what is queued to leave.
const flushing = time.Second

// close refuses new links, and ends those there are when all that is queued was
// sent. Routes are left alone: this core's end says nothing about the edges.
func (t *edges) close() {
	t.mu.Lock()
	t.leaving = true
	var links []*link
	for _, e := range t.byID {
		if e.link != nil {
			links = append(links, e.link)
		}
	}
	t.mu.Unlock()
	for _, l := range links {
		l.out.seal()
	}
	late := time.NewTimer(flushing)
	defer late.Stop()
	for i := 0; i < len(links); i++ {
		select {
		case <-links[i].done:
		case <-late.C:
			for _, l := range links[i:] {
				l.end()
			}
			return
		}
	}
}
