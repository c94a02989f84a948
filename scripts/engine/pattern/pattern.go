// Package pattern matches Lua's patterns with a bound on the work: after §5.4.1 of the Lua 5.1
// manual, and %f[set], which 5.1 has without documenting it. Matching backtracks as the manual
// describes it, but counts its steps and gives up when they are spent, so that no pattern and
// no subject holds up who matches. README.md beside it has the limits.
//
// It works on octets, allocates what a Pattern and a Matcher take, and knows nothing of Lua's
// values: string.find, match, gmatch and gsub are made of it (scripts/engine), and the linter
// compiles patterns by it to say what is wrong with them.
package pattern

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxPattern  = 1024 // octets
	maxSteps    = 100_000
	stepsInUnit = 8 // steps that cost one unit of work
	maxCaptures = 32
)

// MaxCost is what one Matcher works at most, in units: beyond it Matcher.Spent is true. The step
// that was one too many may come on top, which looks at the subject three times at most.
const MaxCost = maxSteps / stepsInUnit

// ErrSteps is the error of a Matcher that is spent. No function here returns it: who looks
// for matches and pays for them says it.
var ErrSteps = fmt.Errorf("pattern gave up after %d steps", maxSteps)

// Pattern is a compiled pattern. Immutable, so safe for concurrent use.
type Pattern struct {
	items    []item
	captures int
	anchored bool
	literal  string // set when the pattern has no special character
}

type op uint8

const (
	opChar     op = iota // one octet equal to a
	opAny                // .
	opSet                // one octet of set
	opOpen               // ( number a
	opPosition           // () number a
	opClose              // ) number a
	opBack               // %1 number a
	opBalance            // %bxy
	opFrontier           // %f[set]
	opEnd                // $ at the end
)

// item is one step of a pattern, with the quantifier of a single octet.
type item struct {
	op    op
	quant byte // 0, '*', '+', '-', '?'
	a, b  byte
	set   set
}

// set is a set of octets.
type set [4]uint64

func (s *set) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *set) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *set) merge(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}
func (s *set) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

// Compile reads a pattern of at most 1 KiB; errors say in Lua's words what is wrong with it.
// In gmatch a leading ^ is no anchor.
func Compile(text string, gmatch bool) (*Pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("pattern is longer than %d octets", maxPattern)
	}
	p := &Pattern{}
	if !strings.ContainsAny(text, "^$*+?.([%-") {
		p.literal = text
	}
	r := reader{text: text}
	if !gmatch && strings.HasPrefix(text, "^") {
		p.anchored, r.at = true, 1
	}
	for r.at < len(r.text) {
		it, err := r.next()
		if err != nil {
			return nil, err
		}
		p.items = append(p.items, it)
	}
	if len(r.open) > 0 {
		return nil, errors.New("malformed pattern (unfinished capture)")
	}
	p.captures = r.captures
	return p, nil
}

type reader struct {
	text     string
	at       int
	captures int
	open     []byte // numbers of captures not closed yet
}

func (r *reader) next() (item, error) {
	c := r.text[r.at]
	r.at++
	switch c {
	case '(':
		return r.capture()
	case ')':
		if len(r.open) == 0 {
			return item{}, errors.New("malformed pattern (unexpected ')')")
		}
		last := len(r.open) - 1
		number := r.open[last]
		r.open = r.open[:last]
		return item{op: opClose, a: number}, nil
	case '$':
		if r.at == len(r.text) {
			return item{op: opEnd}, nil
		}
	case '%':
		if it, special, err := r.escape(); special || err != nil {
			return it, err
		}
	}
	r.at--
	return r.single()
}

func (r *reader) capture() (item, error) {
	if r.captures == maxCaptures {
		return item{}, errors.New("too many captures")
	}
	number := byte(r.captures)
	r.captures++
	if r.at < len(r.text) && r.text[r.at] == ')' {
		r.at++
		return item{op: opPosition, a: number}, nil
	}
	r.open = append(r.open, number)
	return item{op: opOpen, a: number}, nil
}

