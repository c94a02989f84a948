package timelinetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// The people and conversations of the tests.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002
	carol im.UserID = 100003

	chat  im.ConversationID = "c_100001_100002"
	group im.ConversationID = "g_7"
	room  im.ConversationID = "r_9"
)

func testSeqs(t *testing.T, open Open) {
	c := start(t, open)
	for i := range int64(5) {
		got := c.append(draft(chat, alice, fmt.Sprint("chat", i), alice, bob))
		wantEqual(t, "seq in the chat", got.Seq, i+1)
		wantSlice(t, "inbox seqs of alice and bob", got.InboxSeqs, 2*i+1, i+1)
		got = c.append(draft(group, carol, fmt.Sprint("group", i), carol, alice))
		wantEqual(t, "seq in the group", got.Seq, i+1)
		wantSlice(t, "inbox seqs of carol and alice", got.InboxSeqs, i+1, 2*i+2)
	}
	wantEqual(t, "messages in the chat", len(c.wholeLog(chat)), 5)
	wantEqual(t, "entries of alice", len(c.wholeInbox(alice)), 10)
}

func testReadDiffusion(t *testing.T, open Open) {
	c := start(t, open)
	got := c.append(draft(room, alice, "hello"))
	wantEqual(t, "inbox seqs", len(got.InboxSeqs), 0)
	wantSlice(t, "log", bodies(c.wholeLog(room)), "hello")
	wantEqual(t, "entries of the sender", len(c.wholeInbox(alice)), 0)
	again := c.append(draft(room, alice, "hello"))
	wantEqual(t, "duplicate", again.Duplicate, true)
	wantEqual(t, "inbox seqs of the duplicate", len(again.InboxSeqs), 0)
}

func testManyInboxes(t *testing.T, open Open) {
	c := start(t, open)
	var people []im.UserID
	for i := range im.UserID(500) {
		people = append(people, 5000+i)
	}
	c.append(draft(chat, people[3], "before", people[3], people[499]))
	first := c.append(draft(group, people[0], "to all", people...))
	second := c.append(draft(group, people[1], "to all again", people...))
	for i, user := range people {
		before := int64(0)
		if i == 3 || i == 499 {
			before = 1
		}
		wantEqual(t, "first inbox seq", first.InboxSeqs[i], before+1)
		wantEqual(t, "second inbox seq", second.InboxSeqs[i], before+2)
		wantSlice(t, "inbox", entryBodies(c.inbox(user, before, 10).Items), "to all", "to all again")
	}
	again := c.append(draft(group, people[0], "to all", people...))
	wantSlice(t, "inbox seqs of the duplicate", again.InboxSeqs, first.InboxSeqs...)
}

func testFields(t *testing.T, open Open) {
	before := time.Now().Truncate(time.Millisecond)
	c := start(t, open)
	got := c.append(draft(chat, alice, "a1", alice, bob))
	after := time.Now()
	if got.Time.Before(before) || got.Time.After(after) {
		t.Errorf("time: got %s, want between %s and %s", got.Time, before, after)
	}
	wantEqual(t, "type in the ID", got.ID.Type(), im.Chat)
	wantEqual(t, "duplicate", got.Duplicate, false)
	wantMessage(t, "committed", got.Message, im.Message{
		ID: got.ID, Conversation: chat, Seq: 1, Sender: alice, ClientID: "a1", Time: got.Time, Body: []byte("a1"),
	})
	wantMessage(t, "in the log", c.wholeLog(chat)[0], got.Message)
	wantMessage(t, "in alice's inbox", c.wholeInbox(alice)[0].Message, got.Message)
	wantMessage(t, "in bob's inbox", c.wholeInbox(bob)[0].Message, got.Message)
}

func testBodies(t *testing.T, open Open) {
	c := start(t, open)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, body := range [][]byte{nil, {}, {0}, all, make([]byte, 64<<10)} {
		d := draft(chat, alice, fmt.Sprint("of ", len(body), body == nil), alice, bob)
		d.Body = body
		c.append(d)
		log := c.logBefore(chat, 0, 1)
		wantEqual(t, "body in the log", string(log.Items[0].Body), string(body))
		inbox := c.wholeInbox(bob)
		wantEqual(t, "body in the inbox", string(inbox[len(inbox)-1].Body), string(body))
	}
}

