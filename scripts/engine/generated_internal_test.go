package engine

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Random programs reach what random octets do not: each function of the API is called, in
// the core, at the edge, and while loading.
func TestGeneratedScripts(t *testing.T) {
	calls := callable(t)
	written := strings.Builder{}
	for _, edge := range []bool{false, true} {
		o := &Options{Dir: "unused", Log: slog.New(slog.DiscardHandler), Edge: edge, Instructions: 5000, LoadWall: 5 * time.Second, Wall: time.Second, ChainWall: time.Second}
		o.setDefaults()
		lowerMaxIndex()
		var err error
		if o.state, err = newState(nil, o.Now, bounds{octets: 1 << 20, keys: 100}, true); err != nil {
			t.Fatal(err)
		}
		defer o.state.close()
		programs := uint64(2500)
		if edge {
			programs = 500
		}
		if testing.Short() {
			programs /= 5
		}
		for seed := range programs {
			g := generator{random: rand.New(rand.NewPCG(seed, 1)), calls: calls}
			source := hookSource(g.block(4))
			if edge {
				source = strings.Replace(source, "on_message", "on_connect", 1)
			}
			if seed%20 == 0 { // loading may do more work, and takes longer
				source += "\nlocal c = {text = 'x'} pcall(function() " + g.block(2) + " end)"
			}
			source = strings.Replace(source, "\n", "\n"+generated, 1)
			written.WriteString(source)
			tryScript(t, o, source)
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, source)
			}
		}
	}
	for _, fn := range calls {
		if !strings.Contains(written.String(), fn+"(") {
			t.Errorf("no program calls %s", fn)
		}
	}
}

// generated is what the programs have beside module im.
const generated = `local words, loose, re = im.words({"x", "xx", "a b"}), im.words({"x", "xx"}, {spacing = true, confusables = true}), im.re("(x+)|a*")
local nets, config = im.cidr({"10.0.0.0/8"}), im.config{name = "g", n = {type = "number", default = 1}, set = {type = "set", default = "x y"}}
`

// generatedObjects have the methods of each class, by its name.
var generatedObjects = map[string][]string{"Call": {"c"}, "Words": {"words", "loose"}, "Re": {"re"}, "Cidr": {"nets"}, "Set": {"config.set"}}

// generator writes programs that parse, mostly.
type generator struct {
	random *rand.Rand
	calls  []string // whatever can be called
}

// callable lists the functions of Lua, and all of the API by its table.
func callable(t *testing.T) []string {
	all := []string{"string.rep", "string.find", "string.gsub", "string.format", "string.sub", "string.byte", "string.gmatch", "string.char", "string.match",
		"string.len", "string.lower", "string.upper", "string.reverse", "table.concat", "table.insert", "table.remove", "table.sort", "table.maxn", "unpack", "select", "tostring", "tonumber",
		"type", "next", "pcall", "xpcall", "rawset", "rawget", "rawequal", "setmetatable", "getmetatable", "math.random", "math.max", "math.floor", "require", "error", "assert", "ipairs"}
	for _, s := range symbols() {
		class, isClass := s.class()
		switch {
		case s.fn == nil || s.tests:
		case !isClass:
			all = append(all, s.name)
		case generatedObjects[class] == nil:
			t.Errorf("the generator has no object of the class %s, for %s", class, s.name)
		default:
			_, method := s.place()
			for _, object := range generatedObjects[class] {
				all = append(all, object+":"+method)
			}
		}
	}
	return all
}

func (g *generator) pick(list ...string) string { return list[g.random.IntN(len(list))] }

func (g *generator) block(depth int) string {
	var out strings.Builder
	out.WriteString("local a, b, d = c.text, {}, 1 ")
	for range 1 + g.random.IntN(5) {
		out.WriteString(g.stmt(depth) + " ")
	}
	return out.String()
}

func (g *generator) stmt(depth int) string {
	if depth == 0 {
		return g.pick("a", "b", "d") + " = " + g.expr(0)
	}
	switch g.random.IntN(10) {
	case 0:
		return "while " + g.expr(depth-1) + " do " + g.block(depth-1) + g.pick("", "break") + " end"
	case 1:
		return "for i = 1, " + g.expr(depth-1) + " do " + g.block(depth-1) + " end"
	case 2:
		return "for k, v in pairs(" + g.expr(depth-1) + ") do " + g.block(depth-1) + " end"
	case 3:
		return "if " + g.expr(depth-1) + " then " + g.block(depth-1) + " else " + g.block(depth-1) + " end"
	case 4:
		return "pcall(function(...) " + g.block(depth-1) + " return " + g.expr(depth-1) + ", ... end, " + g.expr(depth-1) + ")"
	case 5:
		return "b[" + g.expr(depth-1) + "] = " + g.expr(depth-1)
	case 6:
		return "setmetatable(b, {" + g.pick("__index", "__newindex", "__call", "__concat", "__eq", "__lt", "__len", "__tostring", "__unm") +
			" = function(x, y) return " + g.expr(depth-1) + " end})"
	case 7:
		return "c.text = tostring(" + g.expr(depth-1) + ")"
	}
	return g.pick("a", "b", "d") + " = " + g.expr(depth)
}

func (g *generator) expr(depth int) string {
	if depth == 0 {
		return g.pick("nil", "true", "0", "1", "-1", "1e300", "0/0", `"x"`, `"%a+"`, `""`, "{}", "{1, 2, 3}", "a", "b", "d", "c", "c.text", "print", "im", "string",
			"words", "re", "config", "config.n", "config.set", "c.req", "c.req.ids", "c.req.octets", "c.req.inner", "c.user", "'1h'", "'x x'", `("x"):rep(4000)`, `("[1,{\"x\":"):rep(40)`)
	}
	switch g.random.IntN(6) {
	case 0:
		return "(" + g.expr(depth-1) + g.pick(" + ", " .. ", " == ", " < ", " and ", " or ", " % ", " ^ ", " ~= ") + g.expr(depth-1) + ")"
	case 1:
		return g.pick("#", "not ", "-") + "(" + g.expr(depth-1) + ")"
	case 2:
		return "(function(...) local a, b, d = ... return " + g.expr(depth-1) + " end)(" + g.expr(depth-1) + ")"
	case 3:
		fn := g.pick(g.calls...)
		return fn + "(" + g.expr(depth-1) + g.pick("", ", "+g.expr(depth-1), ", "+g.expr(depth-1)+", "+g.expr(depth-1)) + ")"
	case 4:
		return "(" + g.expr(depth-1) + ")" + g.pick(".text", "[1]", ":len()", ":x()", "()")
	}
	return g.expr(depth - 1)
}
