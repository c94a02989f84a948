package chat_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// counted is a store that counts how often messages are read.
type counted struct {
	timeline.Store
	n atomic.Int64
}

func (r *counted) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	r.n.Add(1)
	return r.Store.Inbox(ctx, user, after, limit)
}

func (r *counted) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	r.n.Add(1)
	return r.Store.InboxAt(ctx, user, seqs)
}

func (r *counted) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	r.n.Add(1)
	return r.Store.Messages(ctx, places)
}

func (r *counted) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	r.n.Add(1)
	return r.Store.Log(ctx, c, after, limit)
}

func (r *counted) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	r.n.Add(1)
	return r.Store.LogBefore(ctx, c, before, limit)
}

// What a page asks of the store does not grow with the conversations on it, whether their messages are in the inbox or in logs
// that its person follows.
func TestReadsOfAPage(t *testing.T) {
	c := &company{members: []im.UserID{bob, alice}, reach: map[im.UserID]plugin.Reach{}}
	store := &counted{Store: plugintest.New(t, plugintest.Options{}).Timelines()}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory}, Timelines: store})
	a, b, desk := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	const logs, chats, rounds = 8, 12, 3
	for i := range logs {
		c.follow(t, h, im.ConversationID(fmt.Sprint("g_", i+1)), alice, bob)
	}
	for round := range rounds { // the messages of the logs lie between each other
		for i := range logs {
			if _, err := sendTo(a, im.ConversationID(fmt.Sprint("g_", i+1)), fmt.Sprint(round, ".", i), fmt.Sprint(round, " in log ", i+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range chats {
		send(t, h.As(im.UserID(1000+i), "phone", idl.CodecJSON), bob, "m", fmt.Sprint("from ", 1000+i))
	}
	asking := func(what string, most int64, ask func() int, want int) {
		t.Helper()
		before := store.n.Load()
		if got := ask(); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
		if n := store.n.Load() - before; n > most {
			t.Errorf("%s: messages were read %d times, want %d at most", what, n, most)
		}
	}
	asking("a sync that gathers", 5, func() int { return len(inboxOf(t, b, 100)) }, logs*rounds+chats)
	conversations(t, b, &chatpb.ListConversationsRequest{}) // follows the inbox
	asking("a list", 3, func() int { return len(conversations(t, b, &chatpb.ListConversationsRequest{Limit: 50}).Conversations) }, logs+chats)
	asking("a sync", 3, func() int { return len(inboxOf(t, desk, 100)) }, logs*rounds+chats)
}
