package session_test

import (
	"errors"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

func (c *client) request(action idl.Action, sequence uint32) {
	c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: action, Sequence: sequence}, false)
}

func (c *client) wantNoCall() {
	c.Helper()
	if calls := c.core.take(); len(calls) > 0 {
		c.Fatalf("%d calls went to the core, want none", len(calls))
	}
}

// TestWhoIsBehindWaits: a client that has much to read is made no more of it, be it asked for in
// its first frame or in one behind another; when it reads all goes on in order, one frame for
// each time that there was room. Messages that it sends, and heartbeats, do not wait.
func TestWhoIsBehindWaits(t *testing.T) {
	c := joining(t, session.Options{})
	c.line.stuff()
	c.request(idl.ActionMessage, 2)
	c.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
	c.want(idl.ActionMessage, 2)
	c.request(idl.ActionHeartbeat, 3)
	c.want(idl.ActionHeartbeat, 3)
	c.request(idl.ActionSync, 4)
	c.request(idl.ActionSync, 5)
	c.request(idl.ActionHeartbeat, 6)
	c.wantNoCall()
	c.wantNothing()
	c.line.drain()
	call := c.oneCall(idl.ActionSync)
	c.line.stuff()
	c.hub.Reply(answer(call))
	c.want(idl.ActionSync, 4) // the answer leaves; what comes behind it waits
	c.wantNoCall()
	c.line.drain()
	c.hub.Reply(answer(c.oneCall(idl.ActionSync)))
	if out := c.line.take(); len(out) != 2 || out[0].Sequence != 5 || out[1].Sequence != 6 {
		t.Fatalf("sent: got %+v, want the answers to 5 and 6", out)
	}
}

// TestFloodByOneFrame: a frame that alone is more than may wait ends its session and nothing else:
// the first, one behind another, and one of a client that does not read.
func TestFloodByOneFrame(t *testing.T) {
	for _, action := range []idl.Action{idl.ActionMessage, idl.ActionSync} {
		for _, row := range []struct {
			name   string
			before func(c *client)
		}{
			{"first", func(*client) {}},
			{"behind another", func(c *client) { c.request(idl.ActionSync, 2) }},
			{"does not read", func(c *client) { c.line.stuff() }},
		} {
			t.Run(action.String()+" "+row.name, func(t *testing.T) {
				c := joining(t, session.Options{QueueBytes: 100})
				row.before(c)
				err := c.Receive(frame.Frame{Codec: idl.CodecProtobuf, Action: action, Sequence: 3, Body: make([]byte, 200)}, false)
				if fault, ok := errors.AsType[*frame.CloseError](err); ok {
					c.Fail(fault)
					c.wantQuit(idl.CloseFlood)
				} else if err != nil || action != idl.ActionSync || row.name != "first" { // which waits nowhere
					t.Fatalf("got %v, want FLOOD", err)
				}
				c.line.drain()
				c.Closed()
				if got := c.hub.Stats(); got.Sessions != 0 || got.Live != 0 {
					t.Fatalf("left over: got %+v", got)
				}
			})
		}
	}
}

// TestEndsOfWhoIsBehind: too much that waits, a drain, and the connection's end, each of a client
// for which nothing is done; being told then that there is room changes nothing.
func TestEndsOfWhoIsBehind(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(c *client)
		want idl.CloseReason
	}{
		{"flood", func(c *client) {
			err := c.Receive(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionSync, Sequence: 9}, false)
			fault, ok := errors.AsType[*frame.CloseError](err)
			if !ok {
				c.Fatalf("got %v, want FLOOD", err)
			}
			c.Fail(fault)
		}, idl.CloseFlood},
		{"drain", func(c *client) { go c.hub.Drain(c.Context()) }, idl.CloseShutdown},
		{"kick", func(c *client) { c.hub.Kick([]session.ID{c.id}, idl.CloseKicked, "", 0) }, idl.CloseKicked},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, session.Options{QueueFrames: 2})
			c := w.live(idl.CodecProtobuf, false)
			c.line.stuff()
			c.request(idl.ActionSync, 2)
			c.request(idl.ActionSync, 3)
			row.end(c)
			eventually(t, "the end", func() bool { _, n := c.line.closed(); return n > 0 })
			c.wantQuit(row.want)
			c.line.drain()
			c.wantNoCall()
			c.Closed()
			if got := w.hub.Stats(); got.Sessions != 0 || got.Live != 0 {
				t.Fatalf("left over: got %+v", got)
			}
		})
	}
}
