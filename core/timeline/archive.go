package timeline

import (
	"context"
	"errors"

	"freeim/core/im"
)

// ErrNotEmpty is returned by Importer.Import when the store holds anything.
var ErrNotEmpty = errors.New("the timeline store is not empty")

// ErrUnfinished is in the error of opening a store into which an import was
// begun and never finished: what it holds is a part of something.
var ErrUnfinished = errors.New("an import into this timeline store was begun and did not finish: empty it and import again")

// Item is one piece of what a store holds, as it is carried from store to store:
// a State, Stored, Listed, Held or Filed, by value.
type Item interface{ item() }

// State is about the store as a whole. It is the first item.
type State struct {
	// Epoch of the store. An importer that is given an empty one makes a new
	// one: cursors of the exported store are void then.
	Epoch string
	// Newest is the newest message ID that the store ever gave out.
	Newest im.MessageID
}

// Stored is a message, and what recognises a resend of it.
type Stored struct {
	im.Message
	Digest    [32]byte // zero without a client ID
	InboxSeqs []int64  // as Committed.InboxSeqs; empty without a client ID
}

// Listed is an entry of an inbox.
type Listed struct {
	User         im.UserID
	InboxSeq     int64
	ID           im.MessageID
	Conversation im.ConversationID
	Seq          int64
}

// Held is the position up to which By holds a conversation.
type Held struct{ Receipt }

// Filed is a receipt as it is filed for User, at Place in the order in which
// that person's receipts changed.
type Filed struct {
	User  im.UserID
	Place int64
	Receipt
}

func (State) item()  {}
func (Stored) item() {}
func (Listed) item() {}
func (Held) item()   {}
func (Filed) item()  {}

// Exporter is a store that can say all that it holds.
type Exporter interface {
	// Export calls yield with everything that was committed at one moment after
	// the call, while the store goes on: first the State; then every Stored, each
	// conversation's in a row, by seq; every Listed, each person's in a row, by
	// inbox seq; every Held; and every Filed, each person's in a row, by place.
	// What an item points to is yield's until it returns. An error of yield ends
	// the export and is returned.
	Export(ctx context.Context, yield func(Item) error) error
}

// Importer is a store that can be filled with what another one held.
type Importer interface {
	// Import fills an empty store with what fill adds, in the order of Export.
	// Other writes through the same store wait meanwhile; no other process may
	// have it open. It returns ErrNotEmpty, and
	// has not called fill, when there is anything in the store. When fill returns
	// an error the store is empty again. When the process ends in between, the
	// store is marked: opening it fails with ErrUnfinished. Only when Import has
	// returned nil the store is whole, durable, and has the epoch of the State.
	//
	// add copies what it is given. It is called by fill's goroutine alone.
	Import(ctx context.Context, fill func(add func(Item) error) error) error
}

// Renewer is a store that can be given a new epoch.
type Renewer interface {
	// Renew gives the store a new epoch, durably, and returns it: what is stored
	// stays, all cursors are void. It is for a store that was brought back to an
	// earlier state by other means than Import. Processes that have it open see
	// the new epoch when they open it again.
	Renew(ctx context.Context) (epoch string, err error)
}
