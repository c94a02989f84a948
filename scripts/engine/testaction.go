package engine

import (
	"time"

	lua "github.com/yuin/gopher-lua"
)

// testActionSymbols is t.action.
func testActionSymbols() []symbol {
	return []symbol{
		{name: "Test.action", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.action(L) },
			args:    []param{{"fields", "table<string, any>", "name, request as a table, rooms as a list, and other fields of im.Call"}},
			results: []param{{"", "im.Told", ""}},
			doc: "Calls a scripted action: its schema, the before hooks and its function, not its rate. What it gives has the reply, " +
				"and the field that breaks the schema, besides what the hooks said."},
	}
}

// action is t.action{name = …, request = {…}}.
func (t *tester) action(L *lua.LState) int {
	t.leave(L, Act)
	t.v.spend(L, 100)
	given, s := L.CheckTable(1), newSample()
	a := t.b.scriptedNamed(lua.LVAsString(given.RawGetString("name")))
	if a == nil {
		L.RaiseError("t.action: no script defines %s", clip(lua.LVAsString(given.RawGetString("name")), 64))
	}
	s.Action = a.Name
	given.ForEach(func(key, value lua.LValue) {
		switch name := key.String(); name {
		case "name", "request":
		case "rooms":
			s.Rooms, _ = someTexts(value)
		default:
			if !s.set(name, value) {
				L.RaiseError("t.action: bad field %s", clip(name, 64))
			}
		}
	})
	request, ok := given.RawGetString("request").(*lua.LTable)
	if !ok {
		request = L.NewTable()
	}
	refused := func(code string, err *FieldError) int {
		out := t.answer(L, s, Verdict{Decision: Deny, Code: code, Reason: err.Reason})
		out.RawSetString("field", lua.LString(err.Field))
		L.Push(out)
		return 1
	}
	if s.facts[FactUser] == "" && !a.Open {
		return refused("unauthenticated", &FieldError{Reason: "needs Auth first"})
	}
	req, err := a.request.fromLua(request)
	if err != nil && err.Reason == noField {
		L.RaiseError("t.action: %s has no field '%s'", a.Name, err.Field)
	}
	if err != nil {
		return refused("malformed_body", err)
	}
	if err := a.request.check(req, a.checkText); err != nil {
		return refused("invalid_argument", err)
	}
	s.Request = req
	if v := t.judge(t.b.chain(Before, a.Name, false), &s.Call); v.Denied() || v.Err != nil {
		L.Push(t.answer(L, s, v))
		return 1
	}
	p := t.perform(a, &s.Call)
	out := t.answer(L, s, p.Verdict)
	if p.Reply != nil {
		out.RawSetString("reply", a.reply.toLua(L, p.Reply))
	}
	L.Push(out)
	return 1
}

// perform has an action's function run, which pays for what it does.
func (t *tester) perform(a *Scripted, c *Call) Performed {
	defer t.v.budget.aside()()
	return t.b.perform(t.ctx, a, c, func() time.Time { return t.now })
}
