package presence

import (
	"context"
	"slices"
	"sync"
	"time"

	"freeim/core/im"
)

// MemoryRooms is the Rooms of a single core, in process. Make it with
// NewMemoryRooms. Its only error is ErrFenced.
type MemoryRooms struct {
	leases Leases // static

	mu    sync.Mutex // guards rooms
	rooms map[im.ConversationID]map[EdgeID]subscription
}

// subscription is what one edge has said of a room. It is replaced, not changed.
type subscription struct {
	epoch   int64
	until   time.Time
	joining time.Time // until then a join may be on its way
	members int64
	users   []im.UserID
}

// NewMemoryRooms makes an empty one.
func NewMemoryRooms(l Leases) *MemoryRooms {
	return &MemoryRooms{leases: l.WithDefaults(), rooms: make(map[im.ConversationID]map[EdgeID]subscription)}
}

var _ Rooms = (*MemoryRooms)(nil)

// Subscribe implements Rooms.
func (m *MemoryRooms) Subscribe(_ context.Context, room im.ConversationID, life Life) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	s, ok := m.of(room, life, now)
	if !ok {
		return ErrFenced
	}
	s.until, s.joining = now.Add(m.leases.Route), now.Add(m.leases.Join)
	m.set(room, life.Edge, s)
	return nil
}

// of gives what that life has said of the room, false when a later one has. The
// caller holds mu.
func (m *MemoryRooms) of(room im.ConversationID, life Life, now time.Time) (subscription, bool) {
	have, ok := m.rooms[room][life.Edge]
	switch {
	case ok && have.epoch == life.Epoch:
		return have, true
	case ok && have.epoch > life.Epoch && now.Before(have.until):
		return have, false
	}
	return subscription{epoch: life.Epoch}, true
}

// set files what the edge says. The caller holds mu.
func (m *MemoryRooms) set(room im.ConversationID, edge EdgeID, s subscription) {
	if m.rooms[room] == nil {
		m.rooms[room] = make(map[EdgeID]subscription)
	}
	m.rooms[room][edge] = s
}

// Report implements Rooms.
func (m *MemoryRooms) Report(_ context.Context, life Life, reports ...RoomReport) ([]RoomChange, error) {
	now := time.Now()
	changes := make([]RoomChange, len(reports))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	for i, r := range reports {
		changes[i] = m.report(life, r, now)
	}
	return changes, nil
}

// report takes one report. What has lapsed is forgotten here, so that a change tells
// of it once. The caller holds mu.
func (m *MemoryRooms) report(life Life, r RoomReport, now time.Time) RoomChange {
	s, ok := m.of(r.Room, life, now)
	if !ok {
		return RoomChange{Room: r.Room}
	}
	change := RoomChange{Room: r.Room, Before: occupied(m.rooms[r.Room], time.Time{}), New: r.Members > 0 && !now.Before(s.until)}
	for edge, other := range m.rooms[r.Room] {
		if !now.Before(other.until) {
			delete(m.rooms[r.Room], edge)
		}
	}
	if s.members, s.users = r.Members, slices.Clone(r.Users); r.Members > 0 || now.Before(s.joining) {
		s.until = now.Add(m.leases.Route)
		m.set(r.Room, life.Edge, s)
	} else {
		delete(m.rooms[r.Room], life.Edge)
	}
	change.After = occupied(m.rooms[r.Room], now)
	if len(m.rooms[r.Room]) == 0 {
		delete(m.rooms, r.Room)
	}
	return change
}

// occupied adds up what edges said that is believed at that moment.
func occupied(edges map[EdgeID]subscription, at time.Time) Occupancy {
	all := Occupancy{Listed: true}
	for _, s := range edges {
		if at.Before(s.until) {
			all.Count(s.members, s.users)
		}
	}
	all.Sort()
	return all
}

// sweep forgets a few rooms of which nobody has spoken for too long. Go's maps begin
// a range at random. The caller holds mu.
func (m *MemoryRooms) sweep(now time.Time) {
	const some = 4
	looked := 0
	for room, edges := range m.rooms {
		live := false
		for _, s := range edges {
			live = live || now.Before(s.until)
		}
		if !live {
			delete(m.rooms, room)
		}
		if looked++; looked == some {
			return
		}
	}
}

// Edges implements Rooms.
func (m *MemoryRooms) Edges(_ context.Context, rooms ...im.ConversationID) ([][]Life, error) {
	now := time.Now()
	all := make([][]Life, len(rooms))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, room := range rooms {
		for edge, s := range m.rooms[room] {
			if now.Before(s.until) {
				all[i] = append(all[i], Life{edge, s.epoch})
			}
		}
	}
	return all, nil
}

// Occupancy implements Rooms.
func (m *MemoryRooms) Occupancy(_ context.Context, room im.ConversationID) (Occupancy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return occupied(m.rooms[room], time.Now()), nil
}
