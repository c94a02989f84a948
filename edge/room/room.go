// Package room holds the rooms of one edge: which sessions are in them, what was
// broadcast to them last, and the one pass at a time that gives a room's members
// what has gathered. It puts broadcasts in order, joins them into one block of
// bytes for each form, samples or batches by the room's policy, declares what a
// member does not get, and says of each room who is here. It knows neither sockets
// nor links, and looks inside no body: edge/session enters and takes out its
// sessions, edge/rpc brings what comes from the cores, and a Receiver is a member's
// way out. README.md has the flow, the bounds and the failure cases.
package room

import (
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

const (
	heldMessages = 1024             // that wait for an earlier seq; beyond it that one is lost
	heldOctets   = 1 << 20          // of their bodies
	ringMessages = 1024             // that a join may still want
	ringOctets   = 256 << 10        // of their bodies
	ringTime     = 15 * time.Second // how long one is kept: longer than a join takes
	lowMessages  = 512              // of chat that wait for a pass; beyond it the oldest are skipped
	lowOctets    = 256 << 10
	highMessages = 2048 // the same of important messages
	highOctets   = 1 << 20
	asideFrames  = 64                     // that are in no log and wait for a pass; beyond it the oldest go
	gatherMost   = 50 * time.Millisecond  // that a busy room's pass waits for more
	gatherLeast  = 200 * time.Microsecond // below it a wait is not worth it
	blockOctets  = 64 << 10               // of bodies in one block, or one message of any length

	gapPatience  = 100 * time.Millisecond // before a seq that is missing is asked for
	askAgain     = time.Second            // and then again
	asksInVain   = 5                      // before it is lost
	samplePause  = 250 * time.Millisecond // between two pieces of a room that is sampled
	batchPause   = 200 * time.Millisecond // and of one that is batched
	slowPatience = 30 * time.Second       // for a member that is behind
	reportPause  = time.Second            // in which changes of the members are joined up
	emptyTime    = 10 * time.Second       // before a room without members is let go
	expelTime    = 20 * time.Second       // how long a join that was under way is still turned out
	tick         = 100 * time.Millisecond // between two looks at rooms that need one
)

// Broadcast is a frame for all members of a room.
type Broadcast struct {
	Room      string // conversation ID
	Seq       int64  // 0: of no place in the log; may be dropped under load
	Important bool   // overtakes what is not, and is not sampled
	Action    idl.Action
	Protobuf  []byte // the body in both codecs; copied
	JSON      []byte
}

// Answer ends the broadcasts that a State with Want asked for: of those above After,
// up to Through, all that there is was given.
type Answer struct {
	Room           string
	After, Through int64
	Policy         *Policy // nil: as it was
}

// Expel takes sessions out of a room, each with a frame that says why.
type Expel struct {
	Room     string
	Users    []int64 // none: everybody
	Seq      int64   // of the message that tells it: who comes in by an older head goes too; 0: none
	Action   idl.Action
	Protobuf []byte
	JSON     []byte
}

// Policy is how a room's traffic is treated. The zero value passes everything on and
// lists nobody.
type Policy struct {
	Overload     roompb.RoomOverload
	LowPerSecond int   // chat messages; 0: no bound
	List         int   // up to so many members are named in State
	Version      int64 // of two the higher holds, whichever came last; 0: not said, the last holds
}

// Enter is a session's way into a room.
type Enter struct {
	Room   string
	Head   int64 // the session gets what comes after it
	Policy Policy
}

// State is what the edge says of a room.
type State struct {
	Room    string
	Members int64
	Users   []int64 // ascending, while they are few
	After   int64   // all up to this seq was given or declared skipped
	Want    bool    // something after it is missing, or may be
}

// Form numbers the ways in which a block can be written, from 0 to Forms-1: the
// codec and framing of members that can share bytes.
type Form uint8

// Forms is how many forms there are at most.
const Forms = 8

// Receiver is a member's way out. Its method does not block and does not call back.
type Receiver interface {
	// Broadcast sends a block, which it does not keep; false: nothing was taken, the
	// client has too much unread. Then w.Writable is called once, on another
	// goroutine, when there is room again.
	Broadcast(block []byte, w Waiter) bool
}

// Waiter is told when a Receiver that refused has room again.
type Waiter = interface{ Writable() }

// Options says what rooms need of the edge. All are required.
type Options struct {
	// Report says something of rooms to a core. It does not block and does not call
	// back; called with locks held.
	Report func(State)
	// Block appends frames as they lie on the wire of a form.
	Block func(dst []byte, f Form, frames []frame.Frame) []byte
	// Codec is what the bodies of a form are written in.
	Codec func(Form) idl.Codec
	// Left pushes the frame that tells a session that it was taken out, and forgets
	// its membership. It is false when the client has too much unread: then Slow is
	// called. It does not call back; called with the member's lock held.
	Left func(session uint64, action idl.Action, protobuf, json []byte) bool
	// Slow ends a session whose client does not read.
	Slow func(session uint64)
}

// message is a broadcast with bodies of its own.
type message struct {
	seq            int64
	at             time.Time // when it came
	action         idl.Action
	important      bool
	protobuf, json []byte
}

// own copies what a broadcast says, so that it does not hold on to the batch it
// came in.
func own(b *Broadcast, now time.Time) message {
	bodies := make([]byte, 0, len(b.Protobuf)+len(b.JSON))
	bodies = append(append(bodies, b.Protobuf...), b.JSON...)
	n := len(b.Protobuf)
	return message{seq: b.Seq, at: now, action: b.Action, important: b.Important, protobuf: bodies[:n:n], json: bodies[n:]}
}

func (m *message) octets() int { return len(m.protobuf) + len(m.json) }

func (m *message) frame(c idl.Codec) frame.Frame {
	if c == idl.CodecProtobuf {
		return frame.Frame{Codec: c, Action: m.action, Body: m.protobuf}
	}
	return frame.Frame{Codec: c, Action: m.action, Body: m.json}
}
