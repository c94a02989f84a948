package presence

import (
	"context"
	"slices"

	"freeim/core/im"
)

// Rooms says which edges have members of a room, with how many, and, while they are
// few, who. It holds nothing of a single session: those are their edge's. Safe for
// concurrent use.
//
// What an edge says of a room is believed for Leases.Route. An earlier life of the
// edge is replaced by what a later one says.
type Rooms interface {
	// Subscribe says that the edge is to hear of room, since a session of it joins;
	// what was reported of its members stays. ErrFenced if a later life has spoken.
	Subscribe(ctx context.Context, room im.ConversationID, life Life) error

	// Report says who is in rooms at the edge now. Nobody ends the subscription,
	// unless the edge was subscribed within Leases.Join before: that join may still
	// be on its way. The changes are in the order of reports; one of a life that is
	// over changes nothing. When a part of the registry does not answer, an error says
	// so, and the other changes come with it.
	Report(ctx context.Context, life Life, reports ...RoomReport) ([]RoomChange, error)

	// Edges gives the subscribed lives of each room, in no order. When a part of the
	// registry does not answer, an error says so, and what the others know comes
	// with it.
	Edges(ctx context.Context, rooms ...im.ConversationID) ([][]Life, error)

	// Occupancy says who is in a room, over all edges.
	Occupancy(ctx context.Context, room im.ConversationID) (Occupancy, error)
}

// RoomReport is what an edge says of one room.
type RoomReport struct {
	Room    im.ConversationID
	Members int64       // sessions
	Users   []im.UserID // theirs, ascending; none when they are too many
}

// Occupancy is who is in a room.
type Occupancy struct {
	Members int64       // sessions
	Users   []im.UserID // theirs, ascending, without repetition; of a part only when not Listed
	Listed  bool        // Users are all there are
}

// RoomChange is what a report changed.
type RoomChange struct {
	Room          im.ConversationID
	Before, After Occupancy
	// New: the edge has members and was not subscribed, since the registry forgot it
	// or heard nothing of it for too long. It may have missed broadcasts.
	New bool
}

// Count adds an edge's part of a room: to begin with, Listed must be true.
func (o *Occupancy) Count(members int64, users []im.UserID) {
	o.Members += members
	o.Listed = o.Listed && (members == 0 || len(users) > 0)
	o.Users = append(o.Users, users...)
}

// Sort brings Users into their order, when all parts are counted.
func (o *Occupancy) Sort() {
	slices.Sort(o.Users)
	o.Users = slices.Compact(o.Users)
}

// Same reports whether both say the same.
func (o Occupancy) Same(as Occupancy) bool {
	return o.Members == as.Members && o.Listed == as.Listed && slices.Equal(o.Users, as.Users)
}
