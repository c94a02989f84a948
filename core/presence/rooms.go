package presence

import (
	"context"
	"sync"
	"time"

	"freeim/core/im"
)

// MemoryRooms is the Rooms of a single core, in process. Make it with NewMemoryRooms.
type MemoryRooms struct {
	lease time.Duration // static

	mu    sync.Mutex // guards rooms
	rooms map[im.ConversationID]map[EdgeID]subscription
}

type subscription struct {
	epoch int64
	until time.Time
}

// NewMemoryRooms makes an empty one.
func NewMemoryRooms(l Leases) *MemoryRooms {
	return &MemoryRooms{lease: l.WithDefaults().Route, rooms: make(map[im.ConversationID]map[EdgeID]subscription)}
}

var _ Rooms = (*MemoryRooms)(nil)

// Subscribe implements Rooms.
func (m *MemoryRooms) Subscribe(_ context.Context, room im.ConversationID, life Life) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	edges := m.rooms[room]
	if edges == nil {
		edges = make(map[EdgeID]subscription)
		m.rooms[room] = edges
	}
	now := time.Now()
	if have, ok := edges[life.Edge]; ok && have.epoch > life.Epoch && now.Before(have.until) {
		return ErrFenced
	}
	edges[life.Edge] = subscription{life.Epoch, now.Add(m.lease)}
	return nil
}

// Unsubscribe implements Rooms.
func (m *MemoryRooms) Unsubscribe(_ context.Context, room im.ConversationID, life Life) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have, ok := m.rooms[room][life.Edge]; ok && have.epoch == life.Epoch {
		m.forget(room, life.Edge)
	}
	return nil
}

// forget takes an edge out of a room. The caller holds mu.
func (m *MemoryRooms) forget(room im.ConversationID, edge EdgeID) {
	delete(m.rooms[room], edge)
	if len(m.rooms[room]) == 0 {
		delete(m.rooms, room)
	}
}

// Edges implements Rooms.
func (m *MemoryRooms) Edges(_ context.Context, room im.ConversationID) (lives []Life, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for edge, s := range m.rooms[room] {
		if now.Before(s.until) {
			lives = append(lives, Life{edge, s.epoch})
		} else {
			m.forget(room, edge)
		}
	}
	return lives, nil
}
