package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"freeim/scripts/engine/texts"

	"github.com/maypok86/otter/v2"
)

// bounds are how much rules may remember. When one is reached, keys that were
// rarely used are forgotten first (W-TinyLFU), so a flood of new keys does not
// push out those in use.
type bounds struct {
	octets uint64 // of im.kv's keys and values, and as many of im.count.uniq's sets and of im.count.alike's texts; kvOverhead for each among them
	keys   int    // of each kind of counter: rates, windows, sets
}

func usualBounds() bounds { return bounds{octets: 32 << 20, keys: 100_000} }

const (
	kvOverhead = 128 // octets
	maxUniq    = 256 // members that a set tells apart
	maxKey     = 128 // octets
	maxValue   = 64 << 10
	maxTTL     = 30 * 24 * time.Hour
	exact      = 1 << 53 // whole numbers up to here are exact in Lua
)

// KV is where im.kv keeps its values. Methods are called while a hook runs and
// must answer within a small part of its time; an error is an error of the hook.
// Implementations are safe for concurrent use.
type KV interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	Set(ctx context.Context, key, value string, ttl time.Duration) error
	// Incr adds to a whole number and gives the sum; a key that is not there counts
	// as 0 and lives for ttl from now. ErrNotANumber: there is something else.
	Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error)
	Del(ctx context.Context, key string) (existed bool, err error)
	// CAS sets key to value if it holds *old, or if it is not there and old is nil.
	CAS(ctx context.Context, key string, old *string, value string, ttl time.Duration) (set bool, err error)
}

// ErrNotANumber is what KV.Incr answers for a value that it cannot add to.
var ErrNotANumber = errors.New("the value is no whole number within 2^53")

// state is what rules remember from call to call. It belongs to the engine, so
// all VMs share it and a reload keeps it; each test of a bundle has its own.
type state struct {
	KV
	rates   cache[rateKey, *refill]
	windows cache[windowKey, *window]
	said    cache[windowKey, *said]
	sets    cache[windowKey, members]
	seed    maphash.Seed
	local   *memory // closed with the state
	shared  Shared  // of im.shared
	alone   *localShared
}

// cache is what is used of otter's. An interface, because whoever imports a package
// with a generic type in its structs compiles all methods of that type again: with the
// caches themselves here, more than half of what freeim's own packages took to build.
type cache[K comparable, V any] interface {
	GetIfPresent(key K) (V, bool)
	Set(key K, value V) (V, bool)
	SetIfAbsent(key K, value V) (V, bool)
	Compute(key K, change func(old V, found bool) (V, otter.ComputeOp)) (V, bool)
	Invalidate(key K) (V, bool)
	StopAllGoroutines() bool
}

type rateKey struct {
	key string
	n   int
	per time.Duration
}

type windowKey struct {
	key  string
	span time.Duration
}

// newState makes an empty state. kv nil: a local one. One for a test uses no
// other goroutine, so that its clock can be moved.
func newState(kv KV, now func() time.Time, size bounds, test bool) (*state, error) {
	c := clock{now, test}
	s := &state{KV: kv, seed: maphash.MakeSeed()}
	var errs [6]error
	s.alone, errs[4] = newLocalShared(c, size.octets)
	s.shared = s.alone
	s.rates, errs[0] = otter.New(&otter.Options[rateKey, *refill]{MaximumSize: size.keys, Clock: c, Executor: c.executor(),
		ExpiryCalculator: unused(func(k rateKey, b *refill) time.Duration { return b.matters(k, c.NowNano()) })})
	s.windows, errs[1] = otter.New(&otter.Options[windowKey, *window]{MaximumSize: size.keys, Clock: c, Executor: c.executor(),
		ExpiryCalculator: unused(func(k windowKey, _ *window) time.Duration { return 2 * k.span })})
	s.sets, errs[2] = otter.New(&otter.Options[windowKey, members]{MaximumWeight: size.octets, Clock: c, Executor: c.executor(),
		Weigher:          func(k windowKey, m members) uint32 { return uint32(len(k.key) + 16*len(m) + kvOverhead) },
		ExpiryCalculator: expiry(c, func(k windowKey, m members) int64 { return m.latest() + int64(k.span) })})
	s.said, errs[5] = otter.New(&otter.Options[windowKey, *said]{MaximumWeight: size.octets, Clock: c, Executor: c.executor(),
		Weigher:          func(k windowKey, one *said) uint32 { return uint32(len(k.key) + one.weight() + kvOverhead) },
		ExpiryCalculator: unused(func(k windowKey, _ *said) time.Duration { return 2 * k.span })})
	if kv == nil {
		s.local, errs[3] = newMemory(c, size.octets)
		s.KV = s.local
	}
	return s, errors.Join(errs[:]...)
}

