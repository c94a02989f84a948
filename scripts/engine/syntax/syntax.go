// Package syntax makes the syntax tree of a script safe to compile and to run. The compiler of
// the Lua package cannot be interrupted and has corners in which it grows with the square of
// what is written, so trees of such a shape are refused before; and the operator .., with which
// a loop doubles a string until nothing is left, becomes a call of a function of the host's.
//
// It neither parses nor compiles, and says nothing about what a script means: that is the
// linter's. The engine (scripts/engine) calls it between the parser and the compiler, and
// its linter, which must see what the compiler would.
package syntax

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// Chunks beyond these figures are refused: some of what the compiler does grows with their square.
const (
	maxNesting   = 200  // of expressions and blocks
	maxConstants = 5000 // different names, strings and numbers of one function
	maxFuncCalls = 5000 // written in one function
	maxLabels    = 200  // labels and gotos of one function
)

// Concat is the local of a chunk that holds the function for "..": no identifier can be
// spelled like this, so no script can see or shadow it.
const Concat = "(concat)"

// Reshape checks a parsed chunk against the limits above and replaces every a .. b .. c by a
// call of Concat with the parts. A chunk that has any takes that function as its first
// argument. It changes the tree in place; errors begin with path:line.
func Reshape(path string, chunk []ast.Stmt) ([]ast.Stmt, error) {
	s := &shape{path: path}
	s.function(nil, chunk)
	if s.err != nil || !s.concats {
		return chunk, s.err
	}
	given := &ast.Comma3Expr{}
	given.SetLine(1)
	local := &ast.LocalAssignStmt{Names: []string{Concat}, Exprs: []ast.Expr{given}}
	local.SetLine(1)
	local.SetLastLine(1)
	return append([]ast.Stmt{local}, chunk...), nil
}

// shape walks one chunk, up to the first error.
type shape struct {
	err     error
	path    string
	depth   int
	line    int // of the node that was entered last
	concats bool
	fn      *shapeCounts // of the function being walked
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
	for _, stmt := range stmts {
		s.stmt(stmt)
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
		for _, field := range n.Fields {
			s.expr(&field.Key)
			s.expr(&field.Value)
		}
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
	s.concats = true
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
	fn := &ast.IdentExpr{Value: Concat}
	call := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	place(fn, n)
	place(call, n)
	s.call(call)
	oneValue(args[len(args)-1])
	return call
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
