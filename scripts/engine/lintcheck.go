package engine

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"freeim/scripts/engine/pattern"

	"github.com/yuin/gopher-lua/ast"
)

// probes notes which unknown names a script looks at without calling them.
func (l *linter) probes() {
	for _, f := range l.files {
		for _, g := range f.gets {
			if name := f.fieldName(g.node); name != "" && !f.callees[g.node] {
				l.probed[name] = true
			}
		}
		for _, g := range f.walker.globals {
			if known := l.globals[g.node.Value]; known != nil {
				known.used = true
			}
		}
	}
}

// fieldName is the full name of a field of a library or an object.
func (f *linted) fieldName(n *ast.AttrGetExpr) string {
	key, ok := n.Key.(*ast.StringExpr)
	of := f.kindOf(n.Object)
	switch {
	case !ok:
		return ""
	case of.lib != "":
		return of.lib + "." + key.Value
	case of.class != "":
		return of.class + "." + key.Value
	}
	return ""
}

// check says what is wrong with the file.
func (f *linted) check() {
	for _, g := range f.walker.globals {
		f.checkGlobal(g.node, g.fn)
	}
	for _, g := range f.gets {
		f.checkField(g.node, g.fn)
	}
	for _, c := range f.calls {
		f.checkCall(c.node, c.fn)
	}
	for _, w := range f.writes {
		f.checkWrite(w.node, w.fn)
	}
	for _, r := range f.rels {
		f.checkComparison(r.node, r.fn)
	}
	for _, r := range f.returns {
		f.checkReturn(r.node, r.fn)
	}
	f.checkUnused()
}

func (f *linted) checkGlobal(n *ast.IdentExpr, fn *function) {
	name := n.Value
	s := f.table[name]
	if slices.Contains(f.lua[""], name) || f.linter.globals[name] != nil || s != nil && (!s.tests || isTest(f.Path)) {
		return
	}
	var known []string
	if f.hints < maxHints {
		known = append(slices.Collect(maps.Keys(f.linter.globals)), f.lua[""]...)
		known = append(known, "print")
	}
	f.fail(fn, n.Line(), name, "undeclared-global", "global '%s' is not declared%s", clip(name, 64), f.nearest(name, known))
}

// checkField is about a.b, where a is a library or an object of the API.
func (f *linted) checkField(n *ast.AttrGetExpr, fn *function) {
	name := f.fieldName(n)
	if name == "" || f.field(n) != (kind{}) {
		return
	}
	key := n.Key.(*ast.StringExpr)
	of := f.kindOf(n.Object)
	if of.class != "" {
		s := f.member(of.class, key.Value)
		if members := f.fields(of.class); s == nil && len(members) > 0 {
			f.unknown(fn, of.class == "Call" || f.callees[n] && !f.probed[name], key, shown(of.class)+" has no field '"+clip(key.Value, 64)+"'", members)
		}
		return
	}
	if !slices.Contains(f.members(of.lib), key.Value) {
		f.unknown(fn, f.callees[n] && !f.probed[name], key, clip(name, 64)+" does not exist", f.members(of.lib))
	}
}

func (f *linted) unknown(fn *function, certain bool, key *ast.StringExpr, text string, among []string) {
	text += f.nearest(key.Value, among)
	if certain {
		f.fail(fn, key.Line(), key.Value, "unknown-name", "%s", text)
		return
	}
	f.warn(key.Line(), key.Value, "unknown-name", "%s", text)
}

// shown is what an object of a class is called in a message.
func shown(class string) string {
	if class == "Call" {
		return "a call"
	}
	return "im." + class
}

// fields lists the fields and methods of a class.
func (l *linter) fields(class string) (names []string) {
	for name := range l.table {
		if below, ok := strings.CutPrefix(name, class); ok && (below[0] == '.' || below[0] == ':') {
			names = append(names, below[1:])
		}
	}
	return names
}

