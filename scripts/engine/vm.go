package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"

	"freeim/scripts/engine/texts"

	lua "github.com/yuin/gopher-lua"
)

// lowerMaxIndex stops t[67108863] = 1 from filling gigabytes with nil. It is a
// variable of the Lua package, so it holds for the whole process; it is set once,
// before the first VM exists.
var lowerMaxIndex = sync.OnceFunc(func() { lua.MaxArrayIndex = maxIndex })

// phase says what a VM is doing, which decides what the API allows.
type phase uint8

const (
	phaseIdle    phase = iota
	phaseLoading       // running files: they may register, and nothing else
	phaseRunning       // running a hook
	phaseTesting       // running a test of the bundle
	phaseEdge          // running a hook at the edge
)

// vm is one Lua state with one bundle loaded. It is used by one goroutine at a
// time; the pool hands it on. Scripts never reach the state's own globals: their
// environment is a read-only view of vm.globals.
type vm struct {
	b      *bundle
	L      *lua.LState
	budget budget
	phase  phase
	quiet  bool // print and im.log say nothing while loading

	env       *lua.LTable // the environment of all scripts; empty, reads through to globals
	globals   *lua.LTable
	builtins  map[string]bool   // names in globals that no script may give away
	im        *lua.LTable       // the API
	operators [3]*lua.LFunction // the guarded "..", t[k] = v and {[k] = v}: arguments of each chunk
	modules   map[string]*module
	hooks     []*registration
	tests     []*selfTest // in a VM for tests
	random    *rand.Rand

	message *lua.LUserData // c of the hook that runs; nil: none does
	calling lua.LValue     // its metatable
	handles handles        // for c, c.req and c.reply
	proxy   proxy
	tag     *lua.LFunction // c.tag, c.score
	score   *lua.LFunction
	room    *lua.LFunction // c.in_room
	header  *lua.LFunction // c.header, c.tagged
	tagged  *lua.LFunction
	allow   *lua.LUserData
	pass    *lua.LUserData
	opaque  *lua.LTable            // metatable without anything
	views   *lua.LTable            // that of c.req and what is inside it
	classes map[string]*lua.LTable // metatables of objects, by class
	tester  *tester                // in a VM for tests

	sections map[string]*section // what im.config declared, by name
	tried    tried               // which values their tables hold

	// Of the running call.
	taken    time.Time     // when the judgement got the VM
	asked    time.Time     // when it asked what all cores share
	waited   time.Duration // for that, in the running hook
	now      time.Time     // zero until a script asks
	clock    func() time.Time
	world    *world // nil: the engine's
	rule     string
	logs     int
	ops      int    // of im.kv, im.rate and im.count
	used     int    // units of the last call
	spelt    string // a text that is searched
	runes    []rune // its characters
	comparer texts.Comparer

	// Since the VM was made.
	res     int // regular expressions
	wordSum int // characters of its word lists
	calls   int
	work    int
	busy    time.Duration // in hooks, as the wall clock had it
	broken  bool          // an error left it in a state that nobody vouches for
	dead    bool          // it cannot even be called any more
}

// module is a file that was run, or is being run.
type module struct {
	running bool
	value   lua.LValue
}

// registration is one hook in one VM.
type registration struct {
	registered
	fn       *lua.LFunction
	fallback *lua.LFunction // nil: none
}

// newVM builds a state with the sandbox and runs the bundle's files in it. quiet
// is for all but the first VM of a bundle, so that a file prints once.
func newVM(b *bundle, quiet, tests bool) (*vm, error) {
	v := &vm{b: b, quiet: quiet, modules: map[string]*module{}, clock: b.opts.Now}
	v.L = lua.NewState(lua.Options{
		CallStackSize: maxCalls, RegistrySize: 256, RegistryMaxSize: 1 << 16, RegistryGrowStep: 1024, SkipOpenLibs: true,
	})
	v.random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	if tests {
		v.random = rand.New(rand.NewPCG(1, 2))
	}
	v.budget = newBudget()
	v.L.SetContext(&v.budget)
	if b.covered != nil {
		v.L.SetContext(&covering{&v.budget, v.L, b.covered})
	}
	v.installSandbox()
	v.installAPI(tests)
	if err := v.load(tests); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *vm) close() { v.L.Close() }

// load runs every file that is no library: those run when they are required.
func (v *vm) load(tests bool) error {
	v.phase = phaseLoading
	defer func() { v.phase = phaseIdle }()
	var faults []error
	for _, f := range v.b.tree.files {
		if strings.HasPrefix(f.Path, "lib/") || isTest(f.Path) || isData(f.Path) {
			continue
		}
		faults = append(faults, v.loadFile(f.Path))
	}
	if err := errors.Join(faults...); err != nil || !tests {
		return err
	}
	for _, f := range v.b.tree.files {
		if isTest(f.Path) {
			faults = append(faults, v.loadFile(f.Path))
		}
	}
	return errors.Join(faults...)
}

