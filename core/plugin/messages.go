package plugin

import (
	"context"
	"database/sql"
	"errors"

	"freeim/core/im"
	"freeim/core/timeline"
)

// This file is what plugins may ask of the one that messages and inboxes belong to: that
// it carry the messages of their conversations, that it ask them about chats, and that it
// tell people what happened. The chat plugin provides it as the service ServiceMessages.

// ServiceMessages is the name of the service that is a Messages.
const ServiceMessages = "chat.messages"

// Messages commits messages and events, and pushes them. Safe for concurrent use.
type Messages interface {
	// Own has o decide about the conversations of a type. Once for each type, in Provision.
	Own(t im.ConversationType, o ConversationOwner)
	// Guard has g asked about every message of a chat. In Provision only; all guards must agree.
	Guard(g ChatGuard)
	// Post commits a message that no person typed to the log of a conversation that
	// is owned, and to the inboxes of its audience: what happened in it. Done again with the
	// same ClientID it changes nothing and gives what it gave. Its errors are refusals.
	Post(ctx context.Context, p Post) (timeline.Committed, error)
	// File has events told once tx is committed, and only then: each comes into the inbox of
	// everybody it is for, exactly once, whatever ends in between; those of one person
	// in the order in which they were filed by one core. Call Deliver after the commit.
	File(ctx context.Context, tx *sql.Tx, events ...Event) error
	// Deliver has what was filed told now, instead of within a second. It does not wait.
	Deliver()
	// Follow has people follow c's log behind a seq, from the commit of tx on: what is committed to it
	// alone (Audience.Log) comes into the inbox of each when he asks for it, in the log's order and once.
	// Who follows it already goes on.
	Follow(ctx context.Context, tx *sql.Tx, c im.ConversationID, after int64, users ...im.UserID) error
	// Unfollow ends that at a seq: what lies up to it they get still, nothing behind it.
	Unfollow(ctx context.Context, tx *sql.Tx, c im.ConversationID, through int64, users ...im.UserID) error
	// Follows reports whether somebody follows logs, or has not yet got all that he may have of one: then more than what
	// is in his inbox may wait for him. It is joined with what others ask at the time.
	Follows(ctx context.Context, user im.UserID) (bool, error)
	// Remind has people's devices ask for what is new: best effort. For those who follow a log since now:
	// edges learn with a sync whom a log's messages concern.
	Remind(users ...im.UserID)
}

// Event is something that happened to people, besides messages: it comes into the
// conversation NoticesOf each of them, as a message of the kind EVENT.
type Event struct {
	Users []im.UserID // whom it is told; 1-10
	Actor im.UserID   // who did it; 0: the server
	Name  string      // "social.accepted": plugin, a dot and what happened; 64 octets at most
	Data  string      // a JSON object for programs, 4096 octets at most; empty: none
}

// Post is a message that the owner of a conversation writes into it.
type Post struct {
	Conversation im.ConversationID
	Actor        im.UserID // who did what it tells; its sender. 0: the server
	ClientID     string    // 1-64 octets, unique for the actor; people's cannot begin with "~": the owner's should
	Name, Data   string    // as in Event
	// Audience is in whose inboxes it is written; nil: Inboxes of what the owner's Send gives.
	Audience []im.UserID
	Log      bool // in nobody's: it is for those who follow the log. Then there is no Audience
	// Least is the least Audience.Version by which the owner has let messages pass that are committed behind it. 0: any.
	Least int64
}

// ConversationOwner decides who may do what in conversations of one type. Its errors are
// refusals, or faults of a store.
type ConversationOwner interface {
	// Send says whether user may commit m to c now, and to whom it goes.
	Send(ctx context.Context, c im.ConversationID, user im.UserID, m Outgoing) (Audience, error)
	// Read says what of c's log user may see.
	Read(ctx context.Context, c im.ConversationID, user im.UserID) (Reach, error)
}

