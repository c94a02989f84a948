package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// selfTest is one call of test(name, fn) in a *_test.lua file of the bundle.
type selfTest struct {
	name string
	file string
	line int
	fn   *lua.LFunction
}

// testClock is the time that a test begins at.
var testClock = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// tester runs a bundle's tests: in a VM of their own, against hooks that run in
// the bundle's pool exactly as they will for real messages.
type tester struct {
	ctx  context.Context
	b    *bundle
	v    *vm
	now  time.Time
	last *lua.LUserData // the handle t
	left bool           // the running test asked what is not here
}

// selfTest runs all tests; any that fails refuses the bundle.
func (b *bundle) selfTest(ctx context.Context) error {
	err := b.runTests(ctx, func(*selfTest) bool { return true }, func(*selfTest, time.Duration, error) {})
	if err == nil || b.tests > 0 {
		err = errors.Join(err, b.untested())
	}
	b.forget()
	return err
}

// runTests runs the tests that are wanted, and tells of each when it is done.
func (b *bundle) runTests(ctx context.Context, wanted func(*selfTest) bool, done func(*selfTest, time.Duration, error)) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.TestWall)
	defer cancel()
	defer b.prepareTests()()
	v, err := newVM(b, true, true)
	if err != nil {
		return err
	}
	defer v.close()
	t := &tester{ctx: ctx, b: b, v: v}
	v.clock = func() time.Time { return t.now }
	t.last, v.tester = v.handle(t, v.classes["Test"]), t
	var faults []error
	for _, test := range v.tests {
		if ctx.Err() != nil {
			return fmt.Errorf("%s:%d: the tests together took longer than %v", test.file, test.line, b.opts.TestWall)
		}
		if !wanted(test) {
			continue
		}
		began := time.Now()
		err := t.run(test)
		done(test, time.Since(began), err)
		faults = append(faults, err)
		if v.dead {
			break
		}
	}
	b.tests = len(v.tests)
	return errors.Join(faults...)
}

// prepareTests has all hooks be asked, whatever the operator's settings are, and gives them
// the tests' wall time instead of their own, until it is undone: work is counted as
// ever, and what slow instructions allocate, but on a busy machine a few milliseconds would refuse good rules, and with them the
// start. VMs that fail are replaced at once, with the tests' options. Nobody else has the bundle yet.
func (b *bundle) prepareTests() (undo func()) {
	usual, patient := b.opts, *b.opts
	patient.AsideWall, patient.ActionWall = usual.TestWall, usual.TestWall
	patient.Wall, patient.ChainWall = usual.TestWall, usual.TestWall
	patient.trying = &trying{}
	b.opts = &patient
	alone := b.pool.alone
	b.pool.alone = true
	b.connect()
	return func() {
		b.opts, b.pool.alone = usual, alone
		b.connect()
	}
}

// untested names the hooks that no test called, if they have to be.
func (b *bundle) untested() error {
	var faults []error
	for _, h := range b.hooks {
		if b.opts.RequireTests && h.calls.Load() == 0 {
			faults = append(faults, fmt.Errorf("%s: no test calls this hook", h.rule))
		}
	}
	return errors.Join(faults...)
}

// forget resets what the tests left in the hooks' counters.
func (b *bundle) forget() {
	b.tally = tally{}
	for _, h := range b.hooks {
		h.figures = figures{}
	}
}

func (t *tester) run(test *selfTest) error {
	t.now = testClock
	state, err := newState(nil, func() time.Time { return t.now }, usualBounds(), true)
	if err != nil {
		return err
	}
	defer state.close()
	t.b.opts.state = state // opts are the tests' own, see prepareTests
	t.b.opts.trying = &trying{random: test.random(), values: map[string]map[string]lua.LValue{}}
	t.v.now, t.v.broken, t.left = time.Time{}, false, false
	t.v.configure(t.b.opts.trying)
	_, err = t.v.run(test.fn, t.last, loadUnits, t.b.opts.TestWall, phaseTesting)
	if err == nil || t.left {
		return nil
	}
	return fmt.Errorf("%s: test %q failed", located(test.file, faultText(err)), test.name)
}

// random is a test's source of chance: the same numbers whenever it runs, whichever tests run with it.
func (test *selfTest) random() *rand.Rand {
	return rand.New(rand.NewPCG(operationHash("test", test.file, test.name), 0))
}

// testSymbols are for *_test.lua files.
func testSymbols() []symbol {
	verdict := []param{{"", "im.Told", ""}}
	return []symbol{
		{name: "test", in: inLoad, tests: true, fn: (*vm).declareTest,
			args: []param{{"name", "string", ""}, {"fn", "fun(t: im.Test)", ""}},
			doc:  "Declares a test. It runs before the bundle is activated; a failure refuses the bundle."},
		{name: "Test.message", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.message(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call; those left out have defaults"}}, results: verdict,
			doc: "What all hooks say about such a message. A hook that fails makes the test fail."},
		{name: "Test.call", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.call(L) },
			args: []param{{"fields", "table<string, any>", "action, other fields of im.Call, and req, a table of the request's fields"}}, results: verdict,
			doc: "What the hooks say about any action. A hook that fails makes the test fail."},
		{name: "Test.login", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.login(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call"}}, results: verdict,
			doc: "What the hooks say about somebody who signs in."},
		{name: "Test.join", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.join(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call; conversation is the room"}}, results: verdict,
			doc: "What the hooks say about somebody who comes into a room."},
		{name: "Test.after", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.after(L) },
			args: []param{{"fields", "table<string, any>", "action, other fields of im.Call, code, and req and reply as tables"}},
			doc:  "Runs the after hooks of an answered action."},
		{name: "Test.tick", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.tick(L) },
			args: []param{{"name", "string", "of the hook"}}, doc: "Runs an on_tick hook."},
		{name: "Test.config", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.config(L) },
			args: []param{{"values", "table<string, table<string, any>>", "by name and key"}}, doc: "Sets values of im.config for hooks, to the test's end; all others have their defaults."},
		{name: "Test.effects", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.effects(L) },
			results: []param{{"", "{kind: string, rule: string, event: string?, data: table?, user: string?, reason: string?, text: string?, endpoint: string?, from: string?, once: string?}[]", ""}},
			doc:     "What im.emit, im.kick, im.push, im.http.post and im.send would have done since the test began; kind is \"emit\", \"kick\", \"push\", \"post\" or \"send\"."},
		{name: "Test.wait", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.wait(L) },
			args: []param{{"ms", "number", ""}}, doc: "Moves the clock, which otherwise stands still."},
	}
}

// declareTest is test(name, fn).
func (v *vm) declareTest(L *lua.LState) int {
	test := &selfTest{name: L.CheckString(1), fn: L.CheckFunction(2)}
	test.file, test.line = caller(L)
	v.tests = append(v.tests, test)
	return 0
}
