package engine

import (
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// proxy is the message inside of one VM: the c of a hook. Fields are turned into
// Lua values only when a script reads them, and values that stay the same from
// one message to the next (the kind, the action) are turned once.
type proxy struct {
	m     *Message // nil outside of a hook
	text  string   // as rewritten so far
	boxes [9]box
}

// box is the Lua value of a field, kept from the last message.
type box struct {
	text  string
	value lua.LValue
}

// messageType is the metatable of c.
func (v *vm) messageType() *lua.LTable {
	mt := v.metatable(nil, v.proxy.read)
	v.set(mt, map[string]lua.LGFunction{
		"__newindex": func(L *lua.LState) int {
			v.proxy.write(L, v.b.opts.MaxText)
			return 0
		},
		"__tostring": func(L *lua.LState) int {
			L.Push(lua.LString("message"))
			return 1
		},
	})
	return mt
}

// open shows m, close hides it: a handle that a script kept raises afterwards.
func (p *proxy) open(m *Message, text string) { p.m, p.text = m, text }

func (p *proxy) close() {
	p.m, p.text = nil, ""
	p.boxes[0] = box{}
}

func (p *proxy) live(L *lua.LState) {
	if p.m == nil {
		L.RaiseError("message used outside its hook")
	}
}

func (p *proxy) read(L *lua.LState) int {
	p.live(L)
	name, _ := L.Get(2).(lua.LString)
	n, text := p.field(string(name))
	if n < 0 {
		L.RaiseError("a message has no field '%s'", clip(L.Get(2).String(), 64))
	}
	b := &p.boxes[n]
	if b.value == nil || b.text != text {
		*b = box{text, lua.LString(text)}
	}
	L.Push(b.value)
	return 1
}

// field is the number and content of a field, -1 for none.
func (p *proxy) field(name string) (int, string) {
	switch name {
	case "text":
		return 0, p.text
	case "action":
		return 1, p.m.Action
	case "user":
		return 2, p.m.User
	case "device":
		return 3, p.m.Device
	case "device_type":
		return 4, p.m.DeviceType
	case "conversation":
		return 5, p.m.Conversation
	case "conversation_type":
		return 6, p.m.ConversationType
	case "kind":
		return 7, p.m.Kind
	case "client_addr":
		return 8, p.m.ClientAddr
	}
	return -1, ""
}

// write is c.text = "…". The text must be one that a client could have sent.
func (p *proxy) write(L *lua.LState, maxText int) {
	p.live(L)
	name := L.Get(2).String()
	if n, _ := p.field(name); n < 0 {
		L.RaiseError("a message has no field '%s'", clip(name, 64))
	}
	if name != "text" {
		L.RaiseError("c.%s is read-only", name)
	}
	text, ok := L.Get(3).(lua.LString)
	switch {
	case !ok:
		L.RaiseError("c.text must be a string, got a %s", L.Get(3).Type())
	case text == "":
		L.RaiseError("c.text must not be empty: deny the message instead")
	case !utf8.ValidString(string(text)):
		L.RaiseError("c.text must be UTF-8")
	case len(text) > maxText && utf8.RuneCountInString(string(text)) > maxText:
		L.RaiseError("c.text has more than %d characters", maxText)
	}
	p.text = string(text)
}