// close ends the caches' goroutines.
func (s *state) close() {
	s.rates.StopAllGoroutines()
	s.windows.StopAllGoroutines()
	s.sets.StopAllGoroutines()
	s.said.StopAllGoroutines()
	s.alone.cache.StopAllGoroutines()
	if s.local != nil {
		s.local.cache.StopAllGoroutines()
	}
}

// common is what im.shared uses.
func (s *state) common() Shared { return s.shared }

// clock is the caches' time.
type clock struct {
	now  func() time.Time
	test bool
}

func (c clock) NowNano() int64 { return c.now().UnixNano() }

func (c clock) Tick(d time.Duration) <-chan time.Time {
	if c.test {
		return nil
	}
	return time.Tick(d)
}

// executor runs the caches' housekeeping, which is due after each write: for the writes of a
// millisecond at once, so that not each of them starts a goroutine, which costs more than the write. When more
// come meanwhile than a cache has room to note, it does it by itself.
func (c clock) executor() func(func()) {
	if c.test {
		return func(fn func()) { fn() }
	}
	return func(fn func()) { time.AfterFunc(time.Millisecond, fn) }
}

// unused is how long a counter may be left alone until it says nothing any more. Caches notice a use a second late
// at most.
func unused[K comparable, V any](d func(K, V) time.Duration) otter.ExpiryCalculator[K, V] {
	return otter.ExpiryAccessingFunc(func(e otter.Entry[K, V]) time.Duration { return d(e.Key, e.Value) + 2*time.Second })
}

// expiry is when a value stops to matter, in unix ns.
func expiry[K comparable, V any](c clock, until func(K, V) int64) otter.ExpiryCalculator[K, V] {
	return otter.ExpiryWritingFunc(func(e otter.Entry[K, V]) time.Duration {
		return max(1, time.Duration(until(e.Key, e.Value)-c.NowNano()))
	})
}

// refill is the state of a rate. It is changed in place: to write it anew into the cache would cost
// ten times as much.
type refill struct {
	mu   sync.Mutex
	full int64 // when it is full again, unix ns
}

// matters is how long it says more than a full one would. It is asked just before a use, which takes a turn,
// as others may do meanwhile.
func (b *refill) matters(k rateKey, now int64) time.Duration {
	const turns = 4
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(time.Duration(max(b.full-now, 0))+turns*(k.per/time.Duration(k.n)), k.per)
}

