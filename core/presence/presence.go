// Package presence says which devices are online and on which edge each of
// their sessions is. It holds the Registry contract and the in-process
// implementation for one core; presencetest is the suite that every
// implementation passes. Plugins and fanout call it; only core/rpc tells it that
// an edge has come or gone.
package presence

import (
	"context"
	"time"

	"freeim/core/im"
	"freeim/idl"
)

// EdgeID names an edge across its restarts.
type EdgeID string

// SessionRef names one session for ever: Epoch is the edge's start, so a number
// that a restarted edge uses again is not mistaken for an old session.
type SessionRef struct {
	Edge    EdgeID
	Epoch   int64
	Session uint64
}

// Route says where a device can be reached.
type Route struct {
	SessionRef
	User       im.UserID
	Device     im.DeviceID
	DeviceType idl.DeviceType
	TokenID    int64     // the sign-in that the session rests on; grows with each of the user's
	Codec      idl.Codec // of pushes
	Since      time.Time
}

// Registry holds the routes of all live sessions. Safe for concurrent use.
type Registry interface {
	// Register makes r the route of its device, in one atomic step, and returns
	// the routes it displaced: an older session of the same device. A session
	// older than the registered one (by TokenID, then by Since) is not let in:
	// then registered is false and displaced holds r itself.
	Register(ctx context.Context, r Route) (displaced []Route, registered bool, err error)

	// Unregister removes the route only if it still is that very session's.
	Unregister(ctx context.Context, r Route) (removed bool, err error)

	// Routes gives the routes of each user, in the order of users.
	Routes(ctx context.Context, users ...im.UserID) ([][]Route, error)

	// DropEdge removes every route of the edge whose epoch is at most epoch, and
	// returns how many there were.
	DropEdge(ctx context.Context, edge EdgeID, epoch int64) (int, error)
}
