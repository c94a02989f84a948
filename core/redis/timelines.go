package redis

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Record is the store that decides: a whole timeline.Store by itself, with what a
// cache in front of it asks for beside. core/sql has one.
type Record interface {
	timeline.Store

	// Entries is Inbox without the messages.
	Entries(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.EntryRef], error)
}

// TimelinesOptions says what Timelines work with.
type TimelinesOptions struct {
	Client *Client // required
	Record Record  // required; Timelines close it
	// Window is how long a client ID is remembered here, so that the record need
	// not be asked where its message is. 0: 24 h.
	Window time.Duration
	// Queue bounds the entries that wait to be written. 0: 65,536.
	Queue int
}

// Timelines is the production profile's timeline.Store: the record decides what is
// committed, at which seq, and where each timeline ends; Redis holds copies of the
// newest entries, and what it does not hold, dense seqs make that plain, the record
// is asked for. Safe for concurrent use.
//
// What Timelines do not do themselves, Locate, Acknowledge, Positions, Receipts and Epoch,
// is the record's.
type Timelines struct {
	Record

	// Static after NewTimelines.
	client *Client
	keys   keys
	keep   int64
	window time.Duration
	writer *writer
	hints  *hints

	closed atomic.Bool
}

// readTime is how long a reader waits for Redis before it asks the record.
const readTime = 250 * time.Millisecond

var _ timeline.Store = (*Timelines)(nil)

// NewTimelines puts c in front of a record.
func NewTimelines(o TimelinesOptions) (*Timelines, error) {
	if o.Client == nil || o.Record == nil {
		return nil, errors.New("redis.TimelinesOptions needs Client and Record")
	}
	if o.Window == 0 {
		o.Window = 24 * time.Hour
	}
	if o.Queue == 0 {
		o.Queue = 1 << 16
	}
	t := &Timelines{
		Record: o.Record, client: o.Client, keys: keys{o.Client.config.Prefix},
		keep: int64(o.Client.config.Keep), window: o.Window,
	}
	t.writer = newWriter(t, o.Queue)
	t.hints = newHints(o.Client)
	return t, nil
}

// Append implements timeline.Store: the record commits, and what it committed goes
// to Redis aside. Nobody waits for Redis.
func (t *Timelines) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	t.copies(&d)
	return t.Record.Append(ctx, d)
}

// AppendAll implements timeline.Store, as Append does.
func (t *Timelines) AppendAll(ctx context.Context, drafts []timeline.Draft) []error {
	drafts = slices.Clone(drafts)
	for i := range drafts {
		t.copies(&drafts[i])
	}
	return t.Record.AppendAll(ctx, drafts)
}

// copies has what d becomes brought to Redis.
func (t *Timelines) copies(d *timeline.Draft) {
	// The caller may have given up, and use its slices again, when it is committed.
	then, inboxes, digest := d.OnCommit, slices.Clone(d.Inboxes), d.Digest
	d.OnCommit = func(done timeline.Committed) {
		t.writer.committed(&done, inboxes, digest)
		if then != nil {
			then(done)
		}
	}
}

// Find implements timeline.Store. Redis may know where the message is; that it does
// not says nothing, and then the record is asked.
func (t *Timelines) Find(ctx context.Context, sender im.UserID, clientID string) (
	timeline.Committed, [32]byte, bool, error) {
	if t.closed.Load() {
		return timeline.Committed{}, [32]byte{}, false, timeline.ErrClosed
	}
	if h, ok := t.hint(ctx, sender, clientID); ok {
		ms, err := t.messages(ctx, []timeline.EntryRef{{ID: h.id, Ref: h.ref}})
		if err == nil && ms[0].Sender == sender && ms[0].ClientID == clientID {
			t.client.figures.hits.WithLabelValues("window").Inc()
			return timeline.Committed{Message: ms[0], InboxSeqs: h.inboxSeqs}, h.digest, true, nil
		}
	}
	t.client.figures.misses.WithLabelValues("window").Inc()
	return t.Record.Find(ctx, sender, clientID)
}

// Close writes what waits, if Redis takes it at once, and closes the record.
func (t *Timelines) Close() error {
	closed := t.closed.Swap(true)
	err := t.Record.Close() // first: it may still commit
	t.writer.close()
	if !closed {
		t.hints.close()
	}
	return err
}
