// Package syntax makes the syntax tree of a script safe to compile and to run. The compiler of
// the Lua package cannot be interrupted and has corners in which it grows with the square of
// what is written, so trees of such a shape are refused before; and the operator .., with which
// a loop doubles a string until nothing is left, becomes a call of a function of the host's. So does
// t[k] = v, of which one may fill a table up to a large k.
//
// It neither parses nor compiles, and says nothing about what a script means: that is the
// linter's. The engine (scripts/engine) calls it between the parser and the compiler, and
// its linter, which must see what the compiler would.
package syntax

import (
	"fmt"
	"math"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// Chunks beyond these figures are refused: some of what the compiler does grows with their square.
const (
	maxNesting   = 200  // of expressions and blocks
	maxConstants = 5000 // different names, strings and numbers of one function
	maxFuncCalls = 5000 // written in one function, and writes to tables
	maxLabels    = 200  // labels and gotos of one function
)

// Small is the largest key that a constant may have for its write to stay what it is. A write
// fills the array of a table up to its key.
const Small = 256

// MaxIndex is above every index that the array part of a table has.
const MaxIndex = 1 << 16

// The locals of a chunk that hold the host's functions: no identifier can be
// spelled like these, so no script can see or shadow them.
const (
	Concat = "(concat)" // of the parts of a .. b .. c: gives the string
	Assign = "(assign)" // of t, k and v: does t[k] = v
	Key    = "(key)"    // of k in {[k] = v}: gives k
)

// Check checks a parsed chunk against the limits above and replaces every a .. b .. c by a
// call of Concat with the parts. A chunk that has any takes that function as its first
// argument. It changes the tree in place; errors begin with path:line.
func Check(path string, chunk []ast.Stmt) ([]ast.Stmt, error) {
	return (&shape{path: path}).chunk(chunk)
}

// Reshape does what Check does, and also replaces every t[k] = v by a call of Assign and every
// k of {[k] = v} by one of Key, but where k is a string or a number up to Small. A chunk that
// has any of the three takes the functions in the order above.
func Reshape(path string, chunk []ast.Stmt) ([]ast.Stmt, error) {
	return (&shape{path: path, writes: true}).chunk(chunk)
}

func (s *shape) chunk(chunk []ast.Stmt) ([]ast.Stmt, error) {
	s.function(nil, chunk)
	if s.err != nil || !s.calls {
		return chunk, s.err
	}
	names := []string{Concat}
	if s.writes {
		names = append(names, Assign, Key)
	}
	given := &ast.Comma3Expr{}
	given.SetLine(1)
	local := &ast.LocalAssignStmt{Names: names, Exprs: []ast.Expr{given}}
	local.SetLine(1)
	local.SetLastLine(1)
	return append([]ast.Stmt{local}, chunk...), nil
}

// shape walks one chunk, up to the first error.
type shape struct {
	err    error
	path   string
	writes bool // replace writes too
	depth  int
	line   int          // of the node that was entered last
	calls  bool         // something was replaced
	fn     *shapeCounts // of the function being walked
}

type shapeCounts struct {
	constants map[string]struct{}
	calls     int
	labels    int
}

func (s *shape) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s:%d: %s", s.path, s.line, fmt.Sprintf(format, args...))
	}
}

// enter goes one level down; false means that the walk is over.
func (s *shape) enter(node ast.PositionHolder) bool {
	if line := node.Line(); line > 0 {
		s.line = line
	}
	if s.depth++; s.depth > maxNesting {
		s.fail("nested more than %d deep", maxNesting)
	}
	return s.err == nil
}

func (s *shape) leave() { s.depth-- }

// constant counts one for the function; kind keeps "1" and 1 apart.
func (s *shape) constant(kind, text string) {
	s.fn.constants[kind+text] = struct{}{}
	if len(s.fn.constants) > maxConstants {
		s.fail("more than %d different names, strings and numbers in one function; put long lists into one [[ string ]]", maxConstants)
	}
}

func (s *shape) label() {
	if s.fn.labels++; s.fn.labels > maxLabels {
		s.fail("more than %d labels and gotos in one function", maxLabels)
	}
}

func (s *shape) function(params *ast.ParList, body []ast.Stmt) {
	outer := s.fn
	s.fn = &shapeCounts{constants: map[string]struct{}{}}
	if params != nil && len(params.Names) > maxNesting {
		s.fail("more than %d parameters", maxNesting)
	}
	s.block(body)
	s.fn = outer
}

func (s *shape) block(stmts []ast.Stmt) {
	for i, stmt := range stmts {
		s.stmt(stmt)
		if n, ok := stmt.(*ast.AssignStmt); ok {
			stmts[i] = s.assign(n)
		}
	}
}

