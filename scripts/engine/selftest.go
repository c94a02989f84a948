package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
}

// selfTest runs all tests; any that fails refuses the bundle.
func (b *bundle) selfTest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.TestWall)
	defer cancel()
	defer b.takeTime()()
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
		faults = append(faults, t.run(test))
		if v.dead {
			break
		}
	}
	b.tests = len(v.tests)
	faults = append(faults, b.untested())
	b.forget()
	return errors.Join(faults...)
}

// takeTime gives hooks the tests' wall time instead of their own, until it is
// undone: instructions are counted as ever, but on a busy machine a few
// milliseconds would refuse good rules, and with them the start. Nobody else has
// the bundle yet.
func (b *bundle) takeTime() (undo func()) {
	usual, patient := b.opts, *b.opts
	patient.Wall, patient.ChainWall = usual.TestWall, usual.TestWall
	b.opts = &patient
	return func() { b.opts = usual }
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
	for i, h := range b.hooks {
		b.hooks[i] = &hook{name: h.name, rule: h.rule, priority: h.priority, open: h.open}
	}
}

func (t *tester) run(test *selfTest) error {
	t.now = testClock
	state, err := newState(nil, func() time.Time { return t.now }, usualBounds(), true)
	if err != nil {
		return err
	}
	defer state.close()
	t.b.opts.state = state // opts are the tests' own, see takeTime
	t.v.now, t.v.broken = time.Time{}, false
	_, err = t.v.run(test.fn, t.last, loadUnits, t.b.opts.TestWall, phaseTesting)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: test %q failed", located(test.file, faultText(err)), test.name)
}

// testSymbols are for *_test.lua files.
func testSymbols() []symbol {
	return []symbol{
		{name: "test", in: inLoad, tests: true, fn: (*vm).declareTest,
			args: []param{{"name", "string", ""}, {"fn", "fun(t: im.Test)", ""}},
			doc:  "Declares a test. It runs before the bundle is activated; a failure refuses the bundle."},
		{name: "Test.message", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.message(L) },
			args:    []param{{"fields", "table<string, string>", "fields of im.Call; those left out have defaults"}},
			results: []param{{"", "{denied: boolean, code: string, reason: string, retry_after: number, rule: string, text: string, rewritten: boolean}", ""}},
			doc:     "What all hooks say about such a message. A hook that fails makes the test fail."},
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

// wait is t.wait(ms): the clock of the hooks goes forward.
func (t *tester) wait(L *lua.LState) int {
	t.now = t.now.Add(time.Duration(argInt(L, 1)) * time.Millisecond)
	t.v.now = time.Time{}
	return 0
}

// message is t.message{text = …}: what the hooks say about a message.
func (t *tester) message(L *lua.LState) int {
	t.v.spend(L, 100)
	m := sample()
	L.CheckTable(1).ForEach(func(key, value lua.LValue) {
		field := sampleField(m, key.String())
		text, ok := value.(lua.LString)
		if field == nil || !ok {
			L.RaiseError("t.message: bad field %s", clip(key.String(), 64))
		}
		*field = string(text)
	})
	verdict := t.b.judge(t.ctx, m, func() time.Time { return t.now })
	if verdict.Err != nil {
		L.RaiseError("%s", clip(verdict.Err.Error(), 1024))
	}
	L.Push(t.answer(L, m, verdict))
	return 1
}

// sample is the message that a test's fields are put into.
func sample() *Message {
	return &Message{Action: "chat.send", User: "1", Device: "test", DeviceType: "web", Conversation: "c_1_2",
		ConversationType: "chat", Kind: "text", ClientAddr: "192.0.2.1:4000", Text: "hello"}
}

func sampleField(m *Message, name string) *string {
	fields := map[string]*string{"action": &m.Action, "user": &m.User, "device": &m.Device, "device_type": &m.DeviceType,
		"conversation": &m.Conversation, "conversation_type": &m.ConversationType, "kind": &m.Kind,
		"client_addr": &m.ClientAddr, "text": &m.Text}
	return fields[name]
}

// answer is a verdict as a table.
func (t *tester) answer(L *lua.LState, m *Message, verdict Verdict) *lua.LTable {
	name, _, _ := strings.Cut(verdict.Rule, "@")
	out := L.CreateTable(0, 8)
	out.RawSetString("denied", lua.LBool(verdict.Denied))
	out.RawSetString("code", lua.LString(verdict.Code))
	out.RawSetString("reason", lua.LString(verdict.Reason))
	out.RawSetString("retry_after", lua.LNumber(verdict.RetryAfter.Milliseconds()))
	out.RawSetString("rule", lua.LString(name))
	out.RawSetString("text", lua.LString(m.Text))
	out.RawSetString("rewritten", lua.LBool(m.Rewritten))
	return out
}
