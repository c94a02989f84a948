package chat

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// mostMarks is how many spans of seqs one list of marks keeps; beyond, it forgets the oldest.
const mostMarks = 1000

// marks are seqs of a conversation, ascending, as spans.
type marks []markSpan

type markSpan struct{ from, to int64 }

// add marks a seq.
func (m marks) add(seq int64) marks { return m.addSpan(markSpan{seq, seq}) }

// addSpan marks all seqs of a span.
func (m marks) addSpan(s markSpan) marks {
	first, _ := slices.BinarySearchFunc(m, s.from-1, func(one markSpan, seq int64) int { return cmp.Compare(one.to, seq) })
	last := first
	for last < len(m) && m[last].from <= s.to+1 {
		s.from, s.to = min(s.from, m[last].from), max(s.to, m[last].to)
		last++
	}
	m = slices.Replace(m, first, last, s)
	return m[max(0, len(m)-mostMarks):]
}

// remove takes the mark of a seq away.
func (m marks) remove(seq int64) marks { return m.removeSpan(markSpan{seq, seq}) }

// removeSpan takes the marks of all seqs of a span away.
func (m marks) removeSpan(s markSpan) marks {
	first, _ := slices.BinarySearchFunc(m, s.from, func(one markSpan, seq int64) int { return cmp.Compare(one.to, seq) })
	last := first
	var rest marks
	for ; last < len(m) && m[last].from <= s.to; last++ {
		if m[last].from < s.from {
			rest = append(rest, markSpan{m[last].from, s.from - 1})
		}
		if m[last].to > s.to {
			rest = append(rest, markSpan{s.to + 1, m[last].to})
		}
	}
	m = slices.Replace(m, first, last, rest...)
	return m[max(0, len(m)-mostMarks):]
}

// shared counts those beyond a seq that others mark too.
func (m marks) shared(others marks, seq int64) (n int64) {
	for i, j := 0, 0; i < len(m) && j < len(others); {
		n += max(0, min(m[i].to, others[j].to)-max(m[i].from-1, others[j].from-1, seq))
		if m[i].to < others[j].to {
			i++
		} else {
			j++
		}
	}
	return n
}

// behind counts those beyond a seq.
func (m marks) behind(seq int64) (n int64) {
	for _, s := range m {
		n += max(0, s.to-max(s.from-1, seq))
	}
	return n
}

// drop forgets those up to a seq.
func (m marks) drop(through int64) marks {
	m = slices.DeleteFunc(m, func(s markSpan) bool { return s.to <= through })
	if len(m) > 0 {
		m[0].from = max(m[0].from, through+1)
	}
	return m
}

// String is the form in which they are stored: "5 8-12".
func (m marks) String() string {
	var b strings.Builder
	for _, s := range m {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatInt(s.from, 10))
		if s.to > s.from {
			b.WriteByte('-')
			b.WriteString(strconv.FormatInt(s.to, 10))
		}
	}
	return b.String()
}

// parseMarks reads what String writes, and leaves out what cannot be read: they are a count, no message.
func parseMarks(text string) (m marks) {
	for field := range strings.FieldsSeq(text) {
		low, high, is := strings.Cut(field, "-")
		from, err := strconv.ParseInt(low, 10, 64)
		to := from
		if is && err == nil {
			to, err = strconv.ParseInt(high, 10, 64)
		}
		if err == nil && from > 0 && to >= from && (len(m) == 0 || from > m[len(m)-1].to) {
			m = append(m, markSpan{from, to})
		}
	}
	return m
}
