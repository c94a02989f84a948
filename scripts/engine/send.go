package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxSend = 2000 // characters in a message that a rule sends
	maxOnce = 128  // octets of the key that it is sent once for
)

// sendSymbols is im.send.
func sendSymbols() []symbol {
	return []symbol{
		{name: "im.send", in: inHook, fn: (*vm).send, args: []param{{"from", "string", "ID of an account that the server's configuration lists in core.rules.senders; in tests any"},
			{"to", "string", "ID of a person"}, {"text", "string", "2,000 characters at most"},
			{"options?", "{once?: string}", "once: what the message is sent once for, 128 octets at most; the action, if left out"}},
			doc: "Sends a message to a person, from an account that is the operator's: as durable as any, but no rule is asked about it, so rules cannot answer rules. " +
				"The same rule, sender, receiver and key send once, also on several servers and after a restart, for at least 24 hours. An action without a client_id needs a key. An effect, as im.emit.",
			example: `im.send("42", "17", "We are closed.", {once = "closed 2026-01-01"})`},
	}
}

// send is im.send(from, to, text, options).
func (v *vm) send(L *lua.LState) int {
	e := Effect{Kind: "send", Once: sendOnce(L, L.OptTable(4, nil))}
	e.Sender, e.Target = checkUser(L, 1), checkUser(L, 2)
	opts := v.b.opts
	switch {
	case opts.trying == nil && opts.Senders != nil && !slices.Contains(opts.Senders, e.Sender):
		L.RaiseError("im.send: the configuration does not list %s in core.rules.senders", e.Sender)
	case e.Sender == e.Target:
		L.ArgError(2, "must be another person")
	}
	e.Text = v.newText(L, "im.send: the text", L.Get(3), maxSend)
	e.ClientID = v.sentOnce(L, &e)
	v.spend(L, 40+len(e.Text)/16)
	v.effect(L, e)
	return 0
}

// sendOnce reads the options; empty: the message is sent once for the action.
func sendOnce(L *lua.LState, options *lua.LTable) (key string) {
	if options == nil {
		return ""
	}
	options.ForEach(func(name, value lua.LValue) {
		if name.String() != "once" {
			L.RaiseError("im.send: unknown option '%s'", clip(name.String(), 64))
		}
		once, ok := value.(lua.LString)
		if !ok || once == "" || len(once) > maxOnce {
			L.ArgError(4, "once is a text of 128 octets at most")
		}
		key = string(once)
	})
	return key
}

// sentOnce is the client ID that is the same whenever the message would be: for the
// key, or else for the action that it is an answer to, and its place among the messages
// that the hook sends about it.
func (v *vm) sentOnce(L *lua.LState, e *Effect) string {
	rule, _, _ := strings.Cut(v.rule, "@")
	cause := []string{rule, e.Sender, e.Target, "once", e.Once}
	if e.Once == "" {
		id := v.clientID()
		if id == "" {
			L.RaiseError("im.send: this action has no client_id: say what the message is sent once for, {once = …}")
		}
		before := 0
		for _, other := range v.proxy.effects {
			if other.Kind == "send" {
				before++
			}
		}
		cause = append(cause[:3], "action", v.proxy.c.Action, v.proxy.field(int(FactUser)), id, strconv.Itoa(before))
	}
	sum := sha256.New()
	for _, part := range cause {
		sum.Write([]byte(strconv.Itoa(len(part))))
		sum.Write([]byte{':'})
		sum.Write([]byte(part))
	}
	return "rule-" + hex.EncodeToString(sum.Sum(nil)[:20])
}

// clientID is the request's client_id, empty if it has none.
func (v *vm) clientID() string {
	if v.proxy.c == nil || v.proxy.c.Request == nil {
		return ""
	}
	request := reflect.ValueOf(v.proxy.c.Request).Elem()
	if f := v.b.shapeOf(request.Type()).fields["client_id"]; f != nil && f.kind == textKind {
		return request.Field(f.index).String()
	}
	return ""
}
