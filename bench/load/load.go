// Package load is the clients of a measurement: thousands of connections of one
// process on raw epoll, over TCP and WebSocket, that connect, pass Auth, keep up
// heartbeats, send by window or by rate, and check every delivery. It measures no
// server and knows none: it is told addresses, and speaks what idl/README.md
// specifies. bench starts worker processes through a Fleet; each runs Work.
//
// One goroutine, the loop, owns all connections of a process and everything that
// is counted. A second one reads the parent's commands.
package load

import (
	"time"

	"freeim/idl"
)

// The kinds of groups.
const (
	Idle  = "idle"  // sessions that only keep up heartbeats
	Chat  = "chat"  // pairs: of two neighbours the first sends to the second
	Room  = "room"  // members of one room, the first of whom publish
	Crowd = "crowd" // members of one group, the first of whom publish
	Echo  = "echo"  // everybody gets back what he sends, without Auth, from a server that knows no sessions
	Beat  = "beat"  // heartbeats with a body: the edge answers them alone
)

// Plan is what one worker does. A plan is for one worker; a room, or a raw
// fan-out, may go on in the plans of others.
type Plan struct {
	Seed    string // of the people's tokens
	Workers int    // that share the work: each keeps its part of a rate
	// Dialing is how many connections may be on their way to be ready. 0: 256.
	Dialing int
	// Heartbeat is how often a session says something. 0: 25 s.
	Heartbeat time.Duration
	// Reconnect has sessions that ended connect again, after a pause that is random
	// up to this, or longer if the server's Quit says so. 0: they stay away.
	Reconnect time.Duration
	// Shared is the file in which workers tell each other how far they are; only for
	// groups that span several.
	Shared string
	Groups []Group
}

// Group is sessions of one kind.
type Group struct {
	Name   string // as in results
	Kind   string
	First  int      // the index of the first person; for raw groups only its source address
	Count  int      // sessions of this worker
	Target []Target // they are shared out in turn, or as Of says
	// Of is how many sessions the group has in all workers, and At the place of the
	// first of this worker's among them: they fill one target after the other. 0: each
	// session takes the next target.
	At, Of int
	Codec  idl.Codec

	// Of Room and Crowd.
	Room string // the room's name, or the ID of the group's conversation
	// Base is the last seq of the group's conversation before anybody connects. Of a
	// room each session learns it.
	Base int64
	// Publishers is how many of the first sessions send; 0: none of this worker.
	Publishers int
	// Important is how many sends in a hundred are gifts, which overtake chat.
	Important int
	// Silent has one in so many sessions read nothing between Start and Hold; 0:
	// all read. Publishers read.
	Silent int

	// Window is how many messages are under way: of each pair of a chat, each
	// connection of an echo, the whole room or group, in all workers. 0: by rate.
	Window int
	// Rate is how many messages a second this worker sends, evenly spaced; 0: none.
	// In a room or a group all come from the worker with the publishers.
	Rate    float64
	Payload int // octets of a message's text. 0: 128
	// Slots are where the workers of a room or a group keep their progress in the Shared file,
	// and Slot is this worker's; none if the room is this worker's alone.
	Slots []int
	Slot  int
}

// Spread says whether everybody of the group gets what a few of them publish.
func (g *Group) Spread() bool { return g.Kind == Room || g.Kind == Crowd }

// target is where the group's session i goes.
func (g *Group) target(i int) *Target {
	if g.Of > 0 {
		return &g.Target[(g.At+i)*len(g.Target)/g.Of]
	}
	return &g.Target[i%len(g.Target)]
}

// Target is where connections go.
type Target struct {
	Address   string // HOST:PORT, an IPv4 address
	WebSocket bool
	Path      string // of a WebSocket; empty: /ws
}

// slotSize keeps the slots of the Shared file on cache lines of their own.
const slotSize = 64

// SharedSize is how large a Shared file with so many slots is.
func SharedSize(slots int) int { return slots * slotSize }

// LeastPayload is how many octets of a text its stamp takes.
const LeastPayload = 32

func (p *Plan) setDefaults() {
	if p.Dialing == 0 {
		p.Dialing = 256
	}
	if p.Heartbeat == 0 {
		p.Heartbeat = 25 * time.Second
	}
	for i := range p.Groups {
		g := &p.Groups[i]
		if g.Payload == 0 {
			g.Payload = 128
		}
		g.Payload = max(g.Payload, LeastPayload)
	}
}
