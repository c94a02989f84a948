package chat

import (
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
func (m marks) add(seq int64) marks {
	i, found := slices.BinarySearchFunc(m, seq, func(s markSpan, seq int64) int {
		switch {
		case s.to < seq:
			return -1
		case s.from > seq:
			return 1
		}
		return 0
	})
	if found {
		return m
	}
	before, behind := i > 0 && m[i-1].to == seq-1, i < len(m) && m[i].from == seq+1
	switch {
	case before && behind:
		m[i-1].to = m[i].to
		m = slices.Delete(m, i, i+1)
	case before:
		m[i-1].to = seq
	case behind:
		m[i].from = seq
	default:
		m = slices.Insert(m, i, markSpan{seq, seq})
	}
	return m[max(0, len(m)-mostMarks):]
}

// remove takes the mark of a seq away.
func (m marks) remove(seq int64) marks {
	i := slices.IndexFunc(m, func(s markSpan) bool { return s.from <= seq && seq <= s.to })
	if i < 0 {
		return m
	}
	var rest marks
	if s := m[i]; s.from < seq {
		rest = append(rest, markSpan{s.from, seq - 1})
	}
	if s := m[i]; s.to > seq {
		rest = append(rest, markSpan{seq + 1, s.to})
	}
	m = slices.Replace(m, i, i+1, rest...)
	return m[max(0, len(m)-mostMarks):]
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
