package group

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// errBroken is what those get who wait for a reading that panicked.
var errBroken = errors.New("reading a group broke")

// membership is what messages need of a group: its settings, and who is in it. Nobody changes
// it once it is read.
type membership struct {
	group   group
	logged  bool   // its messages are in its log alone: of a large group the members are not read
	members []mate // by user
	users   []im.UserID
}

// mate is a member, as far as messages need one.
type mate struct {
	user         im.UserID
	role         grouppb.GroupRole
	permissions  int32
	mutedUntilMs int64
	afterSeq     int64
}

// find gives a member.
func (m *membership) find(u im.UserID) (mate, bool) {
	i, found := slices.BinarySearchFunc(m.members, u, func(one mate, u im.UserID) int { return int(one.user - u) })
	if !found {
		return mate{}, false
	}
	return m.members[i], true
}

// memberships remembers who is in groups, as long as the groups' versions say that it is so.
// Callers at once share one reading. Safe for concurrent use.
type memberships struct {
	version func(ctx context.Context, id int64) (version int64, there bool, err error) // as it is after the call
	load    func(ctx context.Context, id int64) (*membership, error)
	most    int // members that are remembered, in each of two halves

	mu         sync.Mutex // guards the fields below
	young, old map[int64]*reading
	size       int // of young
}

// reading is one look at the tables. What it found may be read when done is closed.
type reading struct {
	done  chan struct{}
	found *membership
	err   error
}

func newMemberships(version func(context.Context, int64) (int64, bool, error), load func(context.Context, int64) (*membership, error), most int) *memberships {
	return &memberships{version: version, load: load, most: most / 2, young: map[int64]*reading{}, old: map[int64]*reading{}}
}

// loading bounds one reading, which several callers may wait for.
const loading = 5 * time.Second

// get gives a group as it is at some moment after the call began. It returns errUnknown when
// there is no such group.
func (s *memberships) get(ctx context.Context, id int64) (*membership, error) {
	version, there, err := s.version(ctx, id)
	if err != nil {
		return nil, err
	}
	if !there {
		s.forget(id)
		return nil, errUnknown
	}
	for {
		r, mine := s.at(id, version)
		if mine {
			s.read(ctx, id, r)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case r.err != nil || r.found.group.version == version:
			return r.found, r.err
		case r.found.group.version < version: // the reading began before the version was read
			continue
		}
		// The group has changed since the version was read, or the tables were taken back to before what was found.
		if version, there, err = s.version(ctx, id); err != nil {
			return nil, err
		}
		if there && version >= r.found.group.version {
			return r.found, nil
		}
		s.forget(id)
		if !there {
			return nil, errUnknown
		}
	}
}

// at gives the reading to wait for; mine: the caller must do it.
func (s *memberships) at(id, version int64) (r *reading, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.young[id]
	if r == nil {
		if r = s.old[id]; r != nil && r.usable(version) {
			delete(s.old, id)
			s.keep(id, r)
		}
	}
	if r != nil && r.usable(version) {
		return r, false
	}
	r = &reading{done: make(chan struct{})}
	s.keep(id, r)
	return r, true
}

// keep files a reading, and forgets the older half of all when the younger is full.
func (s *memberships) keep(id int64, r *reading) {
	if was := s.young[id]; was != nil {
		s.size -= was.size()
	}
	if s.size >= s.most {
		s.young, s.old, s.size = map[int64]*reading{}, s.young, 0
	}
	s.young[id] = r
	s.size += r.size()
}

func (s *memberships) forget(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.young[id]; was != nil {
		s.size -= was.size()
		delete(s.young, id)
	}
	delete(s.old, id)
}

// read looks at the tables for all who wait.
func (s *memberships) read(ctx context.Context, id int64, r *reading) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loading)
	defer cancel()
	r.err = errBroken // unless load returns
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.err == nil && s.young[id] == r {
			s.size += len(r.found.members)
		}
		close(r.done) // under the lock: size tells what was counted
	}()
	r.found, r.err = s.load(ctx, id)
}

// usable reports whether a reading is under way, or found that version or a later one.
func (r *reading) usable(version int64) bool {
	select {
	case <-r.done:
		return r.err == nil && r.found.group.version >= version
	default:
		return true
	}
}

// size is how much of it was counted: one for itself, and the members once it is done.
func (r *reading) size() int {
	select {
	case <-r.done:
		if r.err == nil {
			return 1 + len(r.found.members)
		}
	default:
	}
	return 1
}

const matesOf = "SELECT user_id, role, permissions, muted_until_ms, after_seq FROM group_members WHERE group_id = ? ORDER BY user_id"

// load gives a group as messages need it, in the store's present life.
func (p *Group) load(ctx context.Context, id int64) (*membership, error) {
	if err := p.adopt(ctx, id); err != nil {
		return nil, err
	}
	return loadMembership(ctx, p.host.DB(), id)
}

// loadMembership reads a group and then its members: they are those of the version that it
// tells, or later ones.
func loadMembership(ctx context.Context, q querier, id int64) (*membership, error) {
	g, err := readGroup(ctx, q, id)
	if err != nil {
		return nil, err
	}
	if large, err := logged(ctx, q, id); large || err != nil {
		return &membership{group: g, logged: true}, err
	}
	all, err := mates(ctx, q, id)
	if err != nil {
		return nil, err
	}
	found := &membership{group: g, members: all, users: make([]im.UserID, len(all))}
	for i, m := range all {
		found.users[i] = m.user
	}
	return found, nil
}

const versionBatch = 256 // groups in one query

const versionsOf = "SELECT id, version FROM group_groups WHERE dissolved = 0 AND id IN "

// readVersions gives the versions of those groups that there are.
func readVersions(ctx context.Context, q querier, ids []int64) (map[int64]int64, error) {
	type row struct{ id, version int64 }
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	all, err := list(ctx, q, func(r *row) []any { return []any{&r.id, &r.version} },
		versionsOf+plugin.Marks(len(ids)), args...)
	found := make(map[int64]int64, len(all))
	for _, r := range all {
		found[r.id] = r.version
	}
	return found, err
}

func mates(ctx context.Context, q querier, id int64) ([]mate, error) {
	return list(ctx, q, func(m *mate) []any { return []any{&m.user, &m.role, &m.permissions, &m.mutedUntilMs, &m.afterSeq} }, matesOf, id)
}
