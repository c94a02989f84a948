package engine

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"freeim/scripts/engine/texts"

	lua "github.com/yuin/gopher-lua"
)

// bound is a number or duration of im.config that a gate goes by.
type bound struct {
	path         string // NAME.KEY; empty: there is none
	typ          string
	given, usual float64 // the operator's value, and the default, which tests see; durations in ms
}

// pace is how fast one may send before a hook is asked.
type pace struct{ than, per bound }

// habit is how often one may say nearly the same before a hook is asked.
type habit struct {
	more, within bound
	alike        bound // from which similarity on it is the same
	longer       bound // about texts of more characters only
}

// bounded reads the name of a setting of one of the types.
func (v *vm) bounded(b *bound, value lua.LValue, types ...string) bool {
	b.path = lua.LVAsString(value)
	s := v.settingNamed(b.path)
	if s == nil {
		return false
	}
	b.typ, b.given, b.usual = s.typ, float64(lua.LVAsNumber(s.given)), float64(lua.LVAsNumber(s.standard))
	return slices.Contains(types, s.typ)
}

// gateFaster reads the option faster: {than = …, per = …}.
func (v *vm) gateFaster(g *gate, value lua.LValue) bool {
	return v.allBounded(value, map[string]*bound{"than": &g.faster.than}, map[string]*bound{"per": &g.faster.per})
}

// gateAgain reads the option again: {more = …, within = …, alike = …, longer = …}.
func (v *vm) gateAgain(g *gate, value lua.LValue) bool {
	return v.allBounded(value, map[string]*bound{"more": &g.again.more, "alike": &g.again.alike, "longer": &g.again.longer},
		map[string]*bound{"within": &g.again.within})
}

// allBounded reads a table that names a setting for each of the bounds, and nothing else.
func (v *vm) allBounded(value lua.LValue, numbers, durations map[string]*bound) (ok bool) {
	table, isTable := value.(*lua.LTable)
	if !isTable {
		return false
	}
	n, ok := 0, true
	table.ForEach(func(key, value lua.LValue) {
		n++
		switch b, d := numbers[key.String()], durations[key.String()]; {
		case b != nil:
			ok = ok && v.bounded(b, value, "integer", "number")
		case d != nil:
			ok = ok && v.bounded(d, value, "duration")
		default:
			ok = false
		}
	})
	return ok && n == len(numbers)+len(durations)
}

// in is the value that holds: in a test the test's or the default.
func (b *bound) in(trying *trying) float64 {
	if trying == nil {
		return b.given
	}
	name, key, _ := strings.Cut(b.path, ".")
	chosen := trying.values[name][key]
	if chosen == nil {
		return b.usual
	}
	n, _ := (&setting{typ: b.typ}).number(chosen) // t.config has checked it
	return n
}

// span is a bound as a duration that counters take.
func (b *bound) span(trying *trying) time.Duration {
	return min(max(time.Duration(b.in(trying)*float64(time.Millisecond)), time.Millisecond), maxTTL)
}

// sender is under what the gates of a hook count; empty: nobody is known to send.
func (j *judgement) sender(h *hook) string {
	if j.c.Facts == nil {
		return ""
	}
	if user := j.c.Facts.Fact(FactUser); user != "" {
		return h.name + ":" + user
	}
	return ""
}

// frozen is the clock as the gates of a chain see it.
func (j *judgement) frozen() int64 {
	if j.at == 0 {
		j.at = j.clock().UnixNano()
	}
	return j.at
}

// memory is where the gates count.
func (j *judgement) memory() ops {
	if j.world != nil {
		return j.world.memory
	}
	return j.b.opts.state
}

// hastens reports whether the sender has no turn left. A message that has one takes it.
func (j *judgement) hastens(h *hook) bool {
	p, trying := &h.gate.faster, j.b.opts.trying
	key := j.sender(h)
	if key == "" {
		return false
	}
	n := int(min(max(p.than.in(trying), 1), maxTokens))
	ok, _ := j.memory().rate(rateKey{key, n, p.per.span(trying)}, j.frozen())
	return !ok
}

// mostShort is the most that a text may be to be passed over, in characters: none is longer.
const mostShort = 1 << 20

// repeats reports whether the sender said nearly the same more often than he may.
func (j *judgement) repeats(h *hook) bool {
	one, trying := &h.gate.again, j.b.opts.trying
	key, text := j.sender(h), ""
	if j.c.Text != nil {
		text = *j.c.Text
	}
	short := int(min(max(one.longer.in(trying), 0), mostShort))
	if key == "" || len(text) <= utf8.UTFMax*short && utf8.RuneCountInString(text) <= short {
		return false
	}
	c, _ := j.b.comparing.Get().(*texts.Comparer)
	if c == nil {
		c = new(texts.Comparer)
	}
	defer j.b.comparing.Put(c)
	n := j.memory().alike(windowKey{key, one.within.span(trying)}, compared(text), min(max(one.alike.in(trying), 0), 1), c, j.frozen())
	return n >= max(one.more.in(trying), 0)+1
}
