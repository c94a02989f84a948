package presence

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
)

// shards splits the users, so that what walks all of them holds up only a part
// at a time.
const shards = 64

// Memory is the Registry of a single core, in process. What it knows ends with
// the process: edges tell a new core of their live sessions (core/rpc). Make it
// with NewMemory.
//
// A life that attaches again starts without routes: with one core there is no
// other link by which they would still be reached.
type Memory struct {
	// Static after New.
	leases Leases
	start  time.Time // moments are counted from here

	shards [shards]shard
	swept  atomic.Uint32 // shards swept so far

	mu    sync.Mutex                          // taken to replace lives
	lives atomic.Pointer[map[EdgeID]*keeping] // never changed, only replaced
}

// keeping is what is known of the life of one edge.
type keeping struct {
	epoch int64
	began int64        // routes listed before this moment are over
	kept  atomic.Int64 // the moment it was kept last
}

type shard struct {
	mu    sync.RWMutex // guards users
	users map[im.UserID]entry
}

// entry holds a user's routes, in the order of their registration and at most
// one of a device. The slice is never changed, only replaced, so that Routes can
// hand it out; listed, the moment that each was listed last, is changed in place.
type entry struct {
	routes []Route
	listed []int64
}

// NewMemory makes an empty Registry with the leases that are the default. It
// never waits, so it takes no notice of contexts; its only error is ErrFenced.
func NewMemory() *Memory { return NewMemoryFor(Leases{}) }

// NewMemoryFor is NewMemory with leases of the caller's choice.
func NewMemoryFor(l Leases) *Memory {
	m := &Memory{leases: l.WithDefaults(), start: time.Now()}
	m.lives.Store(&map[EdgeID]*keeping{})
	for i := range m.shards {
		m.shards[i].users = make(map[im.UserID]entry)
	}
	return m
}

var _ Registry = (*Memory)(nil)

func (m *Memory) now() int64 { return int64(time.Since(m.start)) }

// Attach implements Registry. It walks all users, a shard at a time.
func (m *Memory) Attach(_ context.Context, life Life) error {
	now := m.now()
	m.mu.Lock()
	have := (*m.lives.Load())[life.Edge]
	if have != nil && have.epoch > life.Epoch {
		m.mu.Unlock()
		return ErrFenced
	}
	m.set(life, now, now)
	m.mu.Unlock()
	over := func(r Route, listed int64) bool {
		return r.Edge == life.Edge && (r.Epoch < life.Epoch || r.Epoch == life.Epoch && listed < now)
	}
	for i := range m.shards {
		m.shards[i].drop(over)
	}
	return nil
}

// set replaces what is known of the edge. The caller holds mu.
func (m *Memory) set(life Life, began, now int64) {
	lives := maps.Clone(*m.lives.Load())
	k := &keeping{epoch: life.Epoch, began: began}
	k.kept.Store(now)
	lives[life.Edge] = k
	m.lives.Store(&lives)
}

// Keep implements Registry. Each call also clears one shard of routes that are over.
func (m *Memory) Keep(_ context.Context, lives ...Life) (over []Life, err error) {
	now := m.now()
	m.mu.Lock()
	for _, life := range lives {
		have := (*m.lives.Load())[life.Edge]
		switch {
		case have == nil || have.epoch < life.Epoch:
			m.set(life, 0, now)
		case have.epoch > life.Epoch:
			over = append(over, life)
		case now-have.kept.Load() >= int64(m.leases.Life):
			m.set(life, now, now) // what it had has lapsed
		default:
			have.kept.Store(now)
		}
	}
	m.mu.Unlock()
	known := *m.lives.Load()
	m.shards[m.swept.Add(1)%shards].drop(func(r Route, listed int64) bool { return m.over(known, r, listed, now) })
	return over, nil
}

// over reports whether a route that was listed at that moment is over.
func (m *Memory) over(lives map[EdgeID]*keeping, r Route, listed, now int64) bool {
	if now-listed >= int64(m.leases.Route) {
		return true
	}
	k := lives[r.Edge]
	if k == nil || k.epoch < r.Epoch {
		return false
	}
	return k.epoch > r.Epoch || listed < k.began || now-k.kept.Load() >= int64(m.leases.Life)
}

