package engine

import (
	"slices"
	"strings"

	"freeim/scripts/engine/syntax"

	"github.com/yuin/gopher-lua/ast"
)

// kind is what Lint knows of a value; the zero value: nothing.
type kind struct {
	lib     string  // "im", "im.kv", "string"
	sym     *symbol // a function of the table
	stock   string  // a function of Lua's: "string.find", "pcall"
	class   string  // an object: "Words"
	typ     string  // "string", "number", "boolean", "table", "function"
	text    string  // of a string that is written down
	literal bool
}

// luaLibraries are the functions and values of Lua's own that scripts have.
func luaLibraries() map[string]string {
	return map[string]string{
		"": "assert error ipairs next pairs rawequal rawget select tonumber type getmetatable setmetatable rawset " +
			"pcall xpcall tostring unpack require _VERSION _G math table string",
		"string": "byte char find format gmatch gsub len lower match rep reverse sub upper",
		"table":  "concat insert maxn remove sort",
		"math": "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad " +
			"random sin sinh sqrt tan tanh",
	}
}

// members lists the names of a library: of functions, and of libraries in it.
func (l *linter) members(library string) []string {
	if names, ok := l.lua[library]; ok && library != "" {
		return names
	}
	var out []string
	for name := range l.table {
		if below, ok := strings.CutPrefix(name, library+"."); ok && library != "" {
			below, _, _ = strings.Cut(below, ".")
			out = append(out, below)
		}
	}
	return out
}

// kindOf is what is known of an expression.
func (f *linted) kindOf(e ast.Expr) kind {
	switch n := e.(type) {
	case *ast.StringExpr:
		return kind{typ: "string", text: n.Value, literal: true}
	case *ast.NumberExpr:
		return kind{typ: "number", literal: true}
	case *ast.TrueExpr, *ast.FalseExpr:
		return kind{typ: "boolean", literal: true}
	case *ast.TableExpr:
		return kind{typ: "table"}
	case *ast.FunctionExpr:
		return kind{typ: "function"}
	case *ast.IdentExpr:
		if v := f.uses[n]; v != nil {
			return f.kindOfVariable(v)
		}
		return f.kindOfGlobal(n.Value)
	case *ast.AttrGetExpr, *ast.FuncCallExpr:
		k, known := f.kinds[e]
		if !known {
			if call, ok := e.(*ast.FuncCallExpr); ok {
				k = f.result(call, 0)
			} else {
				k = f.field(e.(*ast.AttrGetExpr))
			}
			f.kinds[e] = k
		}
		return k
	}
	return kind{}
}

func (f *linted) kindOfVariable(v *variable) kind {
	k, known := f.locals[v]
	if known || v.assigned {
		return k
	}
	f.locals[v] = kind{} // should it lead back to itself
	call, isCall := v.value.(*ast.FuncCallExpr)
	switch {
	case v.class != "":
		k = kind{class: v.class}
	case v.nth == 0:
		k = f.kindOf(v.value)
	case isCall:
		k = f.result(call, v.nth)
	}
	f.locals[v] = k
	return k
}

func (f *linted) kindOfGlobal(name string) kind {
	if g := f.linter.globals[name]; g != nil {
		// Only what is said in one go: a value may lead back here.
		if call, ok := g.value.(*ast.FuncCallExpr); ok && f.isGlobal(call.Func, "require") {
			return f.result(call, 0)
		}
		return kind{}
	}
	if s := f.table[name]; s != nil {
		return kind{sym: s}
	}
	if _, ok := f.lua[name]; ok {
		return kind{lib: name}
	}
	return kind{stock: name}
}

// field is the kind of a.b.
func (f *linted) field(n *ast.AttrGetExpr) kind {
	key, ok := n.Key.(*ast.StringExpr)
	if !ok {
		return kind{}
	}
	of := f.kindOf(n.Object)
	switch {
	case of.lib != "":
		name := of.lib + "." + key.Value
		if s := f.table[name]; s != nil {
			return kind{sym: s}
		}
		if slices.Contains(f.lua[of.lib], key.Value) {
			return kind{stock: name}
		}
		if f.below[name] {
			return kind{lib: name}
		}
	case of.class != "":
		if s := f.member(of.class, key.Value); s != nil && s.fn == nil {
			return kindOfType(s.results[0].typ)
		} else if s != nil {
			return kind{sym: s}
		}
	}
	return kind{}
}

// member is the field or method of a class, nil for none.
func (l *linter) member(class, name string) *symbol {
	for _, between := range []string{".", ":"} {
		if s := l.table[class+between+name]; s != nil {
			return s
		}
	}
	return nil
}

// callee is what a call calls.
func (f *linted) callee(n *ast.FuncCallExpr) kind {
	if n.Func != nil {
		return f.kindOf(n.Func)
	}
	of := f.kindOf(n.Receiver)
	switch {
	case of.typ == "string":
		return kind{stock: "string." + n.Method}
	case of.class != "":
		return kind{sym: f.member(of.class, n.Method)}
	case of.lib != "":
		return kind{sym: f.table[of.lib+"."+n.Method]}
	}
	return kind{}
}

