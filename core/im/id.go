package im

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// MessageID names a message: 80 bits, big-endian: unix milliseconds (42), spin
// (12), conversation type (4), the low 22 bits of the conversation ID's hash.
// IDs compare by time, as arrays and as strings. It is an identity, never a
// sync cursor. The zero value is no message.
type MessageID [10]byte

// alphabet is base32 in ASCII order, so that text order is numeric order.
const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

// messageIDLen is the length of a MessageID in text.
const messageIDLen = 16

// String is the ID as 16 characters.
func (id MessageID) String() string {
	var out [messageIDLen]byte
	high := binary.BigEndian.Uint64(id[:8])
	low := uint64(binary.BigEndian.Uint16(id[8:]))
	// 80 bits are 16 digits of 5; the last 5-bit groups straddle high and low.
	for i := range 12 {
		out[i] = alphabet[high>>(59-5*i)&31]
	}
	tail := high&15<<16 | low // the 20 bits that are left
	for i := range 4 {
		out[12+i] = alphabet[tail>>(15-5*i)&31]
	}
	return string(out[:])
}

// ParseMessageID reads the 16 characters that String writes.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	if len(s) != messageIDLen {
		return id, fmt.Errorf("a message ID has %d characters, this one %d", messageIDLen, len(s))
	}
	var high, tail uint64
	for i := range messageIDLen {
		d := digit(s[i])
		if d < 0 {
			return MessageID{}, fmt.Errorf("character %q does not occur in message IDs", s[i])
		}
		if i < 12 {
			high = high<<5 | uint64(d)
		} else {
			tail = tail<<5 | uint64(d)
		}
	}
	binary.BigEndian.PutUint64(id[:8], high<<4|tail>>16)
	binary.BigEndian.PutUint16(id[8:], uint16(tail))
	return id, nil
}

// digit is the value of one character, -1 for one outside the alphabet.
func digit(c byte) int {
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return i
		}
	}
	return -1
}

// Time is when the ID was made, to the millisecond.
func (id MessageID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 22))
}

// MessageIDAt is the least ID of a time, which no message has: all that were made then or later are greater. The
// bounds of what IDs hold take the place of a time beyond them.
func MessageIDAt(t time.Time) (id MessageID) {
	binary.BigEndian.PutUint64(id[:8], uint64(min(max(t.UnixMilli(), 0), 1<<42-1))<<22)
	return id
}

// Type is the type of the conversation that the ID was made for.
func (id MessageID) Type() ConversationType {
	return ConversationType(binary.BigEndian.Uint64(id[:8]) >> 6 & 15)
}

// IDGenerator makes MessageIDs that grow strictly, whatever the clock does:
// when it stands or steps back, or when the spins of one millisecond are used up,
// time is borrowed forward. In a new millisecond the spin starts at random in its
// lower half, so that two cores, in conversations whose hashes are the same, make
// the same ID in one millisecond only by a rare chance; one conversation's IDs
// differ in any case, since its store has the generator Observe the newest. Safe
// for concurrent use, without locks.
type IDGenerator struct {
	now  func() time.Time
	last atomic.Uint64 // milliseconds<<12 | spin of the newest ID
}

// spins is how many IDs one millisecond has.
const spins = 1 << 12

// NewIDGenerator makes a generator on the clock now; nil means time.Now.
func NewIDGenerator(now func() time.Time) *IDGenerator {
	if now == nil {
		now = time.Now
	}
	return &IDGenerator{now: now}
}

// Next is a new ID for a message of conversation c; "" gives an ID of no
// conversation.
func (g *IDGenerator) Next(c ConversationID) MessageID {
	fresh := uint64(max(0, g.now().UnixMilli())) << 12 // a clock before 1970 stands
	for {
		last := g.last.Load()
		stamp := last + 1
		if fresh>>12 > last>>12 {
			stamp = fresh | rand.Uint64N(spins/2)
		}
		if g.last.CompareAndSwap(last, stamp) {
			return makeID(stamp, c)
		}
	}
}

// Observe makes every later ID greater than id: a store calls it with the
// newest ID it holds before it makes the first of its own, so that a clock that
// was set back between two runs does no harm.
func (g *IDGenerator) Observe(id MessageID) {
	seen := binary.BigEndian.Uint64(id[:8]) >> 10
	for {
		last := g.last.Load()
		if last >= seen || g.last.CompareAndSwap(last, seen) {
			return
		}
	}
}

// IsOf reports whether the ID may be of a message of c: of those of another conversation one in four million seems so.
func (id MessageID) IsOf(c ConversationID) bool {
	low := binary.BigEndian.Uint64(id[:8])<<16 | uint64(binary.BigEndian.Uint16(id[8:]))
	return low&(1<<26-1) == ofConversation(c)
}

// ofConversation are the low 26 bits of the IDs of c's messages.
func ofConversation(c ConversationID) uint64 {
	h := fnv.New32a()
	h.Write([]byte(c))
	return uint64(c.Type())<<22 | uint64(h.Sum32()&(1<<22-1))
}

func makeID(stamp uint64, c ConversationID) MessageID {
	low := ofConversation(c)
	var id MessageID
	binary.BigEndian.PutUint64(id[:8], stamp<<10|low>>16)
	binary.BigEndian.PutUint16(id[8:], uint16(low))
	return id
}
