// Package timeline is the contract of the store that holds messages: each
// conversation's log and each person's inbox, both ordered by a dense seq. It
// declares types and the Store interface only; core/pebble implements it (and,
// for production, MySQL with Redis), timelinetest says what every
// implementation must do, plugins call it.
package timeline

import (
	"context"
	"errors"
	"fmt"

	"freeim/core/im"
)

// ErrConflict is returned by Append when the sender has already used the client
// ID for another content.
var ErrConflict = errors.New("client ID used before for another message")

// ErrMoved is returned by Append when a condition of the draft does not hold: Expect or Unless.
// Nothing was committed.
var ErrMoved = errors.New("the timelines are not as the draft expects")

// ErrStale is in the error of Append, a *StaleError, when what decided about the draft has changed since: Version. Nothing was
// committed.
var ErrStale = errors.New("what decided about the draft is not so any more")

// StaleError is ErrStale, and says what the conversation asks of a draft.
type StaleError struct{ Least int64 } // Version of a draft that is not stale

func (e *StaleError) Error() string { return fmt.Sprintf("%v: want version %d", ErrStale, e.Least) }
func (e *StaleError) Unwrap() error { return ErrStale }

// ErrCorrupt is in the error of a method that finds something stored that cannot
// be read, or lacks what other things refer to: trying again does not help.
var ErrCorrupt = errors.New("what is stored cannot be read")

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("timeline store is closed")

// Draft is a message to be committed.
type Draft struct {
	Conversation im.ConversationID
	Sender       im.UserID
	// ClientID makes the append idempotent: the same sender and client ID give
	// the same Committed for as long as the record is kept (at least 24 h).
	// Empty: no idempotency.
	ClientID string
	// Digest identifies the content as the sender gave it, before any rule
	// rewrote it: the same client ID with another digest is ErrConflict.
	Digest [32]byte
	Body   []byte // opaque
	// Inboxes are the people in whose inbox an entry is written, without
	// repetition. Empty: read diffusion, only the log.
	Inboxes []im.UserID
	// Expect is the seq that the message must get in its conversation, else it is ErrMoved.
	// 0: whichever comes.
	Expect int64
	// Unless is a conversation that must have no message when this one is committed, else it is
	// ErrMoved. Empty: no condition. So one message there ends all drafts of a kind, at one point
	// of the order in which the store commits.
	Unless im.ConversationID
	// Version is that of what somebody read to decide about the draft, as he counts: it is ErrStale when a draft of its
	// conversation was committed before with a higher Least. 0: no condition.
	Version int64
	// Least is the least Version of drafts of its conversation that are committed behind this one. So a change that is told in a
	// conversation ends what was decided before it, at one point of the order in which the store commits. It never sinks; an
	// import brings none: those who decided before it are gone. 0: as it is.
	Least int64
	// Queued, if set, may be called once, while Append waits: what is appended from then
	// on comes behind this draft, should it be committed. A store that does not say so
	// does not call it. It must not block for long.
	Queued func()
	// OnCommit, if set, is called once when the message is durable, before
	// Append returns, and not for a duplicate. Calls come one at a time and in
	// the order of the seqs of every timeline, so what is queued here is queued
	// in order. It must not block.
	OnCommit func(Committed)
}

// Committed is a message that is durable.
type Committed struct {
	im.Message
	InboxSeqs []int64 // as Draft.Inboxes; for a duplicate: as they were written first
	Duplicate bool
}

// Entry is one position of an inbox.
type Entry struct {
	InboxSeq int64
	im.Message
}

// Ref names a message by its place.
type Ref struct {
	Conversation im.ConversationID
	Seq          int64
}

// Erasure says which message is to lose its body, and what is left in the body's place.
type Erasure struct {
	Ref
	ID   im.MessageID // of that message: another one at the place stays as it is
	Left []byte       // opaque
}

// EntryRef is an Entry without its message.
type EntryRef struct {
	InboxSeq int64
	ID       im.MessageID
	Ref
}

