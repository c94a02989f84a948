package chat

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// fading are messages of a conversation that disappear, and that its person has not seen: spans of seqs, ascending. Nothing
// is written when they do: whoever counts what is unread looks at the clock.
type fading []fadingSpan

type fadingSpan struct {
	markSpan
	ms int64 // until when they are there
}

// fadingSteps is into how many steps a lifetime is divided at most: messages that follow each other and disappear in the
// same step, which is a second at least, are counted as gone when the step is over.
const fadingSteps = 1000

// add notes a message behind all others, that disappears at ms, so long after it was committed.
func (f fading) add(seq, ms, lifetimeMs int64) fading {
	step := max(1000, lifetimeMs/fadingSteps)
	ms = (ms + step - 1) / step * step
	n := len(f)
	switch {
	case n > 0 && seq <= f[n-1].to:
		return f
	case n > 0 && seq == f[n-1].to+1 && ms == f[n-1].ms:
		f[n-1].to = seq
	default:
		f = append(f, fadingSpan{markSpan{seq, seq}, ms})
	}
	return f[max(0, len(f)-mostMarks):]
}

// gone are those that have disappeared.
func (f fading) gone(now time.Time) (m marks) {
	for _, s := range f {
		if s.ms <= now.UnixMilli() {
			m = m.addSpan(s.markSpan)
		}
	}
	return m
}

// keep forgets what has disappeared, and what is up to a seq.
func (f fading) keep(now time.Time, behind int64) fading {
	f = slices.DeleteFunc(f, func(s fadingSpan) bool { return s.ms <= now.UnixMilli() || s.to <= behind })
	if len(f) > 0 {
		f[0].from = max(f[0].from, behind+1)
	}
	return f
}

// String is the form in which they are stored.
func (f fading) String() string {
	var b strings.Builder
	for i, s := range f {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(marks{s.markSpan}.String())
		b.WriteByte('@')
		b.WriteString(strconv.FormatInt(s.ms, 10))
	}
	return b.String()
}

// parseFading reads what String writes, and leaves out what cannot be read: they are a count, no message.
func parseFading(text string) (f fading) {
	for field := range strings.FieldsSeq(text) {
		span, until, _ := strings.Cut(field, "@")
		ms, err := strconv.ParseInt(until, 10, 64)
		if m := parseMarks(span); err == nil && len(m) == 1 && (len(f) == 0 || m[0].from > f[len(f)-1].to) {
			f = append(f, fadingSpan{m[0], ms})
		}
	}
	return f
}
