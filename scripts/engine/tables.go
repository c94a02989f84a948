package engine

import (
	"sort"
	"strings"

	"freeim/scripts/engine/strlib"

	lua "github.com/yuin/gopher-lua"
)

// tables is the table library: Lua 5.1's functions, paid by size. setn, getn and
// foreach are left out.
func (v *vm) tables() *lua.LTable {
	library := v.L.CreateTable(0, 8)
	v.set(library, map[string]lua.LGFunction{
		"concat": v.tableConcat, "insert": v.tableInsert, "maxn": v.tableMaxN,
		"remove": v.tableRemove, "sort": v.tableSort,
	})
	return library
}

// span pays for a walk over elements from..to of a table.
func (v *vm) span(L *lua.LState, from, to int) {
	if to-from >= maxIndex {
		L.RaiseError("%d elements, the limit is %d", to-from+1, maxIndex)
	}
	v.spend(L, max(0, to-from)/8+1)
}

func (v *vm) unpack(L *lua.LState) int {
	t := L.CheckTable(1)
	from, to := strlib.OptInt(L, 2, 1), strlib.OptInt(L, 3, t.Len())
	if from > to {
		return 0
	}
	v.results(L, to-from+1)
	for i := from; i <= to; i++ {
		L.Push(element(t, i))
	}
	return to - from + 1
}

// element reads t[i] where the Lua package may have put it.
func element(t *lua.LTable, i int) lua.LValue {
	if i > 0 && i < maxIndex {
		return t.RawGetInt(i)
	}
	return t.RawGet(lua.LNumber(i))
}

func (v *vm) tableConcat(L *lua.LState) int {
	t, separator := L.CheckTable(1), L.OptString(2, "")
	from, to := strlib.OptInt(L, 3, 1), strlib.OptInt(L, 4, t.Len())
	v.span(L, from, to)
	size := 0
	var parts []string
	for i := from; i <= to; i++ {
		part := element(t, i)
		if !lua.LVCanConvToString(part) {
			L.RaiseError("invalid value (%s) at index %d in table for concat", part.Type(), i)
		}
		parts = append(parts, part.String())
		if size += len(parts[len(parts)-1]) + len(separator); size-len(separator) > maxString {
			L.RaiseError("string would be longer than %d octets", maxString)
		}
	}
	v.claim(L, max(0, size-len(separator)))
	L.Push(lua.LString(strings.Join(parts, separator)))
	return 1
}

func (v *vm) tableInsert(L *lua.LState) int {
	t := writable(L, 1)
	n := t.Len()
	at, value := n+1, L.Get(2)
	switch L.GetTop() {
	case 2:
	case 3:
		at, value = strlib.Int(L, 2), L.Get(3)
	default:
		L.RaiseError("wrong number of arguments to insert")
	}
	if at < 1 || at > n+1 {
		L.RaiseError("bad argument #2 to insert (position out of bounds)")
	}
	if n+1 >= maxIndex {
		L.RaiseError("table is full: %d elements", n)
	}
	v.span(L, at, n)
	if at == n+1 {
		t.RawSetInt(at, value)
	} else {
		t.Insert(at, value)
	}
	return 0
}

func (v *vm) tableRemove(L *lua.LState) int {
	t := writable(L, 1)
	n := t.Len()
	at := strlib.OptInt(L, 2, n)
	if at < 1 || at > n {
		L.Push(lua.LNil)
		return 1
	}
	v.span(L, at, n)
	L.Push(t.Remove(at))
	return 1
}

func (v *vm) tableMaxN(L *lua.LState) int {
	t := L.CheckTable(1)
	v.span(L, 1, t.Len())
	L.Push(lua.LNumber(t.MaxN()))
	return 1
}

// sorter sorts a copy of a table's elements; every comparison is paid.
type sorter struct {
	v      *vm
	L      *lua.LState
	less   *lua.LFunction // nil: <
	values []lua.LValue
}

func (s *sorter) Len() int      { return len(s.values) }
func (s *sorter) Swap(i, j int) { s.values[i], s.values[j] = s.values[j], s.values[i] }

func (s *sorter) Less(i, j int) bool {
	a, b := s.values[i], s.values[j]
	if s.less != nil {
		s.v.spend(s.L, 1)
		s.L.Push(s.less)
		s.L.Push(a)
		s.L.Push(b)
		s.L.Call(2, 1)
		result := lua.LVAsBool(s.L.Get(-1))
		s.L.Pop(1)
		return result
	}
	if a, ok := a.(lua.LString); ok {
		if b, ok := b.(lua.LString); ok {
			s.v.spend(s.L, 1+min(len(a), len(b))/256)
			return a < b
		}
	}
	s.v.spend(s.L, 1)
	return s.L.LessThan(a, b)
}

func (v *vm) tableSort(L *lua.LState) int {
	t := writable(L, 1)
	s := sorter{v: v, L: L, less: L.OptFunction(2, nil)}
	n := t.Len()
	v.span(L, 1, n)
	for i := 1; i <= n; i++ {
		s.values = append(s.values, element(t, i))
	}
	sort.Sort(&s)
	for i, value := range s.values {
		t.RawSetInt(i+1, value)
	}
	return 0
}
