package pattern

import "strings"

// Matcher tries one pattern on one subject. All its attempts share 100,000 steps. It belongs
// to one goroutine; New makes it.
type Matcher struct {
	p        *Pattern
	text     string
	steps    int // left
	captures [maxCaptures]capture
}

// capture is a part of the subject; length -1 is a position capture.
type capture struct{ start, length int }

const isPosition = -1

// New makes a matcher of p on a subject.
func New(p *Pattern, text string) *Matcher {
	return &Matcher{p: p, text: text, steps: maxSteps}
}

// Spent reports that the steps ran out; then no result counts.
func (m *Matcher) Spent() bool { return m.steps < 0 }

// Used is the price of everything so far, in units of work.
func (m *Matcher) Used() int { return (maxSteps - m.steps) / stepsInUnit }

// Find looks for the first match at or after octet from, which is at most the length of the
// subject, and gives its octets [start, end).
func (m *Matcher) Find(from int) (start, end int, ok bool) {
	if m.p.literal != "" {
		at := strings.Index(m.text[from:], m.p.literal)
		m.steps -= len(m.text[from:]) / 16
		return from + at, from + at + len(m.p.literal), at >= 0
	}
	for at := from; at <= len(m.text); at++ {
		if end := m.at(at); end >= 0 {
			return at, end, true
		}
		if m.p.anchored || m.Spent() {
			break
		}
	}
	return 0, 0, false
}

// Subject is what the pattern is tried on.
func (m *Matcher) Subject() string { return m.text }

// Anchored reports whether the pattern matches at the place only where Find begins.
func (m *Matcher) Anchored() bool { return m.p.anchored }

// Captures is how many captures the pattern has, at most 32.
func (m *Matcher) Captures() int { return m.p.captures }

// Capture is capture i of the last match, counted from 0. Of a position capture, (), the
// position is its octet, counted from 1, as Lua does; of any other it is 0.
func (m *Matcher) Capture(i int) (text string, position int) {
	c := m.captures[i]
	if c.length == isPosition {
		return "", c.start + 1
	}
	return m.text[c.start : c.start+c.length], 0
}

// at gives the end of a match that begins at i, or -1.
func (m *Matcher) at(i int) int { return m.match(i, 0) }

// match matches the items from n on at i. It calls itself once per quantifier or
// capture at most, so its depth is bounded by the pattern's length.
func (m *Matcher) match(i, n int) int {
	for ; n < len(m.p.items); n++ {
		if m.steps--; m.steps < 0 {
			return -1
		}
		it := &m.p.items[n]
		switch it.op {
		case opOpen, opPosition, opClose:
			return m.bracket(i, n, it)
		case opBack:
			i = m.back(i, m.captures[it.a])
		case opBalance:
			i = m.balance(i, it.a, it.b)
		case opFrontier:
			if it.set.has(m.octet(i-1)) || !it.set.has(m.octet(i)) {
				return -1
			}
		case opEnd:
			if i != len(m.text) {
				return -1
			}
		default:
			if it.quant != 0 {
				return m.repeat(i, n, it)
			}
			if !m.one(i, it) {
				return -1
			}
			i++
		}
		if i < 0 {
			return -1
		}
	}
	return i
}

// octet is 0 outside of the subject, as the frontier wants it.
func (m *Matcher) octet(i int) byte {
	if i < 0 || i >= len(m.text) {
		return 0
	}
	return m.text[i]
}

func (m *Matcher) one(i int, it *item) bool {
	if i >= len(m.text) {
		return false
	}
	switch it.op {
	case opAny:
		return true
	case opSet:
		return it.set.has(m.text[i])
	}
	return m.text[i] == it.a
}

func (m *Matcher) repeat(i, n int, it *item) int {
	switch it.quant {
	case '?':
		if m.one(i, it) {
			if end := m.match(i+1, n+1); end >= 0 || m.Spent() {
				return end
			}
		}
		return m.match(i, n+1)
	case '-':
		return m.shortest(i, n, it)
	case '+':
		return m.longest(i, n, it, 1)
	}
	return m.longest(i, n, it, 0)
}

func (m *Matcher) longest(i, n int, it *item, least int) int {
	count := 0
	for m.one(i+count, it) {
		count++
	}
	m.steps -= count
	for ; count >= least && !m.Spent(); count-- {
		if end := m.match(i+count, n+1); end >= 0 {
			return end
		}
	}
	return -1
}

func (m *Matcher) shortest(i, n int, it *item) int {
	for !m.Spent() {
		if end := m.match(i, n+1); end >= 0 {
			return end
		}
		if !m.one(i, it) {
			return -1
		}
		m.steps--
		i++
	}
	return -1
}

// bracket opens or closes a capture and takes it back when the rest fails.
func (m *Matcher) bracket(i, n int, it *item) int {
	c := &m.captures[it.a]
	before := *c
	switch it.op {
	case opOpen:
		*c = capture{start: i}
	case opPosition:
		*c = capture{start: i, length: isPosition}
	case opClose:
		c.length = i - c.start
	}
	end := m.match(i, n+1)
	if end < 0 {
		*c = before
	}
	return end
}

func (m *Matcher) back(i int, c capture) int {
	if c.length == isPosition {
		return -1
	}
	m.steps -= c.length
	if !strings.HasPrefix(m.text[i:], m.text[c.start:c.start+c.length]) {
		return -1
	}
	return i + c.length
}

// balance gives the end of a text that begins with open and is balanced.
func (m *Matcher) balance(i int, open, shut byte) int {
	if i >= len(m.text) || m.text[i] != open {
		return -1
	}
	for depth, at := 1, i+1; at < len(m.text) && !m.Spent(); at++ {
		m.steps--
		switch m.text[at] {
		case shut:
			if depth--; depth == 0 {
				return at + 1
			}
		case open:
			depth++
		}
	}
	return -1
}
