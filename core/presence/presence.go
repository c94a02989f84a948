// Package presence says which devices are online, on which edge each of their
// sessions is, and which edges have members of a room. It holds the contracts,
// Registry and Rooms, and the in-process implementation for one core;
// presencetest is the suite that every implementation passes. Plugins and fanout
// call it; only core/rpc tells it of edges that come and live on.
package presence

import (
	"context"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/idl"
)

// EdgeID names an edge across its restarts.
type EdgeID string

// Life is one run of an edge, from its start to its end.
type Life struct {
	Edge  EdgeID
	Epoch int64 // grows with each start of the edge
}

// SessionRef names one session for ever: Epoch is the edge's start, so a number
// that a restarted edge uses again is not mistaken for an old session.
type SessionRef struct {
	Edge    EdgeID
	Epoch   int64
	Session uint64
}

// Life is the life of the edge that the session belongs to.
func (r SessionRef) Life() Life { return Life{r.Edge, r.Epoch} }

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

// Older orders two sessions of one device: by TokenID, so that no race and no
// clock lets a session of an ended sign-in displace one of the newer, then by
// Since, to the millisecond as on the wire. Of two equal ones neither is older.
func (r Route) Older(than Route) bool {
	if r.TokenID != than.TokenID {
		return r.TokenID < than.TokenID
	}
	return r.Since.UnixMilli() < than.Since.UnixMilli()
}

// ErrFenced says that a later life of the edge is known: the one that asks is
// over, whatever it still sends.
var ErrFenced = errors.New("a later life of the edge is known")

// Leases are how long what is not said again is believed.
type Leases struct {
	Life  time.Duration // routes of an edge that no core keeps; 0: 10 s
	Route time.Duration // a route that its edge does not list again, and a room; 0: 100 s
	Join  time.Duration // a subscription that nobody has joined by yet; 0: 15 s, more than a join takes
}

// WithDefaults fills in what is zero.
func (l Leases) WithDefaults() Leases {
	if l.Life == 0 {
		l.Life = 10 * time.Second
	}
	if l.Route == 0 {
		l.Route = 100 * time.Second
	}
	if l.Join == 0 {
		l.Join = 15 * time.Second
	}
	return l
}

// Registry holds the routes of all live sessions. Safe for concurrent use.
//
// A route is over, and is then neither given nor stands in a session's way, when
// a later life of its edge is known, when nobody has kept that life for
// Leases.Life since, though it is kept again now, or when the route was not
// registered or listed for Leases.Route. Of a life that was neither attached nor
// kept nothing is known, so its routes are given: a registry that has forgotten
// the edges must not hide the sessions.
type Registry interface {
	// Attach makes life the edge's life, and keeps it: routes of earlier lives are
	// over. ErrFenced if a later one is known. The caller then lists the edge's
	// live sessions with Restore; routes of this life that are not listed again end
	// at once or by Leases.Route.
	Attach(ctx context.Context, life Life) error

	// Keep renews lives that the calling core has a link to. It makes one known
	// that is not, and ends earlier lives as Attach does. Those that a later life
	// has ended come back as over; the others are renewed all the same.
	Keep(ctx context.Context, lives ...Life) (over []Life, err error)

	// Register makes r the route of its device, in one atomic step, and returns
	// the routes it displaced: an older session of the same device. A session
	// older than the registered one (Route.Older) is not let in: then registered
	// is false and displaced holds r itself. The same session again replaces
	// itself and displaces nothing. ErrFenced for a life that is over; an
	// implementation may notice that late, by Leases.Life at most, if Routes does not.
	Register(ctx context.Context, r Route) (displaced []Route, registered bool, err error)

	// Restore registers sessions that an edge lists as live, as Register would one
	// after the other. The results are in the order of routes. An error says that
	// any of them may not have been registered.
	Restore(ctx context.Context, routes []Route) ([]Restored, error)

	// Unregister removes each of the routes that still is that very session's, and
	// returns those. One that was bound again meanwhile keeps its newer route; a zero
	// Since matches any. An error says that any of them may have been removed.
	Unregister(ctx context.Context, routes ...Route) (removed []Route, err error)

	// Routes gives the routes of each user, in the order of users. The slices may
	// be shared and must not be changed. When a part of the registry does not answer,
	// an error says so, and what the others know comes with it.
	Routes(ctx context.Context, users ...im.UserID) ([][]Route, error)

	// Generation names what the registry remembers: it changes when routes may
	// have been lost, and the edges must list their sessions at once.
	Generation(ctx context.Context) (string, error)
}

// Restored says what became of one listed session.
type Restored struct {
	// Known: the session had this very route already, so kicks could reach it all
	// the while. Then Registered is true.
	Known      bool
	Registered bool
	Displaced  []Route // as of Register
}
