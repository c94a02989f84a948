package timelinetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// fence is a conversation whose first message ends drafts that name it.
const fence im.ConversationID = "g_7\x1b"

func testConditions(t *testing.T, open Open) {
	c := start(t, open)
	first := draft(group, alice, "first", alice)
	first.Expect = 1
	wantEqual(t, "seq of the first", c.append(first).Seq, 1)
	for _, expect := range []int64{1, 3} {
		d := draft(group, alice, fmt.Sprint("expects ", expect), alice)
		d.Expect = expect
		c.moved(d)
	}
	second := draft(group, bob, "second", alice)
	second.Expect, second.Unless = 2, fence
	wantEqual(t, "seq of the second", c.append(second).Seq, 2)
	c.append(draft(fence, alice, "the end"))
	third := draft(group, bob, "third", alice)
	third.Unless = fence
	c.moved(third)
	third.Unless = ""
	wantEqual(t, "seq without the condition", c.append(third).Seq, 3)
	wantSlice(t, "log", bodies(c.wholeLog(group)), "first", "second", "third")
	wantEqual(t, "entries", len(c.wholeInbox(alice)), 3)
	c.restart(open)
	late := draft(group, bob, "late", alice)
	late.Unless = fence
	c.moved(late)
	late.Unless, late.Expect = "", 4
	wantEqual(t, "seq after a restart", c.append(late).Seq, 4)
}

// moved appends a draft whose conditions do not hold.
func (c *client) moved(d timeline.Draft) {
	c.t.Helper()
	d.OnCommit = func(timeline.Committed) { c.t.Errorf("%s was committed", d.ClientID) }
	if _, err := c.store.Append(c.ctx, d); !errors.Is(err, timeline.ErrMoved) {
		c.t.Errorf("%s: got %v, want ErrMoved", d.ClientID, err)
	}
}

func testExpectRace(t *testing.T, open Open) {
	const racers, rounds = 8, 20
	c := start(t, open)
	for round := range int64(rounds) {
		var all sync.WaitGroup
		var won atomic.Int64
		for i := range racers {
			all.Go(func() {
				d := draft(group, im.UserID(i+1), fmt.Sprint("round ", round), alice)
				d.Expect = round + 1
				switch done, err := c.store.Append(c.ctx, d); {
				case err == nil && done.Seq == round+1:
					won.Add(1)
				case !errors.Is(err, timeline.ErrMoved):
					t.Errorf("got %d and %v, want seq %d or ErrMoved", done.Seq, err, round+1)
				}
			})
		}
		all.Wait()
		wantEqual(t, "drafts that were committed", won.Load(), 1)
	}
	wantEqual(t, "entries", len(c.wholeInbox(alice)), rounds)
}

func testUnlessRace(t *testing.T, open Open) {
	const writers, each = 4, 30
	c := start(t, open)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				d := draft(group, im.UserID(w+1), fmt.Sprint("old ", w, " ", i), alice)
				d.Unless = fence
				if _, err := c.store.Append(c.ctx, d); err != nil {
					if !errors.Is(err, timeline.ErrMoved) {
						t.Errorf("append: %v", err)
					}
					c.append(draft(group, im.UserID(w+1), fmt.Sprint("new ", w, " ", i)))
				}
				if w == 0 && i == each/2 {
					c.append(draft(fence, alice, "the end"))
				}
			}
		})
	}
	all.Wait()
	log := c.wholeLog(group)
	wantEqual(t, "messages", len(log), writers*each)
	behind := false
	for _, m := range log {
		old := m.ClientID[:3] == "old"
		if behind && old {
			t.Errorf("%s is behind messages that came after the end", m.ClientID)
		}
		behind = behind || !old
	}
}

func testAppendAll(t *testing.T, open Open) {
	const n = 300
	c := start(t, open)
	var drafts []timeline.Draft
	var told []int64
	for i := range int64(n) {
		d := timeline.Draft{Conversation: group, Sender: alice, Expect: i + 1, Body: fmt.Append(nil, i)}
		if i%3 != 0 {
			d.Inboxes = []im.UserID{bob}
		}
		d.OnCommit = func(done timeline.Committed) { told = append(told, done.Seq) }
		drafts = append(drafts, d)
	}
	drafts[n-1].Expect = n + 7
	for i, err := range c.store.AppendAll(c.ctx, drafts) {
		if moved := errors.Is(err, timeline.ErrMoved); moved != (i == n-1) || err != nil && !moved {
			t.Errorf("draft %d: %v", i, err)
		}
	}
	checkPage(c, "log", seqs(c.log(group, 0, n).Items), 1)
	wantEqual(t, "messages", len(c.wholeLog(group)), n-1)
	wantEqual(t, "entries", len(c.wholeInbox(bob)), n-1-(n-1+2)/3)
	wantEqual(t, "calls of OnCommit", len(told), n-1)
	ctx, cancel := context.WithCancel(c.ctx)
	cancel()
	for i, err := range c.store.AppendAll(ctx, drafts[:3]) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("draft %d after the end: %v", i, err)
		}
	}
}

func testHeads(t *testing.T, open Open) {
	c := start(t, open)
	for i := range 5 {
		c.append(draft(chat, alice, fmt.Sprint("chat ", i), alice, bob))
	}
	c.append(draft(group, carol, "group", alice))
	check := func() {
		t.Helper()
		logs, inboxes, err := c.store.Heads(c.ctx, []im.ConversationID{group, "g_none", chat, group, "c_1"}, []im.UserID{bob, carol, alice})
		if err != nil {
			t.Fatal(err)
		}
		wantSlice(t, "heads of logs", logs, 1, 0, 5, 1, 0)
		wantSlice(t, "heads of inboxes", inboxes, 5, 0, 6)
	}
	check()
	c.restart(open)
	check()
	if logs, inboxes, err := c.store.Heads(c.ctx, nil, nil); len(logs)+len(inboxes) > 0 || err != nil {
		t.Errorf("heads of nothing: %v %v %v", logs, inboxes, err)
	}
}
