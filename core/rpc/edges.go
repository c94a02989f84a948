package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
}

// edge is one edge across its restarts and links.
type edge struct {
	id presence.EdgeID
	// turn is held while the registry is told about this edge as a whole or for
	// one link of it, so that a newer link never mixes with what an older link
	// still says. It is held across calls to the registry; nothing but links of
	// this one edge waits for it.
	turn sync.Mutex

	// Guarded by edges.mu.
	epoch int64
	link  *link // nil: none now
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
		e = &edge{id: id}
		t.byID[id] = e
	}
	return e
}

// attach makes l its edge's link in place of any other, and its life the edge's:
// of earlier ones all routes go. The edge lists its live sessions next.
func (t *edges) attach(l *link) error {
	e := l.edge
	e.turn.Lock()
	defer e.turn.Unlock()
	if err := t.claim(l); err != nil {
		return err
	}
	if err := t.server.options.Registry.Attach(t.server.work, l.life()); err != nil {
		t.detach(l)
		return fmt.Errorf("attach edge %s: %w", e.id, err)
	}
	t.server.log.Info("edge linked", "edge", e.id, "epoch", l.epoch)
	return nil
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
	e.epoch, e.link = l.epoch, l
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
// to another core.
func (t *edges) renew(patience time.Duration) {
	ctx, cancel := context.WithTimeout(t.server.work, patience)
	defer cancel()
	lives := t.lives()
	if len(lives) == 0 {
		return
	}
	over, err := t.server.options.Registry.Keep(ctx, lives...)
	if err != nil {
		t.server.log.Warn("edges were not kept", "edges", len(lives), "err", err)
		return
	}
	for _, life := range over {
		if l := t.link(life.Edge, life.Epoch); l != nil {
			t.server.log.Warn("a later life of the edge is known", "edge", life.Edge, "epoch", life.Epoch)
			l.end()
		}
	}
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

// link gives the link of that life of the edge, nil for none.
func (t *edges) link(id presence.EdgeID, epoch int64) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.byID[id]; e != nil && e.link != nil && e.epoch == epoch {
		return e.link
	}
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

// linked is the number of edges that have a link.
func (t *edges) linked() (n int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil {
			n++
		}
	}
	return n
}

// close ends all links and refuses new ones. Routes are left alone: this core's
// end says nothing about the edges.
func (t *edges) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = true
	for _, e := range t.byID {
		if e.link != nil {
			e.link.end()
		}
	}
}
