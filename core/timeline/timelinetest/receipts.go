package timelinetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

func testAcknowledge(t *testing.T, open Open) {
	c := start(t, open)
	for _, row := range []struct {
		seq   int64
		moved bool
	}{{3, true}, {3, false}, {2, false}, {0, false}, {-1, false}, {4, true}, {1 << 40, true}, {5, false}} {
		wantEqual(t, fmt.Sprint("moved to ", row.seq), c.acknowledge(chat, bob, row.seq, alice), row.moved)
	}
	wantEqual(t, "moved in another conversation", c.acknowledge(group, bob, 1, alice), true)
	wantEqual(t, "another person moved", c.acknowledge(chat, alice, 1, bob), true)
	wantEqual(t, "moved before nobody", c.acknowledge(room, bob, 2), true)
	wantEqual(t, "moved back before nobody", c.acknowledge(room, bob, 1), false)
}

func testPositions(t *testing.T, open Open) {
	c := start(t, open)
	wantSlice(t, "of nobody", c.positions(chat))
	wantSlice(t, "of who holds nothing", c.positions(chat, alice, bob), 0, 0)
	c.acknowledge(chat, bob, 3, alice)
	c.acknowledge(chat, bob, 2, alice)
	c.acknowledge(chat, alice, 1<<40)
	c.acknowledge(chat+"x", carol, 9)
	wantSlice(t, "in the order asked for", c.positions(chat, carol, bob, alice, bob), 0, 3, 1<<40, 3)
	many := make([]im.UserID, 3000)
	for i := range many {
		many[i] = im.UserID(i + 1000)
	}
	c.acknowledge(group, many[2999], 7)
	wantSlice(t, "of many", c.positions(group, many...)[2998:], 0, 7)
	c.restart(open)
	wantSlice(t, "after a restart", c.positions(chat, bob, alice), 3, 1<<40)
}

func testReceipts(t *testing.T, open Open) {
	c := start(t, open)
	rs, none := c.receipts(alice, 0)
	wantEqual(t, "receipts of nobody", len(rs), 0)

	c.acknowledge(chat, bob, 1, alice)
	c.acknowledge(group, carol, 4, alice)
	c.acknowledge(chat, bob, 2, alice)
	c.acknowledge(chat, bob, 2, alice) // did not move: nothing is filed
	rs, first := c.receipts(alice, none)
	wantReceipts(t, "all", rs, timeline.Receipt{Conversation: chat, By: bob, Seq: 2},
		timeline.Receipt{Conversation: group, By: carol, Seq: 4})
	if first <= none {
		t.Errorf("cursor: got %d, want more than %d", first, none)
	}
	rs, same := c.receipts(alice, first)
	wantReceipts(t, "after the cursor", rs)
	wantEqual(t, "the cursor when nothing moved", same, first)

	c.acknowledge(chat, bob, 7, alice)
	rs, second := c.receipts(alice, first)
	wantReceipts(t, "after the cursor", rs, timeline.Receipt{Conversation: chat, By: bob, Seq: 7})
	rs, _ = c.receipts(alice, second+100)
	wantReceipts(t, "after a cursor from nowhere", rs)
	rs, _ = c.receipts(alice, 0)
	wantReceipts(t, "all again", rs, timeline.Receipt{Conversation: chat, By: bob, Seq: 7},
		timeline.Receipt{Conversation: group, By: carol, Seq: 4})
}

func testReceiptsAudience(t *testing.T, open Open) {
	c := start(t, open)
	c.acknowledge(group, carol, 1, alice, bob)
	c.acknowledge(group, carol, 2, bob)
	rs, _ := c.receipts(alice, 0)
	wantReceipts(t, "alice's", rs, timeline.Receipt{Conversation: group, By: carol, Seq: 1})
	rs, _ = c.receipts(bob, 0)
	wantReceipts(t, "bob's", rs, timeline.Receipt{Conversation: group, By: carol, Seq: 2})
	rs, _ = c.receipts(carol, 0)
	wantReceipts(t, "carol's own", rs)
}

// testReceiptsPages reads more receipts than an answer may hold, some of which move
// meanwhile: every one comes, and none that did not move comes twice.
func testReceiptsPages(t *testing.T, open Open) {
	c := start(t, open)
	const people = 25
	by := func(i int) im.UserID { return im.UserID(1000 + i) }
	for i := range people {
		c.acknowledge(group, by(i), 1, alice)
	}
	var pages []int
	var order []im.UserID
	got := map[im.UserID]int64{}
	for since, more := int64(0), true; more; {
		rs, next, others, err := c.store.Receipts(c.ctx, alice, since, 10)
		if err != nil || next <= since {
			t.Fatalf("after %d: cursor %d, error %v", since, next, err)
		}
		for _, r := range rs {
			order = append(order, r.By)
			got[r.By] = r.Seq
		}
		pages, since, more = append(pages, len(rs)), next, others
		if len(pages) == 1 {
			c.acknowledge(group, by(0), 2, alice)  // was told, and is told again
			c.acknowledge(group, by(24), 2, alice) // is told once
		}
	}
	wantSlice(t, "pages", pages, 10, 10, 6)
	wantEqual(t, "people told of", len(got), people)
	wantSlice(t, "the last", order[24:], by(0), by(24))
	wantSlice(t, "their positions", []int64{got[by(0)], got[by(24)], got[by(23)]}, 2, 2, 1)
	rs, _, more, err := c.store.Receipts(c.ctx, alice, 0, people)
	if len(rs) != people || more || err != nil {
		t.Errorf("as many as there are: got %d, more: %v, error %v", len(rs), more, err)
	}
}

func testReceiptsRestart(t *testing.T, open Open) {
	c := start(t, open)
	c.acknowledge(chat, bob, 3, alice)
	_, cursor := c.receipts(alice, 0)
	c.acknowledge(group, bob, 5, alice)
	c.restart(open)
	rs, _ := c.receipts(alice, cursor)
	wantReceipts(t, "after the cursor", rs, timeline.Receipt{Conversation: group, By: bob, Seq: 5})
	wantEqual(t, "moved to where it was", c.acknowledge(chat, bob, 3, alice), false)
	wantEqual(t, "moved on", c.acknowledge(chat, bob, 4, alice), true)
	rs, _ = c.receipts(alice, 0)
	wantReceipts(t, "all", rs, timeline.Receipt{Conversation: chat, By: bob, Seq: 4},
		timeline.Receipt{Conversation: group, By: bob, Seq: 5})
}

func testAcknowledgeRace(t *testing.T, open Open) {
	c := start(t, open)
	const highest = 64
	var all sync.WaitGroup
	for seq := range int64(highest) {
		all.Go(func() { c.acknowledge(chat, bob, seq+1, alice) })
	}
	all.Wait()
	rs, _ := c.receipts(alice, 0)
	wantReceipts(t, "in the end", rs, timeline.Receipt{Conversation: chat, By: bob, Seq: highest})
}

// wantReceipts compares without regard to order.
func wantReceipts(t *testing.T, what string, got []timeline.Receipt, want ...timeline.Receipt) {
	t.Helper()
	byName := func(a, b timeline.Receipt) int {
		return slices.Compare([]string{string(a.Conversation), a.By.String()}, []string{string(b.Conversation), b.By.String()})
	}
	got = slices.SortedFunc(slices.Values(got), byName)
	want = slices.SortedFunc(slices.Values(want), byName)
	wantSlice(t, what, got, want...)
}
