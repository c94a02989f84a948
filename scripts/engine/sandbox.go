package engine

import (
	"math"
	"math/rand/v2"
	"strings"

	"freeim/scripts/engine/strlib"
	"freeim/scripts/engine/syntax"

	lua "github.com/yuin/gopher-lua"
)

// installSandbox builds what scripts can see. It is an allow-list: from the Lua
// libraries come only functions that cannot block, allocate without bound or
// reach another script's world; the rest is ours (strlib, tables.go). There
// is no load, io, os, debug, coroutine, channel, package, getfenv or setfenv.
func (v *vm) installSandbox() {
	L := v.L
	v.globals = L.CreateTable(0, 32)
	v.globals.Metatable = v.metatable(nil, v.undeclared)
	v.env = L.CreateTable(0, 0)
	v.env.Metatable = v.metatable(v.globals, nil)
	v.env.Metatable.(*lua.LTable).RawSetString("__newindex", L.NewFunction(v.declare))

	base := v.stock(lua.OpenBase, "_G")
	for _, name := range []string{"assert", "error", "ipairs", "next", "pairs", "rawequal", "rawget", "select", "tonumber", "type"} {
		v.globals.RawSetString(name, base.RawGetString(name))
	}
	v.set(v.globals, map[string]lua.LGFunction{
		"getmetatable": getMetatable, "setmetatable": setMetatable, "rawset": v.rawSet,
		"pcall": v.pcall, "xpcall": v.xpcall, "tostring": v.toString, "unpack": v.unpack,
		"require": v.require,
	})
	v.globals.RawSetString("_VERSION", lua.LString(lua.LuaVersion))
	v.globals.RawSetString("_G", v.readOnly(v.globals, "_G"))
	v.globals.RawSetString("math", v.readOnly(v.math(), "math"))
	v.globals.RawSetString("table", v.readOnly(v.tables(), "table"))
	v.installStrings()
	v.builtins = map[string]bool{}
	v.globals.ForEach(func(name, _ lua.LValue) { v.builtins[name.String()] = true })
	v.operators = [3]*lua.LFunction{L.NewFunction(v.concat), L.NewFunction(v.assign), L.NewFunction(v.key)}
}

// installStrings gives strings their methods. The metatable is not the library's
// table itself, so ("").__index leads nowhere.
func (v *vm) installStrings() {
	library := v.L.CreateTable(0, 16)
	v.set(library, strlib.Functions(stringHost{v}, maxString))
	v.globals.RawSetString("string", v.readOnly(library, "string"))
	v.L.SetMetatable(lua.LString(""), v.metatable(library, nil))
}

// stringHost is the VM as the string library asks it.
type stringHost struct{ v *vm }

func (h stringHost) Spend(L *lua.LState, units int)              { h.v.spend(L, units) }
func (h stringHost) Claim(L *lua.LState, octets int)             { h.v.claim(L, octets) }
func (h stringHost) Results(L *lua.LState, n int)                { h.v.results(L, n) }
func (h stringHost) Search(L *lua.LState, text string)           { h.v.subject(L, text) }
func (h stringHost) Text(L *lua.LState, value lua.LValue) string { return h.v.text(L, value) }

// stock opens a library of the Lua package into the state's own globals, which
// no script can reach, and gives its table.
func (v *vm) stock(open lua.LGFunction, name string) *lua.LTable {
	v.L.Push(v.L.NewFunction(open))
	v.L.Push(lua.LString(name))
	v.L.Call(1, 1)
	table := v.L.CheckTable(-1)
	v.L.Pop(1)
	return table
}

func (v *vm) set(t *lua.LTable, functions map[string]lua.LGFunction) {
	for name, fn := range functions {
		t.RawSetString(name, v.L.NewFunction(fn))
	}
}

// metatable is a protected one: with __index as a table, a function or nothing.
func (v *vm) metatable(index *lua.LTable, indexFn lua.LGFunction) *lua.LTable {
	mt := v.L.CreateTable(0, 4)
	mt.RawSetString("__metatable", lua.LFalse)
	switch {
	case index != nil:
		mt.RawSetString("__index", index)
	case indexFn != nil:
		mt.RawSetString("__index", v.L.NewFunction(indexFn))
	}
	return mt
}

// readOnly is an empty table that reads through to t and refuses writes.
func (v *vm) readOnly(t *lua.LTable, name string) *lua.LTable {
	view := v.L.CreateTable(0, 0)
	mt := v.metatable(t, nil)
	mt.RawSetString("__newindex", v.L.NewFunction(func(L *lua.LState) int {
		L.RaiseError("%s is read-only", name)
		return 0
	}))
	view.Metatable = mt
	return view
}

// writable is argument n as a table that is no read-only view.
func writable(L *lua.LState, n int) *lua.LTable {
	t := L.CheckTable(n)
	if mt, ok := t.Metatable.(*lua.LTable); ok && mt.RawGetString("__metatable") == lua.LFalse {
		L.RaiseError("table is read-only")
	}
	return t
}

