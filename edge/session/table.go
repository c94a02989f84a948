package session

import (
	"iter"
	"sync"
)

// shards is how many parts the table has, a power of two. Lookups of a push and
// of connects and closings meanwhile rarely want the same part; README.md has
// the figures.
const shards = 32

// table finds sessions by ID. IDs are given out in a row, so they spread evenly.
type table struct {
	parts [shards]part
}

type part struct {
	mu   sync.RWMutex // guards the map, not the sessions
	byID map[ID]*Session
	_    [32]byte // keeps neighbours out of one cache line
}

func (t *table) init() {
	for i := range t.parts {
		t.parts[i].byID = make(map[ID]*Session)
	}
}

func (t *table) part(id ID) *part { return &t.parts[id%shards] }

func (t *table) add(s *Session) {
	p := t.part(s.id)
	p.mu.Lock()
	p.byID[s.id] = s
	p.mu.Unlock()
}

func (t *table) remove(id ID) {
	p := t.part(id)
	p.mu.Lock()
	delete(p.byID, id)
	p.mu.Unlock()
}

// find is nil for a session that is gone.
func (t *table) find(id ID) *Session {
	p := t.part(id)
	p.mu.RLock()
	s := p.byID[id]
	p.mu.RUnlock()
	return s
}

// all gives the sessions part by part, with no lock held while one is handled.
func (t *table) all() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for i := range t.parts {
			for _, s := range t.parts[i].snapshot() {
				if !yield(s) {
					return
				}
			}
		}
	}
}

func (p *part) snapshot() []*Session {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*Session, 0, len(p.byID))
	for _, s := range p.byID {
		list = append(list, s)
	}
	return list
}