func testAliasing(t *testing.T, open Open) {
	c := start(t, open)
	d := draft(chat, alice, "secret", alice, bob)
	first := c.append(d)
	places := fmt.Sprint(first.InboxSeqs)
	for range 3 { // the first one's, and those of duplicates
		spoil(first.Message)
		first.InboxSeqs[0] = 99
		first = c.append(d)
		wantEqual(t, "body of a duplicate", string(first.Body), "secret")
		wantEqual(t, "places of a duplicate", fmt.Sprint(first.InboxSeqs), places)
	}
	found, _, _ := c.find(alice, "secret")
	spoil(found.Message)
	spoil(c.wholeLog(chat)[0])
	spoil(c.logBefore(chat, 0, 1).Items[0])
	spoil(c.wholeInbox(bob)[0].Message)
	spoil(c.inboxAt(bob, 1)[0].Message)
	spoil(c.messages(timeline.Ref{Conversation: chat, Seq: 1})[0])
	for i := range d.Body { // the draft is its maker's again
		d.Body[i] = '!'
	}
	wantSlice(t, "log", bodies(c.wholeLog(chat)), "secret")
	wantSlice(t, "inbox", entryBodies(c.wholeInbox(bob)), "secret")

	page := c.wholeLog(chat)
	c.append(draft(chat, alice, "another", alice, bob))
	_ = append(page[0].Body, "overwritten?"...)
	c.wholeLog(chat)
	wantSlice(t, "a page read before", bodies(page), "secret")
}

func spoil(m im.Message) {
	for i := range m.Body {
		m.Body[i] = '?'
	}
}

func testClock(t *testing.T, open Open) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var mu sync.Mutex // guards now
	c := startAt(t, open, im.NewIDGenerator(func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}))
	var last im.MessageID
	for i, step := range []time.Duration{0, 0, time.Millisecond, -time.Hour, 0, 30 * time.Minute, -48 * time.Hour} {
		mu.Lock()
		now = now.Add(step)
		mu.Unlock()
		got := c.append(draft(chat, alice, fmt.Sprint(i), alice, bob))
		if string(got.ID[:]) <= string(last[:]) {
			t.Errorf("after a step of %s: got ID %s, want one above %s", step, got.ID, last)
		}
		last = got.ID
	}
}

func testClockRestart(t *testing.T, open Open) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	at := func(now time.Time) *im.IDGenerator {
		return im.NewIDGenerator(func() time.Time { return now })
	}
	c := startAt(t, open, at(noon))
	first := c.append(draft(chat, alice, "first", alice, bob))
	c.restartAt(open, at(noon.Add(-time.Hour)))
	second := c.append(draft(chat, alice, "second", alice, bob))
	if string(second.ID[:]) <= string(first.ID[:]) {
		t.Errorf("after a restart an hour earlier: got ID %s, want one above %s", second.ID, first.ID)
	}
}

func testResend(t *testing.T, open Open) {
	c := start(t, open)
	d := draft(chat, alice, "a1", alice, bob)
	first := c.append(d)
	c.append(draft(chat, bob, "b1", bob, alice))

	d.Body = []byte("a rule rewrote it differently this time")
	d.Inboxes = []im.UserID{alice, bob, carol}
	again := c.append(d)
	wantEqual(t, "duplicate", again.Duplicate, true)
	wantMessage(t, "the resend's answer", again.Message, first.Message)
	wantSlice(t, "its inbox seqs", again.InboxSeqs, first.InboxSeqs...)
	wantSlice(t, "log", bodies(c.wholeLog(chat)), "a1", "b1")
	wantSlice(t, "bob's inbox", entryBodies(c.wholeInbox(bob)), "a1", "b1")
	wantEqual(t, "entries of carol", len(c.wholeInbox(carol)), 0)
}

func testResendRestart(t *testing.T, open Open) {
	c := start(t, open)
	first := c.append(draft(chat, alice, "a1", alice, bob))
	c.restart(open)
	again := c.append(draft(chat, alice, "a1", alice, bob))
	wantEqual(t, "duplicate", again.Duplicate, true)
	wantMessage(t, "the resend's answer", again.Message, first.Message)
	wantSlice(t, "its inbox seqs", again.InboxSeqs, first.InboxSeqs...)
	wantEqual(t, "messages", len(c.wholeLog(chat)), 1)
}

func testConflict(t *testing.T, open Open) {
	c := start(t, open)
	first := c.append(draft(chat, alice, "a1", alice, bob))
	d := draft(chat, alice, "a1", alice, bob)
	d.Digest = digestOf("something else")
	d.OnCommit = func(timeline.Committed) { t.Error("OnCommit was called for a conflict") }
	_, err := c.store.Append(c.ctx, d)
	wantError(t, "another digest", err, timeline.ErrConflict)
	wantEqual(t, "messages", len(c.wholeLog(chat)), 1)

	next := c.append(draft(chat, alice, "a2", alice, bob))
	wantEqual(t, "the next seq", next.Seq, first.Seq+1)
	wantSlice(t, "the next inbox seqs", next.InboxSeqs, 2, 2)
}

