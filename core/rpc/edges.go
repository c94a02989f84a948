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
	leaving bool // no new links, and no grace for those that end
	closed  bool // nothing at all any more
}

// edge is one edge across its restarts and links.
type edge struct {
	id presence.EdgeID
	// turn is held while the registry is told about this edge as a whole or for
	// one link of it, so that a newer link or the end of the grace never mixes
	// with what an older link still says. It is held across calls to the
	// registry; nothing but links of this one edge waits for it.
	turn sync.Mutex

	// Guarded by edges.mu.
	epoch  int64
	known  bool  // epoch was set by an attach whose routes may still be there
	link   *link // nil: none now
	expiry *time.Timer
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

// attach makes l its edge's link in place of any other. Of an earlier life of the
// edge all routes go. A link of the life that is known starts from none as well:
// the edge lists its live sessions next, and a route that is not on the list
// belongs to a session that ended, or that never heard it was bound.
func (t *edges) attach(l *link) error {
	e := l.edge
	e.turn.Lock()
	defer e.turn.Unlock()
	again, err := t.claim(l)
	if err != nil {
		return err
	}
	fence := l.epoch - 1
	if again {
		fence = l.epoch
	}
	if _, err := t.server.options.Registry.DropEdge(t.server.work, e.id, fence); err != nil {
		t.detach(l)
		return fmt.Errorf("drop old routes of edge %s: %w", e.id, err)
	}
	t.server.log.Info("edge linked", "edge", e.id, "epoch", l.epoch, "again", again)
	return nil
}

// claim is the part of attach under mu; again tells a further link of one life.
func (t *edges) claim(l *link) (again bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := l.edge
	if t.leaving {
		return false, errLeaving
	}
	if l.epoch < e.epoch {
		return false, fmt.Errorf("edge %s speaks for epoch %d, but %d has linked", e.id, l.epoch, e.epoch)
	}
	if e.link != nil {
		e.link.end()
	}
	if e.expiry != nil {
		e.expiry.Stop()
	}
	again = e.known && e.epoch == l.epoch
	e.epoch, e.known, e.link = l.epoch, true, l
	return again, nil
}

// detach takes l away, if it still is its edge's link, and starts the grace.
func (t *edges) detach(l *link) {
	l.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := l.edge
	if e.link != l {
		return
	}
	e.link = nil
	if t.leaving {
		return // the edge has other cores, or waits for the next one: its routes are theirs to drop
	}
	t.server.log.Info("edge lost its link", "edge", e.id, "epoch", l.epoch)
	e.expiry = time.AfterFunc(t.server.options.Grace, func() { t.expire(e, l.epoch) })
}

// expire drops the routes of an edge that did not come back.
func (t *edges) expire(e *edge, epoch int64) {
	e.turn.Lock()
	defer e.turn.Unlock()
	t.mu.Lock()
	gone := e.link == nil && e.epoch == epoch && !t.closed
	if gone {
		e.known = false
	}
	t.mu.Unlock()
	if !gone {
		return
	}
	n, err := t.server.options.Registry.DropEdge(context.WithoutCancel(t.server.work), e.id, epoch)
	t.server.log.Warn("edge did not come back", "edge", e.id, "epoch", epoch, "routes", n, "err", err)
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
	t.leaving, t.closed = true, true
	for _, e := range t.byID {
		if e.link != nil {
			e.link.end()
		}
		if e.expiry != nil {
			e.expiry.Stop()
		}
	}
}
