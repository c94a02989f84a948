package syntax_test

import (
	"strings"
	"testing"

	"freeim/scripts/engine/syntax"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// What is joined by .. goes through the function that the chunk is given, a chain of it at once.
func TestConcat(t *testing.T) {
	for _, test := range []struct{ source, want string }{
		{`return "a" .. 1 .. x .. "b"`, "concat(a,1,X,b)"},
		{`local function f() return ("y" .. x) .. "<" end return f() .. "z"`, "concat(concat(concat(y,X),<),z)"},
		{`local concat = 1 return ("a" .. "b"):len()`, "11"},
		{`return x`, "X"},
	} {
		chunk, err := parse.Parse(strings.NewReader(test.source), "a.lua")
		if err != nil {
			t.Fatal(err)
		}
		if chunk, err = syntax.Reshape("a.lua", chunk); err != nil {
			t.Fatal(err)
		}
		if got, _ := runChunk(t, chunk); got != test.want {
			t.Errorf("%s: got %s, want %s", test.source, got, test.want)
		}
	}
}

// Writes with a large key, or one that nobody knows, go through the functions that the chunk is given; what is
// evaluated, and when, is as in Lua.
func TestWrites(t *testing.T) {
	const trace = `local log = {n = 0} local function at(v, name) log.n = log.n + 1 log[log.n] = name return v end `
	for _, test := range []struct{ source, want, seen string }{
		{`local t = {} t[1], t.a, t["b"], t[256] = 1, 2, 3, 4 return t[1] + t.a + t.b + t[256]`, "10", ""},
		{`local t, k = {}, "a" t[k] = "x" return t.a`, "x", "a=x"},
		{`local t = {} t[257] = "x" return t[257]`, "x", "257=x"},
		{`local t = {} t[-1], t[0x10] = "x", "y" return t[-1] .. t[16]`, "concat(x,y)", "16=y -1=x"},
		{`local t = {[1] = 1, [200] = 2, [400] = 3, [700] = 4, [701] = 5} return t[701]`, "5", "400 700"},
		{`local k = "a" local t = {[k] = 1, 2, b = 3} return t.a + t[1] + t.b`, "6", "a"},
		{`local t, i, j = {"x", "y"}, 1, 2 t[i], t[j] = t[j], t[i] return t[1] .. t[2]`, "concat(y,x)", "2=x 1=y"},
		{`local t, i = {}, 1 i, t[i] = i + 1, 20 return i .. t[1]`, "concat(2,20)", "1=20"},
		{`local function f() return 1, 2, 3 end local t, i, j = {}, 1, 2 t[i], t[j] = f() return t[1] .. t[2]`, "concat(1,2)", "2=2 1=1"},
		{`local function f() return 1, 2, 3 end local t, i = {}, 1 t[i] = f() return t[1]`, "1", "1=1"},
		{`local function f(...) local t, i = {}, 1 t[i] = ... return t[1] end return f(7, 8)`, "7", "1=7"},
		{`local t, i, j = {}, 1, 2 t[i], t[j] = 5 return tostring(t[2])`, "nil", "2=nil 1=5"},
		{`local t, i, a = {}, 1 t[i], a = 5, 6, 7 return t[1] + a`, "11", "1=5"},
		{trace + `local t = {} at(t, "o1")[at(1, "k1")], at(t, "o2")[at(2, "k2")] = at(3, "v1"), at(4, "v2")
			return table.concat(log, " ")`, "o1 k1 o2 k2 v1 v2", "1=o1 2=k1 3=o2 4=k2 5=v1 6=v2 2=4 1=3"},
		{`local assign, key, t, k = 1, 2, {}, 3 t[k] = assign + key do local k = 4 t[k] = 5 end return t[3] + t[4]`, "8", "3=3 4=5"},
		{`local t, k = {}, 1 while true do t[k] = k if k == 3 then break end k = k + 1 end return #t`, "3", "1=1 2=2 3=3"},
	} {
		chunk, err := parse.Parse(strings.NewReader(test.source), "a.lua")
		if err != nil {
			t.Fatal(err)
		}
		if chunk, err = syntax.Reshape("a.lua", chunk); err != nil {
			t.Fatal(err)
		}
		got, seen := runChunk(t, chunk)
		if got != test.want || seen != test.seen {
			t.Errorf("%s: got %s and %q, want %s and %q", test.source, got, seen, test.want, test.seen)
		}
	}
}

// runChunk gives what a chunk returns, and the writes that went through its functions.
func runChunk(t *testing.T, chunk []ast.Stmt) (result, seen string) {
	t.Helper()
	proto, err := lua.Compile(chunk, "a.lua")
	if err != nil {
		t.Fatal(err)
	}
	L := lua.NewState()
	defer L.Close()
	L.SetGlobal("x", lua.LString("X"))
	L.Push(L.NewFunctionFromProto(proto))
	L.Push(L.NewFunction(func(L *lua.LState) int {
		var parts []string
		for i := range L.GetTop() {
			parts = append(parts, L.Get(i+1).String())
		}
		L.Push(lua.LString("concat(" + strings.Join(parts, ",") + ")"))
		return 1
	}))
	var writes []string
	L.Push(L.NewFunction(func(L *lua.LState) int {
		if L.GetTop() != 3 {
			t.Errorf("a write has %d arguments", L.GetTop())
		}
		writes = append(writes, L.Get(2).String()+"="+L.Get(3).String())
		L.SetTable(L.Get(1), L.Get(2), L.Get(3))
		return 0
	}))
	L.Push(L.NewFunction(func(L *lua.LState) int {
		writes = append(writes, L.Get(1).String())
		L.Push(L.Get(1))
		return 1
	}))
	L.Call(3, 1)
	return L.Get(-1).String(), strings.Join(writes, " ")
}

// Refusals name the line.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		"\nx = 1" + strings.Repeat(" + y", 300):                  "a.lua:2: nested more than 200 deep",
		strings.Repeat("f() ", 5001):                             "a.lua:1: more than 5000 calls written",
		strings.Repeat("t[k] = 1 ", 5001):                        "a.lua:1: more than 5000 calls and writes",
		"x = ''" + strings.Repeat(" .. y", 250):                  "parts joined by ..",
		strings.Repeat("goto a ", 200) + "::a::":                 "more than 200 labels and gotos",
		strings.Repeat("do ", 300) + strings.Repeat("end ", 300): "nested more than",
	} {
		chunk, err := parse.Parse(strings.NewReader(source), "a.lua")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := syntax.Reshape("a.lua", chunk); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: got %v, want %q", source, err, want)
		}
	}
}
