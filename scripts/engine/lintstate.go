package engine

import (
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// checkWrite is about what is assigned to.
func (f *linted) checkWrite(to ast.Expr, fn *function) {
	switch n := to.(type) {
	case *ast.IdentExpr:
		if v := f.uses[n]; v != nil {
			f.checkKept(n, fn, "'%s' is outside of the hook")
			return
		}
		hook := fn.running()
		if hook == nil {
			return
		}
		const text = "global '%s' is read-only after loading: a hook cannot keep state in Lua; use im.kv"
		if hook.hook == nil || hook.named {
			f.warn(n.Line(), n.Value, "hook-state", text, clip(n.Value, 64))
			return
		}
		f.fail(fn, n.Line(), n.Value, "hook-state", text, clip(n.Value, 64))
	case *ast.AttrGetExpr:
		of := f.kindOf(n.Object)
		key, _ := n.Key.(*ast.StringExpr)
		switch {
		case of.lib != "":
			f.fail(fn, n.Line(), "", "read-only", "%s is read-only", of.lib)
		case of.class == "Call" && key != nil && f.member("Call", key.Value) == nil:
			f.unknown(fn, true, key, "a call has no field '"+clip(key.Value, 64)+"'", f.fields("Call"))
		case of.class == "Call" && key != nil && key.Value != "text":
			f.fail(fn, n.Line(), key.Value, "read-only", "c.%s is read-only", key.Value)
		case of.class == "":
			f.checkKept(root(n), fn, "'%s' is a table outside of the hook")
		}
	}
}

// checkChange is about functions that change a table.
func (f *linted) checkChange(n *ast.FuncCallExpr, stock string, fn *function) {
	switch stock {
	case "table.insert", "table.remove", "table.sort", "rawset":
		if len(n.Args) > 0 {
			f.checkKept(root(n.Args[0]), fn, "'%s' is a table outside of the hook")
		}
	}
}

// root is a of a.b.c.
func root(e ast.Expr) ast.Expr {
	for {
		n, ok := e.(*ast.AttrGetExpr)
		if !ok {
			return e
		}
		e = n.Object
	}
}

// checkKept warns if a hook changes what lives on after it.
func (f *linted) checkKept(e ast.Expr, fn *function, text string) {
	n, _ := e.(*ast.IdentExpr)
	hook := fn.running()
	if n == nil || hook == nil {
		return
	}
	if v := f.uses[n]; v == nil || v.fn == hook || hook.outer.within(func(f *function) bool { return f == v.fn }) == nil {
		return
	}
	f.warn(n.Line(), n.Value, "hook-state", text+": what it keeps is lost and differs between VMs; use im.kv", clip(n.Value, 64))
}

// checkComparison is about strings that are compared with something else.
func (f *linted) checkComparison(n *ast.RelationalOpExpr, fn *function) {
	left, right := f.kindOf(n.Lhs), f.kindOf(n.Rhs)
	equality := n.Operator == "==" || n.Operator == "~="
	for _, side := range []struct {
		e    ast.Expr
		with kind
	}{{n.Lhs, right}, {n.Rhs, left}} {
		if name := f.id(side.e); name != "" && side.with.typ == "number" && equality {
			f.warn(n.Line(), "", "id-number", "%s is an ID, and IDs are strings: it never equals a number", name)
			return
		}
	}
	switch {
	case left.typ == right.typ || left.typ == "" || right.typ == "" || !left.literal && !right.literal:
	case equality:
		f.warn(n.Line(), "", "wrong-type", "a %s is compared with a %s: they are never equal", left.typ, right.typ)
	case left.typ == "string" && right.typ == "number", left.typ == "number" && right.typ == "string":
		f.fail(fn, n.Line(), "", "wrong-type", "a %s is compared with a %s: that is an error when it is run", left.typ, right.typ)
	}
}

// id is how a field of c or c.req is written that holds an ID; empty: it is none.
func (f *linted) id(e ast.Expr) string {
	n, ok := e.(*ast.AttrGetExpr)
	if !ok {
		return ""
	}
	key, ok := n.Key.(*ast.StringExpr)
	if !ok {
		return ""
	}
	switch of := f.kindOf(n.Object); of.class {
	case "Call":
		if key.Value == "user" || key.Value == "conversation" || key.Value == "device" {
			return "c." + key.Value
		}
	case "Request":
		if key.Value == "id" || strings.HasSuffix(key.Value, "_id") {
			return "c.req." + key.Value
		}
	}
	return ""
}

// checkReturn is about what a hook says.
func (f *linted) checkReturn(n *ast.ReturnStmt, fn *function) {
	if fn.hook == nil || len(n.Exprs) == 0 {
		return
	}
	decides := false
	for _, p := range fn.hook.args {
		_, callback := takes(p.typ)
		decides = decides || callback && strings.HasSuffix(p.typ, ": im.Verdict?")
	}
	k := f.kindOf(n.Exprs[0])
	if !decides || k.typ == "" || !k.literal && k.typ != "table" && k.typ != "function" {
		return
	}
	const text = "a hook returns a %s, which is no verdict: im.deny(…), im.pass() or nothing"
	if fn.named {
		f.warn(n.Line(), "return", "no-verdict", text, k.typ)
		return
	}
	f.fail(fn, n.Line(), "return", "no-verdict", text, k.typ)
}

// checkUnused is about what has no use.
func (f *linted) checkUnused() {
	for _, line := range f.dead {
		f.warn(line, "", "unreachable", "this is never reached")
	}
	for _, v := range f.all {
		if v.used || v.given || strings.HasPrefix(v.name, "_") {
			continue
		}
		if _, ok := v.value.(*ast.FunctionExpr); ok {
			f.warn(v.line, v.name, "unused-local", "function '%s' is neither called nor registered", clip(v.name, 64))
			continue
		}
		f.warn(v.line, v.name, "unused-local", "'%s' is never read", clip(v.name, 64))
	}
	for name, g := range f.linter.globals {
		if g.file == f && !g.used && !strings.HasPrefix(name, "_") {
			f.warn(g.line, name, "unused-global", "global '%s' is never read", clip(name, 64))
		}
	}
	if f.idle() {
		f.warn(1, "", "unused-file", "no file requires %s", f.Path)
	}
}