func (f *linted) checkCall(n *ast.FuncCallExpr, fn *function) {
	of := f.callee(n)
	if n.Func == nil {
		f.checkMethod(n, of, fn)
	}
	if of.sym != nil && of.sym.fn != nil {
		f.checkPhase(n, of.sym, fn)
		f.checkArguments(n, of.sym, fn)
		f.checkDivert(n, of.sym, fn)
		for i, p := range of.sym.args {
			if i >= len(n.Args) {
				break
			}
			if table, ok := n.Args[i].(*ast.TableExpr); ok && strings.HasPrefix(p.name, "options") {
				f.checkOptions(table, of.sym, p.typ, fn)
			}
			if strings.TrimSuffix(p.name, "?") == "code" {
				f.checkCode(n.Args[i], of.sym.name, fn)
			}
			if p.name == "endpoint" {
				f.checkEndpoint(n.Args[i], of.sym.name, fn)
			}
		}
		return
	}
	name, inString := strings.CutPrefix(of.stock, "string.")
	args := n.Args
	if n.Func == nil && of == (kind{}) && (n.Method == "gsub" || n.Method == "gmatch") {
		name, inString = n.Method, true // only strings have these
	} else if n.Func != nil && len(args) > 0 {
		args = args[1:]
	}
	if inString {
		f.checkPattern(name, args, fn)
	}
	f.checkChange(n, of.stock, fn)
}

// checkMethod is about a:b(), where nothing is known to be called so.
func (f *linted) checkMethod(n *ast.FuncCallExpr, callee kind, fn *function) {
	of := f.kindOf(n.Receiver)
	key := &ast.StringExpr{Value: n.Method}
	key.SetLine(n.Line())
	switch {
	case callee.sym != nil:
	case of.class != "":
		if members := f.fields(of.class); len(members) > 0 {
			f.unknown(fn, !f.probed[of.class+"."+n.Method], key, shown(of.class)+" has no method '"+clip(n.Method, 64)+"'", members)
		}
	case of.lib != "" && !slices.Contains(f.members(of.lib), n.Method):
		f.unknown(fn, !f.probed[of.lib+"."+n.Method], key, of.lib+"."+clip(n.Method, 64)+" does not exist", f.members(of.lib))
	case of.typ == "string" && !slices.Contains(f.lua["string"], n.Method):
		f.unknown(fn, true, key, "a string has no method '"+clip(n.Method, 64)+"'", f.lua["string"])
	}
}

// checkPhase is about functions that are called in a phase that they are not for.
func (f *linted) checkPhase(n *ast.FuncCallExpr, s *symbol, fn *function) {
	hook := fn.hooked()
	test := fn.within(func(f *function) bool { return f.test }) != nil
	var now phases
	switch {
	case hook != nil && AtEdge(hook.hook.name):
		now = inEdge
	case hook != nil:
		now = inHook
	case test:
		now = inTest
	case fn.outer == nil:
		now = inLoad
	case fn.running() != nil:
		now = inHook | inEdge // nobody knows which
	}
	if now == 0 || s.in&now != 0 {
		return
	}
	_, name := s.place()
	const text = "%s is for %s, not for %s"
	if now&(inHook|inEdge) != 0 && (hook == nil || hook.named) {
		f.warn(n.Line(), name, "wrong-phase", text, s.name, s.in, now) // it may be called elsewhere too
		return
	}
	f.fail(fn, n.Line(), name, "wrong-phase", text, s.name, s.in, now)
}

// checkArguments is about how many there are.
func (f *linted) checkArguments(n *ast.FuncCallExpr, s *symbol, fn *function) {
	given, least, most := len(n.Args), 0, len(s.args)
	for _, p := range s.args {
		switch {
		case p.name == "...":
			most = 1 << 30
		case !strings.HasSuffix(p.name, "?"):
			least++
		}
	}
	method := strings.Contains(s.name, ":")
	_, name := s.place()
	switch {
	case n.Func == nil && !method:
		given++ // the library is an argument
	case n.Func != nil && method:
		given--
	}
	open := false // the last argument may stand for any number
	if len(n.Args) > 0 {
		switch last := n.Args[len(n.Args)-1].(type) {
		case *ast.FuncCallExpr:
			open = !last.AdjustRet
		case *ast.Comma3Expr:
			open = !last.AdjustRet
		}
	}
	switch {
	case given < least && !open:
		f.fail(fn, n.Line(), name, "argument-count", "%s gets too few arguments: %s", s.name, s.call())
	case given > most && (!open || given-1 > most):
		f.warn(n.Line(), name, "argument-count", "%s gets too many arguments: %s", s.name, s.call())
	}
}

