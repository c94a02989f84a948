package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// An action that has a rate of its own is refused at the edge when it is called more
// often, by all sessions of a user together; the session goes on.
func TestActionTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{AuthTimeout: time.Hour, Heartbeat: time.Hour})
		c := w.live(idl.CodecProtobuf, false)
		vote := func(sequence uint32) {
			c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: scripted, Sequence: sequence}, false)
		}
		for i := range uint32(2) {
			vote(i + 1)
			call := c.oneCall(scripted)
			w.hub.Reply(session.Reply{Session: call.Session, Action: scripted, Sequence: call.Sequence})
			c.want(scripted, i+1)
		}
		vote(3)
		c.wantRefusal(idl.CodeRateLimited, 3)
		c.send(heartbeat(4), false)
		c.want(idl.ActionHeartbeat, 4)
		c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: scripted, Sequence: 5, Body: make([]byte, 101)}, false)
		c.wantRefusal(idl.CodeTooLarge, 5)
		time.Sleep(30 * time.Second)
		vote(6)
		c.oneCall(scripted)
		c.Closed()
	})
}

// Before Auth the action is not allowed, and nothing is counted.
func TestActionBeforeAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{AuthTimeout: time.Hour, Heartbeat: time.Hour})
		c := w.open()
		for i := range uint32(5) {
			c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: scripted, Sequence: i + 1}, false)
			c.wantRefusal(idl.CodeUnauthenticated, i+1)
		}
		c.Closed()
	})
}
