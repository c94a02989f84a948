package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Scripted is an action that a bundle's script defines. Immutable.
type Scripted struct {
	Name    string // "lua.poll.create"
	Number  int    // 200 to 254
	Open    bool   // allowed before Auth
	Rooms   bool   // it is told in which rooms the session is
	MaxBody int    // octets of the request as JSON
	// Rate is how often one user, or before Auth one address, may call it per Per. 0: as
	// often as anything.
	Rate int
	Per  time.Duration
	// Request and Reply are the schemas.
	Request, Reply []Member
	Place          string // file:line

	request, reply *object
	hook           *hook // set by arrange
	checkText      func(string) error
}

// The limits of scripted actions.
const (
	firstNumber = 200
	lastNumber  = 254
	usualBody   = 4 << 10  // octets of a request, if the script does not say
	maxBody     = 60 << 10 // and at most, and of a reply
	actionWork  = 4        // times the work of a hook
	maxRate     = 1_000_000
)

// NewRequest makes an empty request, a pointer to a struct, as Action.Request does.
func (s *Scripted) NewRequest() any { return s.request.empty() }

// NewReply makes an empty reply.
func (s *Scripted) NewReply() any { return s.reply.empty() }

// Decode reads a request from its JSON, and holds it to the schema: what it gives is
// for Call.Request. An error is a *FieldError.
func (s *Scripted) Decode(text []byte) (any, error) {
	req, err := s.request.decode(text, s.checkText)
	if err != nil {
		return nil, err
	}
	return req, nil
}

// same reports whether two VMs of a bundle registered the same.
func (s *Scripted) same(other *Scripted) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.Number == other.Number && s.Open == other.Open && s.Rooms == other.Rooms && s.MaxBody == other.MaxBody && s.Rate == other.Rate &&
		s.Per == other.Per && reflect.DeepEqual(s.Request, other.Request) && reflect.DeepEqual(s.Reply, other.Reply)
}

// actionSymbols is im.action.
func actionSymbols() []symbol {
	return []symbol{
		{name: "im.action", in: inLoad, fn: (*vm).action, args: []param{{"name", "string", `"lua.poll.create": begins with lua.`},
			{"options", "{number: integer, auth?: boolean, rate?: string, max_body?: integer, rooms?: boolean, request?: table, reply?: table}",
				`number is the action's on the wire, 200 to 254, and for good; auth = false allows it before Auth; rate = "5/m" is how often one user may call it (s, m, h or d); ` +
					"max_body is in octets, 4,096 if left out; rooms = true tells c:in_room; request and reply are schemas"},
			{"fn", "fun(c: im.Call): table|im.Verdict?", "gives the reply, or im.deny(…)"}},
			doc:     "Defines an action that clients can call.",
			example: `im.action("lua.echo", {number = 254, rate = "10/m", request = {text = {type = "string", max = 80}}, reply = {text = {type = "string"}}}, function(c) return {text = c.req.text} end)`},
		{name: "Call:in_room", in: inHook, args: []param{{"conversation", "string", `"r_lobby"`}}, results: []param{{"", "boolean", ""}}, fn: func(v *vm, L *lua.LState) int { return v.proxy.inRoom(L) },
			doc: "Whether the session is in a room; only of an action that says rooms = true, and of those of the server that do.", example: `local _ = c:in_room("r_lobby")`},
	}
}