func (v *vm) undeclared(L *lua.LState) int {
	L.RaiseError("global '%s' is not declared", clip(L.Get(2).String(), 64))
	return 0
}

// declare is a write to a global: allowed while loading, for names that are free.
func (v *vm) declare(L *lua.LState) int {
	name := L.CheckString(2)
	if v.phase != phaseLoading {
		L.RaiseError("global '%s' is read-only after loading: a hook cannot keep state in Lua", clip(name, 64))
	}
	if v.builtins[name] {
		L.RaiseError("cannot replace the built-in '%s'", clip(name, 64))
	}
	v.globals.RawSetString(name, L.Get(3))
	return 0
}

// getMetatable looks only at tables, and not into protected ones.
func getMetatable(L *lua.LState) int {
	if t, ok := L.CheckAny(1).(*lua.LTable); ok {
		L.Push(L.GetMetatable(t))
		return 1
	}
	L.Push(lua.LNil)
	return 1
}

// setMetatable changes only tables: the stock one would re-wire every string of
// the VM.
func setMetatable(L *lua.LState) int {
	t := L.CheckTable(1)
	L.CheckTypes(2, lua.LTNil, lua.LTTable)
	if mt, ok := t.Metatable.(*lua.LTable); ok && mt.RawGetString("__metatable") != lua.LNil {
		L.RaiseError("cannot change a protected metatable")
	}
	t.Metatable = L.Get(2)
	L.Push(t)
	return 1
}

func (v *vm) rawSet(L *lua.LState) int {
	t := writable(L, 1)
	v.fill(L, t, L.CheckAny(2))
	L.RawSet(t, L.Get(2), L.CheckAny(3))
	L.Push(t)
	return 1
}

// assign is t[k] = v, paid (see syntax.Reshape).
func (v *vm) assign(L *lua.LState) int {
	object, key := L.Get(1), L.Get(2)
	if _, ok := key.(lua.LNumber); ok {
		v.fill(L, written(L, object), key)
	}
	L.SetTable(object, key, L.Get(3))
	return 0
}

// written is the table that a write of a key that is not there reaches; nil: a function takes it.
func written(L *lua.LState, object lua.LValue) *lua.LTable {
	for range lua.MaxTableGetLoop {
		next := L.GetMetaField(object, "__newindex")
		if next == lua.LNil {
			t, _ := object.(*lua.LTable)
			return t
		}
		object = next
	}
	return nil
}

// key is k of {[k] = v}, paid. How far the table is filled by then is not known.
func (v *vm) key(L *lua.LState) int {
	v.fill(L, nil, L.Get(1))
	L.Push(L.Get(1))
	return 1
}

// fill pays for the memory that a write to t will fill up to its key, before it does; a nil t is an
// empty one. The array grows by a quarter at a time, so that five times as much is made as is kept.
func (v *vm) fill(L *lua.LState, t *lua.LTable, key lua.LValue) {
	number, ok := key.(lua.LNumber)
	if !ok || !(number > syntax.Small && number < maxIndex) {
		return
	}
	k := int(number)
	if lua.LNumber(k) != number { // it is no index of an array
		return
	}
	if t != nil {
		if t.RawGetInt(k) != lua.LNil || t.RawGetInt(k-1) != lua.LNil {
			return
		}
		k -= t.Len()
	}
	if k > syntax.Small {
		v.spend(L, k*elementOctets/octetsInUnit)
	}
}

