package engine

import (
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
)

// share holds what no action waits for, after and on_tick hooks and a candidate in
// shadow, to a quarter of the processors together: so many of them run at one time,
// and one that ran then rests as long as keeps to it. Safe for concurrent use.
type share struct {
	turns chan time.Duration // what is still to be rested, of each that may run
	rest  float64            // for how many times as long as it ran
	took  atomic.Int64       // ns in all
}

const (
	shareOf  = 4                // one processor in so many
	restFrom = time.Millisecond // shorter rests are added up
)

func newShare() *share { return shareFor(runtime.GOMAXPROCS(0)) }

// shareFor is newShare on a machine of so many processors.
func shareFor(processors int) *share {
	n := max(1, processors/shareOf)
	s := &share{turns: make(chan time.Duration, n), rest: max(0, float64(shareOf*n)/float64(processors)-1)}
	for range n {
		s.turns <- 0
	}
	return s
}

// do runs fn in its turn and rests after it; false: stop was closed before.
func (s *share) do(stop <-chan struct{}, fn func()) bool {
	var owed time.Duration
	select {
	case owed = <-s.turns:
	case <-stop:
		return false
	}
	began := time.Now()
	defer func() { s.turns <- owed }()
	fn()
	took := time.Since(began)
	s.took.Add(int64(took))
	if owed += time.Duration(s.rest * float64(took)); owed < restFrom {
		return true
	}
	wait := time.NewTimer(owed)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-stop:
	}
	owed = 0
	return true
}

// maxWaiting is how many octets may wait in one queue of what no action waits for;
// beyond, the newest is left out.
const maxWaiting = 32 << 20

// backlog bounds a queue by octets. Safe for concurrent use.
type backlog struct{ octets atomic.Int64 }

// takes reports whether n more may wait; then they are to be given back.
func (b *backlog) takes(n int) bool {
	if b.octets.Add(int64(n)) <= maxWaiting {
		return true
	}
	b.octets.Add(int64(-n))
	return false
}

func (b *backlog) gives(n int) { b.octets.Add(int64(-n)) }

// late is a call that waits: what it holds is its own, but for request and reply, of
// which nobody has another use any more.
type late struct {
	sample
	octets int // about what it takes in memory
}

// keptFor makes a late call.
func keptFor(c *Call) *late {
	l := &late{}
	l.Call = *c
	l.Facts = l
	if c.Facts != nil {
		for f := range facts {
			l.facts[f] = c.Facts.Fact(f)
		}
	}
	l.octets = l.weight() + weightOf(c.Reply)
	return l
}

// weight is about how many octets a call holds in memory, but for its reply.
func (s *sample) weight() int {
	n := int(reflect.TypeFor[late]().Size()) + len(s.Conversation) + len(s.text) + weightOf(s.Request)
	for _, text := range s.facts {
		n += len(text)
	}
	return n
}

// weightOf is about how many octets a generated struct takes in memory, with all that
// it points to; p is a pointer to it, or nil.
func weightOf(p any) int {
	if p == nil {
		return 0
	}
	return weighed(reflect.ValueOf(p))
}

// weighed is what a value takes beside its own place.
func weighed(value reflect.Value) (n int) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			n = int(value.Elem().Type().Size()) + weighed(value.Elem())
		}
	case reflect.Struct:
		for _, field := range value.Fields() {
			n += weighed(field)
		}
	case reflect.String:
		n = value.Len()
	case reflect.Slice:
		n = value.Cap() * int(value.Type().Elem().Size())
		switch value.Type().Elem().Kind() {
		case reflect.Pointer, reflect.Struct, reflect.String, reflect.Slice, reflect.Map, reflect.Interface:
			for i := range value.Len() {
				n += weighed(value.Index(i))
			}
		}
	case reflect.Map:
		for key, one := range value.Seq2() {
			n += int(key.Type().Size()+one.Type().Size()) + weighed(key) + weighed(one)
		}
	}
	return n
}
