package session

import (
	"time"

	"freeim/edge/room"
	"freeim/idl"
)

// ID names a session; unique in the life of one edge, never 0.
type ID uint64

// Identity is whom a session belongs to, as the core found out at Auth.
type Identity struct {
	User       int64
	Device     string
	DeviceType idl.DeviceType
	TokenID    int64
	Since      int64 // unix milliseconds, by the core's clock
}

// Call is an action on its way to the core.
type Call struct {
	Session  ID
	Action   idl.Action
	Sequence uint32
	Codec    idl.Codec
	Body     []byte    // not changed after the call
	Identity *Identity // nil before Auth; not changed after the call
	Address  string    // the client's
	Trace    string    // W3C traceparent of the action's span; empty: not traced
	Pool     string    // of cores that it is for; empty: the default
	Rooms    []string  // those that the session is in; for an action with ActionInfo.Rooms
	Alone    bool      // of no session: Session names this request
	Bearer   string    // whose identity it has, of a call that is Alone; with the action Auth the reply says whose that is
}

// Reply answers a Call.
type Reply struct {
	Session  ID
	Action   idl.Action // the call's, or idl.ActionError
	Sequence uint32
	Body     []byte      // in the call's codec; the hub's to keep
	Bind     *Identity   // set by a successful Auth
	Enter    *room.Enter // the session is in this room now
	Leave    string      // and not in this one any more; empty: none
	Caller   *Identity   // whose Call.Bearer was
	Follows  []Followed  // the logs that the session follows now, and no others; nil: as before
	Epoch    string      // of the store whose seqs Follows has; empty: the core does not say it
	// Unsent is no answer: no core has this call of CallTogether, but not the first, and none
	// will have it before the hub gives it to Call. Only Session and Sequence are set.
	Unsent bool
}

// Push is a server-initiated frame for sessions of this edge.
type Push struct {
	Action    idl.Action
	Sessions  []ID
	InboxSeqs []int64 // none, or one per session: stamped into the body as field 1, inbox_seq
	Protobuf  []byte  // the body in both codecs; nil where no session wants it
	JSON      []byte
}

// ActionInfo is what the core says of an action.
type ActionInfo struct {
	Action  idl.Action
	Name    string // as in "chat.send"
	Open    bool   // allowed before Auth
	MaxBody int    // octets; 0: the edge's own limit
	Rooms   bool   // its calls say in which rooms the session is
	Joins   bool   // several calls of one session may be at the core, which begins them in their order
	// Rate is how often one user may call it per Per, or one address before Auth; 0: no
	// limit of its own.
	Rate int
	Per  time.Duration

	NeedsSession bool // not to be had by Hub.Do
	// Request and Reply are the messages that its bodies are, as in "chat.SendRequest";
	// empty: a JSON object, of scripts.
	Request, Reply string
}

// Core is where the hub's actions go; edge/rpc implements it over Kitex.
type Core interface {
	// Call never blocks. Exactly one Reply for it comes to Hub.Reply, later and
	// on another goroutine: also when no core can be reached or none answers in
	// time (then it is an Error UNAVAILABLE or DEADLINE_EXCEEDED).
	Call(c Call)
	// CallTogether is Call for calls of one session, of actions that join: the core
	// begins them in their order. It takes all of them or, when it is false, none. It
	// does not read calls once one may be answered. When it turns out later that no core
	// was given them, the first goes up all the same, and of the others the Reply is Unsent.
	CallTogether(calls []Call) bool
	// Gone says that a bound session has ended.
	Gone(s ID, who Identity)
	// RoomState says how a room is at this edge. It never blocks, and is lost while no
	// core is linked: the next link asks Hub.RoomStates.
	RoomState(room.State)
	// Action gives what is known of an action; ok is false for one that no core
	// has. While no core was ever reached, every action is known and open.
	Action(a idl.Action) (info ActionInfo, ok bool)
	// ActionNamed finds an action by the name that text frames may use.
	ActionNamed(name string) (a idl.Action, ok bool)
}