// action is im.action(name, options, fn).
func (v *vm) action(L *lua.LState) int {
	s := &Scripted{Name: L.CheckString(1), MaxBody: usualBody, checkText: v.b.opts.CheckText}
	s.request, s.reply = newObject(nil), newObject(nil)
	eachOption(L, 2, "im.action", map[string]func(lua.LValue) bool{
		"number":   wholeNumber(&s.Number, firstNumber, lastNumber),
		"max_body": wholeNumber(&s.MaxBody, 2, maxBody),
		"rate":     func(value lua.LValue) bool { return s.limit(lua.LVAsString(value)) },
		"auth": func(value lua.LValue) bool {
			auth, ok := value.(lua.LBool)
			s.Open = !bool(auth)
			return ok
		},
		"rooms": func(value lua.LValue) bool {
			rooms, ok := value.(lua.LBool)
			s.Rooms = bool(rooms)
			return ok
		},
		"request": func(value lua.LValue) bool { s.request = v.schema(L, "request", value); return true },
		"reply":   func(value lua.LValue) bool { s.reply = v.schema(L, "reply", value); return true },
	})
	r := &registration{fn: L.CheckFunction(3)}
	if !strings.HasPrefix(s.Name, "lua.") || len(s.Name) < len("lua.x") || !hookName.MatchString(s.Name) || strings.Contains(s.Name, "-") {
		L.ArgError(1, `an action's name begins with "lua.", and is of a-z, 0-9, "." and "_", 64 at most`)
	}
	if s.Number == 0 {
		L.RaiseError("im.action: %s needs number = %d to %d", s.Name, firstNumber, lastNumber)
	}
	if len(v.hooks) == maxHooks {
		L.RaiseError("im.action: a bundle has at most %d hooks", maxHooks)
	}
	s.Request, s.Reply = s.request.members, s.reply.members
	r.registered = registered{name: s.Name, point: Act, phase: usualPhase, onError: policy{code: BrokenCode}, scripted: s}
	r.file, r.line = caller(L)
	s.Place = r.place()
	v.hooks = append(v.hooks, r)
	return 0
}

// wholeNumber is an option that is a whole number.
func wholeNumber(into *int, least, most int) func(lua.LValue) bool {
	return func(value lua.LValue) bool {
		n, ok := value.(lua.LNumber)
		*into = int(n)
		return ok && lua.LNumber(*into) == n && *into >= least && *into <= most
	}
}

// limit reads "5/m".
func (s *Scripted) limit(text string) bool {
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	s.Rate, s.Per = n, map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	return err == nil && n >= 1 && n <= maxRate && s.Per > 0
}

// define files a scripted action among the bundle's, unless another has its number or
// name.
func (b *bundle) define(h *hook) error {
	s := h.scripted
	for _, a := range b.opts.Actions {
		if a.Name == s.Name || a.Number != 0 && a.Number == s.Number {
			return fmt.Errorf("%s: %s has the name or the number of the server's own %s (%d)", h.place(), s.Name, a.Name, a.Number)
		}
	}
	if other := b.scripted[s.Number]; other != nil {
		return fmt.Errorf("%s: %s has the number %d, and so has %s, at %s", h.place(), s.Name, s.Number, other.Name, other.Place)
	}
	s.hook = h
	b.scripted[s.Number] = s
	return nil
}

// scriptedNamed finds a scripted action by its name, nil for none.
func (b *bundle) scriptedNamed(name string) *Scripted {
	for _, s := range b.scripted {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// anyScripted reports whether a glob names a scripted action.
func (b *bundle) anyScripted(glob string) bool {
	for _, s := range b.scripted {
		if matches(glob, s.Name) {
			return true
		}
	}
	return false
}

// Scripted is the action with a number as the pinned bundle defines it, nil for none.
func (p Pin) Scripted(number int) *Scripted {
	if p.b == nil {
		return nil
	}
	return p.b.scripted[number]
}

// Scripted lists the actions that scripts define now, by number: those of the active
// bundle, and those that only a canary has.
func (e *Engine) Scripted() []*Scripted {
	now := e.active.now.Load()
	all := map[int]*Scripted{}
	if c := now.candidate; c != nil && c.policy.Mode == ModeCanary {
		maps.Copy(all, c.b.scripted)
	}
	maps.Copy(all, now.active.scripted)
	var list []*Scripted
	for n := firstNumber; n <= lastNumber; n++ {
		if all[n] != nil {
			list = append(list, all[n])
		}
	}
	return list
}

// offer tells the host which actions there are, when that changed. Only the holder of
// the token of reloading calls it.
func (e *Engine) offer() {
	all := e.Scripted()
	if e.opts.Offer == nil || slices.EqualFunc(all, e.offered, func(a, b *Scripted) bool { return a.Name == b.Name && a.same(b) }) {
		return
	}
	e.offered = all
	e.opts.Offer(all)
}

// encode is a reply as JSON.
func (s *Scripted) encode(reply any) ([]byte, error) {
	text, err := json.Marshal(reply)
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("the reply has %d octets as JSON, the limit is %d", len(text), maxBody)
	}
	return text, err
}

// inRoom is c:in_room(conversation).
func (p *proxy) inRoom(L *lua.LState) int {
	p.receiver(L)
	L.Push(lua.LBool(slices.Contains(p.c.Rooms, L.CheckString(2))))
	return 1
}
