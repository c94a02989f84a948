package engine

import (
	"math"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// proxy is the call inside of one VM: the c of a hook. Fields are turned into Lua
// values only when a script reads them, and values that stay the same from one
// call to the next (the kind, the action) are turned once.
type proxy struct {
	v     *vm
	c     *Call  // nil outside of a hook
	turn  uint64 // the running hook's number: views of the request are good for it only
	boxes [textField + 1]box
	req   view // what the handle c.req stands for
	reply view // and c.reply
	late  bool // the action is over: nothing can be assigned

	// What the running hook leaves behind.
	writes []Rewrite
	tags   []string
	scores []Score

	effects []Effect
	asked   int // effects that hooks before it asked for
}

// box is the Lua value of a field, kept from the last call.
type box struct {
	text  string
	value lua.LValue
}

// callSymbols are the fields and methods of what a hook is called with.
func callSymbols() []symbol {
	field := func(name, typ, doc string) symbol {
		return symbol{name: "Call." + name, in: inHook, results: []param{{"", typ, ""}}, doc: doc}
	}
	return []symbol{
		field("action", "string", `Name of the action: "chat.send".`),
		field("user", "string?", "ID of the sender; nil before Auth."),
		field("device", "string?", "ID of the sender's device; nil before Auth."),
		field("device_type", "string?", `"web", "mobile", "desktop" or "tablet"; nil before Auth.`),
		field("client_addr", "string?", "Address and port of the client."),
		field("trace", "string?", "The trace's ID; nil when the action is not traced."),
		field("language", "string?", "What the client asked to be answered in, if that is known."),
		field("account_age", "number?", "How old the account is in seconds, if that is known."),
		field("req", "im.Request", "The request, with its fields as the proto files name them."),
		field("code", "string?", `In after hooks: how the action was answered, "ok" or the lower-case name of a wire code.`),
		field("reply", "im.Request?", "In after hooks: the reply, if the action was not refused."),
		field("text", "string?", "The text of a message; may be assigned: one that a client could send, not empty, UTF-8. Later hooks see it."),
		field("conversation", "string?", "ID of the conversation of a message."),
		field("conversation_type", "string?", `"chat", "group" or "room", of a message.`),
		field("kind", "string?", `What a message is: "text", "image", "place", "video", "voice", "file", "command" or "custom"; in rooms "text", "gift" or "announcement".`),
		{name: "Call:tag", in: inHook | inEdge, args: []param{{"name", "string", ""}}, fn: func(v *vm, L *lua.LState) int { return v.proxy.addTag(L) },
			doc: "Marks the action; 16 times at most.", example: `c:tag("new_user")`},
		{name: "Call:score", in: inHook, args: []param{{"name", "string", ""}, {"points", "number", ""}}, fn: func(v *vm, L *lua.LState) int { return v.proxy.addScore(L) },
			doc: "Adds to the action's score; 32 times at most.", example: `c:score("LINK", 2.5)`},
	}
}

// The fields of c beside the facts, by number. The text comes last: it is not
// kept.
const (
	actionField = int(facts) + iota
	conversationField
	conversationTypeField
	kindField
	codeField
	textField
)

// handles are userdata that were never given out, made many at a time. None is used
// again: which one a script holds tells of what it is.
type handles []lua.LUserData

// handlesAtOnce are as many as fit into 1,280 octets.
const handlesAtOnce = 32

func (h *handles) next(value any, env *lua.LTable, mt lua.LValue) *lua.LUserData {
	if len(*h) == 0 {
		*h = make([]lua.LUserData, handlesAtOnce)
	}
	one := &(*h)[0]
	*h = (*h)[1:]
	one.Value, one.Env, one.Metatable = value, env, mt
	return one
}

// callType is the metatable of c.
func (v *vm) callType() *lua.LTable {
	methods := v.classes["Call"].RawGetString("__index").(*lua.LTable)
	v.room = methods.RawGetString("in_room").(*lua.LFunction)
	v.tag, v.score = methods.RawGetString("tag").(*lua.LFunction), methods.RawGetString("score").(*lua.LFunction)
	v.header, v.tagged = methods.RawGetString("header").(*lua.LFunction), methods.RawGetString("tagged").(*lua.LFunction)
	mt := v.metatable(nil, v.proxy.read)
	v.set(mt, map[string]lua.LGFunction{
		"__newindex": v.proxy.write,
		"__tostring": func(L *lua.LState) int {
			L.Push(lua.LString("call"))
			return 1
		},
	})
	return mt
}

// open shows c, under a handle that no call had before; close hides it. So what a script
// kept of one call raises, also while another is shown.
func (p *proxy) open(c *Call, late bool) {
	p.c, p.late = c, late
	p.turn++
	p.v.message = p.v.handles.next(nil, p.v.env, p.v.calling)
	p.writes, p.tags, p.scores, p.effects = p.writes[:0], p.tags[:0], p.scores[:0], p.effects[:0]
}

func (p *proxy) close() {
	p.c, p.v.message = nil, nil
	p.turn++
	p.req, p.reply = view{}, view{}
	p.boxes[textField] = box{}
	clear(p.writes)
	clear(p.effects)
}

// live makes sure that argument 1 is the handle of the call that is shown.
func (p *proxy) live(L *lua.LState) {
	if handle, _ := L.Get(1).(*lua.LUserData); handle == nil || handle != p.v.message {
		L.RaiseError("call used outside its hook")
	}
}

func (p *proxy) read(L *lua.LState) int {
	p.live(L)
	name, _ := L.Get(2).(lua.LString)
	switch name {
	case "req":
		L.Push(p.request(L))
		return 1
	case "reply":
		L.Push(p.replied())
		return 1
	case "tag":
		L.Push(p.v.tag)
		return 1
	case "score":
		L.Push(p.v.score)
		return 1
	case "in_room":
		L.Push(p.v.room)
		return 1
	case "header":
		L.Push(p.v.header)
		return 1
	case "tagged":
		L.Push(p.v.tagged)
		return 1
	}
	n := fieldNumber(string(name))
	if n < 0 {
		L.RaiseError("a call has no field '%s'", clip(L.Get(2).String(), 64))
	}
	text := p.field(n)
	if text == "" && (n != textField || p.c.Text == nil) {
		L.Push(lua.LNil)
		return 1
	}
	b := &p.boxes[n]
	if b.value == nil || b.text != text {
		*b = box{text, boxed(n, text)}
	}
	L.Push(b.value)
	return 1
}

func boxed(n int, text string) lua.LValue {
	switch Fact(n) {
	case FactAccountAge, FactSize, FactSequence, FactWaiting, FactExcess:
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			return lua.LNumber(number)
		}
		return lua.LNil
	case FactTLS:
		return lua.LBool(text == "true")
	}
	return lua.LString(text)
}

