package engine

import (
	lua "github.com/yuin/gopher-lua"
)

const maxNotice = 1000 // characters in a notice's text

// noticeSymbols is im.push.
func noticeSymbols() []symbol {
	return []symbol{
		{name: "im.push", in: inHook, fn: (*vm).push, args: []param{{"user", "string", "an ID"},
			{"notice", "string|table<string, any>", "a text for people of 1,000 characters at most, or a table of text, data (a table for programs, 4 KiB as JSON at most; one of them may be left out) and event (what it is about, `[a-z][a-z0-9_.-]*`; \"notice\" if left out)"}},
			doc:     "Tells a person something beside messages: a notice goes to all devices of his that are connected, to whichever server. It is not kept: who is not connected never gets it. An effect, as im.emit.",
			example: `im.push("17", {event = "poll.closed", text = "The poll is over", data = {yes = 2, no = 1}})`},
	}
}

// push is im.push(user, text or table).
func (v *vm) push(L *lua.LState) int {
	e := Effect{Kind: "push", Target: checkUser(L, 1), Event: "notice"}
	switch notice := L.Get(2).(type) {
	case lua.LString:
		e.Text = v.newText(L, "im.push: the text", notice, maxNotice)
	case *lua.LTable:
		v.notice(L, &e, notice)
	default:
		L.ArgError(2, "must be a text, or a table of event, text and data")
	}
	v.spend(L, len(e.Text)/16)
	v.effect(L, e)
	return 0
}

// notice reads the table that im.push is given.
func (v *vm) notice(L *lua.LState, e *Effect, from *lua.LTable) {
	from.ForEach(func(key, value lua.LValue) {
		switch key := key.String(); key {
		case "event":
			e.Event = checkEvent(L, 2, value)
		case "text":
			e.Text = v.newText(L, "im.push: text", value, maxNotice)
		case "data":
			e.Data = v.jsonWithin(L, "im.push", value, maxEvent)
		default:
			L.RaiseError("im.push: a notice has no field '%s'", clip(key, 64))
		}
	})
	if e.Text == "" && e.Data == "" {
		L.ArgError(2, "a notice has a text, or data, or both")
	}
}