// rate is a token bucket of n per duration, by the time at which it is full
// again (GCRA). A refused call takes nothing.
func (s *state) rate(k rateKey, now int64) (ok bool, retry time.Duration) {
	b, found := s.rates.GetIfPresent(k)
	if !found {
		b, _ = s.rates.SetIfAbsent(k, new(refill))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	next := max(b.full, now) + int64(k.per)/int64(k.n)
	if late := next - int64(k.per) - now; late > 0 {
		return false, time.Duration(late)
	}
	b.full = next
	return true, 0
}

// window counts in two neighbouring spans, of which the older one weighs as much
// as the sliding window still covers of it. It is changed in place. A call's time stands still, so one may come with the
// span before the current one: it counts as if it came at the beginning of this.
type window struct {
	mu        sync.Mutex
	start     int64 // of the current span, unix ns
	now, last float64
}

func (s *state) count(k windowKey, add float64, now int64) float64 {
	w, found := s.windows.GetIfPresent(k)
	if !found {
		w, _ = s.windows.SetIfAbsent(k, new(window))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.add(int64(k.span), add, now)
}

// add counts, and gives how many were counted within the span. The caller holds mu.
func (w *window) add(span int64, add float64, now int64) float64 {
	start := now - now%span
	if w.start > start && w.start-start <= span {
		start, now = w.start, w.start
	}
	switch {
	case w.start < start-span || w.start > start:
		w.start, w.now, w.last = start, 0, 0
	case w.start < start:
		w.start, w.now, w.last = start, 0, w.now
	}
	w.now += add
	return w.now + w.last*float64(span-(now-start))/float64(span)
}

// said is what was said last under a key, and how often nearly that was said again. It is changed in
// place.
type said struct {
	window        // of those that were nearly the same
	looks  string // the skeleton of what was said, cut
	until  int64  // from when on it does not matter, unix ns
	room   int    // octets of looks that the cache has weighed
}

const (
	saidLetters = 300             // of a text that are compared
	saidLooked  = 8 * saidLetters // characters of a text in which those are looked for: some show nothing
	saidRoom    = 256             // octets: a cache weighs a key anew when its text takes so many more
)

func (one *said) weight() int {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.room
}

// alike counts a text that is nearly what was said last under the key, and gives how many such there were within the
// span. Any other text is what was said last from then on: 0.
func (s *state) alike(k windowKey, looks string, least float64, t *texts.Comparer, now int64) float64 {
	one, found := s.said.GetIfPresent(k)
	if !found {
		one, _ = s.said.SetIfAbsent(k, &said{room: saidRoom})
	}
	n, grown := one.again(int64(k.span), looks, least, t, now)
	if grown {
		s.said.Set(k, one)
	}
	return n
}

// again is alike, and reports whether the text takes more room than was weighed.
func (one *said) again(span int64, looks string, least float64, t *texts.Comparer, now int64) (n float64, grown bool) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if now < one.until && (one.looks == looks || t.Similarity(one.looks, looks, least) >= least) {
		return one.add(span, 1, now), false
	}
	one.looks, one.until = looks, now+span
	for ; one.room < len(looks); grown = true {
		one.room += saidRoom
	}
	return 0, grown
}

// members is who was seen when, by hash. Values in the cache are never written.
type members []seen

type seen struct {
	hash uint64
	at   int64 // unix ns
}

func (m members) latest() int64 {
	var at int64
	for _, one := range m {
		at = max(at, one.at)
	}
	return at
}

// uniq adds a member and gives how many different ones were seen within the
// span, maxUniq at most: beyond that the one that was seen longest ago is
// forgotten.
func (s *state) uniq(k windowKey, member string, now int64) int {
	hash, n := maphash.String(s.seed, member), 0
	s.sets.Compute(k, func(old members, _ bool) (members, otter.ComputeOp) {
		kept := make(members, 0, min(len(old)+1, maxUniq))
		oldest := 0
		for _, one := range old {
			if one.hash == hash || one.at <= now-int64(k.span) || len(kept) == maxUniq {
				continue
			}
			if kept = append(kept, one); one.at < kept[oldest].at {
				oldest = len(kept) - 1
			}
		}
		if len(kept) == maxUniq {
			kept = slices.Delete(kept, oldest, oldest+1)
		}
		kept = append(kept, seen{hash, now})
		n = len(kept)
		return kept, otter.WriteOp
	})
	return n
}

// memory is a KV of this process.
type memory struct {
	clock clock
	cache cache[string, keptValue]
}

// keptValue is a value and when it goes, unix ns.
type keptValue struct {
	text  string
	until int64
}

var _ KV = (*memory)(nil)

func newMemory(c clock, octets uint64) (*memory, error) {
	cache, err := otter.New(&otter.Options[string, keptValue]{MaximumWeight: octets, Clock: c, Executor: c.executor(),
		Weigher:          func(key string, v keptValue) uint32 { return uint32(len(key) + len(v.text) + kvOverhead) },
		ExpiryCalculator: expiry(c, func(_ string, v keptValue) int64 { return v.until })})
	return &memory{c, cache}, err
}

func (m *memory) value(text string, ttl time.Duration) keptValue {
	return keptValue{text, m.clock.NowNano() + int64(ttl)}
}

// Get implements KV.
func (m *memory) Get(_ context.Context, key string) (string, bool, error) {
	v, ok := m.cache.GetIfPresent(key)
	return v.text, ok, nil
}

// Set implements KV.
func (m *memory) Set(_ context.Context, key, value string, ttl time.Duration) error {
	m.cache.Set(key, m.value(value, ttl))
	return nil
}

// Incr implements KV.
func (m *memory) Incr(_ context.Context, key string, by int64, ttl time.Duration) (sum int64, err error) {
	m.cache.Compute(key, func(v keptValue, found bool) (keptValue, otter.ComputeOp) {
		if !found {
			v = m.value("0", ttl)
		}
		n, bad := strconv.ParseInt(v.text, 10, 64)
		if sum = n + by; bad != nil || n < -exact || n > exact || sum < -exact || sum > exact {
			err = ErrNotANumber
			return v, otter.CancelOp
		}
		v.text = strconv.FormatInt(sum, 10)
		return v, otter.WriteOp
	})
	return sum, err
}

// Del implements KV.
func (m *memory) Del(_ context.Context, key string) (bool, error) {
	_, existed := m.cache.Invalidate(key)
	return existed, nil
}

// CAS implements KV.
func (m *memory) CAS(_ context.Context, key string, old *string, value string, ttl time.Duration) (set bool, err error) {
	m.cache.Compute(key, func(v keptValue, found bool) (keptValue, otter.ComputeOp) {
		if set = found == (old != nil) && (!found || v.text == *old); !set {
			return v, otter.CancelOp
		}
		return m.value(value, ttl), otter.WriteOp
	})
	return set, nil
}