// Page is a piece of a timeline. The messages' bodies are the caller's to keep.
type Page[T any] struct {
	Items   []T
	HasMore bool
	Head    int64 // the newest seq at the time of reading; 0: empty
	Floor   int64 // the oldest seq still kept; 1 when nothing was trimmed
}

// Receipt says that a device of By holds Conversation up to Seq.
type Receipt struct {
	Conversation im.ConversationID
	By           im.UserID
	Seq          int64
}

// Store holds logs and inboxes. All methods are safe for concurrent use, honour
// ctx, and return errors wrapped with what they were doing. A returned error of
// Append other than ErrConflict, ErrMoved and ErrStale leaves it open whether the message will appear:
// the caller answers UNAVAILABLE and the client resends by the same client ID.
type Store interface {
	// Append commits d: it assigns ID and seqs, makes them durable (flushed to
	// the disk), and only then returns. The ID is greater than that of every
	// earlier message of the conversation.
	// A duplicate whose conditions do not hold any more is either: Duplicate, or ErrMoved or ErrStale.
	Append(ctx context.Context, d Draft) (Committed, error)

	// AppendAll appends drafts of one caller in their order, without a wait between them, and gives the
	// error of each. One that fails does not keep the others from being committed, but for those
	// whose conditions then fail. Queued is not called.
	AppendAll(ctx context.Context, drafts []Draft) []error

	// Heads gives the newest seq of logs and of inboxes, 0 for one that is empty, as the arguments are
	// ordered.
	Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) (logSeqs, inboxSeqs []int64, err error)

	// Find gives the message that sender committed under clientID, and the
	// digest it was committed with; ok is false when there is none.
	Find(ctx context.Context, sender im.UserID, clientID string) (c Committed, digest [32]byte, ok bool, err error)

	// Inbox reads up to limit entries of user's inbox after seq, oldest first.
	// Limit 0, here and below, reads none: the page says where the timeline ends.
	Inbox(ctx context.Context, user im.UserID, after int64, limit int) (Page[Entry], error)

	// InboxAt gives the entries of user's inbox at seqs, Messages the messages at places of any logs: all
	// that is asked for at once, in its order. One that is not there is zero; one that is asked for twice may
	// share its body.
	InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]Entry, error)
	Messages(ctx context.Context, places []Ref) ([]im.Message, error)

	// Locate gives an inbox seq such that every entry of user's inbox whose
	// message has an ID greater than id comes after it: for sync by message ID.
	Locate(ctx context.Context, user im.UserID, id im.MessageID) (int64, error)

	// Log reads up to limit messages of a conversation: those after seq, oldest
	// first; LogBefore those before it (0: from the end), newest first.
	Log(ctx context.Context, c im.ConversationID, after int64, limit int) (Page[im.Message], error)
	LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (Page[im.Message], error)

	// Erase replaces the bodies of messages for good: when it returns nil that is durable, and nothing
	// that reads, resends or exports gives the bodies out again. All else of the messages stays, and what recognises their
	// resends. A place that has another message, or none, is passed over. After an error some may
	// be erased; done again it changes nothing.
	Erase(ctx context.Context, gone []Erasure) error

	// Acknowledge moves the position up to which a device of r.By holds the
	// conversation, and files a receipt for each of the people in audience. The
	// position only grows; moved is false, and nothing is filed, when it did not.
	// When moved is true the receipt is durable.
	Acknowledge(ctx context.Context, r Receipt, audience []im.UserID) (moved bool, err error)

	// Positions gives up to where each of the people holds a conversation: as far as Acknowledge
	// moved it for him, 0 if it never did. It is in their order, whoever comes twice.
	Positions(ctx context.Context, c im.ConversationID, people []im.UserID) ([]int64, error)

	// Receipts gives the receipts filed for user that changed after the cursor
	// since, the latest of each conversation and person, in the order in which they
	// changed; at most limit, which is at least 1; more: there are others behind next.
	Receipts(ctx context.Context, user im.UserID, since int64, limit int) (rs []Receipt, next int64, more bool, err error)

	// Epoch names this store's life: it changes when the store was reset or
	// restored, and then every cursor is void.
	Epoch() string

	Close() error
}
