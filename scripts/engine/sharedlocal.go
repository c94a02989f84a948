package engine

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"
)

// localShared is a Shared of this process: for one core alone, a bundle's tests, and a
// candidate that has no effect.
type localShared struct {
	*memory
	marks marks
}

var _ Shared = (*localShared)(nil)

func newLocalShared(c clock, octets uint64) (*localShared, error) {
	m, err := newMemory(c, octets)
	return &localShared{m, marks{now: c.NowNano, keys: map[string]*markedKey{}}}, err
}

// Del implements KV: the marks of the key go too.
func (s *localShared) Del(ctx context.Context, key string) (bool, error) {
	marked := s.marks.remove(key)
	existed, err := s.memory.Del(ctx, key)
	return existed || marked, err
}

// Mark implements Shared.
func (s *localShared) Mark(_ context.Context, key, member, value string, ttl time.Duration) (string, bool, error) {
	return s.marks.mark(key, member, value, ttl)
}

// Marks implements Shared.
func (s *localShared) Marks(_ context.Context, key, member string) (map[string]int64, string, error) {
	counts, mine := s.marks.count(key, member)
	return counts, mine, nil
}

// marks are all marks of a process. They are exact until they end, so none is forgotten
// earlier: beyond maxAllMarks nothing is taken.
type marks struct {
	now func() int64

	mu   sync.Mutex // guards the fields below
	keys map[string]*markedKey
	all  int // members of all keys
}

// maxAllMarks is the number of members of all keys together, and of keys.
const maxAllMarks = 200_000

type markedKey struct {
	until   int64 // unix ns
	members map[string]string
	counts  map[string]int64
}

func (m *marks) mark(key, member, value string, ttl time.Duration) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.live(key)
	if k != nil && k.members[member] != "" {
		return k.members[member], false, nil
	}
	if m.all >= maxAllMarks {
		m.sweep()
	}
	switch {
	case m.all >= maxAllMarks,
		k != nil && len(k.members) >= maxMarked,
		k != nil && k.counts[value] == 0 && len(k.counts) >= maxValues:
		return "", false, ErrFull
	case k == nil:
		k = &markedKey{until: m.now() + int64(ttl), members: map[string]string{}, counts: map[string]int64{}}
		m.keys[key] = k
	}
	k.members[member] = value
	k.counts[value]++
	m.all++
	return value, true, nil
}

func (m *marks) count(key, member string) (map[string]int64, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.live(key)
	if k == nil {
		return nil, ""
	}
	return maps.Clone(k.counts), k.members[member]
}

func (m *marks) remove(key string) (existed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	existed = m.live(key) != nil
	m.drop(key)
	return existed
}

// live is a key that has not ended, nil for none. The caller holds mu.
func (m *marks) live(key string) *markedKey {
	k := m.keys[key]
	if k != nil && k.until <= m.now() {
		m.drop(key)
		return nil
	}
	return k
}

func (m *marks) drop(key string) {
	if k := m.keys[key]; k != nil {
		m.all -= len(k.members)
		delete(m.keys, key)
	}
}

// sweep forgets what has ended.
func (m *marks) sweep() {
	now := m.now()
	for key, k := range m.keys {
		if k.until <= now {
			m.drop(key)
		}
	}
}

// taped is what a tape hears of im.shared.
type taped struct {
	*tape
	inner Shared
}

var _ Shared = taped{}

func (t *tape) common() Shared { return taped{t, t.inner.common()} }

// Get implements KV.
func (t taped) Get(ctx context.Context, key string) (string, bool, error) {
	text, ok, err := t.inner.Get(ctx, key)
	o := t.through(seenOp{Text: text, OK: ok, Err: errText(err)}, "shared.get", key)
	return o.Text, o.OK, o.err()
}

// Set implements KV.
func (t taped) Set(ctx context.Context, key, value string, ttl time.Duration) error {
	return t.through(seenOp{Err: errText(t.inner.Set(ctx, key, value, ttl))}, "shared.set", key).err()
}

// Incr implements KV.
func (t taped) Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	sum, err := t.inner.Incr(ctx, key, by, ttl)
	o := t.through(seenOp{N: float64(sum), Err: errText(err)}, "shared.incr", key)
	return int64(o.N), o.err()
}

// Del implements KV.
func (t taped) Del(ctx context.Context, key string) (bool, error) {
	existed, err := t.inner.Del(ctx, key)
	o := t.through(seenOp{OK: existed, Err: errText(err)}, "shared.del", key)
	return o.OK, o.err()
}

// CAS implements KV.
func (t taped) CAS(ctx context.Context, key string, old *string, value string, ttl time.Duration) (bool, error) {
	set, err := t.inner.CAS(ctx, key, old, value, ttl)
	o := t.through(seenOp{OK: set, Err: errText(err)}, "shared.cas", key)
	return o.OK, o.err()
}

// Mark implements Shared.
func (t taped) Mark(ctx context.Context, key, member, value string, ttl time.Duration) (string, bool, error) {
	marked, fresh, err := t.inner.Mark(ctx, key, member, value, ttl)
	o := t.through(seenOp{Text: marked, OK: fresh, Err: errText(err)}, "shared.mark", key, member)
	return o.Text, o.OK, o.err()
}

// markedCounts is what Marks answers, as a tape keeps it.
type markedCounts struct {
	Counts map[string]int64
	Mine   string
}

// Marks implements Shared.
func (t taped) Marks(ctx context.Context, key, member string) (map[string]int64, string, error) {
	counts, mine, err := t.inner.Marks(ctx, key, member)
	now, _ := json.Marshal(markedCounts{counts, mine}) // strings and numbers have a form in JSON
	o := t.through(seenOp{Text: string(now), Err: errText(err)}, "shared.marks", key, member)
	var said markedCounts
	_ = json.Unmarshal([]byte(o.Text), &said) // a recording that was changed says nothing
	return said.Counts, said.Mine, o.err()
}
