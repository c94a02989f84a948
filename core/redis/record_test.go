package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/redis"
	"freeim/core/timeline"
)

// quiet is a logger for tests that expect faults.
var quiet = slog.New(slog.DiscardHandler)

// record makes a pebble.Store a redis.Record, and counts what it is asked for.
type record struct {
	*pebble.Store
	heads, pages, messages, finds atomic.Int64           // calls
	away                          atomic.Bool            // every read fails
	slow                          atomic.Pointer[func()] // called with a page of a log in hand; nil: nothing is
}

var errRecordAway = errors.New("the record is away")

func (r *record) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) (logSeqs, inboxSeqs []int64, err error) {
	r.heads.Add(1)
	for _, c := range logs {
		p, err := r.Store.Log(ctx, c, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		logSeqs = append(logSeqs, p.Head)
	}
	for _, user := range inboxes {
		p, err := r.Store.Inbox(ctx, user, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		inboxSeqs = append(inboxSeqs, p.Head)
	}
	return logSeqs, inboxSeqs, nil
}

func (r *record) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	r.messages.Add(1)
	if r.away.Load() {
		return nil, errRecordAway
	}
	return r.Store.Messages(ctx, places)
}

func (r *record) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	r.pages.Add(1)
	if r.away.Load() {
		return nil, errRecordAway
	}
	return r.Store.InboxAt(ctx, user, seqs)
}

func (r *record) Entries(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.EntryRef], error) {
	p, err := r.Inbox(ctx, user, after, limit)
	out := timeline.Page[timeline.EntryRef]{HasMore: p.HasMore, Head: p.Head, Floor: p.Floor}
	for _, e := range p.Items {
		out.Items = append(out.Items, timeline.EntryRef{
			InboxSeq: e.InboxSeq, ID: e.ID, Ref: timeline.Ref{Conversation: e.Conversation, Seq: e.Seq},
		})
	}
	return out, err
}

func (r *record) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	r.pages.Add(1)
	if r.away.Load() {
		return timeline.Page[timeline.Entry]{}, errRecordAway
	}
	return r.Store.Inbox(ctx, user, after, limit)
}

func (r *record) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	r.pages.Add(1)
	if r.away.Load() {
		return timeline.Page[im.Message]{}, errRecordAway
	}
	page, err := r.Store.Log(ctx, c, after, limit)
	if wait := r.slow.Load(); wait != nil {
		(*wait)()
	}
	return page, err
}

func (r *record) Find(ctx context.Context, sender im.UserID, clientID string) (timeline.Committed, [32]byte, bool, error) {
	r.finds.Add(1)
	if r.away.Load() {
		return timeline.Committed{}, [32]byte{}, false, errRecordAway
	}
	return r.Store.Find(ctx, sender, clientID)
}

// asked is how often the record was asked for more than heads.
func (r *record) asked() int64 { return r.pages.Load() + r.messages.Load() + r.finds.Load() }

func openRecord(t testing.TB, o pebble.Options) *record {
	t.Helper()
	if o.IDs == nil {
		o.IDs = im.NewIDGenerator(nil)
	}
	o.Log = quiet
	s, err := pebble.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &record{Store: s}
}

// connect opens a Client for the servers.
func connect(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	c, err := redis.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return c
}

// forEach runs the test with a single server and with a Cluster of three.
func forEach(t *testing.T, test func(t *testing.T, o redis.Config)) {
	t.Run("single", func(t *testing.T) {
		test(t, redis.Config{Addresses: []string{engines.Redis(t).Addr()}})
	})
	t.Run("cluster", func(t *testing.T) {
		test(t, redis.Config{Addresses: engines.RedisCluster(t).Addrs()})
	})
}
