package syntax_test

import (
	"strings"
	"testing"

	"freeim/scripts/engine/syntax"

	lua "github.com/yuin/gopher-lua"
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
		proto, err := lua.Compile(chunk, "a.lua")
		if err != nil {
			t.Fatal(err)
		}
		L := lua.NewState()
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
		L.Call(1, 1)
		if got := L.Get(-1).String(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.source, got, test.want)
		}
		L.Close()
	}
}

// Refusals name the line.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		"\nx = 1" + strings.Repeat(" + y", 300):                  "a.lua:2: nested more than 200 deep",
		strings.Repeat("f() ", 5001):                             "a.lua:1: more than 5000 calls written",
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