// Keeper is a ConversationOwner in whose conversations something may become of messages: their senders edit
// them and take them back, people react to them. Of one that is none they stay as they are.
type Keeper interface {
	// Recall says whether by may take back a message of sender's in c, however old it is: nil, or a
	// refusal. It is not asked while every sender may take back what he wrote himself.
	Recall(ctx context.Context, c im.ConversationID, by, sender im.UserID) error
	// Members is to whom it goes what became of a message of c, whoever did that.
	Members(ctx context.Context, c im.ConversationID) (Audience, error)
}

// Versioned is a Keeper whose Audiences have a Version.
type Versioned interface {
	// Version gives the version of c, which stays so until tx ends, with all that the owner decides by about c; 0: there is no c.
	Version(ctx context.Context, tx *sql.Tx, c im.ConversationID) (int64, error)
	// Raise has the version of c be least at least, unless there is no c: c's log asks for it, since the owner's tables were
	// taken back to before a change that the log tells of.
	Raise(ctx context.Context, c im.ConversationID, least int64) error
}

// Returning is a ConversationOwner that takes something for messages (Audience.Taken).
type Returning interface {
	// Return gives back what was taken for a message of user's that was not committed.
	Return(ctx context.Context, c im.ConversationID, user im.UserID)
}

// Roll is a Keeper of conversations with more members than Members names (Audience.Log).
type Roll interface {
	// Present gives those of the users who are in c now, in any order.
	Present(ctx context.Context, c im.ConversationID, users []im.UserID) ([]im.UserID, error)
}

// Shrinking is a Roll whose conversations may have few members again, though their messages stay in the log alone.
type Shrinking interface {
	// Few gives the members of c, if they are as few as have messages in their inboxes elsewhere.
	Few(ctx context.Context, c im.ConversationID) (users []im.UserID, few bool, err error)
}

// Settler is a ConversationOwner in whose conversations messages may disappear.
type Settler interface {
	// Settle says whether user may settle after how long messages of c disappear: nil, or a refusal.
	Settle(ctx context.Context, c im.ConversationID, user im.UserID) error
}

// Watched is a ConversationOwner whose members may know who has read what.
type Watched interface {
	// Readers are those who may read the message at seq, ascending, for user, who must be one of them. It
	// refuses when more than most are in c.
	Readers(ctx context.Context, c im.ConversationID, user im.UserID, seq int64, most int) ([]im.UserID, error)
}

// Outgoing is what an owner may want to know of a message.
type Outgoing struct {
	Kind        string      // as in Reviewed, or "event"; "edit", "reaction": of a message that is there, a new text or a reaction; "typing": none, but one may come
	Mentions    []im.UserID // whom it names, each once: the owner refuses people who are not in c
	MentionsAll bool        // and everybody, who may not name all
	Taken       bool        // the owner said before that he took what is taken once for a message (Audience.Taken)
}

// Audience is to whom a message goes.
type Audience struct {
	// Inboxes are those of all members, the sender among them, each once: write diffusion.
	// Not to be changed by who gets it.
	Inboxes []im.UserID
	// Log has it committed to the log alone, for those who follow it: read diffusion. Once an owner has said so
	// of a conversation, it does for good: what it wants in inboxes later is in the log all the same.
	Log bool
	// Version counts the changes of what the owner decided by, from 1: when it is less than the Least of a Post that is there by
	// then, the message is not committed, but the owner asked again. 0: it is committed, whatever changed meanwhile.
	Version int64
	// Taken says that the owner took something for the message, as its turn in slow mode, which he is not to take again when he is
	// asked again.
	Taken bool
}

// ErrUnseen says that a message is to be committed as if all were well, but that nobody
// except its sender is to see it.
var ErrUnseen = errors.New("only the sender is to see it")

// Reach is the part of a log that somebody may read: from After (not included) through
// Through, 0: to its end.
type Reach struct{ After, Through int64 }

// Has reports whether the part holds seq.
func (r Reach) Has(seq int64) bool { return seq > r.After && (r.Through == 0 || seq <= r.Through) }

// ChatGuard has a say about messages between two people.
type ChatGuard interface {
	// Chat says what becomes of a message from one person to another: nil, an *im.Error
	// that refuses it, or ErrUnseen.
	Chat(ctx context.Context, from, to im.UserID) error
}
