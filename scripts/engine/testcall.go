package engine

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"freeim/scripts/engine/strlib"

	lua "github.com/yuin/gopher-lua"
)

// wait is t.wait(ms): the clock of the hooks goes forward.
func (t *tester) wait(L *lua.LState) int {
	t.now = t.now.Add(time.Duration(strlib.Int(L, 1)) * time.Millisecond)
	t.v.now = time.Time{}
	return 0
}

// sample is the call that a test's fields are put into.
type sample struct {
	Call
	facts [facts]string
	text  string
}

func newSample() *sample {
	s := &sample{Call: Call{Action: "chat.send"}}
	s.Facts = s
	s.facts = [facts]string{FactUser: "1", FactDevice: "test", FactDeviceType: "web", FactClientAddr: "192.0.2.1:4000"}
	return s
}

// newMessage is newSample for a message.
func newMessage() *sample {
	s := newSample()
	s.Conversation, s.ConversationType, s.Kind, s.text, s.Text = "c_1_2", "chat", "text", "hello", &s.text
	return s
}

// Fact implements Facts.
func (s *sample) Fact(f Fact) string { return s.facts[f] }

// set puts a field of a test's table in; false if there is no such field.
func (s *sample) set(name string, value lua.LValue) bool {
	text, ok := value.(lua.LString)
	n := fieldNumber(name)
	if n >= 0 && n < int(facts) {
		if typ := boxed(n, "1").Type(); typ != lua.LTString {
			text, ok = lua.LString(value.String()), value.Type() == typ
		}
	}
	if !ok || n < 0 {
		return false
	}
	switch n {
	case textField:
		s.text = string(text)
	case actionField:
		s.Action = string(text)
	case conversationField:
		s.Conversation = string(text)
	case conversationTypeField:
		s.ConversationType = string(text)
	case kindField:
		s.Kind = string(text)
	case codeField:
		s.Code = string(text)
	default:
		s.facts[n] = string(text)
	}
	return true
}

// message is t.message{text = …}: what the hooks say about a message.
func (t *tester) message(L *lua.LState) int {
	s := newMessage()
	t.fill(L, "t.message", s)
	return t.ask(L, s)
}

// call is t.call{action = …, req = {…}}: what the hooks say about any action.
func (t *tester) call(L *lua.LState) int {
	s := newSample()
	t.fill(L, "t.call", s)
	return t.ask(L, s)
}

// login is t.login{…}: what the hooks say about somebody who signs in.
func (t *tester) login(L *lua.LState) int {
	s := newSample()
	s.Action = "account.auth"
	t.fill(L, "t.login", s)
	return t.askAt(L, Login, s)
}

// join is t.join{…}: what the hooks say about somebody who comes into a room.
func (t *tester) join(L *lua.LState) int {
	s := newSample()
	s.Action, s.Conversation, s.ConversationType = "room.join", "r_lobby", "room"
	t.fill(L, "t.join", s)
	return t.askAt(L, Join, s)
}

// after is t.after{action = …, code = …, req = {…}, reply = {…}}.
func (t *tester) after(L *lua.LState) int {
	t.leave(L, After)
	s := newMessage()
	s.Code = "ok"
	t.fill(L, "t.after", s)
	for _, h := range t.b.chain(After, s.Action, false) {
		t.mustWork(L, t.judge([]*hook{h}, &s.Call))
	}
	return 0
}

// tick is t.tick(name).
func (t *tester) tick(L *lua.LState) int {
	t.leave(L, Tick)
	name := L.CheckString(1)
	for _, h := range t.b.at[Tick] {
		if h.name == name {
			t.mustWork(L, t.judge([]*hook{h}, &Call{}))
			return 0
		}
	}
	L.RaiseError("t.tick: no on_tick hook is named %q", clip(name, 64))
	return 0
}

// mustWork makes the test fail when a hook has.
func (t *tester) mustWork(L *lua.LState, v Verdict) {
	if v.Err != nil {
		L.RaiseError("%s", clip(v.Err.Error(), 1024))
	}
}

// fill reads a test's table: fields of c by name, and req.
func (t *tester) fill(L *lua.LState, function string, s *sample) {
	t.leave(L, Before)
	t.v.spend(L, 100)
	given := L.CheckTable(1)
	given.ForEach(func(key, value lua.LValue) {
		if name := key.String(); name != "req" && name != "reply" && !s.set(name, value) {
			L.RaiseError("%s: bad field %s", function, clip(name, 64))
		}
	})
	for _, a := range t.b.opts.Actions {
		if a.Name == s.Action && a.Request != nil {
			s.Request = a.Request()
		}
		if a.Name == s.Action && a.Reply != nil && s.Code == "ok" {
			s.Reply = a.Reply()
		}
	}
	if a := t.b.scriptedNamed(s.Action); a != nil {
		if s.Request = a.NewRequest(); s.Code == "ok" {
			s.Reply = a.NewReply()
		}
	}
	t.fillBody(L, function, "req", s, s.Request, given)
	t.fillBody(L, function, "reply", s, s.Reply, given)
}

func (t *tester) fillBody(L *lua.LState, function, name string, s *sample, body any, given *lua.LTable) {
	from := given.RawGetString(name)
	switch {
	case from == lua.LNil:
	case body == nil:
		L.RaiseError("%s: %s has no %s", function, clip(s.Action, 64), name)
	default:
		t.fillRequest(L, function+": "+name, reflect.ValueOf(body).Elem(), from)
	}
}

