// Package limit is the baseline that bench measures servers against: what fan-out
// costs when nothing but the kernel's work is left. It accepts the clients of
// rooms over TCP, believes every token, and sends what one member says to all,
// with one thread on raw epoll. It checks, stores and promises nothing, and speaks
// no WebSocket. bench runs it as a process of its own: bench limit-server.
package limit

import "fmt"

// Mode is how a room's messages are written to its members.
type Mode string

const (
	// Single writes each message to each member by itself: the cost of a system
	// call per delivery, which no server without joined writes is below.
	Single Mode = "single"
	// Joined writes all messages that came since the last pass over a room with one
	// call per member.
	Joined Mode = "joined"
)

// Options says how a server runs.
type Options struct {
	Addr string // an IPv4 address and port, as "127.0.0.1:0"
	Mode Mode   // empty: Single
}

// Counts is what a server has done.
type Counts struct {
	Accepted int64
	Passes   int64 // over a room's members
	Writes   int64 // calls of send
	Full     int64 // of them that the socket took in part or not at all
	Closed   int64 // connections that the server ended: bad bytes, or too much unread
}

func (c Counts) String() string {
	return fmt.Sprintf("accepted %d, passes %d, writes %d, of them %d to full sockets, closed %d", c.Accepted, c.Passes, c.Writes, c.Full, c.Closed)
}

// validate checks the mode; the address is checked by using it.
func (o *Options) validate() error {
	switch o.Mode {
	case "":
		o.Mode = Single
	case Single, Joined:
	default:
		return fmt.Errorf("mode %q is neither %q nor %q", o.Mode, Single, Joined)
	}
	return nil
}
