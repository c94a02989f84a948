package engine

import "github.com/yuin/gopher-lua/ast"

// walker is one pass over a file: it finds out what every name stands for, and
// notes the places that rules look at.
type walker struct {
	scope map[string][]*variable // the innermost last
	open  []*variable            // in the order of their declaration
	loops []*loop                // of the function, the innermost last
	fn    *function

	all     []*variable
	globals []spot[*ast.IdentExpr] // that are read
	writes  []spot[ast.Expr]       // what is assigned to
	calls   []spot[*ast.FuncCallExpr]
	gets    []spot[*ast.AttrGetExpr] // fields that are read
	rels    []spot[*ast.RelationalOpExpr]
	returns []spot[*ast.ReturnStmt]
	callees map[ast.Expr]bool // fields that are called where they are read
	dead    []int             // lines that cannot be reached
}

// spot is a piece of syntax and the function that it belongs to.
type spot[T any] struct {
	node T
	fn   *function
}

// variable is a local one.
type variable struct {
	name     string
	line     int
	fn       *function // declares it
	value    ast.Expr  // it is declared with; nil: nothing, or nobody knows
	nth      int       // of the results of value
	class    string    // of a parameter that is known to be an object
	given    bool      // a parameter, or of a loop: nobody has to use it
	assigned bool      // later on
	used     bool
}

// global is one that scripts assign to.
type global struct {
	value ast.Expr // nil: nobody knows, or there are several
	count int
	used  bool
	file  *linted // the first that assigns
	line  int
}

// function is a function of a script, or a whole file.
type function struct {
	outer  *function // nil: a file
	body   *ast.FunctionExpr
	params []*variable
	runs   []*function // what it calls by name, and what is written in it
	hook   *symbol     // what it is registered with; nil: it is no hook
	glob   string      // of the actions that it is asked about; empty: not known
	named  bool        // and has a name, so it may be called elsewhere too
	test   bool        // it is a test of the bundle
	called bool        // from a hook
	caught bool        // called by pcall
}

// within is the innermost function, from fn outwards, that is.
func (fn *function) within(is func(*function) bool) *function {
	for ; fn != nil; fn = fn.outer {
		if is(fn) {
			return fn
		}
	}
	return nil
}

// hooked is the hook that the function is, or is inside of; nil: none.
func (fn *function) hooked() *function {
	return fn.within(func(f *function) bool { return f.hook != nil })
}

// running is the outermost function around fn that runs in a hook, nil: none does,
// or nobody knows.
func (fn *function) running() (out *function) {
	for ; fn != nil; fn = fn.outer {
		if fn.hook != nil || fn.called {
			out = fn
		}
	}
	return out
}

// guarded reports whether a pcall catches what the function raises.
func (fn *function) guarded() bool {
	return fn.within(func(f *function) bool { return f.caught }) != nil
}

// loop is a loop around the statement that is looked at.
type loop struct{ left bool }
