package presence

import (
	"context"
	"slices"
	"sync"

	"freeim/core/im"
)

// shards splits the users, so that DropEdge, which walks all of them, holds up
// only a part at a time.
const shards = 64

// Memory is the Registry of a single core, in process. What it knows ends with
// the process: edges tell a new core of their live sessions (core/rpc). Make it
// with NewMemory.
type Memory struct {
	shards [shards]shard
}

type shard struct {
	mu sync.RWMutex // guards users
	// users holds each user's routes, in the order of their registration and at
	// most one of a device. The slices are never changed, only replaced, so that
	// Routes can hand them out.
	users map[im.UserID][]Route
}

// NewMemory makes an empty Registry. It never returns errors and never waits, so
// it takes no notice of contexts.
func NewMemory() *Memory {
	m := new(Memory)
	for i := range m.shards {
		m.shards[i].users = make(map[im.UserID][]Route)
	}
	return m
}

var _ Registry = (*Memory)(nil)

// Register implements Registry. The same session registering again replaces
// itself and displaces nothing.
func (m *Memory) Register(_ context.Context, r Route) (displaced []Route, registered bool, err error) {
	s := m.shard(r.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	routes := s.users[r.User]
	at := slices.IndexFunc(routes, func(have Route) bool { return have.Device == r.Device })
	if at < 0 {
		s.users[r.User] = append(slices.Clip(routes), r)
		return nil, true, nil
	}
	have := routes[at]
	if have.SessionRef != r.SessionRef {
		if older(r, have) {
			return []Route{r}, false, nil
		}
		displaced = []Route{have}
	} else if older(r, have) {
		return nil, true, nil // an echo of what this session was before: the newer stays
	}
	routes = slices.Clone(routes)
	routes[at] = r
	s.users[r.User] = routes
	return displaced, true, nil
}

// older orders two sessions of one device: by TokenID, so that no race and no
// clock lets a session of an ended sign-in displace one of the newer, then by
// Since, to the millisecond as on the wire. Of two equal ones neither is older.
func older(a, b Route) bool {
	if a.TokenID != b.TokenID {
		return a.TokenID < b.TokenID
	}
	return a.Since.UnixMilli() < b.Since.UnixMilli()
}

// Unregister implements Registry. A session that was bound again meanwhile keeps
// its newer route; a zero r.Since matches any.
func (m *Memory) Unregister(_ context.Context, r Route) (removed bool, err error) {
	s := m.shard(r.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(r.User, func(have Route) bool {
		return have.SessionRef == r.SessionRef && have.Device == r.Device &&
			(r.Since.IsZero() || !older(r, have))
	}) > 0, nil
}

// remove drops the routes of a user that match, and returns how many there were.
// The caller holds mu.
func (s *shard) remove(user im.UserID, match func(Route) bool) int {
	routes := s.users[user]
	if !slices.ContainsFunc(routes, match) {
		return 0
	}
	rest := slices.DeleteFunc(slices.Clone(routes), match)
	if len(rest) == 0 {
		delete(s.users, user)
	} else {
		s.users[user] = rest
	}
	return len(routes) - len(rest)
}

// Routes implements Registry. The inner slices are shared and must not be changed.
func (m *Memory) Routes(_ context.Context, users ...im.UserID) ([][]Route, error) {
	out := make([][]Route, len(users))
	for i, user := range users {
		s := m.shard(user)
		s.mu.RLock()
		out[i] = s.users[user]
		s.mu.RUnlock()
	}
	return out, nil
}

// DropEdge implements Registry. It walks all users, a shard at a time: the caller
// sees to it that the edge registers nothing of that epoch meanwhile.
func (m *Memory) DropEdge(_ context.Context, edge EdgeID, epoch int64) (int, error) {
	dropped := 0
	for i := range m.shards {
		dropped += m.shards[i].drop(edge, epoch)
	}
	return dropped, nil
}

func (s *shard) drop(edge EdgeID, epoch int64) (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user := range s.users {
		dropped += s.remove(user, func(r Route) bool { return r.Edge == edge && r.Epoch <= epoch })
	}
	return dropped
}

func (m *Memory) shard(user im.UserID) *shard { return &m.shards[uint64(user)%shards] }
