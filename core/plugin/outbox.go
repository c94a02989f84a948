package plugin

import (
	"context"
	"database/sql"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl"
)

// This file is where what happened waits for whoever tells other programs: feeds in the timelines, see im.FeedOf. The
// chat plugin provides them as the service ServiceOutbox.

// ServiceOutbox is the name of the service that is an Outbox.
const ServiceOutbox = "chat.outbox"

// Outbox holds feeds. All that is committed to inboxes comes into them, and what else plugins put there: that is written
// only if it is Wanted. Without a Feeding there are no feeds, and nothing of this costs anything. Safe for concurrent use.
type Outbox interface {
	// Feed has feeds be written from now on. In Provision only.
	Feed(f Feeding)
	// Fed reads up to limit items of a feed behind a position, the oldest first; limit 0: none,
	// the page says where the feed ends.
	Fed(ctx context.Context, feed im.UserID, after int64, limit int) (timeline.Page[Fed], error)

	// Wanted reports whether somebody asked for the event, of those that are in no inbox; "" is none, and nobody can ask
	// for it. Not in Provision.
	Wanted(event string) bool
	// Show says how what a plugin commits by Append to conversations of its type is told. In Provision only.
	Show(t im.ConversationType, show Show)
	// Append commits a draft of such a conversation, to its feed too if the event that it is, is wanted: not what is
	// shadowed, which is no event.
	Append(ctx context.Context, event string, d timeline.Draft) (timeline.Committed, error)
	// Tell commits notices in their order, and gives the error of each. One with the ID of an earlier one changes
	// nothing; nor does one that is not wanted.
	Tell(ctx context.Context, notices ...Notice) []error
	// Note has a notice told once tx is committed, and only then, exactly once, whatever ends in between, a second or so
	// later. It needs no ID.
	Note(ctx context.Context, tx *sql.Tx, n Notice) error
}

// Feeding is who reads feeds.
type Feeding struct {
	// Woken hears which feed has grown by this core; it may be called by several goroutines and must not block.
	Woken func(feed im.UserID)
	// Wants names the events that are to be written though they are in no inbox; nil: none. It must be quick.
	Wants func(event string) bool
}

// Fed is an item of a feed.
type Fed struct {
	Position int64 // in its feed, dense, from 1
	ID       im.MessageID
	Event    string // "message.committed", "group.joined" …
	Time     time.Time
	// Message is as its people see it now: a *chatpb.Message, or what a Show made.
	Message  idl.Message
	Shadowed bool // nobody but its sender sees it
}

// Show makes what is told of a message.
type Show func(m im.Message) (event string, shown idl.Message, err error)

// Notice is something that happened of which no person is told here, only other programs.
type Notice struct {
	About im.ConversationID // in whose order it comes: a room, NoticesOf a person
	ID    string            // 1-64 octets, unique; it should begin with "~"
	Name  string            // as Event's
	Data  string
}
