package engine

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"freeim/scripts/engine/strlib"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxRe      = 1 << 10 // octets of a regular expression
	maxReSize  = 500     // steps of its program
	maxReCount = 1000    // in one VM, and shared by the VMs of a bundle
)

// expression is a regular expression of Go, which needs time in proportion to
// its size and the text's. Shared by all VMs.
type expression struct {
	re   *regexp.Regexp
	size int // steps of the program: a character may take all of them
}

// reSymbols are im.re and its expressions.
func reSymbols() []symbol {
	text := param{"text", "string", ""}
	const number = `local number = im.re([[#(\d+)]])`
	return []symbol{
		{name: "im.re", in: inLoad, fn: (*vm).re, args: []param{{"pattern", "string", "at most 1 KiB, with a program of 500 steps at most"}}, results: []param{{"", "im.Re", ""}},
			doc:     "A regular expression in RE2's syntax, without back references: no text can make it slow. A call costs a unit per 8 octets of the text and step of the program, and replace for each match of a long text a part of that, so prefer short patterns for long texts.",
			example: number},
		{name: "Re:match", in: anywhere, fn: (*vm).reMatch, args: []param{text}, results: []param{{"...", "string", "the captures, or the match if the pattern has none; nil: no match. A capture that took no part is empty"}},
			doc: "The leftmost match.", setup: number, example: `assert(number:match("see #42") == "42")`},
		{name: "Re:find", in: anywhere, fn: (*vm).reFind, args: []param{text, {"from?", "integer", "octet to begin at, 1 if left out"}}, results: []param{{"first", "integer?", ""}, {"last", "integer?", ""}},
			doc: "The first and last octet of the leftmost match, as string.find.", setup: number, example: `assert(number:find("see #42") == 5)`},
		{name: "Re:replace", in: anywhere, fn: (*vm).reReplace, args: []param{text, {"with", "string", "where ${1} stands for a capture, $$ for $"}}, results: []param{{"replaced", "string", ""}, {"count", "integer", ""}},
			doc: "The text with all matches replaced, and how many there were.", setup: number, example: `assert(number:replace("#1, #2", "no. ${1}") == "no. 1, no. 2")`},
	}
}

// re is im.re(pattern).
func (v *vm) re(L *lua.LState) int {
	pattern := L.CheckString(1)
	if len(pattern) > maxRe {
		L.ArgError(1, "a pattern has at most 1 KiB")
	}
	if v.res++; v.res > maxReCount {
		L.RaiseError("im.re: more than %d regular expressions", maxReCount)
	}
	v.spend(L, 500+4*len(pattern))
	e, err := v.b.expressions.get(pattern)
	if err != nil {
		L.RaiseError("im.re: %s", err)
	}
	L.Push(v.handle(e, v.classes["Re"]))
	return 1
}

// expressions are those of one bundle.
type expressions struct {
	mu   sync.Mutex // guards made
	made map[string]*expression
}

// get compiles a pattern unless another VM has.
func (c *expressions) get(pattern string) (*expression, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.made[pattern]; e != nil {
		return e, nil
	}
	e, err := newExpression(pattern)
	if err == nil && len(c.made) < maxReCount {
		if c.made == nil {
			c.made = map[string]*expression{}
		}
		c.made[pattern] = e
	}
	return e, err
}

func newExpression(pattern string) (*expression, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxReSize {
		return nil, errors.New("the pattern is too large: repeat less")
	}
	re, err := regexp.Compile(pattern)
	return &expression{re, len(program.Inst)}, err
}

// reArgs are the expression and the text of a method call, paid for.
func (v *vm) reArgs(L *lua.LState) (*expression, string) {
	e, text := receiver[*expression](L, "regular expression"), L.CheckString(2)
	v.subject(L, text)
	v.spend(L, 5+len(text)*e.size/8)
	return e, text
}

// shortText is how long a text may be, in octets, whose matches are all looked for at once.
const shortText = 256

// scout looks at all matches before they are asked for together. Each of them may have to
// look at all of the text that is left, as "<[^>]*>|<" does in "<<<<", and only between two
// of them can the call be stopped: there it pays.
func (v *vm) scout(L *lua.LState, e *expression, text string) {
	if len(text) <= shortText {
		return
	}
	units := 2 + len(text)*e.size/256
	e.re.ReplaceAllStringFunc(text, func(string) string {
		v.spend(L, units)
		return ""
	})
}

func (v *vm) reMatch(L *lua.LState) int {
	e, text := v.reArgs(L)
	at := e.re.FindStringSubmatchIndex(text)
	switch len(at) {
	case 0:
		L.Push(lua.LNil)
		return 1
	case 2:
		L.Push(lua.LString(text[at[0]:at[1]]))
		return 1
	}
	for i := 2; i < len(at); i += 2 {
		if at[i] < 0 {
			L.Push(lua.LString(""))
		} else {
			L.Push(lua.LString(text[at[i]:at[i+1]]))
		}
	}
	return len(at)/2 - 1
}

func (v *vm) reFind(L *lua.LState) int {
	e, text := v.reArgs(L)
	from := strlib.Start(L, 3, len(text))
	at := e.re.FindStringIndex(text[from:])
	if at == nil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + at[0] + 1))
	L.Push(lua.LNumber(from + at[1]))
	return 2
}

func (v *vm) reReplace(L *lua.LState) int {
	e, text := v.reArgs(L)
	with := L.CheckString(3)
	v.scout(L, e, text)
	var out []byte
	end, count := 0, 0
	for _, at := range e.re.FindAllStringSubmatchIndex(text, -1) {
		before := len(out)
		v.spend(L, len(with)/16+2) // also where it stands for nothing
		out = append(out, text[end:at[0]]...)
		// What one expansion can be at most: a few octets of with stand for a whole match.
		v.fits(L, len(out)+len(with)+strings.Count(with, "$")*(at[1]-at[0]))
		out = e.re.ExpandString(out, with, text, at)
		v.claim(L, len(out))
		v.spend(L, (len(out)-before)/16)
		end = at[1]
		count++
	}
	out = append(out, text[end:]...)
	v.claim(L, len(out))
	L.Push(lua.LString(out))
	L.Push(lua.LNumber(count))
	return 2
}
