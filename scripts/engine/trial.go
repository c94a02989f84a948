package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Trial is a made-up call: the fields of c by their names, and req as a map of the
// request's fields. Fields left out are as in the scripts' own tests.
type Trial map[string]any

// Answer is what the hooks said about a trial.
type Answer struct {
	Verdict Verdict
	Steps   []Step // one for each hook that was asked, or left out; those that sleep come last
	Text    string // of a message, as it is now
}

// Ask asks the hooks about a trial: those at a point, and for Before as the action
// would be asked about.
func (d *Draft) Ask(ctx context.Context, p Point, trial Trial) (a Answer, err error) {
	s, err := d.sample(p, trial)
	if err != nil {
		return a, err
	}
	s.Explain = func(step Step) { a.Steps = append(a.Steps, step) }
	if chain := d.b.chain(p, s.Action, s.Text != nil); len(chain) > 0 {
		a.Verdict = d.b.judge(ctx, chain, &s.Call, d.opts.Now)
	}
	for _, h := range d.b.sleeping(p, s.Action, s.Text != nil) {
		s.Explain(h.notAsked())
	}
	a.Text = s.now()
	return a, nil
}

// sample is a trial as a call.
func (d *Draft) sample(p Point, trial Trial) (*sample, error) {
	if d.tester == nil {
		v, err := newVM(d.b, true, true)
		if err != nil {
			return nil, err
		}
		d.tester = &tester{ctx: context.Background(), b: d.b, v: v, now: testClock}
		v.tester = d.tester
	}
	s := newSample()
	if action, given := trial["action"].(string); p == Message || p == Before && (!given || d.opts.commits(action)) {
		s = newMessage()
	}
	v := d.tester.v
	v.budget.begin(loadUnits, d.opts.LoadWall)
	v.L.Push(v.L.NewFunction(func(L *lua.LState) int {
		fields := luaValue(L, map[string]any(trial))
		L.SetTop(0)
		L.Push(fields)
		d.tester.fill(L, "the call", s)
		return 0
	}))
	err := v.protected(0, 0)
	v.budget.end()
	if err != nil {
		return nil, errors.New(faultText(err))
	}
	if s.Text != nil {
		s.showText()
	}
	return s, nil
}

// showText lets the request say what the message does, where it has such a field.
func (s *sample) showText() {
	if s.Request == nil {
		return
	}
	if text := fieldNamed(s.Request, "Text"); text != nil {
		if *text != "" && s.text == newMessage().text {
			s.text = *text
		}
		*text = s.text
		s.Text = text
	}
}

// luaValue is a value of JSON in Lua.
func luaValue(L *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int:
		return lua.LNumber(value)
	case []any:
		t := L.NewTable()
		for _, item := range value {
			t.Append(luaValue(L, item))
		}
		return t
	case map[string]any:
		t := L.NewTable()
		for key, item := range value {
			t.RawSetString(key, luaValue(L, item))
		}
		return t
	}
	return lua.LNil
}

// Evaluated is what an expression came to.
type Evaluated struct {
	Value string // as Lua would write it, or the verdict that it is
	Units int    // of work
	Text  string // of a message, as it is now
	Took  time.Duration
}

// evaluated is the name that errors give the expression.
const evaluated = "eval.lua"

// Eval evaluates Lua with c, the trial as a call, and im: an expression, or
// statements that return something. It sees the scripts' globals and libraries, and
// has a hook's budget, but nothing of a server.
func (d *Draft) Eval(source string, trial Trial) (Evaluated, error) {
	s, err := d.sample(Before, trial)
	if err != nil {
		return Evaluated{}, err
	}
	proto, err := compile(file{Path: evaluated, Text: "return " + source})
	if err != nil {
		if proto, err = compile(file{Path: evaluated, Text: source}); err != nil {
			return Evaluated{}, err
		}
	}
	v, err := newVM(d.b, true, false)
	if err != nil {
		return Evaluated{}, err
	}
	defer v.close()
	v.globals.RawSetString("im", v.im)
	fn := v.L.NewFunction(func(L *lua.LState) int {
		v.chunk(L, proto)
		return 1
	})
	v.clock = d.opts.Now
	v.calls++
	v.rule = evaluated
	v.proxy.open(&s.Call, false)
	v.globals.RawSetString("c", v.message)
	began := time.Now()
	result, err := v.run(fn, lua.LNil, d.opts.Instructions, d.opts.Wall, phaseRunning)
	out := Evaluated{Units: v.used, Took: time.Since(began), Text: s.now()}
	if err != nil {
		return out, errors.New(faultText(err))
	}
	out.Value = v.shown(result, 0)
	return out, nil
}

// now is the text as it is.
func (s *sample) now() string {
	if s.Text == nil {
		return ""
	}
	return *s.Text
}

// The bounds of what is shown of a table.
const (
	shownDepth = 4
	shownItems = 50
)