// fillRequest writes a table of a test into a request.
func (t *tester) fillRequest(L *lua.LState, path string, into reflect.Value, from lua.LValue) {
	table, ok := from.(*lua.LTable)
	if !ok {
		L.RaiseError("%s must be a table", path)
	}
	s := t.b.shapeOf(into.Type())
	table.ForEach(func(key, value lua.LValue) {
		f := s.fields[key.String()]
		if f == nil {
			L.RaiseError("%s has no field '%s'", path, clip(key.String(), 64))
		}
		t.fillField(L, path+"."+key.String(), into.Field(f.index), value)
	})
}

// fillField writes one value, in the form in which hooks read it.
func (t *tester) fillField(L *lua.LState, path string, into reflect.Value, from lua.LValue) {
	kind, typ := kindOf(into.Type())
	bad := false
	switch from := from.(type) {
	case lua.LBool:
		if bad = kind != boolKind; !bad {
			into.SetBool(bool(from))
		}
	case lua.LNumber:
		if bad = kind != numberKind; bad {
			break
		}
		switch {
		case into.CanInt():
			into.SetInt(int64(from))
		case into.CanUint():
			into.SetUint(uint64(from))
		default:
			into.SetFloat(float64(from))
		}
	case lua.LString:
		bad = !setText(into, kind, string(from))
	case *lua.LTable:
		switch kind {
		case messageKind:
			into.Set(reflect.New(typ))
			t.fillRequest(L, path, into.Elem(), from)
		case listKind:
			for i := 1; i <= from.Len(); i++ {
				item := reflect.New(typ).Elem()
				t.fillField(L, path, item, from.RawGetInt(i))
				into.Set(reflect.Append(into, item))
			}
		default:
			bad = true
		}
	default:
		bad = true
	}
	if kind == nullable && bad {
		into.Set(reflect.New(typ))
		t.fillField(L, path, into.Elem(), from)
		return
	}
	if bad {
		L.RaiseError("%s: bad value", path)
	}
}

// setText writes what is a string in Lua: a text, octets, an ID or an enum's name.
func setText(into reflect.Value, kind fieldKind, text string) bool {
	switch kind {
	case textKind:
		into.SetString(text)
	case octetsKind:
		into.SetBytes([]byte(text))
	case idKind:
		if into.CanInt() {
			n, err := strconv.ParseInt(text, 10, 64)
			into.SetInt(n)
			return err == nil
		}
		n, err := strconv.ParseUint(text, 10, 64)
		into.SetUint(n)
		return err == nil
	case enumKind:
		for n := range int64(256) { // no enum of the protocol is larger
			into.SetInt(n)
			if enumName(into) == text {
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

// ask puts the question, and gives the verdict as a table.
func (t *tester) ask(L *lua.LState, s *sample) int { return t.askAt(L, Before, s) }

func (t *tester) askAt(L *lua.LState, p Point, s *sample) int {
	t.leave(L, p)
	if chain := t.b.chain(p, s.Action, s.Text != nil); len(chain) > 0 {
		L.Push(t.answer(L, s, t.judge(chain, &s.Call)))
		return 1
	}
	L.Push(t.answer(L, s, Verdict{}))
	return 1
}

// judge has hooks asked, which pay for what they do.
func (t *tester) judge(chain []*hook, c *Call) Verdict {
	defer t.v.budget.aside()()
	return t.b.judge(t.ctx, chain, c, func() time.Time { return t.now })
}

// answer is a verdict as a table. A hook that failed makes the test fail.
func (t *tester) answer(L *lua.LState, s *sample, verdict Verdict) *lua.LTable {
	t.mustWork(L, verdict)
	name, _, _ := strings.Cut(verdict.Rule, "@")
	out := L.CreateTable(0, 14)
	out.RawSetString("denied", lua.LBool(verdict.Denied()))
	out.RawSetString("shadowed", lua.LBool(verdict.Decision == Shadow))
	out.RawSetString("code", lua.LString(verdict.Code))
	out.RawSetString("reason", lua.LString(verdict.Reason))
	out.RawSetString("retry_after", lua.LNumber(verdict.RetryAfter.Milliseconds()))
	out.RawSetString("rule", lua.LString(name))
	if verdict.Target != "" {
		out.RawSetString("target", lua.LString(verdict.Target))
	}
	if verdict.Holding != nil {
		out.RawSetString("held", lua.LString(verdict.Holding.Queue))
	}
	out.RawSetString("text", lua.LString(s.text))
	out.RawSetString("rewritten", lua.LBool(len(verdict.Rewrites) > 0))
	rewrites, tags, scores := L.CreateTable(0, 0), L.CreateTable(0, 0), L.CreateTable(0, 0)
	for _, w := range verdict.Rewrites {
		rewrites.RawSetString(w.Field, lua.LString(w.After))
	}
	for _, tag := range verdict.Tags {
		tags.RawSetString(tag, lua.LTrue)
	}
	sum := 0.0
	for _, score := range verdict.Scores {
		before, _ := scores.RawGetString(score.Name).(lua.LNumber)
		scores.RawSetString(score.Name, before+lua.LNumber(score.Points))
		sum += score.Points
	}
	out.RawSetString("rewrites", rewrites)
	out.RawSetString("tags", tags)
	out.RawSetString("scores", scores)
	out.RawSetString("score", lua.LNumber(sum))
	return out
}
