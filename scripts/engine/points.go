package engine

// Point is a place in an action's life where hooks may be asked.
type Point uint8

// The points. Before and Message are one place: a host asks Before, and hooks
// for messages are asked with the others, in one order, when the call has a text.
const (
	Before  Point = iota // any action, when nothing else refuses it any more
	Message              // one that commits a message
	Login                // the credentials are right, the session is not bound yet
	Join                 // somebody who may come in comes into a room
	Connect              // at the edge: a connection, before it becomes a session
	Frame                // at the edge: a frame, before it goes to a core
	Route                // at the edge: which cores a session's actions go to
	After                // aside, when the action is answered
	Tick                 // by the clock
	Act                  // a scripted action itself
	points
)

// deciding reports whether hooks at the point say what becomes of an action.
func (p Point) deciding() bool { return p < After }

// function is what scripts register with at the point.
func (p Point) function() string {
	switch p {
	case Before:
		return "im.before"
	case Message:
		return "im.on_message"
	case Login:
		return "im.on_login"
	case Join:
		return "im.on_join"
	case Connect:
		return "im.on_connect"
	case Frame:
		return "im.on_frame"
	case Route:
		return "im.on_route"
	case After:
		return "im.after"
	case Act:
		return "im.action"
	}
	return "im.on_tick"
}

// The phases of a chain, in their order: earlier ones run first, whatever their
// hooks' priorities.
func chainPhases() []string { return []string{"security", "limits", "content", "business", "observe"} }

const usualPhase = 3 // business