// fieldNumber finds a field of c, -1 for none.
func fieldNumber(name string) int {
	switch name {
	case "text":
		return textField
	case "action":
		return actionField
	case "user":
		return int(FactUser)
	case "device":
		return int(FactDevice)
	case "device_type":
		return int(FactDeviceType)
	case "conversation":
		return conversationField
	case "conversation_type":
		return conversationTypeField
	case "kind":
		return kindField
	case "code":
		return codeField
	case "client_addr":
		return int(FactClientAddr)
	case "trace":
		return int(FactTrace)
	case "language":
		return int(FactLanguage)
	case "account_age":
		return int(FactAccountAge)
	case "transport":
		return int(FactTransport)
	case "tls":
		return int(FactTLS)
	case "path":
		return int(FactPath)
	case "codec":
		return int(FactCodec)
	case "size":
		return int(FactSize)
	case "sequence":
		return int(FactSequence)
	case "waiting":
		return int(FactWaiting)
	case "excess":
		return int(FactExcess)
	}
	return -1
}

func (p *proxy) field(n int) string {
	switch n {
	case textField:
		if p.c.Text == nil {
			return ""
		}
		return *p.c.Text
	case actionField:
		return p.c.Action
	case conversationField:
		return p.c.Conversation
	case conversationTypeField:
		return p.c.ConversationType
	case kindField:
		return p.c.Kind
	case codeField:
		return p.c.Code
	}
	if p.c.Facts == nil {
		return ""
	}
	if text := p.c.Facts.Fact(Fact(n)); text != "" || Fact(n) != FactAccountAge {
		return text
	}
	if made, known := p.v.b.made(p.c, p.v.world); known {
		return strconv.FormatInt(age(made, p.v.frozen()), 10)
	}
	return ""
}

// age is how old an account is, in whole seconds.
func age(made, now time.Time) int64 { return max(0, int64(now.Sub(made).Seconds())) }

