package engine

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"freeim/scripts/engine/texts"
)

// ops are what scripts do with memory: im.kv, im.rate and im.count.
type ops interface {
	KV
	rate(k rateKey, now int64) (ok bool, retry time.Duration)
	count(k windowKey, add float64, now int64) float64
	uniq(k windowKey, member string, now int64) int
	alike(k windowKey, looks string, least float64, t *texts.Comparer, now int64) float64
	common() Shared
}

// world is what a judgement sees and changes beside its call. The engine's own is
// nil.
type world struct {
	memory ops
	seed   uint64 // of math.random; 0: it goes on as it will
	trial  bool   // nothing has an effect outside, and nothing is counted
	plays  bool   // it is a replay: hooks that fail are asked on and on
}

// memory is what the running call remembers with.
func (v *vm) memory() ops {
	if v.world != nil {
		return v.world.memory
	}
	return v.b.opts.state
}

// enter makes w the world of the next call.
func (v *vm) enter(w *world) {
	if v.world = w; w != nil && w.seed != 0 {
		v.random = rand.New(rand.NewPCG(w.seed, 0))
	}
}

// leave is enter of the engine's own world. A recorded seed is not used on.
func (v *vm) leave() {
	if v.world != nil && v.world.seed != 0 {
		v.random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	v.world = nil
}

// seenOp is what a script was told by its memory, so that a replay tells the same.
// Keys are kept as hashes.
type seenOp struct {
	Op   uint64  // hash of the operation and its arguments
	Text string  `json:",omitempty"`
	OK   bool    `json:",omitempty"`
	N    float64 `json:",omitempty"`
	Err  string  `json:",omitempty"`
}

// tape stands between a script and its memory. While it records, it keeps what the
// memory answers. While it plays, it gives those answers for the same questions,
// and the memory's for others; the memory is told of everything.
type tape struct {
	inner ops
	seen  []seenOp
	plays bool
	used  []bool // of seen, while it plays
}

var _ ops = (*tape)(nil)

func operationHash(op string, arguments ...string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(op))
	for _, one := range arguments {
		sum.Write([]byte{0})
		sum.Write([]byte(one))
	}
	return sum.Sum64()
}

// through replaces an answer by the recorded one, or records it.
func (t *tape) through(now seenOp, op string, arguments ...string) seenOp {
	now.Op = operationHash(op, arguments...)
	if !t.plays {
		t.seen = append(t.seen, now)
		return now
	}
	for i, one := range t.seen {
		if one.Op == now.Op && !t.used[i] {
			t.used[i] = true
			return one
		}
	}
	return now
}

func (o seenOp) err() error {
	switch o.Err {
	case "":
		return nil
	case ErrNotANumber.Error():
		return ErrNotANumber // the script's fault, on a tape too
	}
	return errors.New(o.Err)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Get implements KV.
func (t *tape) Get(ctx context.Context, key string) (string, bool, error) {
	text, ok, err := t.inner.Get(ctx, key)
	o := t.through(seenOp{Text: text, OK: ok, Err: errText(err)}, "get", key)
	return o.Text, o.OK, o.err()
}

// Set implements KV.
func (t *tape) Set(ctx context.Context, key, value string, ttl time.Duration) error {
	return t.through(seenOp{Err: errText(t.inner.Set(ctx, key, value, ttl))}, "set", key).err()
}

// Incr implements KV.
func (t *tape) Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	sum, err := t.inner.Incr(ctx, key, by, ttl)
	o := t.through(seenOp{N: float64(sum), Err: errText(err)}, "incr", key, strconv.FormatInt(by, 10))
	return int64(o.N), o.err()
}

// Del implements KV.
func (t *tape) Del(ctx context.Context, key string) (bool, error) {
	existed, err := t.inner.Del(ctx, key)
	o := t.through(seenOp{OK: existed, Err: errText(err)}, "del", key)
	return o.OK, o.err()
}

// CAS implements KV.
func (t *tape) CAS(ctx context.Context, key string, old *string, value string, ttl time.Duration) (bool, error) {
	set, err := t.inner.CAS(ctx, key, old, value, ttl)
	o := t.through(seenOp{OK: set, Err: errText(err)}, "cas", key)
	return o.OK, o.err()
}

func (t *tape) rate(k rateKey, now int64) (bool, time.Duration) {
	ok, retry := t.inner.rate(k, now)
	o := t.through(seenOp{OK: ok, N: float64(retry)}, "rate", k.key, strconv.Itoa(k.n), k.per.String())
	return o.OK, time.Duration(o.N)
}

func (t *tape) count(k windowKey, add float64, now int64) float64 {
	return t.through(seenOp{N: t.inner.count(k, add, now)}, "window", k.key, k.span.String()).N
}

func (t *tape) uniq(k windowKey, member string, now int64) int {
	return int(t.through(seenOp{N: float64(t.inner.uniq(k, member, now))}, "uniq", k.key, k.span.String()).N)
}

func (t *tape) alike(k windowKey, looks string, least float64, c *texts.Comparer, now int64) float64 {
	return t.through(seenOp{N: t.inner.alike(k, looks, least, c, now)}, "alike", k.key, k.span.String()).N
}
