package plugin

import (
	"context"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
)

// Call is one action on its way through dispatch. A handler reads it; only Bind,
// Enter, LeaveRoom and an Answered function change it. It is owned by the goroutine that handles
// the action.
type Call struct {
	Action   idl.Action
	Name     string // as in "chat.send"
	Sequence uint32
	Codec    idl.Codec
	Session  presence.SessionRef
	Address  string // the client's, for limits and the device list
	Trace    string // W3C traceparent of the edge's span; empty: the action is not traced
	Alone    bool   // of no session: one request over HTTP, which Session names
	Bearer   string // of a call that is Alone: dispatch makes the identity below of it, and empties it
	// Who is calling; zero before Auth.
	User       im.UserID
	Device     im.DeviceID
	DeviceType idl.DeviceType
	TokenID    int64
	// Rooms are those that the session is in; of actions with InRooms only.
	Rooms []im.ConversationID

	// Request is the decoded body and Reply the answer, pointers to generated structs,
	// for the rules: nil until there is one. Set by Handle.
	Request, Reply any

	// Pin is the rules that the call keeps to, and Rule the one that refused it, for
	// the log. Both are set by whoever is dispatch's Hooks.
	Pin  any
	Rule string

	// Found is what the action's Permit function looked up, for its other functions.
	Found any

	// Digest identifies the request as it came, before any rule rewrote it: set
	// by the Answered function of an idempotent action, for its handler.
	Digest [32]byte

	// What the rules said of a message: its text was changed; nobody but the sender is to
	// see it; it goes to a target instead; it waits (nil: it does not). All but the first
	// only of actions with Shadows, Reroutes and Holds.
	Rewritten bool
	Shadowed  bool
	Target    *Target
	Hold      *Hold

	placed  func()
	bound   *Identity
	entered *Entrance
	follows []Followed // nil: not said
	left    im.ConversationID
	after   []func()
}

// Identity is whom a session belongs to.
type Identity struct {
	User       im.UserID
	Device     im.DeviceID
	DeviceType idl.DeviceType
	TokenID    int64
	Since      time.Time // when it was bound, to the millisecond
}

// Bind makes the session the identity's once the reply is on its way: called by
// the handler of Auth.
func (c *Call) Bind(id Identity) { c.bound = &id }

// Followed is a log that a session follows, and up to which seq its person has it.
type Followed struct {
	Log im.ConversationID
	Seq int64
}

// MostFollowed is how many logs a session follows at most.
const MostFollowed = 4096

// Follow says with the reply which logs the session follows from now on, and no others. Behind the first
// MostFollowed they are left out: of those it hears with its next sync only.
func (c *Call) Follow(logs []Followed) {
	c.follows = append([]Followed{}, logs[:min(len(logs), MostFollowed)]...)
}

// Follows are those that Follow said, nil if it was not called.
func (c *Call) Follows() []Followed { return c.follows }

// Bound is what the handler bound the session to, nil for nothing.
func (c *Call) Bound() *Identity { return c.bound }

// OnPlaced has fn run once, by Placed: whoever called dispatch begins the session's next
// call with it.
func (c *Call) OnPlaced(fn func()) { c.placed = fn }

// Placed says that what this call does has its place: what the next call of the session
// does comes behind it, but for a message that must be asked about again (timeline.ErrStale). A handler of an action that Joins may call it, while it waits for
// the commit (timeline.Draft.Queued); whoever called dispatch does so in the end.
func (c *Call) Placed() {
	if fn := c.placed; fn != nil {
		c.placed = nil
		fn()
	}
}

// After has fn run when the reply is queued for the edge, so that what fn sends
// to the session comes behind it. fn must not block.
func (c *Call) After(fn func()) { c.after = append(c.after, fn) }

// Finish runs what After took, once. Called by whoever called dispatch, when the
// reply is queued or can never be.
func (c *Call) Finish() {
	for _, fn := range c.after {
		fn()
	}
	c.after = nil
}