func (s *shape) stmt(stmt ast.Stmt) {
	defer s.leave()
	if !s.enter(stmt) {
		return
	}
	switch n := stmt.(type) {
	case *ast.AssignStmt:
		s.exprs(n.Lhs)
		s.exprs(n.Rhs)
	case *ast.LocalAssignStmt:
		s.exprs(n.Exprs)
	case *ast.FuncCallStmt:
		s.expr(&n.Expr)
	case *ast.DoBlockStmt:
		s.block(n.Stmts)
	case *ast.WhileStmt:
		s.expr(&n.Condition)
		s.block(n.Stmts)
	case *ast.RepeatStmt:
		s.block(n.Stmts)
		s.expr(&n.Condition)
	case *ast.IfStmt:
		s.branches(n)
	case *ast.NumberForStmt:
		s.expr(&n.Init)
		s.expr(&n.Limit)
		s.expr(&n.Step)
		s.block(n.Stmts)
	case *ast.GenericForStmt:
		s.exprs(n.Exprs)
		s.block(n.Stmts)
	case *ast.FuncDefStmt:
		s.expr(&n.Name.Func)
		s.expr(&n.Name.Receiver)
		s.constant("s", n.Name.Method)
		s.function(n.Func.ParList, n.Func.Stmts)
	case *ast.ReturnStmt:
		s.exprs(n.Exprs)
	case *ast.LabelStmt, *ast.GotoStmt:
		s.label()
	case *ast.BreakStmt:
	default:
		s.fail("unknown statement %T", stmt)
	}
}

// branches walks an if with all its elseifs, which the parser nests.
func (s *shape) branches(n *ast.IfStmt) {
	for {
		s.expr(&n.Condition)
		s.block(n.Then)
		if len(n.Else) != 1 {
			break
		}
		next, ok := n.Else[0].(*ast.IfStmt)
		if !ok {
			break
		}
		n = next
	}
	s.block(n.Else)
}

func (s *shape) exprs(list []ast.Expr) {
	for i := range list {
		s.expr(&list[i])
	}
}

func (s *shape) expr(slot *ast.Expr) {
	if *slot == nil {
		return
	}
	defer s.leave()
	if !s.enter(*slot) {
		return
	}
	switch n := (*slot).(type) {
	case *ast.StringExpr:
		s.constant("s", n.Value)
	case *ast.NumberExpr:
		s.constant("n", n.Value)
	case *ast.IdentExpr:
		s.constant("s", n.Value)
	case *ast.AttrGetExpr:
		s.expr(&n.Object)
		s.expr(&n.Key)
	case *ast.TableExpr:
		s.fields(n)
	case *ast.FuncCallExpr:
		s.call(n)
	case *ast.LogicalOpExpr:
		s.expr(&n.Lhs)
		s.expr(&n.Rhs)
	case *ast.RelationalOpExpr:
		s.expr(&n.Lhs)
		s.expr(&n.Rhs)
	case *ast.ArithmeticOpExpr:
		s.expr(&n.Lhs)
		s.expr(&n.Rhs)
	case *ast.StringConcatOpExpr:
		*slot = s.concat(n)
	case *ast.UnaryMinusOpExpr:
		s.expr(&n.Expr)
	case *ast.UnaryNotOpExpr:
		s.expr(&n.Expr)
	case *ast.UnaryLenOpExpr:
		s.expr(&n.Expr)
	case *ast.FunctionExpr:
		s.function(n.ParList, n.Stmts)
	case *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr, *ast.Comma3Expr:
	default:
		s.fail("unknown expression %T", *slot)
	}
}

func (s *shape) call(n *ast.FuncCallExpr) {
	if s.fn.calls++; s.fn.calls > maxFuncCalls {
		s.fail("more than %d calls written in one function", maxFuncCalls)
	}
	s.constant("s", n.Method)
	s.expr(&n.Func)
	s.expr(&n.Receiver)
	s.exprs(n.Args)
}

// concat makes one call of a whole chain: a .. b .. c becomes concat(a, b, c).
func (s *shape) concat(n *ast.StringConcatOpExpr) ast.Expr {
	args := []ast.Expr{n.Lhs}
	rest := n.Rhs
	for {
		next, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		args, rest = append(args, next.Lhs), next.Rhs
	}
	args = append(args, rest)
	if len(args) > maxNesting {
		s.fail("more than %d parts joined by ..; use table.concat", maxNesting)
	}
	call := s.replaced(Concat, n, args...)
	s.call(call)
	return call
}