// checkOptions is about a table of options that is written down.
func (f *linted) checkOptions(n *ast.TableExpr, s *symbol, typ string, fn *function) {
	known, needed := record(typ)
	if len(known) == 0 {
		return
	}
	given, computed := map[string]bool{}, false
	for _, field := range n.Fields {
		key, ok := field.Key.(*ast.StringExpr)
		if !ok {
			computed = true
			continue
		}
		given[key.Value] = true
		if !slices.Contains(known, key.Value) {
			f.fail(fn, key.Line(), key.Value, "unknown-option", "%s: unknown option '%s'%s", s.name, clip(key.Value, 64), f.nearest(key.Value, known))
		}
		if nested, ok := field.Value.(*ast.TableExpr); ok && key.Value == "on_error" {
			for _, inner := range nested.Fields {
				if name, ok := inner.Key.(*ast.StringExpr); ok && name.Value == "code" {
					f.checkCode(inner.Value, s.name+": on_error", fn)
				}
			}
		}
	}
	for _, name := range needed {
		if !given[name] && !computed {
			f.fail(fn, n.Line(), "", "unknown-option", "%s: options need %s", s.name, name)
		}
	}
}

// record lists the keys of a table type, and those of them that must be there.
func record(typ string) (known, needed []string) {
	inner, ok := strings.CutPrefix(typ, "{")
	if !ok {
		return nil, nil
	}
	depth, from := 0, 0
	for i := range len(inner) {
		switch inner[i] {
		case '{', '(', '<':
			depth++
			continue
		case ')', '>':
			depth--
			continue
		case '}':
			if depth--; depth >= 0 {
				continue
			}
		case ',':
			if depth > 0 {
				continue
			}
		default:
			continue
		}
		name, _, _ := strings.Cut(inner[from:i], ":")
		name, optional := strings.CutSuffix(strings.TrimSpace(name), "?")
		known = append(known, name)
		if !optional {
			needed = append(needed, name)
		}
		if depth < 0 {
			break
		}
		from = i + 1
	}
	return known, needed
}

func (f *linted) checkCode(e ast.Expr, function string, fn *function) {
	code := f.kindOf(e)
	if code.typ == "string" && code.literal && !f.opts.knows(code.text) {
		f.fail(fn, e.Line(), code.text, "unknown-code", "%s: unknown code %q%s", function, clip(code.text, 64), f.nearest(code.text, f.opts.Codes))
	}
}

func (f *linted) checkEndpoint(e ast.Expr, function string, fn *function) {
	name := f.kindOf(e)
	if known := f.opts.Endpoints; known != nil && name.typ == "string" && name.literal && !slices.Contains(known, name.text) {
		f.fail(fn, e.Line(), name.text, "unknown-endpoint", "%s: the configuration names no endpoint %q%s", function, clip(name.text, 64), f.nearest(name.text, known))
	}
}

// dotted is a text such as example.com.
var dotted = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+$`)

// checkPattern is about a call of a function of strings; the first of args is the
// pattern.
func (f *linted) checkPattern(name string, args []ast.Expr, fn *function) {
	if !slices.Contains([]string{"find", "match", "gmatch", "gsub"}, name) || len(args) == 0 || name == "find" && len(args) >= 3 {
		return
	}
	line, written := args[0].Line(), f.kindOf(args[0])
	if !written.literal || written.typ != "string" {
		f.warn(line, name, "dynamic-pattern", "the pattern is no literal: a text in it is read as a pattern; use %s", instead(name))
		return
	}
	if _, err := pattern.Compile(written.text, name == "gmatch"); err != nil {
		f.fail(fn, line, written.text, "bad-pattern", "%s", err)
		return
	}
	if name != "find" {
		return
	}
	switch {
	case !strings.ContainsAny(written.text, "^$()%.[]*+-?"):
		f.warn(line, written.text, "plain-find", "%q has no special characters: say find(%q, 1, true), or im.text.contains", clip(written.text, 40), clip(written.text, 40))
	case dotted.MatchString(written.text):
		f.warn(line, written.text, "plain-find", "a dot stands for any character: say find(%q, 1, true), or write %%.", clip(written.text, 40))
	}
}

func instead(name string) string {
	if name == "find" {
		return "find(part, 1, true), im.words or im.text.contains"
	}
	return "im.words or im.re"
}