// shown is a value as Lua would write it.
func (v *vm) shown(value lua.LValue, depth int) string {
	switch value := value.(type) {
	case lua.LString:
		return fmt.Sprintf("%q", string(value))
	case *lua.LTable:
		return v.shownTable(value, depth)
	case *lua.LUserData:
		switch a, isAnswer := value.Value.(*answer); {
		case isAnswer:
			return "verdict: " + a.String()
		case value == v.allow:
			return "verdict: allow"
		case value == v.pass:
			return "verdict: pass"
		}
		return value.Type().String()
	}
	return value.String()
}

func (v *vm) shownTable(t *lua.LTable, depth int) string {
	if depth == shownDepth {
		return "{…}"
	}
	var parts []string
	n := t.Len()
	for i := 1; i <= n && len(parts) < shownItems; i++ {
		parts = append(parts, v.shown(t.RawGetInt(i), depth+1))
	}
	var named []string
	t.ForEach(func(key, item lua.LValue) {
		if number, ok := key.(lua.LNumber); ok && number >= 1 && int(number) <= n {
			return
		}
		name := key.String()
		if _, ok := key.(lua.LString); !ok {
			name = "[" + v.shown(key, depth+1) + "]"
		}
		named = append(named, name+" = "+v.shown(item, depth+1))
	})
	slices.Sort(named)
	if parts = append(parts, named...); len(parts) > shownItems {
		parts = append(parts[:shownItems], "…")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// String is a ruling in a line.
func (r ruling) String() string {
	out := r.Decision.String()
	if r.Code != "" {
		out += " " + r.Code
	}
	if r.Reason != "" {
		out += fmt.Sprintf(" (%s)", r.Reason)
	}
	if r.RetryAfter > 0 {
		out += fmt.Sprintf(", retry after %v", r.RetryAfter)
	}
	return out
}

// BenchResult is what one hook costs. Its last verdict shows whether the call was
// one that it has something to say about.
type BenchResult struct {
	Rule   string
	Action string // that it was asked about
	Calls  int
	Took   time.Duration // per call
	Units  int           // of work, the last time
	Allocs float64       // per call
	Octets float64       // allocated per call
	Said   string
	Fault  string // empty: none; the hook was not asked again after it
}

// errNoTrial is for hooks that no trial can be made for.
var errNoTrial = errors.New("no action that it is for is known")

// Bench asks each hook alone about a trial, for so long each. Who allocates beside
// it in the same process is counted too.
func (d *Draft) Bench(ctx context.Context, trial Trial, each time.Duration) []BenchResult {
	var out []BenchResult
	for _, h := range d.b.hooks {
		if ctx.Err() != nil {
			break
		}
		r, err := d.bench(ctx, h, trial, each)
		if err != nil {
			r.Fault = err.Error()
		}
		out = append(out, r)
	}
	d.b.forget()
	return out
}

func (d *Draft) bench(ctx context.Context, h *hook, trial Trial, each time.Duration) (r BenchResult, err error) {
	r.Rule = h.rule
	fields, err := d.trialFor(h, trial)
	if err != nil {
		return r, err
	}
	s, err := d.sample(h.point, fields)
	if err != nil {
		return r, err
	}
	r.Action = s.Action
	chain, came := []*hook{h}, s.now()
	var verdict Verdict
	ask := func() error {
		if s.Text != nil {
			*s.Text = came
		}
		verdict = d.b.judge(ctx, chain, &s.Call, d.opts.Now)
		return verdict.Err
	}
	for range 100 { // until the caches are warm
		if err := ask(); err != nil {
			return r, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for time.Since(began) < each && ctx.Err() == nil {
		for range 50 {
			if err = ask(); err != nil {
				return r, err
			}
		}
		r.Calls += 50
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if n := float64(r.Calls); n > 0 {
		r.Took = time.Duration(float64(took) / n)
		r.Allocs, r.Octets = float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
	}
	r.Units = verdict.Units
	r.Said = ruling{Decision: verdict.Decision, Code: verdict.Code, Reason: verdict.Reason}.String()
	if verdict.Decision == Allow && len(verdict.Rewrites) > 0 {
		r.Said = "rewrite"
	}
	return r, nil
}

// trialFor is the trial with an action that the hook is for.
func (d *Draft) trialFor(h *hook, trial Trial) (Trial, error) {
	if h.glob == "" {
		return trial, nil
	}
	action, given := trial["action"].(string)
	if given && matches(h.glob, action) || !given && matches(h.glob, newMessage().Action) {
		return trial, nil
	}
	for _, a := range d.opts.Actions {
		if matches(h.glob, a.Name) {
			out := Trial{"action": a.Name}
			for name, value := range trial {
				if name != "action" && name != "req" {
					out[name] = value
				}
			}
			return out, nil
		}
	}
	if len(d.opts.Actions) == 0 && !strings.Contains(h.glob, "*") {
		return Trial{"action": h.glob}, nil
	}
	return nil, errNoTrial
}

// fieldNamed is a text of a request, nil if it has no such field.
func fieldNamed(request any, name string) *string {
	field := reflect.ValueOf(request).Elem().FieldByName(name)
	if !field.IsValid() || field.Kind() != reflect.String {
		return nil
	}
	return field.Addr().Interface().(*string)
}