// Route is where the session that makes this call can be reached, as id's.
func (c *Call) Route(id Identity) presence.Route {
	return presence.Route{
		SessionRef: c.Session, User: id.User, Device: id.Device, DeviceType: id.DeviceType,
		TokenID: id.TokenID, Codec: c.Codec, Since: id.Since,
	}
}

// Reviewed is what the rules see of a message before it is handled, beside the
// request. Of an action that commits none all is empty.
type Reviewed struct {
	Conversation im.ConversationID
	Kind         string  // "text", "image" …: see idl/chat.proto and room.proto
	Text         *string // rules may change what it points to
}

// Rewritable is a text of a request that rules may change, besides a message's.
type Rewritable struct {
	Name string // its name in the proto file
	Max  int    // characters
}

// Spec is a registered action.
type Spec struct {
	Action  idl.Action
	Name    string // plugin and verb: "chat.send"
	Open    bool   // allowed before Auth
	MaxBody int    // octets; 0: the edge's limit
	Rooms   bool   // its calls say in which rooms the session is
	Joins   bool   // several calls of one session may be under way: see Call.Placed
	Bulky   bool   // its replies may be long: few at a time are made for one edge
	// NeedsSession says that it means nothing without a connection: it is not served over HTTP.
	NeedsSession bool
	Timeout      time.Duration // 0: dispatch's default
	// Rate is how often one user may call it per Per, or one address before Auth: edges
	// refuse what is more. 0: no limit of its own.
	Rate int
	Per  time.Duration

	Message    bool         // it commits a message
	Shadows    bool         // which rules may keep from all but its sender
	Holds      bool         // or have wait
	Reroutes   TargetKind   // or send to what is declared; empty: they may not
	Rewritable []Rewritable // of its request
	Request    func() any   // makes an empty request
	Reply      func() any   // and an empty reply

	// Invoke decodes body, runs check, answered, permit, the rules (nil: none) and the
	// handler, and appends the encoded reply to dst.
	Invoke func(ctx context.Context, call *Call, body []byte, rules Rules, dst []byte) ([]byte, error)
}

// Rules are the operators', as dispatch puts them to a request.
type Rules interface {
	// Wants reports whether there is anything to ask about the call, and pins it to
	// the rules of this moment. message tells an action that commits one.
	Wants(call *Call, message bool) bool
	// Review judges the request of the call: nil allows it, and may have changed its
	// texts, Shadowed, Target and Hold; an *im.Error refuses it.
	Review(ctx context.Context, call *Call, r Reviewed) error
}

// Registrar collects the actions of one plugin.
type Registrar struct {
	plugin string
	specs  []Spec
}

// NewRegistrar makes the registrar of the named plugin. Called by core/server
// and plugintest.
func NewRegistrar(plugin string) *Registrar { return &Registrar{plugin: plugin} }

// Specs are the actions registered so far.
func (r *Registrar) Specs() []Spec { return r.specs }

// Body is a generated message type, as a constraint: T the struct, *T the message.
type Body[T any] interface {
	*T
	idl.Message
}

// Option sets one property of an action.
type Option[Req, Rep any] func(*action[Req, Rep])

type action[Req, Rep any] struct {
	spec     Spec
	validate func(*Call, *Req) error
	answered func(context.Context, *Call, *Req) (*Rep, error)
	permit   func(context.Context, *Call, *Req) error
	message  func(*Call, *Req) Reviewed
}

// Open allows the action before Auth.
func Open[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Open = true }
}

// Timeout replaces dispatch's default deadline.
func Timeout[Req, Rep any](d time.Duration) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Timeout = d }
}

// Joins lets an edge send several calls of a session at once. They begin in their order,
// each when the one before is Placed.
func Joins[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Joins = true }
}

// Bulky says that replies may be long, pages of a log: only so many are made at a time for
// one edge as its link takes, so that short ones do not wait behind them.
func Bulky[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Bulky = true }
}

// NeedsSession keeps the action from callers without a session, as over HTTP.
func NeedsSession[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.NeedsSession = true }
}

// MaxBody limits the request's size in octets.
func MaxBody[Req, Rep any](n int) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.MaxBody = n }
}

