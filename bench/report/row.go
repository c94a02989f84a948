package report

import (
	"fmt"
	"strconv"
	"strings"
)

// Key names a measurement: its rounds, and its like in another run, have the same.
func (r *Row) Key() string { return r.Scenario + " " + r.Target + " " + r.Params.String() }

// String names all that is set, in the order of the fields.
func (p Params) String() string { return strings.Join(p.words(), " ") }

func (p Params) words() (words []string) {
	text := func(word string) {
		if word != "" {
			words = append(words, word)
		}
	}
	number := func(name string, n float64) {
		if n != 0 {
			words = append(words, fmt.Sprintf("%s=%s", name, strconv.FormatFloat(n, 'f', -1, 64)))
		}
	}
	text(p.Transport)
	text(p.Codec)
	number("sessions", float64(p.Sessions))
	number("members", float64(p.Members))
	number("rooms", float64(p.Rooms))
	number("publishers", float64(p.Publishers))
	number("payload", float64(p.Payload))
	text(p.Loop)
	number("window", float64(p.Window))
	number("rate", p.Rate)
	number("edges", float64(p.Edges))
	number("cores", float64(p.Cores))
	if p.Variant != "" {
		text("(" + p.Variant + ")")
	}
	return words
}

// Faults says what must never happen and did, empty when nothing. Skipped ranges
// that the server declared are none.
func (r *Row) Faults() string {
	var found []string
	for _, f := range []struct {
		n    int64
		what string
	}{{r.Lost, "lost"}, {r.Doubled, "doubled"}, {r.Reordered, "reordered"}, {r.Errors, "errors"}} {
		if f.n != 0 {
			found = append(found, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	return strings.Join(found, ", ")
}

// Units is how many of what the row counts there were: deliveries, or connections
// when nothing was sent.
func (r *Row) Units() int64 {
	if r.Sent == 0 && r.Delivered == 0 {
		return r.Connected
	}
	return r.Delivered
}

// PerSecond is Units in a second.
func (r *Row) PerSecond() float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(r.Units()) / r.Seconds
}

// PerRead is how many deliveries one read call of a client brought: how much was
// joined on the way. Zero when it was not counted.
func (r *Row) PerRead() float64 {
	if r.Reads == 0 {
		return 0
	}
	return float64(r.Delivered) / float64(r.Reads)
}

// CPUPerMillion is the processor time of some classes, in seconds for a million
// Units (in µs for one). It reports false when one was not read or there is no
// unit.
func (r *Row) CPUPerMillion(classes ...string) (float64, bool) {
	sum := 0.0
	for _, class := range classes {
		c, known := r.CPU[class]
		if !known {
			return 0, false
		}
		sum += c.Total()
	}
	units := r.Units()
	return sum * 1e6 / float64(max(units, 1)), units > 0
}

// MemoryPerSession is the user memory that one session costs a class: PSS, or RSS
// where that was not read, above what there was before the first came. It reports
// false when either was not read.
func (r *Row) MemoryPerSession(class string) (float64, bool) {
	before, was := r.MemoryBefore[class]
	after, is := r.Memory[class]
	if !was || !is || r.Params.Sessions == 0 {
		return 0, false
	}
	if before.PSS > 0 && after.PSS > 0 {
		return float64(after.PSS-before.PSS) / float64(r.Params.Sessions), true
	}
	return float64(after.RSS-before.RSS) / float64(r.Params.Sessions), true
}
