package engine

import (
	"strings"

	"freeim/scripts/engine/syntax"

	"github.com/yuin/gopher-lua/ast"
)

// names walks a whole file.
func (f *linted) names(chunk []ast.Stmt) {
	f.scope, f.callees = map[string][]*variable{}, map[ast.Expr]bool{}
	f.fn = &function{}
	f.block(chunk)
}

func (f *linted) declare(v *variable) {
	v.fn = f.fn
	f.scope[v.name] = append(f.scope[v.name], v)
	f.open, f.all = append(f.open, v), append(f.all, v)
}

// closing is called at the begin of a block, and what it gives at the end.
func (f *linted) closing() func() {
	mark := len(f.open)
	return func() {
		for _, v := range f.open[mark:] {
			f.scope[v.name] = f.scope[v.name][:len(f.scope[v.name])-1]
		}
		f.open = f.open[:mark]
	}
}

// block walks statements; it reports whether what follows them is never reached.
func (f *linted) block(stmts []ast.Stmt) (ends bool) {
	defer f.closing()()
	return f.stmts(stmts)
}

func (f *linted) stmts(stmts []ast.Stmt) (ends bool) {
	for _, stmt := range stmts {
		if _, label := stmt.(*ast.LabelStmt); label {
			ends = false
		}
		if ends && stmt.Line() > 0 {
			f.dead = append(f.dead, stmt.Line())
			ends = false
		}
		ends = f.stmt(stmt)
	}
	return ends
}

func (f *linted) stmt(stmt ast.Stmt) (ends bool) {
	switch n := stmt.(type) {
	case *ast.AssignStmt:
		f.exprs(n.Rhs)
		for i, to := range n.Lhs {
			var value ast.Expr
			if len(n.Lhs) == len(n.Rhs) {
				value = n.Rhs[i]
			}
			f.assign(to, value)
		}
	case *ast.LocalAssignStmt:
		f.local(n)
	case *ast.FuncCallStmt:
		f.expr(n.Expr)
		call, _ := n.Expr.(*ast.FuncCallExpr)
		return call != nil && f.isGlobal(call.Func, "error")
	case *ast.DoBlockStmt:
		return f.block(n.Stmts)
	case *ast.WhileStmt:
		f.expr(n.Condition)
		_, forever := n.Condition.(*ast.TrueExpr)
		return !f.loop(func() { f.block(n.Stmts) }) && forever
	case *ast.RepeatStmt:
		f.loop(func() {
			defer f.closing()()
			f.stmts(n.Stmts)
			f.expr(n.Condition)
		})
	case *ast.IfStmt:
		return f.branches(n)
	case *ast.NumberForStmt:
		f.exprs([]ast.Expr{n.Init, n.Limit, n.Step})
		f.forLoop(n.Line(), []string{n.Name}, n.Stmts)
	case *ast.GenericForStmt:
		f.exprs(n.Exprs)
		f.forLoop(n.Line(), n.Names, n.Stmts)
	case *ast.FuncDefStmt:
		f.define(n)
	case *ast.ReturnStmt:
		f.exprs(n.Exprs)
		f.returns = append(f.returns, spot[*ast.ReturnStmt]{n, f.fn})
		return true
	case *ast.BreakStmt:
		if len(f.loops) > 0 {
			f.loops[len(f.loops)-1].left = true
		}
		return true
	case *ast.GotoStmt:
		for _, l := range f.loops {
			l.left = true
		}
		return true
	}
	return false
}

// loop walks the body of a loop, and reports whether something leaves it.
func (f *linted) loop(body func()) (left bool) {
	l := &loop{}
	f.loops = append(f.loops, l)
	body()
	f.loops = f.loops[:len(f.loops)-1]
	return l.left
}

func (f *linted) forLoop(line int, names []string, body []ast.Stmt) {
	f.loop(func() {
		defer f.closing()()
		for _, name := range names {
			f.declare(&variable{name: name, line: line, given: true})
		}
		f.stmts(body)
	})
}

// branches walks an if with all its elseifs, which the parser nests.
func (f *linted) branches(n *ast.IfStmt) (ends bool) {
	ends = true
	for {
		f.expr(n.Condition)
		ends = f.block(n.Then) && ends
		if len(n.Else) != 1 {
			break
		}
		next, ok := n.Else[0].(*ast.IfStmt)
		if !ok {
			break
		}
		n = next
	}
	return f.block(n.Else) && ends
}

// local declares after the values were walked, but a function knows its own name.
func (f *linted) local(n *ast.LocalAssignStmt) {
	if len(n.Names) == 1 && n.Names[0] == syntax.Concat {
		return
	}
	_, function := one(n.Exprs).(*ast.FunctionExpr)
	if !function || len(n.Names) != 1 {
		f.exprs(n.Exprs)
	}
	for i, name := range n.Names {
		v := &variable{name: name, line: n.Line()}
		switch last := len(n.Exprs) - 1; {
		case i < last || i == last:
			v.value = n.Exprs[i]
		case last >= 0:
			v.value, v.nth = n.Exprs[last], i-last
		}
		f.declare(v)
	}
	if function && len(n.Names) == 1 {
		f.exprs(n.Exprs)
	}
}