// result is the kind of a call's nth result.
func (f *linted) result(n *ast.FuncCallExpr, nth int) kind {
	if f.isGlobal(n.Func, syntax.Concat) {
		return kind{typ: "string"}
	}
	of := f.callee(n)
	if of.sym != nil && nth < len(of.sym.results) {
		return kindOfType(of.sym.results[nth].typ)
	}
	if nth > 0 {
		return kind{}
	}
	switch of.stock {
	case "require":
		if name, ok := one(n.Args).(*ast.StringExpr); ok && name.Value == "im" {
			return kind{lib: "im"}
		}
	case "tostring", "type", "string.lower", "string.upper", "string.sub", "string.rep", "string.reverse", "string.format", "string.gsub",
		"string.char", "table.concat":
		return kind{typ: "string"}
	}
	return kind{}
}

// kindOfType is a type of the table.
func kindOfType(typ string) kind {
	typ = strings.TrimSuffix(typ, "?")
	switch typ {
	case "string", "number", "boolean":
		return kind{typ: typ}
	case "integer":
		return kind{typ: "number"}
	}
	if class, ok := strings.CutPrefix(typ, "im."); ok {
		return kind{class: class}
	}
	return kind{}
}

// function is the function that an expression gives, if that is known, and
// whether it has a name.
func (f *linted) function(e ast.Expr) (fn *function, named bool) {
	switch n := e.(type) {
	case *ast.FunctionExpr:
		return f.fns[n], false
	case *ast.IdentExpr:
		if v := f.uses[n]; v != nil {
			if body, ok := v.value.(*ast.FunctionExpr); ok && !v.assigned && v.nth == 0 {
				return f.fns[body], true
			}
			return nil, false
		}
		if g := f.linter.globals[n.Value]; g != nil {
			if body, ok := g.value.(*ast.FunctionExpr); ok {
				return f.fns[body], true
			}
		}
	}
	return nil, false
}

// roles finds the functions that are hooks, tests or guarded, and what hooks call.
func (l *linter) roles() {
	for _, f := range l.files {
		for _, c := range f.calls {
			f.role(c.node)
			if fn, _ := f.function(c.node.Func); fn != nil {
				c.fn.runs = append(c.fn.runs, fn)
			}
		}
	}
	var todo []*function
	for _, fn := range l.fns {
		if fn.hook != nil {
			todo = append(todo, fn)
		}
	}
	for len(todo) > 0 {
		fn := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range fn.runs {
			if !next.called && next.hook == nil {
				next.called = true
				todo = append(todo, next)
			}
		}
	}
	clear(l.kinds) // what was said before the hooks' parameters were known
	clear(l.locals)
}

// role says what a call does with the functions that it is given.
func (f *linted) role(n *ast.FuncCallExpr) {
	of := f.callee(n)
	if of.stock == "pcall" || of.stock == "xpcall" {
		for _, arg := range n.Args {
			if fn, _ := f.function(arg); fn != nil {
				fn.caught = true
			}
		}
		return
	}
	if of.sym == nil {
		return
	}
	glob := ""
	if len(n.Args) > 0 {
		glob = f.kindOf(n.Args[0]).text
	}
	for i, p := range of.sym.args {
		if i >= len(n.Args) {
			break
		}
		class, callback := takes(p.typ)
		if options, ok := n.Args[i].(*ast.TableExpr); ok && !callback {
			f.fallback(of.sym, glob, options)
			continue
		}
		if fn, named := f.function(n.Args[i]); fn != nil && callback {
			f.register(of.sym, glob, class, fn, named)
		}
	}
}

// register notes that fn is called with an object of a class.
func (f *linted) register(s *symbol, glob, class string, fn *function, named bool) {
	if class == "Test" {
		fn.test = true
	} else {
		fn.hook, fn.glob, fn.named = s, glob, named
	}
	if len(fn.params) > 0 && !named {
		fn.params[0].class = class
	}
}

// fallback finds on_error = {fallback = fn}.
func (f *linted) fallback(s *symbol, glob string, options *ast.TableExpr) {
	for _, field := range options.Fields {
		if nested, ok := field.Value.(*ast.TableExpr); ok {
			f.fallback(s, glob, nested)
			continue
		}
		if key, ok := field.Key.(*ast.StringExpr); !ok || key.Value != "fallback" {
			continue
		}
		if fn, named := f.function(field.Value); fn != nil {
			f.register(s, glob, "Call", fn, named)
		}
	}
}

// takes reports whether a type of the table is a callback, and the class of the
// object that it is called with, if any: "fun(c: im.Call): im.Verdict?" takes a Call.
func takes(typ string) (class string, callback bool) {
	args, callback := strings.CutPrefix(typ, "fun(")
	args, _, _ = strings.Cut(args, ")")
	args, _, _ = strings.Cut(args, ",")
	_, class, _ = strings.Cut(args, ": im.")
	return class, callback
}