// Validate checks a decoded request before anything else sees it: pure, no I/O.
func Validate[Req, Rep any](fn func(*Call, *Req) error) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.validate = fn }
}

// Answered makes the action idempotent: fn gives the reply of an earlier, equal
// request, or nil. It runs before the rules, so a request that was committed is
// answered the same whatever the rules say by now.
func Answered[Req, Rep any](fn func(context.Context, *Call, *Req) (*Rep, error)) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.answered = fn }
}

// Permit has fn say whether the caller may, before the rules are asked: who may
// not costs no rule.
func Permit[Req, Rep any](fn func(context.Context, *Call, *Req) error) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.permit = fn }
}

// Message marks the action as one that commits a message: the rules' on_message
// hooks see, and may change, what fn shows.
func Message[Req, Rep any](fn func(*Call, *Req) Reviewed) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.message, a.spec.Message = fn, true }
}

// Rewrite lets rules change a text of the request, to one of 1 to most characters.
// Validate is not asked again: it must allow whatever such a text can be.
func Rewrite[Req, Rep any](field string, most int) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Rewritable = append(a.spec.Rewritable, Rewritable{field, most}) }
}

// Handle registers fn for an action under the name "plugin.verb". It panics on a
// verb or number used twice by the same plugin: that is a fault of the program.
func Handle[Req, Rep any, PReq Body[Req], PRep Body[Rep]](r *Registrar, number idl.Action, verb string,
	fn func(context.Context, *Call, *Req) (*Rep, error), options ...Option[Req, Rep]) {
	a := action[Req, Rep]{spec: Spec{Action: number, Name: r.plugin + "." + verb}}
	for _, set := range options {
		set(&a)
	}
	for _, other := range r.specs {
		if other.Action == number || other.Name == a.spec.Name {
			panic(fmt.Sprintf("plugin %s registers %s (%d) twice", r.plugin, a.spec.Name, number))
		}
	}
	a.spec.Request, a.spec.Reply = func() any { return new(Req) }, func() any { return new(Rep) }
	a.spec.Invoke = func(ctx context.Context, call *Call, body []byte, rules Rules, dst []byte) ([]byte, error) {
		req := new(Req)
		if err := idl.Decode(body, call.Codec, PReq(req)); err != nil {
			return dst, malformed(err)
		}
		call.Request = req
		rep, err := a.run(ctx, call, req, rules, fn)
		if err != nil {
			return dst, err
		}
		call.Reply = rep
		return idl.Append(dst, call.Codec, PRep(rep))
	}
	r.specs = append(r.specs, a.spec)
}

// run is the way of one decoded request: rules for the request, an answer given
// before, whether the caller may, the operator's rules, the handler.
func (a *action[Req, Rep]) run(ctx context.Context, call *Call, req *Req, rules Rules,
	fn func(context.Context, *Call, *Req) (*Rep, error)) (*Rep, error) {
	if a.validate != nil {
		if err := a.validate(call, req); err != nil {
			return nil, err
		}
	}
	if a.answered != nil {
		if rep, err := a.answered(ctx, call, req); rep != nil || err != nil {
			return rep, err
		}
	}
	if a.permit != nil {
		if err := a.permit(ctx, call, req); err != nil {
			return nil, err
		}
	}
	if rules != nil && rules.Wants(call, a.spec.Message) {
		if err := a.review(ctx, call, req, rules); err != nil {
			return nil, err
		}
	}
	return fn(ctx, call, req)
}

// review puts the request to the rules.
func (a *action[Req, Rep]) review(ctx context.Context, call *Call, req *Req, rules Rules) error {
	r := Reviewed{}
	if a.message != nil {
		r = a.message(call, req)
	}
	if r.Text == nil {
		return rules.Review(ctx, call, r)
	}
	came := *r.Text
	err := rules.Review(ctx, call, r)
	call.Rewritten = *r.Text != came
	return err
}

func malformed(err error) error {
	refusal := &im.Error{Code: idl.CodeMalformedBody, Reason: err.Error()}
	if body, ok := err.(*idl.BodyError); ok {
		refusal.Field, refusal.Reason = body.Field, body.Reason
	}
	return refusal
}
