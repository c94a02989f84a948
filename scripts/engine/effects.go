package engine

import (
	"strconv"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxEffects = 16      // of one action
	maxEvent   = 4 << 10 // octets of an event's data as JSON
)

// Effect is something that a hook wants to happen beside its verdict.
type Effect struct {
	Kind string // "emit", "kick", "push", "post" or "send"

	// Where it comes from.
	At     time.Time
	Rule   string // name@file:line
	Bundle string
	Action string // empty: by the clock
	User   string // whose action it was, empty if nobody's
	Trace  string

	// Of emit and push.
	Event string
	Data  string // a JSON object or array; of push it may be empty. Of post too

	// Of kick, push and send.
	Target string // a user's ID

	Reason string // of kick, for operators and the client's developer
	Text   string // of push, for people, where it may be empty; of send

	Endpoint string // of post

	// Of send.
	Sender   string // a user's ID
	Once     string // what it is sent once for; empty: the action
	ClientID string // the same for what is to be sent once
}

// Effects does what scripts ask for.
type Effects interface {
	// Do is told, in their order, what the hooks of one action asked for, when they
	// have run and did not deny it. It must not block.
	Do(all []Effect)
}

// effectSymbols are im.emit and im.kick.
func effectSymbols() []symbol {
	return []symbol{
		{name: "im.emit", in: inHook, fn: (*vm).emit, args: []param{{"event", "string", "`[a-z][a-z0-9_.-]*`"}, {"data?", "table<string, any>", "4 KiB as JSON at most"}},
			doc: "Tells operators of something: it is in the log, and on the administrative port's page /rules/events. Like all effects it happens when the action's hooks have run, and not if they denied it; 16 effects per action. " +
				"To tell of denials use im.after and c.code.",
			example: `im.emit("link.seen", {host = "a.org"})`},
		{name: "im.kick", in: inHook, fn: (*vm).kick, args: []param{{"user", "string", "an ID"}, {"reason?", "string", "for operators and the client's developer"}},
			doc: "Ends all sessions of a person, with the close reason REMOVED: clients do not come back by themselves, but their sign-ins hold. An effect, as im.emit.", example: `im.kick("17", "by a rule")`},
	}
}

// effect keeps one for the end of the chain.
func (v *vm) effect(L *lua.LState, e Effect) {
	v.spend(L, 20)
	if v.proxy.asked+len(v.proxy.effects) >= maxEffects {
		L.RaiseError("more than %d effects of one action", maxEffects)
	}
	v.proxy.effects = append(v.proxy.effects, e)
}

func (v *vm) emit(L *lua.LState) int {
	e := Effect{Kind: "emit", Event: checkEvent(L, 1, L.Get(1)), Data: "{}"}
	if given := L.Get(2); given != lua.LNil {
		e.Data = v.jsonWithin(L, "im.emit", given, maxEvent)
	}
	v.effect(L, e)
	return 0
}

// checkEvent is the name of an event, which argument n is or has in it.
func checkEvent(L *lua.LState, n int, value lua.LValue) string {
	name, ok := value.(lua.LString)
	if !ok || !hookName.MatchString(string(name)) || len(name) > 64 {
		L.ArgError(n, `an event's name is of a-z, 0-9, ".", "_" and "-", 64 at most`)
	}
	return string(name)
}

// jsonWithin is a table as JSON of so many octets at most.
func (v *vm) jsonWithin(L *lua.LState, function string, value lua.LValue, most int) string {
	table, ok := value.(*lua.LTable)
	if !ok {
		L.RaiseError("%s: the data must be a table, got a %s", function, value.Type())
	}
	data := v.json(L, table)
	if len(data) > most {
		L.RaiseError("%s: the data has %d octets as JSON, the limit is %d", function, len(data), most)
	}
	return data
}

// checkUser is argument n as the ID of a person.
func checkUser(L *lua.LState, n int) string {
	user := L.CheckString(n)
	if id, err := strconv.ParseInt(user, 10, 64); err != nil || id <= 0 {
		L.ArgError(n, "must be a user's ID")
	}
	return user
}

func (v *vm) kick(L *lua.LState) int {
	v.effect(L, Effect{Kind: "kick", Target: checkUser(L, 1), Reason: clip(L.OptString(2, ""), maxReason)})
	return 0
}

// act hands over what the hooks asked for, unless they denied the action, or only
// a copy of it was judged.
func (j *judgement) act() {
	all := j.effects
	if len(all) == 0 || j.trial() || j.verdict.Denied() {
		return
	}
	opts := j.b.opts
	for i := range all {
		e := &all[i]
		e.At, e.Bundle, e.Action = j.clock(), j.b.tree.hash, j.c.Action
		if j.c.Facts != nil {
			e.User, e.Trace = j.c.Facts.Fact(FactUser), j.c.Facts.Fact(FactTrace)
		}
	}
	switch {
	case opts.trying != nil:
		opts.trying.effects = append(opts.trying.effects, all...)
	case opts.Effects != nil:
		opts.Effects.Do(all)
	}
}

// effects is t.effects(): what would have happened since the test began.
func (t *tester) effects(L *lua.LState) int {
	list := L.NewTable()
	for _, e := range t.b.opts.trying.effects {
		t.v.spend(L, 20+len(e.Data)+len(e.Text))
		one := L.CreateTable(0, 6)
		for name, text := range map[string]string{"kind": e.Kind, "rule": e.Rule, "event": e.Event, "user": e.Target, "reason": e.Reason, "text": e.Text, "endpoint": e.Endpoint, "from": e.Sender, "once": e.Once} {
			if text != "" {
				one.RawSetString(name, lua.LString(text))
			}
		}
		if e.Data != "" {
			if data, err := t.v.decodeJSON(L, e.Data); err == nil {
				one.RawSetString("data", data)
			}
		}
		list.Append(one)
	}
	L.Push(list)
	return 1
}
