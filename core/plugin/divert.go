package plugin

import (
	"time"

	"freeim/core/im"
)

// This file is what rules may do with a message beside refusing it: let nobody but its
// sender see it, send it elsewhere, or have it wait for a decision. An action that can do
// so says it by an option, and its handler then looks at Call.Shadowed, Target and Hold.

// Target is a conversation that the operator declared, for rules to send messages to.
type Target struct {
	Name string    // as the rules call it
	User im.UserID // the person who gets them, in a chat with their sender; 0: a room does
	Room string    // a room's name
}

// TargetKind is what a message of an action can be sent to instead.
type TargetKind string

// The kinds.
const (
	TargetUser TargetKind = "user"
	TargetRoom TargetKind = "room"
)

// Hold is how a message waits.
type Hold struct {
	Queue    string // which reviewers it is for
	Rule     string // the hook that said so, name@file:line
	Deadline time.Duration
	Allow    bool // what happens then; false: it is denied
}

// Shadows says that the handler keeps a message from everybody but its sender, if
// Call.Shadowed.
func Shadows[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Shadows = true }
}

// Reroutes says that the handler commits a message to Call.Target, unless that is nil.
func Reroutes[Req, Rep any](to TargetKind) Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Reroutes = to }
}

// Holds says that the handler has a message wait, if Call.Hold is not nil.
func Holds[Req, Rep any]() Option[Req, Rep] {
	return func(a *action[Req, Rep]) { a.spec.Holds = true }
}