func isTest(file string) bool { return strings.HasSuffix(file, "_test.lua") }

// loadFile runs a file under the load budget, unless a require ran it before.
func (v *vm) loadFile(file string) error {
	if v.modules[file] != nil || v.dead {
		return nil
	}
	units := loadUnits
	if v.quiet { // the first VM was weighed; what others allocate beside must not keep its bundle from another
		units *= 2
	}
	v.budget.begin(units, v.b.opts.LoadWall)
	v.L.Push(v.L.NewFunction(func(L *lua.LState) int {
		v.runFile(L, file)
		return 0
	}))
	err := v.protected(0, 0)
	v.budget.end()
	if err != nil {
		return errors.New(located(file, faultText(err)))
	}
	return nil
}

// protected calls the function below nargs arguments. PCall turns errors and
// panics into an error, but may itself panic while it describes one: when the
// VM's stack overflows in a tail call. Then the state is dead.
func (v *vm) protected(nargs, nret int) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			v.dead = true
			err = fmt.Errorf("the VM gave up, perhaps on too many values: %v", cause)
		}
	}()
	return v.L.PCall(nargs, nret, nil)
}

// runFile runs a file once and remembers what it returned, true for nothing.
func (v *vm) runFile(L *lua.LState, file string) lua.LValue {
	if m := v.modules[file]; m != nil {
		if m.running {
			L.RaiseError("%s requires itself, directly or through others", file)
		}
		return m.value
	}
	m := &module{running: true}
	v.modules[file] = m
	fn := L.NewFunctionFromProto(v.b.protos[file])
	fn.Env = v.env
	L.Push(fn)
	for _, operator := range v.operators {
		L.Push(operator)
	}
	L.Call(len(v.operators), 1)
	m.value = L.Get(-1)
	L.Pop(1)
	if m.value == lua.LNil {
		m.value = lua.LTrue
	}
	m.running = false
	return m.value
}

// chunk runs compiled code in the scripts' environment and leaves its one result on the stack.
func (v *vm) chunk(L *lua.LState, proto *lua.FunctionProto) {
	fn := L.NewFunctionFromProto(proto)
	fn.Env = v.env
	L.Push(fn)
	for _, operator := range v.operators {
		L.Push(operator)
	}
	L.Call(len(v.operators), 1)
}

// require gives the module im, or runs a file of the bundle: "lib.text" is
// lib/text.lua. Nothing outside of the bundle can be reached.
func (v *vm) require(L *lua.LState) int {
	name := L.CheckString(1)
	if name == "im" {
		L.Push(v.im)
		return 1
	}
	file := strings.ReplaceAll(name, ".", "/") + ".lua"
	if v.b.protos[file] == nil || isTest(file) || path.Clean(file) != file {
		L.RaiseError("no module %q: the scripts have no file %s", clip(name, 64), clip(file, 64))
	}
	if m := v.modules[file]; v.phase != phaseLoading && (m == nil || m.running) {
		L.RaiseError("require %q while loading, not inside of a hook", name)
	}
	L.Push(v.runFile(L, file))
	return 1
}

// run calls fn(arg) under the budget and gives its one result.
func (v *vm) run(fn *lua.LFunction, arg lua.LValue, units int, wall time.Duration, p phase) (lua.LValue, error) {
	v.phase, v.logs, v.ops, v.waited = p, 0, 0, 0
	v.budget.begin(units, wall)
	v.L.Push(fn)
	v.L.Push(arg)
	err := v.protected(1, 1)
	v.used = v.budget.end()
	v.work += v.used
	v.phase = phaseIdle
	if err != nil {
		v.broken = true
		return lua.LNil, err
	}
	result := v.L.Get(-1)
	v.L.SetTop(0)
	return result, nil
}

// spend charges a library function's work to the running call.
func (v *vm) spend(L *lua.LState, units int) {
	if !v.budget.spend(units) {
		L.RaiseError("%s", v.budget.Err())
	}
}

// frozen is the clock, frozen at the first question within a call.
func (v *vm) frozen() time.Time {
	if v.now.IsZero() {
		v.now = v.clock()
	}
	return v.now
}

// faultText is the message of a run-time error, without the traceback and
// without calling back into the script.
func faultText(err error) string {
	fault, ok := errors.AsType[*lua.ApiError](err)
	if !ok {
		return clip(err.Error(), 1024)
	}
	switch object := fault.Object.(type) {
	case lua.LString, lua.LNumber:
		return clip(object.String(), 1024)
	case *lua.LTable:
		if message, ok := object.RawGetString("message").(lua.LString); ok {
			return clip(string(message), 1024)
		}
	case nil:
		return "unknown error"
	}
	return fmt.Sprintf("error object is a %s", fault.Object.Type())
}

// located makes sure that text begins with a place.
func located(file, text string) string {
	if name, rest, ok := strings.Cut(text, ".lua:"); ok && !strings.ContainsAny(name, " \n") && len(rest) > 0 && isDigit(rest[0]) {
		return text
	}
	return file + ":1: " + text
}
