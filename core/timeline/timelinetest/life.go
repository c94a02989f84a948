package timelinetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// calls are all methods that take a context.
func calls(s timeline.Store, ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Append": func() error {
			_, err := s.Append(ctx, draft(chat, alice, "late", alice, bob))
			return err
		},
		"Find": func() error {
			_, _, _, err := s.Find(ctx, alice, "late")
			return err
		},
		"Inbox": func() error {
			_, err := s.Inbox(ctx, alice, 0, 10)
			return err
		},
		"InboxAt": func() error {
			_, err := s.InboxAt(ctx, alice, []int64{1})
			return err
		},
		"Messages": func() error {
			_, err := s.Messages(ctx, []timeline.Ref{{Conversation: chat, Seq: 1}})
			return err
		},
		"Locate": func() error {
			_, err := s.Locate(ctx, alice, im.MessageID{})
			return err
		},
		"Log": func() error {
			_, err := s.Log(ctx, chat, 0, 10)
			return err
		},
		"LogBefore": func() error {
			_, err := s.LogBefore(ctx, chat, 0, 10)
			return err
		},
		"Erase": func() error {
			return s.Erase(ctx, []timeline.Erasure{{Ref: timeline.Ref{Conversation: chat, Seq: 1}}})
		},
		"Acknowledge": func() error {
			_, err := s.Acknowledge(ctx, timeline.Receipt{Conversation: chat, By: bob, Seq: 1}, []im.UserID{alice})
			return err
		},
		"Positions": func() error {
			_, err := s.Positions(ctx, chat, []im.UserID{alice})
			return err
		},
		"Receipts": func() error {
			_, _, _, err := s.Receipts(ctx, alice, 0, 10)
			return err
		},
	}
}

func testCancelled(t *testing.T, open Open) {
	c := start(t, open)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range calls(c.store, ctx) {
		wantError(t, name, call(), context.Canceled)
	}
	wantEqual(t, "the store still works", c.append(draft(chat, alice, "a1", alice, bob)).Duplicate, false)
}

func testClosed(t *testing.T, open Open) {
	c := start(t, open)
	if err := c.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	for name, call := range calls(c.store, c.ctx) {
		wantError(t, name, call(), timeline.ErrClosed)
	}
	if err := c.store.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// testCloseRace closes the store under load: every caller gets an answer, and
// what was answered with success is there afterwards.
func testCloseRace(t *testing.T, open Open) {
	c := start(t, open)
	const writers = 8
	acked := make([]int, writers)
	var warm, all sync.WaitGroup
	warm.Add(writers)
	closing := c.store
	for w := range writers {
		all.Go(func() {
			for i := 0; ; i++ {
				_, err := closing.Append(c.ctx, draft(chat, im.UserID(w+1), fmt.Sprint(i), alice, bob))
				if i == 0 {
					warm.Done()
				}
				if err != nil {
					wantError(t, "append while closing", err, timeline.ErrClosed)
					return
				}
				acked[w] = i + 1
			}
		})
	}
	warm.Wait()
	c.restart(open)
	all.Wait()
	for w, n := range acked {
		for i := range n {
			if _, _, ok := c.find(im.UserID(w+1), fmt.Sprint(i)); !ok {
				t.Errorf("message %d of writer %d was acknowledged and is gone", i, w)
			}
		}
	}
	c.wholeLog(chat)
	c.wholeInbox(bob)
}

func testEpoch(t *testing.T, open, openOther Open) {
	c, other := start(t, open), start(t, openOther)
	epoch := c.store.Epoch()
	if epoch == "" {
		t.Error("the epoch is empty")
	}
	if epoch == other.store.Epoch() {
		t.Errorf("two stores have the epoch %q", epoch)
	}
	c.append(draft(chat, alice, "a1", alice, bob))
	wantEqual(t, "epoch after a write", c.store.Epoch(), epoch)
	c.restart(open)
	wantEqual(t, "epoch after a restart", c.store.Epoch(), epoch)
}

func testRestart(t *testing.T, open Open) {
	c := filled(t, open)
	log, inbox := c.wholeLog(chat), c.wholeInbox(alice)
	c.restart(open)
	for i, m := range c.wholeLog(chat) {
		wantMessage(t, "in the log", m, log[i])
	}
	for i, e := range c.wholeInbox(alice) {
		wantMessage(t, "in the inbox", e.Message, inbox[i].Message)
	}
	got := c.append(draft(chat, alice, "after", bob, alice))
	wantEqual(t, "the next seq", got.Seq, int64(len(log)+1))
	wantSlice(t, "the next inbox seqs", got.InboxSeqs, 11, int64(len(inbox)+1))
	if newest := inbox[len(inbox)-1].ID; string(got.ID[:]) <= string(newest[:]) {
		t.Errorf("the next ID: got %s, want one above %s", got.ID, newest)
	}
}
