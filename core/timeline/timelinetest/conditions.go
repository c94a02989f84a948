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
	c.refused(d, timeline.ErrMoved)
}

// refused appends a draft that is not committed, for that reason.
func (c *client) refused(d timeline.Draft, want error) {
	c.t.Helper()
	d.OnCommit = func(timeline.Committed) { c.t.Errorf("%s was committed", d.ClientID) }
	if _, err := c.store.Append(c.ctx, d); !errors.Is(err, want) {
		c.t.Errorf("%s: got %v, want %v", d.ClientID, err, want)
	}
}

func testVersions(t *testing.T, open Open) {
	c := start(t, open)
	decided := func(in im.ConversationID, id string, version, least int64) timeline.Draft {
		d := draft(in, alice, id, alice)
		d.Version, d.Least = version, least
		return d
	}
	c.append(decided(group, "before any", 1, 0))
	c.append(decided(group, "the third change", 0, 3))
	c.refused(decided(group, "by the second", 2, 0), timeline.ErrStale)
	c.append(decided(group, "by the third", 3, 0))
	c.append(decided(group, "by the fourth, which is told later", 4, 0))
	c.append(decided(group, "by nothing", 0, 0))
	c.append(decided(chat, "elsewhere", 1, 0))
	c.append(decided(group, "the second change, told late", 0, 2)) // which lowers nothing
	c.refused(decided(group, "by the second again", 2, 0), timeline.ErrStale)
	again := decided(group, "before any", 1, 0) // it was committed
	if done, err := c.store.Append(c.ctx, again); !errors.Is(err, timeline.ErrStale) && (err != nil || !done.Duplicate || done.Seq != 1) {
		t.Errorf("sent again: %+v, %v", done, err)
	}
	both := decided(group, "of both", 2, 0)
	both.Expect = 1
	c.refused(both, timeline.ErrStale)
	wantSlice(t, "log", bodies(c.wholeLog(group)), "before any", "the third change", "by the third", "by the fourth, which is told later", "by nothing", "the second change, told late")
	c.restart(open)
	c.refused(decided(group, "by the second, after a restart", 2, 0), timeline.ErrStale)
	c.append(decided(group, "by the third, after a restart", 3, 0))
	for i, err := range c.store.AppendAll(c.ctx, []timeline.Draft{decided(group, "a", 3, 5), decided(group, "b", 4, 0), decided(group, "c", 5, 0)}) {
		if stale := errors.Is(err, timeline.ErrStale); stale != (i == 1) || err != nil && !stale {
			t.Errorf("draft %d of several: %v", i, err)
		}
	}
}

func testVersionsRace(t *testing.T, open Open) {
	const writers, changes = 4, 20
	c := start(t, open)
	var all sync.WaitGroup
	var version, written, stale atomic.Int64
	over := make(chan struct{})
	for w := range writers {
		all.Go(func() {
			for i, decided := 0, int64(1); ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if i%2 == 0 { // the other one is late: the group has changed meanwhile, mostly
					decided = max(version.Load(), 1)
				}
				d := draft(group, im.UserID(w+1), "", alice)
				d.Version = decided
				d.Body = fmt.Append(nil, d.Version)
				switch _, err := c.store.Append(c.ctx, d); {
				case err == nil:
					written.Add(1)
				case errors.Is(err, timeline.ErrStale):
					stale.Add(1)
				default:
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	n := int64(2)
	for ; n < changes || (written.Load() == 0 || stale.Load() == 0) && n < 100*changes && !t.Failed(); n++ {
		version.Store(n) // it is so, and then it is told
		c.append(timeline.Draft{Conversation: group, Sender: bob, Least: n, Body: fmt.Append(nil, "change ", n)})
	}
	close(over)
	all.Wait()
	least := int64(1)
	for _, m := range c.wholeLog(group) {
		var of int64
		if _, err := fmt.Sscanf(string(m.Body), "change %d", &of); err == nil {
			least = of
		} else if _, err := fmt.Sscan(string(m.Body), &of); err != nil || of < least {
			t.Errorf("message %d was decided by version %d, behind change %d (%v)", m.Seq, of, least, err)
		}
	}
	wantEqual(t, "the last change", least, n-1)
	if written.Load() == 0 || stale.Load() == 0 {
		t.Errorf("in the race %d messages were committed, %d refused: none of the one or the other", written.Load(), stale.Load())
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