// replaced is a call of one of the host's functions in the place of what is written.
func (s *shape) replaced(name string, written ast.PositionHolder, args ...ast.Expr) *ast.FuncCallExpr {
	s.calls = true
	fn := &ast.IdentExpr{Value: name}
	call := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	place(fn, written)
	place(call, written)
	oneValue(args[len(args)-1])
	return call
}

// counted counts a call that a write becomes, and says whether it is to become one.
func (s *shape) counted() bool {
	if s.fn.calls++; s.fn.calls > maxFuncCalls {
		s.fail("more than %d calls and writes to tables in one function", maxFuncCalls)
	}
	return s.writes
}

// step is how many elements one unit of work fills.
const step = 4

// small reports that a write with this key, to a table that is filled up to have, fills it no further than to Small, or by
// no more than a step.
func small(key ast.Expr, have float64) bool {
	switch key := key.(type) {
	case nil, *ast.StringExpr:
		return true
	case *ast.NumberExpr:
		k, err := strconv.ParseFloat(key.Value, 64)
		return err == nil && (k <= Small || k <= have+step)
	}
	return false
}

// fields walks a table constructor. A constant key next to those before it fills little.
func (s *shape) fields(n *ast.TableExpr) {
	have := 0.0
	for _, field := range n.Fields {
		s.expr(&field.Key)
		s.expr(&field.Value)
		key, before := field.Key, have
		if constant, ok := key.(*ast.NumberExpr); ok {
			if k, err := strconv.ParseFloat(constant.Value, 64); err == nil && k < MaxIndex && k == math.Trunc(k) {
				have = max(have, k) // no other is an index of an array
			}
		}
		if !small(key, before) && s.counted() {
			field.Key = s.replaced(Key, n, key)
		}
	}
}

// assign is the statement that does what n does with its writes to tables replaced. Lua
// evaluates all of a statement first, and assigns after that, from the right to the left: so
// do the locals that hold what more than one write needs.
func (s *shape) assign(n *ast.AssignStmt) ast.Stmt {
	large := false
	for _, left := range n.Lhs {
		if at, ok := left.(*ast.AttrGetExpr); ok && !small(at.Key, 0) {
			large = true
		}
	}
	if !large || !s.counted() {
		return n
	}
	if len(n.Lhs) == 1 && len(n.Rhs) == 1 {
		at := n.Lhs[0].(*ast.AttrGetExpr)
		return s.statement(n.Lhs[0], at.Object, at.Key, n.Rhs[0])
	}
	local := &ast.LocalAssignStmt{}
	place(local, n)
	hold := func(value ast.Expr) *ast.IdentExpr {
		held := &ast.IdentExpr{Value: "(" + strconv.Itoa(len(local.Names)) + ")"}
		place(held, n.Lhs[0])
		local.Names = append(local.Names, held.Value)
		if value != nil {
			local.Exprs = append(local.Exprs, value)
		}
		return held
	}
	targets := make([]ast.Expr, len(n.Lhs))
	for i, left := range n.Lhs {
		targets[i] = left
		if at, ok := left.(*ast.AttrGetExpr); ok {
			target := &ast.AttrGetExpr{Object: hold(at.Object), Key: at.Key}
			if !small(at.Key, 0) {
				target.Key = hold(at.Key)
			}
			place(target, at)
			targets[i] = target
		}
	}
	values := make([]ast.Expr, len(n.Lhs))
	for i := range values {
		values[i] = hold(nil)
	}
	local.Exprs = append(local.Exprs, n.Rhs...)
	block := &ast.DoBlockStmt{Stmts: []ast.Stmt{local}}
	place(block, n)
	for i := len(targets) - 1; i >= 0; i-- {
		if at, ok := targets[i].(*ast.AttrGetExpr); ok && !small(at.Key, 0) {
			block.Stmts = append(block.Stmts, s.statement(n.Lhs[i], at.Object, at.Key, values[i]))
			continue
		}
		one := &ast.AssignStmt{Lhs: targets[i : i+1], Rhs: values[i : i+1]}
		place(one, n)
		block.Stmts = append(block.Stmts, one)
	}
	return block
}

func (s *shape) statement(written ast.PositionHolder, args ...ast.Expr) ast.Stmt {
	stmt := &ast.FuncCallStmt{Expr: s.replaced(Assign, written, args...)}
	place(stmt, written)
	return stmt
}

// oneValue keeps a last argument from being expanded to all its values.
func oneValue(e ast.Expr) {
	switch n := e.(type) {
	case *ast.FuncCallExpr:
		n.AdjustRet = true
	case *ast.Comma3Expr:
		n.AdjustRet = true
	}
}

func place(to, from ast.PositionHolder) {
	to.SetLine(from.Line())
	to.SetLastLine(from.LastLine())
}