// escape reads what follows % where it is more than one octet of a class.
func (r *reader) escape() (it item, special bool, err error) {
	if r.at == len(r.text) {
		return item{}, false, errors.New("malformed pattern (ends with '%')")
	}
	switch c := r.text[r.at]; {
	case c == 'b':
		if r.at+2 >= len(r.text) {
			return item{}, false, errors.New("malformed pattern (missing arguments to '%b')")
		}
		it = item{op: opBalance, a: r.text[r.at+1], b: r.text[r.at+2]}
		r.at += 3
		return it, true, nil
	case c == 'f':
		r.at++
		if r.at == len(r.text) || r.text[r.at] != '[' {
			return item{}, false, errors.New("malformed pattern (missing '[' after '%f')")
		}
		r.at++
		s, err := r.brackets()
		return item{op: opFrontier, set: s}, true, err
	case c >= '0' && c <= '9':
		number := int(c) - '1'
		if number < 0 || number >= r.captures || slices.Contains(r.open, byte(number)) {
			return item{}, false, fmt.Errorf("invalid capture index %%%c", c)
		}
		r.at++
		return item{op: opBack, a: byte(number)}, true, nil
	}
	return item{}, false, nil
}

// single reads what matches one octet, and its quantifier.
func (r *reader) single() (item, error) {
	var it item
	c := r.text[r.at]
	r.at++
	switch c {
	case '.':
		it.op = opAny
	case '[':
		s, err := r.brackets()
		if err != nil {
			return item{}, err
		}
		it.op, it.set = opSet, s
	case '%':
		c = r.text[r.at]
		r.at++
		if s, ok := class(c); ok {
			it.op, it.set = opSet, s
		} else {
			it.op, it.a = opChar, c
		}
	default:
		it.op, it.a = opChar, c
	}
	if r.at < len(r.text) && strings.IndexByte("*+-?", r.text[r.at]) >= 0 {
		it.quant = r.text[r.at]
		r.at++
	}
	return it, nil
}

// brackets reads a set after its [.
func (r *reader) brackets() (set, error) {
	var s set
	negated := r.at < len(r.text) && r.text[r.at] == '^'
	if negated {
		r.at++
	}
	for first := true; ; first = false {
		if r.at >= len(r.text) {
			return s, errors.New("malformed pattern (missing ']')")
		}
		c := r.text[r.at]
		r.at++
		switch {
		case c == ']' && !first:
			if negated {
				s.invert()
			}
			return s, nil
		case c == '%':
			if r.at == len(r.text) {
				return s, errors.New("malformed pattern (ends with '%')")
			}
			if more, ok := class(r.text[r.at]); ok {
				s.merge(more)
			} else {
				s.add(r.text[r.at])
			}
			r.at++
		case r.at+1 < len(r.text) && r.text[r.at] == '-' && r.text[r.at+1] != ']':
			for high := int(r.text[r.at+1]); int(c) <= high; high-- {
				s.add(byte(high))
			}
			r.at += 2
		default:
			s.add(c)
		}
	}
}

// class is the set of a letter after %: %a letters, %c control characters, %d
// digits, %l lower case, %p punctuation, %s space, %u upper case, %w letters and
// digits, %x hexadecimal digits, %z zero; a capital is the complement. ASCII only.
func class(letter byte) (set, bool) {
	var in func(c byte) bool
	switch letter | 0x20 {
	case 'a':
		in = isAlpha
	case 'c':
		in = func(c byte) bool { return c < 32 || c == 127 }
	case 'd':
		in = isDigit
	case 'l':
		in = isLower
	case 'p':
		in = func(c byte) bool { return c > 32 && c < 127 && !isAlpha(c) && !isDigit(c) }
	case 's':
		in = func(c byte) bool { return c == ' ' || c >= 9 && c <= 13 }
	case 'u':
		in = isUpper
	case 'w':
		in = func(c byte) bool { return isAlpha(c) || isDigit(c) }
	case 'x':
		in = func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
	case 'z':
		in = func(c byte) bool { return c == 0 }
	}
	if in == nil {
		return set{}, false
	}
	var s set
	for c := range 256 {
		if in(byte(c)) {
			s.add(byte(c))
		}
	}
	if isUpper(letter) {
		s.invert()
	}
	return s, true
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
