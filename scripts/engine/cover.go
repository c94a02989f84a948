package engine

import (
	"slices"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// coverage is which lines of a bundle ran. It is told by the VMs before every
// instruction; a bundle that serves has none.
type coverage struct {
	mu    sync.Mutex // guards lines
	lines map[string]map[int]bool
}

// covering is a budget that also says which line runs.
type covering struct {
	*budget
	L   *lua.LState
	all *coverage
}

// Done is called by the VM before every instruction.
func (c *covering) Done() <-chan struct{} {
	if at, ok := c.L.GetStack(0); ok {
		if _, err := c.L.GetInfo("Sl", at, lua.LNil); err == nil {
			c.all.note(at.Source, at.CurrentLine)
		}
	}
	return c.budget.Done()
}

func (c *coverage) note(file string, line int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines[file] == nil {
		c.lines[file] = map[int]bool{}
	}
	c.lines[file][line] = true
}

// Cover is how much of a file, or of a hook, the tests ran.
type Cover struct {
	Name   string // path of the file; name@file:line of the hook
	Calls  int64  // of a hook
	Lines  int    // that have code
	Missed []int  // of these, those that never ran
}

// of gives how much of the lines that have code ran.
func (c *coverage) of(name, file string, code map[int]bool) Cover {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Cover{Name: name, Lines: len(code)}
	for line := range code {
		if !c.lines[file][line] {
			out.Missed = append(out.Missed, line)
		}
	}
	slices.Sort(out.Missed)
	return out
}

// codeLines adds the lines of a function, and of those inside it, that have
// instructions. The return that the compiler puts at the end of each is none.
func codeLines(p *lua.FunctionProto, source []string, into map[int]bool) {
	for i, line := range p.DbgSourcePositions {
		if i < len(p.Code)-1 && line >= 1 && line <= len(source) && isCode(source[line-1]) {
			into[line] = true
		}
	}
	for _, inner := range p.FunctionPrototypes {
		codeLines(inner, source, into)
	}
}

// isCode tells lines that do something from those that the compiler only counts
// to: blank ones, comments, the end of a block.
func isCode(line string) bool {
	line = strings.TrimSpace(line)
	return line != "" && !strings.HasPrefix(line, "--") && strings.Trim(line, "end)};, ") != ""
}