func testSenders(t *testing.T, open Open) {
	c := start(t, open)
	c.append(draft(chat, alice, "1", alice, bob))
	got := c.append(draft(chat, bob, "1", bob, alice))
	wantEqual(t, "duplicate", got.Duplicate, false)
	wantEqual(t, "seq", got.Seq, int64(2))
	// The client ID counts in all conversations of the sender.
	got = c.append(draft(group, alice, "1", alice, carol))
	wantEqual(t, "duplicate in another conversation", got.Duplicate, true)
	wantEqual(t, "its conversation", got.Conversation, chat)
}

func testNoClientID(t *testing.T, open Open) {
	c := start(t, open)
	for i := range int64(3) {
		got := c.append(draft(chat, alice, "", alice, bob))
		wantEqual(t, "duplicate", got.Duplicate, false)
		wantEqual(t, "seq", got.Seq, i+1)
	}
	_, _, ok := c.find(alice, "")
	wantEqual(t, "found", ok, false)
}

func testResendRace(t *testing.T, open Open) {
	c := start(t, open)
	for round := range 20 {
		d := draft(chat, alice, fmt.Sprint("round", round), alice, bob)
		var mu sync.Mutex // guards told
		told := 0
		d.OnCommit = func(timeline.Committed) {
			mu.Lock()
			told++
			mu.Unlock()
		}
		answers := make([]timeline.Committed, 16)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				var err error
				if answers[i], err = c.store.Append(c.ctx, d); err != nil {
					t.Errorf("append: %v", err)
				}
			})
		}
		all.Wait()
		originals := 0
		for _, got := range answers {
			wantMessage(t, "answer", got.Message, answers[0].Message)
			wantSlice(t, "inbox seqs", got.InboxSeqs, int64(round+1), int64(round+1))
			if !got.Duplicate {
				originals++
			}
		}
		for i, got := range answers {
			spoil(got.Message)
			got.InboxSeqs[0] = -1
			for _, other := range answers[i+1:] {
				wantEqual(t, "body beside a changed one", string(other.Body), d.ClientID)
				wantEqual(t, "inbox seq beside a changed one", other.InboxSeqs[0], int64(round+1))
			}
		}
		wantEqual(t, "answers that are no duplicate", originals, 1)
		wantEqual(t, "calls of OnCommit", told, 1)
	}
	wantEqual(t, "messages", len(c.wholeLog(chat)), 20)
}

func testFind(t *testing.T, open Open) {
	c := start(t, open)
	if _, _, ok := c.find(alice, "a1"); ok {
		t.Error("found a message that was not sent")
	}
	committed := c.append(draft(chat, alice, "a1", alice, bob))
	for _, when := range []string{"at once", "after a restart"} {
		found, digest, ok := c.find(alice, "a1")
		wantEqual(t, "found "+when, ok, true)
		wantEqual(t, "digest "+when, digest, digestOf("a1"))
		wantMessage(t, "message "+when, found.Message, committed.Message)
		wantSlice(t, "inbox seqs "+when, found.InboxSeqs, committed.InboxSeqs...)
		for _, miss := range []struct {
			sender   im.UserID
			clientID string
		}{{bob, "a1"}, {alice, "a"}, {alice, "a11"}, {alice, "A1"}} {
			if _, _, ok := c.find(miss.sender, miss.clientID); ok {
				t.Errorf("found %q of %d %s", miss.clientID, miss.sender, when)
			}
		}
		c.restart(open)
	}
}

func testOnCommit(t *testing.T, open Open) {
	c := start(t, open)
	const writers, each = 8, 25
	var mu sync.Mutex // guards the slices
	var logs, inboxes []int64
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				told := make(chan timeline.Committed, 2)
				d := draft(group, im.UserID(w+1), fmt.Sprint(i), alice, bob)
				d.OnCommit = func(done timeline.Committed) {
					mu.Lock()
					logs, inboxes = append(logs, done.Seq), append(inboxes, done.InboxSeqs[1])
					mu.Unlock()
					told <- done
				}
				got := c.append(d)
				c.append(d) // a duplicate: no call
				if len(told) != 1 {
					t.Errorf("OnCommit was called %d times before Append returned", len(told))
					continue
				}
				wantMessage(t, "what OnCommit got", (<-told).Message, got.Message)
			}
		})
	}
	all.Wait()
	c.wantDense("seqs as OnCommit got them", logs, writers*each)
	c.wantDense("inbox seqs as OnCommit got them", inboxes, writers*each)
}

func testOnCommitPanics(t *testing.T, open Open) {
	c := start(t, open)
	d := draft(chat, alice, "bad", alice, bob)
	d.OnCommit = func(timeline.Committed) { panic("of the test") }
	wantEqual(t, "seq", c.append(d).Seq, int64(1))
	wantEqual(t, "the next seq", c.append(draft(chat, alice, "good", alice, bob)).Seq, int64(2))
}
