package engine

import (
	"context"
	"errors"
	"math"
	"runtime/metrics"
	"time"
)

var (
	errWork = errors.New("instruction budget spent")
	errWall = errors.New("time budget spent")
)

const (
	// An instruction takes 50 ns, but one that fills a table a millisecond and megabytes: so few lie
	// between two looks at the clock. Library functions pay by their work.
	instructions = 32
	between      = 2000 // units, of whatever kind, from one look to the next
	parts        = 3    // of the wall time; no wait counts for more than one

	overdue      = 100 * time.Microsecond // from one look to the next: 50 times what it takes
	octetsInUnit = 256                    // of what is allocated by then

	elementOctets = 64 // that an element of a table costs which is filled: five times 16, but for what small tables are spared

	// A call that has this much time could keep gigabytes in tables that are each made too fast to be noticed.
	roomy    = 200 * time.Millisecond
	weighing = 8        // looks from one weighing to the next, at most
	untaxed  = 16 << 10 // octets that are free each time: what others allocate meanwhile is in it
	shares   = 12       // of the units that were given: one weighing takes no more than one
)

// budget bounds one call into a VM, by work and by time. It is the VM's context:
// the VM asks Done before every instruction, so Done counts. A nil channel never
// fires and costs almost nothing, a real deadline would double the price of an
// instruction. Library functions pay for their work through spend, and those that may wait
// look first.
//
// The clock is read now and then, in a call of a few instructions never. What lies between two looks counts for a
// third of the wall time at most: a goroutine that was merely not scheduled for a while, or waited for
// a store, goes on, and a busy machine does not fail innocent hooks. Nobody else is needed
// for it: a goroutine that watches costs more than most hooks.
//
// It belongs to the goroutine that runs the VM.
type budget struct {
	clock func() time.Time // nil: the monotonic one
	began time.Time        // when the budget was made; times are told from then on
	stop  chan struct{}    // closed from the start: what a spent budget's Done gives

	left  int64
	given int64
	next  int64 // look at the clock when less than that is left,
	due   int64 // or when so many instructions have run

	late    bool              // the last look was: what is allocated until the next is charged
	looks   int               // since what is allocated was read
	weighed bool              // it was, in this call
	apart   uint64            // of what was allocated since: what this call does not pay for
	octets  [1]metrics.Sample // what the process had allocated then

	wall time.Duration // that the call may take
	ran  time.Duration // of it, as far as it was seen
	seen time.Duration // the last look; negative: none yet
	err  error         // why the call was stopped
}

var _ context.Context = (*budget)(nil)

func newBudget() budget {
	b := budget{stop: make(chan struct{}), began: time.Now()}
	b.octets[0].Name = "/gc/heap/allocs:bytes"
	close(b.stop)
	return b
}

// begin arms the budget for one call.
func (b *budget) begin(units int, wall time.Duration) {
	b.left, b.given = int64(units), int64(units)
	b.again()
	b.wall, b.ran, b.seen, b.err = wall, 0, -1, nil
	b.late, b.looks, b.weighed, b.apart = false, 0, false, 0
}

// again says when to look next.
func (b *budget) again() { b.next, b.due = max(b.left-between, 0), instructions }

// end gives the units that were used.
func (b *budget) end() int { return int(b.given - b.left) }

// Done is called by the VM before every instruction.
func (b *budget) Done() <-chan struct{} {
	b.left--
	b.due--
	if b.due >= 0 && b.left >= b.next {
		return nil
	}
	return b.look()
}

// now is the time since the budget was made: to ask for no more is half as dear.
func (b *budget) now() time.Duration {
	if b.clock != nil {
		return b.clock().Sub(b.began)
	}
	return time.Since(b.began)
}

// spend charges n units for work outside of the VM's instructions and reports
// whether the call may go on.
func (b *budget) spend(n int) bool {
	b.left -= int64(n)
	return b.left >= b.next || b.look() == nil
}

// look reads the clock, and stops the call when its work or its time is spent. Once
// stopped it stays so.
func (b *budget) look() <-chan struct{} {
	if b.err == nil && b.left >= 0 {
		at := b.now()
		if b.seen >= 0 {
			b.ran += min(at-b.seen, b.part())
			b.weigh(at)
		}
		b.seen = at
		switch {
		case b.left < 0:
			b.err = errWork
		case b.ran < b.wall:
			b.again()
			return nil
		default:
			b.err = errWall
		}
	}
	if b.err == nil {
		b.err = errWork
	}
	b.next = math.MaxInt64
	return b.stop
}

// weigh charges what is allocated while looks are late, for instructions that are slow because they
// fill tables: calls that have seconds would keep gigabytes. Of those each slow instruction counts, whatever follows it, and
// those with the work of a load are charged for what they allocate quickly too. What others allocate meanwhile is
// in it; so a hook that is merely tried pays for nothing while it is punctual, and nobody for more than a share at once.
func (b *budget) weigh(at time.Duration) {
	late := at-b.seen > overdue
	b.looks++
	if !late && !b.late && (b.wall < roomy || b.looks < weighing) {
		return
	}
	before := uint64(0)
	if b.weighed {
		before = b.octets[0].Value.Uint64()
	}
	metrics.Read(b.octets[:])
	if b.weighed && (b.late || b.wall >= roomy && (late || b.given >= loadUnits)) {
		grown := int64(b.octets[0].Value.Uint64() - before - b.apart)
		b.left = max(b.left-min(max(grown-untaxed, 0)/octetsInUnit, b.given/shares), -1)
	}
	b.late, b.looks, b.weighed, b.apart = late, 0, true, 0
}

// aside begins what another call pays for, until it is done: what is allocated meanwhile is not charged to this one.
func (b *budget) aside() (done func()) {
	octets := [1]metrics.Sample{{Name: b.octets[0].Name}}
	metrics.Read(octets[:])
	before := octets[0].Value.Uint64()
	return func() {
		metrics.Read(octets[:])
		b.apart += octets[0].Value.Uint64() - before
	}
}

// part is what a wait counts for at most.
func (b *budget) part() time.Duration { return b.wall / parts }

// charge is what a call that ended by itself took of its time at most: what it had after the last
// look is a wait like any.
func (b *budget) charge() time.Duration { return min(b.ran+b.part(), b.wall) }

func (b *budget) Err() error                  { return b.err }
func (b *budget) Deadline() (time.Time, bool) { return time.Time{}, false }
func (b *budget) Value(any) any               { return nil }
