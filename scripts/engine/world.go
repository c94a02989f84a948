package engine

import "time"

// ops are what scripts do with memory: im.kv, im.rate and im.count.
type ops interface {
	KV
	rate(k rateKey, now int64) (ok bool, retry time.Duration)
	count(k windowKey, add float64, now int64) float64
	uniq(k windowKey, member string, now int64) int
}

// world is what a judgement sees and changes beside its call. The engine's own is
// nil; a bundle on trial has one in which nothing has an effect outside.
type world struct {
	state *state
}

// memory is what the running call remembers with.
func (v *vm) memory() ops {
	if v.world != nil && v.world.state != nil {
		return v.world.state
	}
	return v.b.opts.state
}