// pcall is Lua's, but a spent budget and a fault of the engine go through it.
func (v *vm) pcall(L *lua.LState) int {
	L.CheckAny(1)
	if err := v.protect(L, L.GetTop()-1); err != nil {
		L.Push(lua.LFalse)
		L.Push(err)
		return 2
	}
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

// xpcall calls the handler after unwinding: there is no traceback to take.
func (v *vm) xpcall(L *lua.LState) int {
	handler := L.CheckFunction(2)
	L.SetTop(2)
	L.Push(L.Get(1))
	if err := v.protect(L, 0); err != nil {
		L.Push(lua.LFalse)
		L.Push(handler)
		L.Push(err)
		L.Call(1, 1)
		return 2
	}
	L.Insert(lua.LTrue, 3)
	return L.GetTop() - 2
}

// protect calls the function below nargs arguments and gives the error object, or
// nil with the results on the stack. A failure costs extra: it builds a traceback.
func (v *vm) protect(L *lua.LState, nargs int) lua.LValue {
	err := L.PCall(nargs, lua.MultRet, nil)
	if err == nil {
		return nil
	}
	fault, ok := err.(*lua.ApiError)
	if !ok || fault.Type == lua.ApiErrorPanic {
		v.broken = true
		L.RaiseError("%s", faultText(err))
	}
	v.spend(L, 100)
	return fault.Object
}

// toString is Lua's without the addresses.
func (v *vm) toString(L *lua.LState) int {
	L.Push(lua.LString(v.text(L, L.CheckAny(1))))
	return 1
}

// text is a value as tostring shows it.
func (v *vm) text(L *lua.LState, value lua.LValue) string {
	switch value := value.(type) {
	case lua.LString:
		return string(value)
	case *lua.LTable, *lua.LUserData:
		if fn, ok := L.GetMetaField(value, "__tostring").(*lua.LFunction); ok {
			v.spend(L, 10)
			L.Push(fn)
			L.Push(value)
			L.Call(1, 1)
			result := L.Get(-1)
			L.Pop(1)
			if s, ok := result.(lua.LString); ok {
				return string(s)
			}
			L.RaiseError("'__tostring' must return a string")
		}
		return value.Type().String()
	case *lua.LFunction:
		return "function"
	}
	return value.String()
}

// concat is the operator "..", bounded (see syntax.Reshape).
func (v *vm) concat(L *lua.LState) int {
	n := L.GetTop()
	size := 0
	for i := 1; i <= n; i++ {
		switch part := L.Get(i).(type) {
		case lua.LString:
			size += len(part)
		case lua.LNumber:
			size += 24
		default:
			L.Push(v.concatObjects(L, n))
			return 1
		}
	}
	v.claim(L, size)
	var joined strings.Builder
	joined.Grow(size)
	for i := 1; i <= n; i++ {
		switch part := L.Get(i).(type) {
		case lua.LString:
			joined.WriteString(string(part))
		default:
			joined.WriteString(part.String())
		}
	}
	L.Push(lua.LString(joined.String()))
	return 1
}

// concatObjects joins from the right, two at a time, asking metatables.
func (v *vm) concatObjects(L *lua.LState, n int) lua.LValue {
	right := L.Get(n)
	for i := n - 1; i >= 1; i-- {
		left := L.Get(i)
		if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
			joined := left.String() + right.String()
			v.claim(L, len(joined))
			right = lua.LString(joined)
			continue
		}
		fn := L.GetMetaField(left, "__concat")
		if fn == lua.LNil {
			fn = L.GetMetaField(right, "__concat")
		}
		if fn == lua.LNil {
			wrong := left
			if lua.LVCanConvToString(left) {
				wrong = right
			}
			L.RaiseError("attempt to concatenate a %s value", wrong.Type())
		}
		L.Push(fn)
		L.Push(left)
		L.Push(right)
		L.Call(2, 1)
		right = L.Get(-1)
		L.Pop(1)
	}
	return right
}

// claim pays for a string of size octets and refuses one that is too long,
// before it is made.
func (v *vm) claim(L *lua.LState, size int) {
	v.fits(L, size)
	v.spend(L, size/64+1)
}

// fits refuses a string that is too long.
func (v *vm) fits(L *lua.LState, size int) {
	if size > maxString {
		L.RaiseError("string would have %d octets, the limit is %d", size, maxString)
	}
}

// math is the stock library with a generator of the VM's own.
func (v *vm) math() *lua.LTable {
	stock := v.stock(lua.OpenMath, lua.MathLibName)
	library := v.L.CreateTable(0, 32)
	stock.ForEach(func(name, fn lua.LValue) { library.RawSet(name, fn) })
	library.RawSetString("randomseed", lua.LNil)
	library.RawSetString("huge", lua.LNumber(math.Inf(1)))
	v.set(library, map[string]lua.LGFunction{"random": v.randomNumber})
	return library
}

// chance is where math.random takes its numbers from: a test's, if one runs. A file that loads takes none
// of those: when VMs are made is not the test's doing.
func (v *vm) chance() *rand.Rand {
	if t := v.b.opts.trying; t != nil && t.random != nil && v.phase != phaseLoading {
		return t.random
	}
	return v.random
}

func (v *vm) randomNumber(L *lua.LState) int {
	if L.GetTop() == 0 {
		L.Push(lua.LNumber(v.chance().Float64()))
		return 1
	}
	low, high := 1, strlib.Int(L, 1)
	if L.GetTop() > 1 {
		low, high = high, strlib.Int(L, 2)
	}
	if low > high {
		L.RaiseError("bad argument to random (interval is empty)")
	}
	L.Push(lua.LNumber(low + v.chance().IntN(high-low+1)))
	return 1
}

// results pays for n return values and refuses too many.
func (v *vm) results(L *lua.LState, n int) {
	if n > maxResults {
		L.RaiseError("%d results, the limit is %d", n, maxResults)
	}
	v.spend(L, n/8)
}

// minSubject is how long a text may be, in octets, that is searched; 4 octets times
// Options.MaxText when that is more, so that no message can make a rule fail by its length alone.
const minSubject = 16 << 10

// subject refuses texts that are longer than any message.
func (v *vm) subject(L *lua.LState, text string) {
	if limit := max(minSubject, 4*v.b.opts.MaxText); len(text) > limit {
		L.RaiseError("text of %d octets is too long to search, the limit is %d", len(text), limit)
	}
}
