package engine

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// symbol is one thing that scripts can name beyond plain Lua. All of them
// together are the one table from which the API is installed, and from which
// what describes it is made.
//
// The part of a name before the first dot or colon is where it lives: "im.text.len"
// in the module im, "Words:any" is a method and "Call.text" a field of the
// objects of that class, "print" is global.
type symbol struct {
	name    string
	in      phases
	tests   bool // for *_test.lua files only
	args    []param
	results []param
	doc     string                     // one paragraph
	setup   string                     // what the example needs, while loading
	example string                     // statements that hold
	fn      func(*vm, *lua.LState) int // nil: a field, its type in results
}

// param is an argument or a result. Types are written as lua-language-server
// reads them; a name that ends with "?" may be left out.
type param struct{ name, typ, doc string }

// phases is a set of phases.
type phases uint8

const (
	inLoad phases = 1 << phaseLoading
	inHook phases = 1 << phaseRunning
	inTest phases = 1 << phaseTesting
	inEdge phases = 1 << phaseEdge

	anywhere = ^phases(0)
	inCalls  = anywhere &^ inLoad // wherever something happens: all but loading
	inCore   = inCalls &^ inEdge  // where there is more than memory
)

// String lists the phases as a sentence names them.
func (p phases) String() string {
	var out []string
	if p&inLoad != 0 {
		out = append(out, "loading")
	}
	switch p & (inHook | inEdge) {
	case inHook | inEdge:
		out = append(out, "hooks")
	case inHook:
		out = append(out, "hooks in the core")
	case inEdge:
		out = append(out, "hooks at the edge")
	}
	if p&inTest != 0 {
		out = append(out, "tests")
	}
	return strings.Join(out, " and ")
}

// symbols is the table.
func symbols() []symbol {
	return slices.Concat(pointSymbols(), answerSymbols(), divertSymbols(), callSymbols(), logSymbols(), stateSymbols(), textSymbols(), findSymbols(),
		wordSymbols(), reSymbols(), jsonSymbols(), factSymbols(), configSymbols(), effectSymbols(), noticeSymbols(), postSymbols(), sendSymbols(),
		actionSymbols(), sharedSymbols(), edgeSymbols(), testSymbols(), testActionSymbols(), edgeTestSymbols())
}

// place splits a name: "im.text.len" is len in the library "im.text", and
// "Words:any" is any in "Words". Globals are in "".
func (s *symbol) place() (owner, name string) {
	at := strings.LastIndexAny(s.name, ".:")
	return s.name[:max(at, 0)], s.name[at+1:]
}

// class is the class that the symbol belongs to, if it does.
func (s *symbol) class() (string, bool) {
	owner, _ := s.place()
	return owner, owner != "" && owner[0] >= 'A' && owner[0] <= 'Z'
}

// installAPI makes the functions of the table: what require("im") gives, the
// globals, and the methods of objects.
func (v *vm) installAPI(tests bool) {
	v.classes = map[string]*lua.LTable{}
	libraries := map[string]*lua.LTable{"im": v.L.CreateTable(0, 32), "": v.globals}
	for i := range v.b.symbols {
		s := &v.b.symbols[i]
		if s.fn == nil || s.tests && !tests {
			continue
		}
		owner, name := s.place()
		into := libraries
		if _, ok := s.class(); ok {
			into = v.classes
		}
		if into[owner] == nil {
			into[owner] = v.L.CreateTable(0, 8)
		}
		into[owner].RawSetString(name, v.L.NewFunction(v.guarded(s)))
		if owner == "" {
			v.builtins[name] = true
		}
	}
	im := libraries["im"]
	for name, library := range libraries {
		if below, ok := strings.CutPrefix(name, "im."); ok {
			im.RawSetString(below, v.readOnly(library, name))
		}
	}
	v.im = v.readOnly(im, "im")
	for class, methods := range v.classes {
		v.classes[class] = v.metatable(methods, nil)
	}
	v.opaque = v.metatable(nil, nil)
	v.allow, v.pass = v.handle(nil, v.opaque), v.handle(nil, v.opaque)
	v.proxy.v = v
	v.calling, v.views = v.callType(), v.requestType()
}

// guarded is s.fn in the phases that it is for, and an error in all others.
func (v *vm) guarded(s *symbol) lua.LGFunction {
	return func(L *lua.LState) int {
		if now := phases(1) << v.phase; s.in&now == 0 {
			L.RaiseError("%s is for %s, not for %s", s.name, s.in, now)
		}
		return s.fn(v, L)
	}
}

// handle is a userdata that scripts can hold and use only through mt.
func (v *vm) handle(value any, mt *lua.LTable) *lua.LUserData {
	return &lua.LUserData{Value: value, Env: v.env, Metatable: mt}
}

// receiver is argument 1 as the object of a method call.
func receiver[T any](L *lua.LState, class string) (value T) {
	handle, _ := L.Get(1).(*lua.LUserData)
	if handle != nil {
		if value, ok := handle.Value.(T); ok {
			return value
		}
	}
	L.RaiseError("not a %s; call methods with a colon, as object:method()", class)
	return value
}