// Register implements Registry.
func (m *Memory) Register(_ context.Context, r Route) (displaced []Route, registered bool, err error) {
	one, err := m.restore(r)
	return one.Displaced, one.Registered, err
}

// Restore implements Registry.
func (m *Memory) Restore(_ context.Context, routes []Route) ([]Restored, error) {
	all := make([]Restored, len(routes))
	for i, r := range routes {
		var err error
		if all[i], err = m.restore(r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (m *Memory) restore(r Route) (Restored, error) {
	lives := *m.lives.Load()
	if k := lives[r.Edge]; k != nil && k.epoch > r.Epoch {
		return Restored{}, ErrFenced
	}
	s := m.shard(r.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	now, e := m.now(), s.users[r.User]
	at := slices.IndexFunc(e.routes, func(have Route) bool { return have.Device == r.Device })
	if at < 0 {
		s.users[r.User] = entry{append(slices.Clip(e.routes), r), append(e.listed, now)}
		return Restored{Registered: true}, nil
	}
	have := e.routes[at]
	done := Restored{Registered: true}
	switch over := m.over(lives, have, e.listed[at], now); {
	case have.SessionRef == r.SessionRef && !have.Older(r): // also an echo of what this session was before
		done.Known = !over
		e.listed[at] = now
		return done, nil
	case have.SessionRef == r.SessionRef || over:
	case r.Older(have):
		return Restored{Displaced: []Route{r}}, nil
	default:
		done.Displaced = []Route{have}
	}
	routes := slices.Clone(e.routes)
	routes[at], e.listed[at] = r, now
	s.users[r.User] = entry{routes, e.listed}
	return done, nil
}

// Unregister implements Registry.
func (m *Memory) Unregister(_ context.Context, routes ...Route) (removed []Route, err error) {
	for _, r := range routes {
		if m.unregister(r) {
			removed = append(removed, r)
		}
	}
	return removed, nil
}

func (m *Memory) unregister(r Route) bool {
	s := m.shard(r.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(r.User, func(have Route, _ int64) bool {
		return have.SessionRef == r.SessionRef && have.Device == r.Device &&
			(r.Since.IsZero() || !r.Older(have))
	})
}

// remove drops the routes of a user that match, and reports whether there were
// any. The caller holds mu.
func (s *shard) remove(user im.UserID, match func(r Route, listed int64) bool) bool {
	e := s.users[user]
	var rest entry
	for i, r := range e.routes {
		if !match(r, e.listed[i]) {
			rest.routes, rest.listed = append(rest.routes, r), append(rest.listed, e.listed[i])
		}
	}
	switch len(rest.routes) {
	case len(e.routes):
		return false
	case 0:
		delete(s.users, user)
	default:
		s.users[user] = rest
	}
	return true
}

func (s *shard) drop(match func(r Route, listed int64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, e := range s.users {
		for i, r := range e.routes {
			if match(r, e.listed[i]) {
				s.remove(user, match)
				break
			}
		}
	}
}

// Routes implements Registry.
func (m *Memory) Routes(_ context.Context, users ...im.UserID) ([][]Route, error) {
	out := make([][]Route, len(users))
	lives, now := *m.lives.Load(), m.now()
	for i, user := range users {
		out[i] = m.routesOf(user, lives, now)
	}
	return out, nil
}

// routesOf copies only when a route is over, which is rare.
func (m *Memory) routesOf(user im.UserID, lives map[EdgeID]*keeping, now int64) []Route {
	s := m.shard(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[user]
	for i, r := range e.routes {
		if !m.over(lives, r, e.listed[i], now) {
			continue
		}
		rest := slices.Clone(e.routes[:i])
		for j := i + 1; j < len(e.routes); j++ {
			if !m.over(lives, e.routes[j], e.listed[j], now) {
				rest = append(rest, e.routes[j])
			}
		}
		return rest
	}
	return e.routes
}

// Generation implements Registry: what is lost here is lost with the process.
func (m *Memory) Generation(context.Context) (string, error) { return "memory", nil }

func (m *Memory) shard(user im.UserID) *shard { return &m.shards[uint64(user)%shards] }
