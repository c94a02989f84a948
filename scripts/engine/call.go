package engine

import "time"

// Call is one action on its way through the rules: what hooks may see of it. The
// host fills it in and uses it for every question about that action, one at a
// time: the first question pins it to a bundle, the later ones go to the same.
type Call struct {
	Action string // "chat.send"
	Facts  Facts  // nil: none are known
	// Request is a pointer to the decoded request, which hooks read as c.req; nil:
	// there is none.
	Request any

	// Of an action that commits a message; Text is nil for any other.
	Conversation     string
	ConversationType string // "chat", "group", "room"
	Kind             string // "text"
	Text             *string

	// At the edge: what on_connect left with the session, and fields of the request that
	// asks for a WebSocket. Not changed any more.
	Tags    []string
	Headers []Header

	// Of an action that is answered: the code, in lower case, and a pointer to the
	// reply, nil if it was refused. After hooks read them.
	Code  string
	Reply any

	Rooms []string // those that the session is in, if the host says it; for c:in_room

	// Explain, if it is not nil, is told what each hook said.
	Explain func(Step)

	// Pin is the bundle that is asked. Zero: the active one, at the first question.
	Pin Pin

	made made
}

// made is when the sender's account was made, once that was asked.
type made struct {
	asked, known bool
	at           time.Time
}

// Facts is what is known about an action beside its request. A fact is asked for
// when a hook reads it, so that those that no hook reads cost nothing. IDs are
// strings, because a Lua number holds only 53 bits.
type Facts interface {
	// Fact gives one, empty when it is not known.
	Fact(f Fact) string
}

// Fact names one of the Facts.
type Fact uint8

// The facts; scripts read them as c.user and so on.
const (
	FactUser       Fact = iota
	FactDevice          // the device's ID
	FactDeviceType      // "web"
	FactClientAddr      // host:port as the edge saw it
	FactTrace           // the trace's ID
	FactLanguage        // what the client asked to be answered in
	FactAccountAge      // in whole seconds; a number in scripts
	FactTransport       // "tcp"; like all that follow at the edge
	FactTLS             // "true" or "false"; a boolean in scripts
	FactPath            // of the request that asks for a WebSocket
	FactCodec           // "json"
	FactSize            // numbers in scripts, like those that follow
	FactSequence
	FactWaiting
	FactExcess
	facts // how many there are
)

// Field is a text of a request that rules may rewrite.
type Field struct {
	Name string // in the proto file
	Max  int    // characters
}

// Pin is the bundle that an action keeps from its first question to its last. The
// zero Pin is none.
type Pin struct{ b *bundle }

// Bundle is the bundle's hash.
func (p Pin) Bundle() string {
	if p.b == nil {
		return ""
	}
	return p.b.tree.hash
}

// Has reports whether a question would ask any hook: so a host need not prepare
// one. message tells actions that commit a message.
func (p Pin) Has(point Point, action string, message bool) bool {
	if p.b == nil {
		return false
	}
	if len(p.b.chain(point, action, message)) > 0 {
		return true
	}
	s := p.b.shadow.Load()
	return s != nil && point.deciding() && len(s.b.chain(point, action, message)) > 0
}
