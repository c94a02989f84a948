package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The table says of everything what it is, once.
func TestSymbols(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range symbols() {
		if seen[s.name] {
			t.Errorf("%s: in the table twice", s.name)
		}
		seen[s.name] = true
		if s.doc == "" || !strings.HasSuffix(s.doc, ".") {
			t.Errorf("%s: got doc %q, want sentences", s.name, s.doc)
		}
		if s.in == 0 {
			t.Errorf("%s: for no phase", s.name)
		}
		if s.fn != nil && !s.tests && s.example == "" {
			t.Errorf("%s: has no example", s.name)
		}
		if s.fn == nil && (len(s.args) != 0 || len(s.results) != 1) {
			t.Errorf("%s: a field has a type and nothing else", s.name)
		}
		for _, p := range append(s.args, s.results...) {
			if p.typ == "" {
				t.Errorf("%s: %q has no type", s.name, p.name)
			}
		}
	}
}

// Every example holds, where it is allowed: run while loading, in a hook or in a test.
func TestExamples(t *testing.T) {
	for _, s := range symbols() {
		if s.example == "" {
			continue
		}
		source := "local im = require(\"im\")\n" + s.setup + "\n"
		if s.in == inLoad {
			source += s.example
		} else {
			source += s.hooked(s.example)
		}
		t.Run(s.name, func(t *testing.T) {
			b := bundleOf(t, source, func(o *Options) { o.Codes = []string{"rejected"} })
			if v := s.judged(t.Context(), b, "hello"); v.Err != nil {
				t.Error(v.Err)
			}
		})
	}
}

// hooked is a hook with that body: one at the edge if the function is for those only.
func (s *symbol) hooked(body string) string {
	if s.in&(inHook|inEdge) == inEdge {
		return "im.on_route(function(c) " + body + " end, {name = \"x\"})"
	}
	return "im.on_message(function(c) " + body + " end, {name = \"x\", on_error = \"closed\"})"
}

// judged is judged for a hook of hooked.
func (s *symbol) judged(ctx context.Context, b *bundle, text string) Verdict {
	if s.in&(inHook|inEdge) != inEdge {
		return judged(ctx, b, text)
	}
	one := newSample()
	one.Action = text
	return b.judge(ctx, b.chain(Route, "", false), &one.Call, time.Now)
}

// Outside of its phases a function says where it belongs.
func TestPhases(t *testing.T) {
	for _, s := range symbols() {
		owner, _ := s.place()
		if s.fn == nil || s.tests || owner != "im" && !strings.HasPrefix(owner, "im.") {
			continue
		}
		call := s.name + "()"
		if s.in&inLoad == 0 {
			_, err := tryBundle(t, "im = require('im') "+call, nil)
			if want := s.name + " is for " + s.in.String() + ", not for loading"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if s.in&inHook == 0 {
			b := bundleOf(t, hookSource(call), nil)
			v := judged(t.Context(), b, "hello")
			if want := regexp.QuoteMeta(s.name) + " is for .*, not for hooks"; v.Err == nil || !regexp.MustCompile(want).MatchString(v.Err.Error()) {
				t.Errorf("got %v, want %q", v.Err, want)
			}
		}
		if s.in&inEdge == 0 {
			edge := symbol{in: inEdge}
			b := bundleOf(t, "im = require('im') "+edge.hooked(call), nil)
			v := edge.judged(t.Context(), b, "hello")
			if want := regexp.QuoteMeta(s.name) + " is for .*, not for hooks at the edge"; v.Err == nil || !regexp.MustCompile(want).MatchString(v.Err.Error()) {
				t.Errorf("got %v, want %q", v.Err, want)
			}
		}
	}
}

// Every field in the table can be read, and no handle gives others.
func TestCallFields(t *testing.T) {
	var body strings.Builder
	for _, s := range symbols() {
		if owner, name := s.place(); owner == "Call" && s.fn == nil {
			want := strings.NewReplacer("?", "", "im.Request", "userdata").Replace(s.results[0].typ)
			fmt.Fprintf(&body, "if c.%s ~= nil then known = known + 1 assert(type(c.%s) == %q) end\n", name, name, want)
		}
	}
	b := bundleOf(t, hookSource("local known = 0\n"+body.String()+"assert(known >= 9)"), nil)
	if v := judged(t.Context(), b, "hello"); v.Err != nil {
		t.Error(v.Err)
	}
}

// Every type that the table names is declared for the language server.
func TestStubTypes(t *testing.T) {
	stubs := Stubs()
	for _, s := range symbols() {
		for _, p := range append(s.args, s.results...) {
			for _, class := range regexp.MustCompile(`im\.[A-Z]\w+`).FindAllString(p.typ, -1) {
				if !strings.Contains(stubs, "---@class "+class+"\n") {
					t.Errorf("%s: %s is not declared", s.name, class)
				}
			}
		}
	}
}

// Nothing in the table can be called without end: the budget or a cap stops it,
// and the next call finds a healthy VM.
func TestEveryFunctionIsBounded(t *testing.T) {
	for _, s := range symbols() {
		if s.fn == nil || s.in&(inHook|inEdge) == 0 || s.example == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			example := strings.TrimPrefix(s.example, "return ")
			if strings.HasPrefix(example, "im.") {
				example = "local _ = " + strings.ReplaceAll(example, ") assert", ") _ = assert")
			}
			b := bundleOf(t, "local im = require(\"im\")\n"+s.setup+"\n"+s.hooked("if c.text == \"ok\" or c.action == \"ok\" then return end while true do pcall(function() "+
				example+" end) end"), func(o *Options) { o.Codes = []string{"rejected"} })
			v := s.judged(t.Context(), b, "hello")
			if v.Err == nil || !strings.Contains(v.Err.Error(), "budget spent") {
				t.Errorf("got %v, want the budget spent", v.Err)
			}
			if v := s.judged(t.Context(), b, "ok"); v.Err != nil {
				t.Errorf("the next call got %v", v.Err)
			}
		})
	}
}

// What is as large as it may be is paid for by its size: with the usual budget
// none of these goes on for long.
func TestLargeArguments(t *testing.T) {
	const large = `local big = ("[1,"):rep(20000) local value = ("v"):rep(65536) `
	for _, body := range []string{
		`im.json.decode(big)`,
		`im.json.decode("[" .. ("1,"):rep(4000) .. "1]")`,
		`im.json.decode(("{\"a\":"):rep(30) .. "1" .. ("}"):rep(30))`,
		`local t = {} for i = 1, 4000 do t[i] = i end while true do im.json.encode(t) end`,
		`local t = {} for i = 1, 60 do t["k" .. i] = value:sub(1, 1000) end while true do im.json.encode(t) end`,
		`im.hash(value)`,
		`im.text.contains(value, value)`,
		`pcall(im.kv.set, "k", value, "1s")`,
		`pcall(im.count.uniq, "k", value, "1s")`, `pcall(im.count.alike, "k", value, "1s")`,
	} {
		b := bundleOf(t, hookSource(large+"while true do "+body+" end"), nil)
		began := time.Now()
		v := judged(t.Context(), b, "hello")
		if v.Err == nil || !strings.Contains(v.Err.Error(), "budget spent") {
			t.Errorf("%s: got %v, want the budget spent", body, v.Err)
		}
		t.Logf("%s: %v", body, time.Since(began).Round(time.Microsecond))
	}
}
