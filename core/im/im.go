// Package im holds the words that every part of the core shares: who (UserID,
// DeviceID), where (ConversationID), what (MessageID, Message) and what went
// wrong (Error). It does no I/O and imports only idl; plugins, stores and
// dispatch all import it.
package im

import (
	"strconv"
	"strings"
	"time"

	"freeim/idl"
)

// UserID names a person. Valid IDs are positive and below 2^53. The IDs of feeds, see
// FeedOf, name nobody: only the core makes them.
type UserID int64

func (u UserID) String() string { return strconv.FormatInt(int64(u), 10) }

// DeviceID names one installation of a client of one person.
type DeviceID string

// ConversationType is the kind of a conversation; the number is part of a
// MessageID, so the list is append-only and ends at 15.
type ConversationType uint8

const (
	Chat          ConversationType = 1 // two people, write diffusion
	Group         ConversationType = 2 // durable membership
	Room          ConversationType = 3 // super-large, read diffusion
	Notices       ConversationType = 4 // what the server tells one person
	Announcements ConversationType = 5 // what the operator tells everybody, read diffusion
)

// ConversationID names a conversation. It begins with a letter for its type:
// "c_17_42" the chat of users 17 and 42 (the lower first), "g_…" a group, "r_…" a room,
// "n_17" what the server tells user 17, "a_all" what the operator tells everybody.
type ConversationID string

// ToAll is the conversation of the announcements, the only one of its type: the operator's programs write there, and
// everybody reads what came since his account was made.
const ToAll ConversationID = "a_all"

// ChatOf is the conversation of a and b, the same whichever comes first. A
// person's chat with himself is allowed: notes to self.
func ChatOf(a, b UserID) ConversationID {
	id := append(make([]byte, 0, 48), "c_"...) // on the stack
	id = strconv.AppendInt(id, int64(min(a, b)), 10)
	id = strconv.AppendInt(append(id, '_'), int64(max(a, b)), 10)
	return ConversationID(id)
}

// Type is the conversation's type, 0 when the ID has no known form.
func (c ConversationID) Type() ConversationType {
	switch {
	case strings.HasPrefix(string(c), "c_"):
		return Chat
	case strings.HasPrefix(string(c), "g_"):
		return Group
	case strings.HasPrefix(string(c), "r_"):
		return Room
	case strings.HasPrefix(string(c), "n_"):
		return Notices
	case strings.HasPrefix(string(c), "a_"):
		return Announcements
	}
	return 0
}

// NoticesOf is the conversation in which the server tells u what happened: only the server
// writes there, and only u reads.
func NoticesOf(u UserID) ConversationID { return "n_" + ConversationID(u.String()) }

// Pair gives the two people of a chat, the lower first; ok is false when c is
// not a chat in its one canonical spelling, of valid user IDs.
func (c ConversationID) Pair() (a, b UserID, ok bool) {
	low, high, found := strings.Cut(strings.TrimPrefix(string(c), "c_"), "_")
	if !found {
		return 0, 0, false
	}
	l, err1 := strconv.ParseInt(low, 10, 64)
	h, err2 := strconv.ParseInt(high, 10, 64)
	if err1 != nil || err2 != nil || l <= 0 || h > idl.MaxSafeInteger || ChatOf(UserID(l), UserID(h)) != c {
		return 0, 0, false
	}
	return UserID(l), UserID(h), true
}

// beside separates a conversation's ID from a person's in the name of a shadow: no
// conversation that people can name holds it.
const beside = "\x1f"

// Shadow is the log of what u sent to c and nobody but u is to see. It has seqs of its
// own, and c's type.
func (c ConversationID) Shadow(u UserID) ConversationID {
	return c + beside + ConversationID(u.String())
}

// Shadowed gives the conversation that c is a shadow of; ok is false when c is none.
func (c ConversationID) Shadowed() (of ConversationID, ok bool) {
	before, _, ok := strings.Cut(string(c), beside)
	return ConversationID(before), ok
}

// Aside is the log beside c of what happens there that only other programs are told: nobody reads it.
func (c ConversationID) Aside() ConversationID { return c.Shadow(0) }

// IsAside reports whether c is such a log.
func (c ConversationID) IsAside() bool { return strings.HasSuffix(string(c), beside+"0") }

// Message is one committed entry of a conversation's log.
type Message struct {
	ID           MessageID
	Conversation ConversationID
	Seq          int64 // dense in the conversation, from 1
	Sender       UserID
	ClientID     string // as the sender chose it
	Time         time.Time
	Body         []byte // what the plugin that sent it stored; opaque to stores
}
