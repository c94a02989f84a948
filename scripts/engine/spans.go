package engine

import "slices"

// Span is what one bundle decided in a recording.
type Span struct {
	Bundle      string
	First, Last *Recorded // the question that it was asked first, and last
	Count       int
}

// Spans says where in a recording one bundle follows another, in the order in which they
// began to decide. An action that is under way keeps its bundle, so Last of one may come
// behind First of the next.
func Spans(all []*Recorded) (spans []Span) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *Recorded) int { return a.At.Compare(b.At) })
	places := map[string]int{}
	for _, one := range all {
		at, known := places[one.Bundle]
		if !known {
			at = len(spans)
			places[one.Bundle] = at
			spans = append(spans, Span{Bundle: one.Bundle, First: one})
		}
		spans[at].Last = one
		spans[at].Count++
	}
	return spans
}
