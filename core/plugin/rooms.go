package plugin

import (
	"context"
	"slices"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
)

// RoomPolicy is how the edges treat a room's traffic.
type RoomPolicy struct {
	Overload     int32 // a freeim.room.RoomOverload
	LowPerSecond int   // messages of the low lane; 0: no bound
	List         int   // up to so many members at one edge are told by name
	Version      int64 // grows with each change of the room: edges ignore a lower one; 0: not said
}

// Broadcast is a frame for all members of a room, wherever they are.
type Broadcast struct {
	Room      im.ConversationID
	Seq       int64 // its place in the room's log; 0: none, and it may be dropped under load
	Important bool  // overtakes what is not, and is not sampled
	Action    idl.Action
	Body      idl.Message // encoded once per codec; must not be changed any more
}

// Expulsion takes people's sessions out of a room.
type Expulsion struct {
	Room   im.ConversationID
	Users  []im.UserID // none: everybody
	Seq    int64       // of the message that tells the room: who came in by an older head goes as well; 0: none
	Action idl.Action  // of the frame that tells each of the sessions
	Body   idl.Message
}

// Rooms is the host's part of rooms: who is where, and how everybody there is
// reached. Safe for concurrent use.
type Rooms interface {
	// Subscribe makes sure that broadcasts reach the edge from now on. A join calls
	// it before it reads the room's head, so that nothing is missing in between.
	Subscribe(ctx context.Context, room im.ConversationID, life presence.Life) error
	// Broadcast sends a frame to every edge that has members: best effort, in the
	// order of the calls, never blocking for long. An edge that misses a seq asks the
	// RoomSource for it.
	Broadcast(b Broadcast)
	// Expel takes sessions out, behind every broadcast before it.
	Expel(e Expulsion)
	// Configure tells the edges that have members of a policy that was changed.
	Configure(room im.ConversationID, p RoomPolicy)
	// Occupancy says who is in a room, as the edges have told.
	Occupancy(ctx context.Context, room im.ConversationID) (presence.Occupancy, error)
	// Serve names the plugin that rooms belong to. Called once, in Provision.
	Serve(s RoomSource)
}

// RoomSource is what the host asks the plugin that rooms belong to. Its methods are
// called by goroutines of the host's.
type RoomSource interface {
	// Since gives what a room's log holds after that seq, for an edge that may miss
	// some of it.
	Since(ctx context.Context, room im.ConversationID, after int64) (RoomPiece, error)
	// Changed hears that the members of rooms are others now. It must not block.
	Changed(changes []presence.RoomChange)
}

// RoomPiece is a part of a room's log.
type RoomPiece struct {
	Frames     []Broadcast // ascending by seq; older ones than these may be left out
	Expulsions []Expulsion // those that the edge may have missed, in their order; done again they change nothing
	Through    int64       // the log's end
	Policy     RoomPolicy
}

// Entrance is a session's way into a room, by the reply to its join.
type Entrance struct {
	Room   im.ConversationID
	Head   int64 // the session gets what comes after it
	Policy RoomPolicy
}

// In reports whether the session is in the room; for actions with InRooms.
func (c *Call) In(room im.ConversationID) bool { return slices.Contains(c.Rooms, room) }

// Enter takes the session into a room with the reply: from then on it gets every
// broadcast whose seq is above head. The edge must have been subscribed before head
// was read.
func (c *Call) Enter(room im.ConversationID, head int64, p RoomPolicy) {
	c.entered = &Entrance{room, head, p}
}

// LeaveRoom takes the session out of a room with the reply.
func (c *Call) LeaveRoom(room im.ConversationID) { c.left = room }

// Entered is the room that the handler took the session into, nil for none.
func (c *Call) Entered() *Entrance { return c.entered }

// Left is the room that the handler took the session out of, empty for none.
func (c *Call) Left() im.ConversationID { return c.left }

// InRooms has the edge say, with each call, in which rooms the session is.
func InRooms[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Rooms = true }
}
