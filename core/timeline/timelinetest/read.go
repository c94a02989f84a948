package timelinetest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// filled is a place with ten messages "1" … "10" from alice to bob, all in the
// same chat, with others around it.
func filled(t *testing.T, open Open) *client {
	c := start(t, open)
	for i := range 10 {
		c.append(draft("c_100001_10000", alice, fmt.Sprint("x", i), alice, 10000))
		c.append(draft(chat, alice, fmt.Sprint(i+1), bob, alice))
		c.append(draft("c_100001_1000020", alice, fmt.Sprint("y", i), alice, 1000020))
	}
	return c
}

func testLog(t *testing.T, open Open) {
	c := filled(t, open)
	for _, row := range []struct {
		name  string
		after int64
		limit int
		more  bool
		want  []string
	}{
		{"from the start", 0, 3, true, []string{"1", "2", "3"}},
		{"from the middle", 3, 3, true, []string{"4", "5", "6"}},
		{"up to the end", 7, 3, false, []string{"8", "9", "10"}},
		{"beyond the end", 8, 30, false, []string{"9", "10"}},
		{"from the end", 10, 3, false, nil},
		{"none, for the head", 2, 0, true, nil},
		{"from after the end", 11, 3, false, nil},
		{"from the last number", math.MaxInt64, 3, false, nil},
		{"from before the start", -5, 2, true, []string{"1", "2"}},
		{"everything", 0, 10, false, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
	} {
		p := c.log(chat, row.after, row.limit)
		wantSlice(t, row.name, bodies(p.Items), row.want...)
		wantEqual(t, row.name+": has more", p.HasMore, row.more)
		wantEqual(t, row.name+": head", p.Head, int64(10))
		wantEqual(t, row.name+": floor", p.Floor, int64(1))
	}
}

func testLogBefore(t *testing.T, open Open) {
	c := filled(t, open)
	for _, row := range []struct {
		name   string
		before int64
		limit  int
		more   bool
		want   []string
	}{
		{"from the end", 0, 3, true, []string{"10", "9", "8"}},
		{"from the middle", 8, 3, true, []string{"7", "6", "5"}},
		{"down to the start", 4, 3, false, []string{"3", "2", "1"}},
		{"beyond the start", 3, 30, false, []string{"2", "1"}},
		{"from the start", 1, 3, false, nil},
		{"from after the end", 99, 2, true, []string{"10", "9"}},
		{"from the last number", math.MaxInt64, 1, true, []string{"10"}},
		{"everything", 0, 10, false, []string{"10", "9", "8", "7", "6", "5", "4", "3", "2", "1"}},
	} {
		p := c.logBefore(chat, row.before, row.limit)
		wantSlice(t, row.name, bodies(p.Items), row.want...)
		wantEqual(t, row.name+": has more", p.HasMore, row.more)
		wantEqual(t, row.name+": head", p.Head, int64(10))
		wantEqual(t, row.name+": floor", p.Floor, int64(1))
	}
}

func testLogEmpty(t *testing.T, open Open) {
	c := start(t, open)
	for name, p := range map[string]page{
		"forward":  describe(c.log(chat, 0, 10)),
		"beyond":   describe(c.log(chat, 5, 10)),
		"backward": describe(c.logBefore(chat, 0, 10)),
	} {
		wantEqual(t, name, p.String(), "0 items, more false, head 0, floor 1")
	}
}

// page is what a page says beside its items.
type page struct {
	items       int
	more        bool
	head, floor int64
}

func describe[T any](p timeline.Page[T]) page { return page{len(p.Items), p.HasMore, p.Head, p.Floor} }

func (p page) String() string {
	return fmt.Sprintf("%d items, more %t, head %d, floor %d", p.items, p.more, p.head, p.floor)
}

func testInbox(t *testing.T, open Open) {
	c := filled(t, open)
	for _, row := range []struct {
		name  string
		after int64
		limit int
		more  bool
		want  []string
	}{
		{"from the start", 0, 3, true, []string{"1", "2", "3"}},
		{"from the middle", 3, 3, true, []string{"4", "5", "6"}},
		{"up to the end", 7, 3, false, []string{"8", "9", "10"}},
		{"from the end", 10, 3, false, nil},
		{"none, for the head", 2, 0, true, nil},
		{"from after the end", 99, 3, false, nil},
		{"from the last number", math.MaxInt64, 3, false, nil},
		{"from before the start", -1, 1, true, []string{"1"}},
	} {
		p := c.inbox(bob, row.after, row.limit)
		wantSlice(t, row.name, entryBodies(p.Items), row.want...)
		wantEqual(t, row.name+": has more", p.HasMore, row.more)
		wantEqual(t, row.name+": head", p.Head, int64(10))
		wantEqual(t, row.name+": floor", p.Floor, int64(1))
	}
	wantSlice(t, "conversations mixed in alice's inbox", entryBodies(c.inbox(alice, 0, 6).Items),
		"x0", "1", "y0", "x1", "2", "y1")
	wantEqual(t, "alice's head", c.inbox(alice, 0, 1).Head, int64(30))
}

func testInboxEmpty(t *testing.T, open Open) {
	c := start(t, open)
	wantEqual(t, "inbox", describe(c.inbox(alice, 0, 10)).String(), "0 items, more false, head 0, floor 1")
	wantEqual(t, "beyond", describe(c.inbox(alice, 5, 10)).String(), "0 items, more false, head 0, floor 1")
}

func testPlaces(t *testing.T, open Open) {
	c := filled(t, open)
	for name, row := range map[string]struct {
		seqs []int64
		want []string
	}{
		"none":                      {nil, nil},
		"one":                       {[]int64{5}, []string{"5"}},
		"in the order asked for":    {[]int64{7, 2, 9}, []string{"7", "2", "9"}},
		"one twice":                 {[]int64{3, 3, 4}, []string{"3", "3", "4"}},
		"all, backwards":            {[]int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, []string{"10", "9", "8", "7", "6", "5", "4", "3", "2", "1"}},
		"beyond both ends":          {[]int64{11, 1, 0, 10, -1}, []string{"", "1", "", "10", ""}},
		"the last and first number": {[]int64{math.MaxInt64, math.MinInt64, 6}, []string{"", "", "6"}},
	} {
		var places []timeline.Ref
		for i, e := range c.inboxAt(bob, row.seqs...) {
			if wantEqual(t, name+": body", string(e.Body), row.want[i]); row.want[i] == "" {
				wantEqual(t, name+": seq of none", e.InboxSeq, 0)
				wantEqual(t, name+": ID of none", e.ID, im.MessageID{})
			} else {
				wantEqual(t, name+": seq", e.InboxSeq, row.seqs[i])
			}
			places = append(places, timeline.Ref{Conversation: chat, Seq: row.seqs[i]})
		}
		for i, m := range c.messages(places...) {
			if wantEqual(t, name+": message", string(m.Body), row.want[i]); row.want[i] == "" {
				wantEqual(t, name+": seq of no message", m.Seq, 0)
			}
		}
	}
	wantSlice(t, "conversations mixed in alice's inbox", entryBodies(c.inboxAt(alice, 6, 1, 4)), "y1", "x0", "x1")
	wantEqual(t, "nobody's inbox", c.inboxAt(999999, 1)[0].InboxSeq, 0)
	long := im.ConversationID("g_" + strings.Repeat("x", 5000))
	wantSlice(t, "messages of several logs", bodies(c.messages(timeline.Ref{Conversation: "c_100001_1000020", Seq: 2}, timeline.Ref{Conversation: long, Seq: 1},
		timeline.Ref{Conversation: "g_none", Seq: 1}, timeline.Ref{Conversation: chat, Seq: 3}, timeline.Ref{}, timeline.Ref{Conversation: "c_100001_10000", Seq: 1})),
		"y1", "", "", "3", "", "x0")
}

func testNames(t *testing.T, open Open) {
	c := start(t, open)
	names := []im.ConversationID{"g_1", "g_11", "g_12", "g_1_", "g_1\x00", "g_1\xff", "g_", "r_1", "g_2"}
	for round := range int64(2) {
		for i, name := range names {
			got := c.append(draft(name, im.UserID(i+1), fmt.Sprint(round), im.UserID(i+1)))
			wantEqual(t, fmt.Sprintf("seq in %q", name), got.Seq, round+1)
			wantSlice(t, fmt.Sprintf("inbox seq of %d", i+1), got.InboxSeqs, round+1)
		}
	}
	for _, name := range names {
		wantSlice(t, fmt.Sprintf("log of %q", name), bodies(c.wholeLog(name)), "0", "1")
	}
}

func testLocate(t *testing.T, open Open) {
	ids := im.NewIDGenerator(nil)
	c := startAt(t, open, ids)
	wantEqual(t, "in an empty inbox", c.locate(bob, ids.Next(chat)), int64(0))
	var between []im.MessageID // between[i] is newer than i entries, and no entry's
	for i := range 9 {
		between = append(between, ids.Next(chat))
		to := im.ConversationID("c_100001_100002")
		if i%3 == 0 {
			to = group
		}
		c.append(draft(to, alice, fmt.Sprint(i), bob))
		c.append(draft("c_100001_100003", alice, fmt.Sprint("other", i), carol))
	}
	for name, id := range map[string]im.MessageID{"zero": {}, "the last possible": {255, 255, 255, 255, 255, 255, 255, 255, 255, 255}} {
		c.wantLocated(name, id)
	}
	for i, id := range between {
		c.wantLocated(fmt.Sprint("an unknown one after ", i), id)
	}
	for i, e := range c.wholeInbox(bob) {
		c.wantLocated(fmt.Sprint("the one of entry ", i+1), e.ID)
	}
	for i, e := range c.wholeInbox(carol) {
		c.wantLocated(fmt.Sprint("another inbox's ", i+1), e.ID)
	}
	wantEqual(t, "the place of zero", c.locate(bob, im.MessageID{}), int64(0))
	newest := c.wholeInbox(bob)[8]
	if got := c.locate(bob, newest.ID); got == 0 {
		t.Errorf("the place of the newest is the start: every sync would read the whole inbox")
	}
}

// wantLocated checks the promise of Locate for bob's inbox: every entry with a
// greater ID comes after.
func (c *client) wantLocated(name string, id im.MessageID) {
	c.t.Helper()
	after := c.locate(bob, id)
	entries := c.wholeInbox(bob)
	if after < 0 || after > int64(len(entries)) {
		c.t.Errorf("%s: got seq %d in an inbox of %d", name, after, len(entries))
		return
	}
	for _, e := range entries[:after] {
		if string(e.ID[:]) > string(id[:]) {
			c.t.Errorf("%s: got seq %d, but entry %d has a greater ID", name, after, e.InboxSeq)
		}
	}
}
