package sql

import (
	"context"
	"errors"
	"log/slog"

	"freeim/core/im"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
)

// RecordOptions says where the record is.
type RecordOptions struct {
	DSN string // of go-sql-driver/mysql, with the name of the database
	IDs *im.IDGenerator
	Log *slog.Logger // nil: slog.Default

	// Figures is where metrics are registered; nil: nowhere.
	Figures prometheus.Registerer

	// Connections bounds those for reading; 0: 8. Two more are for writing.
	Connections int
}

// Record is the message record in MySQL: a timeline.Store by itself, of which
// several may work on one database at once. Beside the methods of timeline.Store
// it has what a cache in front of it asks for: Heads, Messages, Entries.
type Record struct{}

// OpenRecord opens the record, and makes its tables if they are missing.
func OpenRecord(ctx context.Context, o RecordOptions) (*Record, error) {
	return nil, errors.New("the record is not there yet")
}

// Heads gives the newest seq of the logs and inboxes, 0 for an empty one, as the
// arguments are ordered. Look-ups of many callers are joined in one query.
func (r *Record) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) (
	logSeqs, inboxSeqs []int64, err error) {
	return nil, nil, errors.New("the record is not there yet")
}

// Messages gives the messages at the places, in their order. That one is not
// there is an error.
func (r *Record) Messages(ctx context.Context, refs []timeline.Ref) ([]im.Message, error) {
	return nil, errors.New("the record is not there yet")
}

// Entries is Inbox without the messages.
func (r *Record) Entries(ctx context.Context, user im.UserID, after int64, limit int) (
	timeline.Page[timeline.EntryRef], error) {
	return timeline.Page[timeline.EntryRef]{}, errors.New("the record is not there yet")
}