// one is the only expression of a list.
func one(list []ast.Expr) ast.Expr {
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

// define is function a.b.c() or function a:b().
func (f *linted) define(n *ast.FuncDefStmt) {
	if n.Name.Receiver != nil {
		f.expr(n.Name.Receiver)
		f.body(n.Func, "self")
		return
	}
	f.assign(n.Name.Func, n.Func)
	f.body(n.Func)
}

// assign walks what is assigned to.
func (f *linted) assign(to, value ast.Expr) {
	f.writes = append(f.writes, spot[ast.Expr]{to, f.fn})
	switch n := to.(type) {
	case *ast.IdentExpr:
		if v := f.find(n); v != nil {
			v.assigned = true
			return
		}
		g := f.linter.globals[n.Value]
		if g == nil {
			g = &global{value: value, file: f, line: n.Line()}
			f.linter.globals[n.Value] = g
		}
		if g.count++; g.count > 1 {
			g.value = nil
		}
	case *ast.AttrGetExpr:
		f.expr(n.Object)
		f.expr(n.Key)
	}
}

// find gives the variable that a name stands for, nil for a global.
func (f *linted) find(n *ast.IdentExpr) *variable {
	stack := f.scope[n.Value]
	if len(stack) == 0 {
		return nil
	}
	v := stack[len(stack)-1]
	f.uses[n] = v
	return v
}

// isGlobal reports whether e is the global of that name.
func (f *linted) isGlobal(e ast.Expr, name string) bool {
	n, ok := e.(*ast.IdentExpr)
	return ok && n.Value == name && f.uses[n] == nil
}

func (f *linted) exprs(list []ast.Expr) {
	for _, e := range list {
		f.expr(e)
	}
}

func (f *linted) expr(e ast.Expr) {
	switch n := e.(type) {
	case *ast.IdentExpr:
		if n.Value == syntax.Concat {
			return
		}
		if v := f.find(n); v != nil {
			v.used = true
			return
		}
		f.walker.globals = append(f.walker.globals, spot[*ast.IdentExpr]{n, f.fn})
	case *ast.AttrGetExpr:
		f.expr(n.Object)
		f.expr(n.Key)
		f.gets = append(f.gets, spot[*ast.AttrGetExpr]{n, f.fn})
	case *ast.TableExpr:
		for _, field := range n.Fields {
			f.expr(field.Key)
			f.expr(field.Value)
		}
	case *ast.FuncCallExpr:
		f.call(n)
	case *ast.LogicalOpExpr:
		f.exprs([]ast.Expr{n.Lhs, n.Rhs})
	case *ast.RelationalOpExpr:
		f.exprs([]ast.Expr{n.Lhs, n.Rhs})
		f.rels = append(f.rels, spot[*ast.RelationalOpExpr]{n, f.fn})
	case *ast.ArithmeticOpExpr:
		f.exprs([]ast.Expr{n.Lhs, n.Rhs})
	case *ast.UnaryMinusOpExpr:
		f.expr(n.Expr)
	case *ast.UnaryNotOpExpr:
		f.expr(n.Expr)
	case *ast.UnaryLenOpExpr:
		f.expr(n.Expr)
	case *ast.FunctionExpr:
		f.body(n)
	}
}

func (f *linted) call(n *ast.FuncCallExpr) {
	f.expr(n.Func)
	f.expr(n.Receiver)
	f.exprs(n.Args)
	if n.Func != nil {
		f.callees[n.Func] = true
	}
	f.calls = append(f.calls, spot[*ast.FuncCallExpr]{n, f.fn})
	if f.isGlobal(n.Func, "require") {
		name, ok := one(n.Args).(*ast.StringExpr)
		if !ok {
			f.dynamic = true
			return
		}
		f.required[strings.ReplaceAll(name.Value, ".", "/")+".lua"] = true
	}
}

// body walks a function.
func (f *linted) body(n *ast.FunctionExpr, more ...string) {
	outer, loops := f.fn, f.loops
	f.fn, f.loops = &function{outer: outer, body: n}, nil
	f.fns[n] = f.fn
	outer.runs = append(outer.runs, f.fn)
	end := f.closing()
	for _, name := range append(more, n.ParList.Names...) {
		v := &variable{name: name, line: n.Line(), given: true}
		f.declare(v)
		f.fn.params = append(f.fn.params, v)
	}
	if n.ParList.HasVargs {
		f.declare(&variable{name: "arg", line: n.Line(), given: true})
	}
	f.stmts(n.Stmts)
	end()
	f.fn, f.loops = outer, loops
}