// made asks the host, once for a call, when the sender's account was made; but not in a
// test, or a replay, which knows what was recorded.
func (b *bundle) made(c *Call, w *world) (at time.Time, known bool) {
	if b.opts.Made == nil || b.opts.trying != nil || w != nil && w.plays || c.Facts == nil {
		return at, false
	}
	if !c.made.asked {
		c.made.asked = true
		if user := c.Facts.Fact(FactUser); user != "" {
			c.made.at, c.made.known = b.opts.Made(user)
		}
	}
	return c.made.at, c.made.known
}

// write is c.text = "…".
func (p *proxy) write(L *lua.LState) int {
	p.live(L)
	name := L.Get(2).String()
	n := fieldNumber(name)
	switch {
	case name == "req":
		L.RaiseError("c.req is read-only: assign its fields")
	case n < 0:
		L.RaiseError("a call has no field '%s'", clip(name, 64))
	case n != textField:
		L.RaiseError("c.%s is read-only", name)
	case p.c.Text == nil:
		L.RaiseError("%s has no text", p.c.Action)
	case p.late:
		L.RaiseError("c.text is read-only: the action is over")
	}
	if text, ok := L.Get(3).(lua.LString); ok && string(text) == *p.c.Text {
		return 0 // also of what has none, a picture without a caption
	}
	most := p.v.b.opts.MaxText
	if f := p.v.b.rewritable(p.c.Action, "text"); f != nil {
		most = f.Max
	}
	p.assign("text", p.c.Text, p.v.newText(L, "c.text", L.Get(3), most))
	return 0
}

// newText is a value that may become a text of a request: one that a client could
// have sent.
func (v *vm) newText(L *lua.LState, field string, value lua.LValue, most int) string {
	text, ok := value.(lua.LString)
	switch {
	case !ok:
		L.RaiseError("%s must be a string, got a %s", field, value.Type())
	case text == "":
		L.RaiseError("%s must not be empty: deny the action instead", field)
	case !utf8.ValidString(string(text)):
		L.RaiseError("%s must be UTF-8", field)
	case len(text) > most && utf8.RuneCountInString(string(text)) > most:
		L.RaiseError("%s has more than %d characters", field, most)
	}
	if check := v.b.opts.CheckText; check != nil {
		if err := check(string(text)); err != nil {
			L.RaiseError("%s %v", field, err)
		}
	}
	return string(text)
}

// assign writes a text of the request, and remembers what it was.
func (p *proxy) assign(field string, target *string, text string) {
	for i := range p.writes {
		if w := &p.writes[i]; w.target == target {
			w.After, *target = text, text
			return
		}
	}
	p.writes = append(p.writes, Rewrite{Field: field, Before: *target, After: text, target: target})
	*target = text
}

// What one hook may leave behind.
const (
	maxTags   = 16
	maxScores = 32
	maxPoints = 1e6
)

var (
	tagName   = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)
	scoreName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
)

// addTag is c:tag("name").
func (p *proxy) addTag(L *lua.LState) int {
	p.receiver(L)
	p.v.spend(L, 20)
	name := L.CheckString(2)
	if !tagName.MatchString(name) {
		L.RaiseError("c:tag: a tag is named like new_user, not %q", clip(name, 64))
	}
	if len(p.tags) == maxTags {
		L.RaiseError("c:tag: more than %d tags", maxTags)
	}
	p.tags = append(p.tags, name)
	return 0
}

// addScore is c:score("NAME", points).
func (p *proxy) addScore(L *lua.LState) int {
	p.receiver(L)
	p.v.spend(L, 20)
	name, points := L.CheckString(2), float64(L.CheckNumber(3))
	if !scoreName.MatchString(name) {
		L.RaiseError("c:score: a score is named like LINK, not %q", clip(name, 64))
	}
	if math.IsNaN(points) || math.Abs(points) > maxPoints {
		L.RaiseError("c:score: %v points are not between -1,000,000 and 1,000,000", points)
	}
	if len(p.scores) == maxScores {
		L.RaiseError("c:score: more than %d scores", maxScores)
	}
	p.scores = append(p.scores, Score{name, points})
	return 0
}

// receiver makes sure that a method was called on c.
func (p *proxy) receiver(L *lua.LState) {
	if handle, _ := L.Get(1).(*lua.LUserData); handle == nil || handle.Metatable != p.v.calling {
		L.RaiseError("call it as a method of c, with a colon")
	}
	p.live(L)
}
