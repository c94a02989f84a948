// Package timelinetest is the behaviour of a timeline.Store as tests: what every
// implementation must do, whatever it is made of. It has no store of its own;
// the test of each implementation calls Run.
package timelinetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Open opens the store of one place, where nobody else has it open, with the
// generator that it is to make its message IDs with. What was committed there
// before is still there. It fails the test when it cannot.
type Open func(ids *im.IDGenerator) timeline.Store

// Run tests an implementation. newPlace makes an empty place for a store that
// lasts as long as t, and returns how to open it; the suite closes what it opens.
func Run(t *testing.T, newPlace func(t *testing.T) Open) {
	for _, group := range []struct {
		name string
		test func(t *testing.T, open Open)
	}{
		{"append numbers log and inboxes from 1 without gaps", testSeqs},
		{"append without inboxes writes the log only", testReadDiffusion},
		{"append reaches 500 inboxes at once", testManyInboxes},
		{"a draft whose conditions do not hold commits nothing", testConditions},
		{"of drafts that expect one seq one is committed", testExpectRace},
		{"a message ends the drafts that must not come behind it", testUnlessRace},
		{"a message ends what was decided before", testVersions},
		{"of drafts that race it none that was decided before is behind it", testVersionsRace},
		{"many drafts of one caller keep their order", testAppendAll},
		{"heads of many timelines", testHeads},
		{"append gives back what was stored", testFields},
		{"append keeps empty and binary bodies", testBodies},
		{"append shares no memory with its callers", testAliasing},
		{"IDs grow while the clock stands or steps back", testClock},
		{"IDs grow over a restart with the clock set back", testClockRestart},
		{"a resend gives the first answer", testResend},
		{"a resend after a restart gives the first answer", testResendRestart},
		{"a resend with another digest is a conflict", testConflict},
		{"client IDs are each sender's own", testSenders},
		{"drafts without client ID are never the same", testNoClientID},
		{"a race of resends commits once", testResendRace},
		{"find gives the message, digest and seqs", testFind},
		{"OnCommit comes in order, once, before Append returns", testOnCommit},
		{"OnCommit of one draft may panic", testOnCommitPanics},
		{"what is erased is gone, and nothing else", testErase},
		{"what is erased does not come back by who reads, or resends, meanwhile", testEraseRace},
		{"log pages forward", testLog},
		{"log pages backward", testLogBefore},
		{"log of nothing", testLogEmpty},
		{"inbox pages", testInbox},
		{"inbox of nothing", testInboxEmpty},
		{"entries and messages by their places", testPlaces},
		{"similar names are different timelines", testNames},
		{"locate by message ID", testLocate},
		{"acknowledge only moves forward", testAcknowledge},
		{"positions are where people are", testPositions},
		{"receipts are the latest, behind a moving cursor", testReceipts},
		{"receipts are each audience's own", testReceiptsAudience},
		{"receipts come in pages", testReceiptsPages},
		{"receipts survive a restart", testReceiptsRestart},
		{"a race of acknowledgements ends at the highest", testAcknowledgeRace},
		{"everything survives a restart", testRestart},
		{"a cancelled context", testCancelled},
		{"a closed store", testClosed},
		{"close while writing", testCloseRace},
		{"random writes agree with a model", testModel},
	} {
		t.Run(group.name, func(t *testing.T) { group.test(t, newPlace(t)) })
	}
	t.Run("each store has its epoch", func(t *testing.T) { testEpoch(t, newPlace(t), newPlace(t)) })
	for _, group := range []struct {
		name string
		test func(t *testing.T, open, openOther Open)
	}{
		{"an import holds what was exported", testArchive},
		{"an import into a store that holds something is refused", testImportNotEmpty},
		{"an import that fails leaves an empty store", testImportFails},
		{"an import without an epoch makes one", testImportEpoch},
		{"an export under load is of one moment", testExportUnderLoad},
		{"a renewed epoch stays", testRenew},
	} {
		t.Run(group.name, func(t *testing.T) { group.test(t, newPlace(t), newPlace(t)) })
	}
}

// patience is how long one test of the suite may take.
const patience = time.Minute

// client calls a store. An error of the store fails the test and gives zero
// values. Safe for concurrent use, but for restart.
type client struct {
	t     *testing.T
	store timeline.Store
	ctx   context.Context
}

// start opens the place with a fresh generator on the wall clock. The store is
// closed at the end of the test if the test has not done it.
func start(t *testing.T, open Open) *client {
	return startAt(t, open, im.NewIDGenerator(nil))
}

func startAt(t *testing.T, open Open, ids *im.IDGenerator) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c := &client{t, open(ids), ctx}
	t.Cleanup(func() {
		cancel()
		c.store.Close()
	})
	return c
}

// restart closes the store and opens its place again.
func (c *client) restart(open Open) { c.restartAt(open, im.NewIDGenerator(nil)) }

func (c *client) restartAt(open Open, ids *im.IDGenerator) {
	c.t.Helper()
	if err := c.store.Close(); err != nil {
		c.t.Fatalf("close: %v", err)
	}
	c.store = open(ids)
}

// draft is a message of sender's to a conversation; its body is its client ID.
func draft(conversation im.ConversationID, sender im.UserID, clientID string, inboxes ...im.UserID) timeline.Draft {
	return timeline.Draft{
		Conversation: conversation, Sender: sender, ClientID: clientID,
		Digest: digestOf(clientID), Body: []byte(clientID), Inboxes: inboxes,
	}
}

func digestOf(content string) (d [32]byte) {
	copy(d[:], content)
	return d
}

func (c *client) append(d timeline.Draft) timeline.Committed {
	c.t.Helper()
	done, err := c.store.Append(c.ctx, d)
	if err != nil {
		c.t.Errorf("Append(%s, %q): %v", d.Conversation, d.ClientID, err)
	}
	return done
}

func (c *client) find(sender im.UserID, clientID string) (timeline.Committed, [32]byte, bool) {
	c.t.Helper()
	found, digest, ok, err := c.store.Find(c.ctx, sender, clientID)
	if err != nil {
		c.t.Errorf("Find(%d, %q): %v", sender, clientID, err)
	}
	return found, digest, ok
}

// erase leaves left of some messages.
func (c *client) erase(left string, some ...im.Message) {
	c.t.Helper()
	gone := make([]timeline.Erasure, len(some))
	for i, m := range some {
		gone[i] = timeline.Erasure{Ref: timeline.Ref{Conversation: m.Conversation, Seq: m.Seq}, ID: m.ID, Left: []byte(left)}
	}
	if err := c.store.Erase(c.ctx, gone); err != nil {
		c.t.Errorf("Erase: %v", err)
	}
	for _, one := range gone {
		clear(one.Left) // it is its maker's again
	}
}

func (c *client) log(id im.ConversationID, after int64, limit int) timeline.Page[im.Message] {
	c.t.Helper()
	p, err := c.store.Log(c.ctx, id, after, limit)
	if err != nil {
		c.t.Errorf("Log(%s, %d, %d): %v", id, after, limit, err)
	}
	return p
}

func (c *client) logBefore(id im.ConversationID, before int64, limit int) timeline.Page[im.Message] {
	c.t.Helper()
	p, err := c.store.LogBefore(c.ctx, id, before, limit)
	if err != nil {
		c.t.Errorf("LogBefore(%s, %d, %d): %v", id, before, limit, err)
	}
	return p
}

func (c *client) inbox(user im.UserID, after int64, limit int) timeline.Page[timeline.Entry] {
	c.t.Helper()
	p, err := c.store.Inbox(c.ctx, user, after, limit)
	if err != nil {
		c.t.Errorf("Inbox(%d, %d, %d): %v", user, after, limit, err)
	}
	return p
}

func (c *client) inboxAt(user im.UserID, seqs ...int64) []timeline.Entry {
	c.t.Helper()
	entries, err := c.store.InboxAt(c.ctx, user, seqs)
	if err != nil || len(entries) != len(seqs) {
		c.t.Fatalf("InboxAt(%d, %v): %d entries, %v", user, seqs, len(entries), err)
	}
	return entries
}

func (c *client) messages(places ...timeline.Ref) []im.Message {
	c.t.Helper()
	messages, err := c.store.Messages(c.ctx, places)
	if err != nil || len(messages) != len(places) {
		c.t.Fatalf("Messages(%v): %d messages, %v", places, len(messages), err)
	}
	return messages
}

func (c *client) locate(user im.UserID, id im.MessageID) int64 {
	c.t.Helper()
	after, err := c.store.Locate(c.ctx, user, id)
	if err != nil {
		c.t.Errorf("Locate(%d, %s): %v", user, id, err)
	}
	return after
}

func (c *client) acknowledge(id im.ConversationID, by im.UserID, seq int64, audience ...im.UserID) (moved bool) {
	c.t.Helper()
	moved, err := c.store.Acknowledge(c.ctx, timeline.Receipt{Conversation: id, By: by, Seq: seq}, audience)
	if err != nil {
		c.t.Errorf("Acknowledge(%s, %d, %d): %v", id, by, seq, err)
	}
	return moved
}

func (c *client) positions(id im.ConversationID, people ...im.UserID) []int64 {
	c.t.Helper()
	held, err := c.store.Positions(c.ctx, id, people)
	if err != nil {
		c.t.Errorf("Positions(%s, %v): %v", id, people, err)
	}
	return held
}

func (c *client) receipts(user im.UserID, since int64) ([]timeline.Receipt, int64) {
	c.t.Helper()
	rs, next, more, err := c.store.Receipts(c.ctx, user, since, 1000)
	if err != nil || more {
		c.t.Errorf("Receipts(%d, %d): %v, more: %v", user, since, err, more)
	}
	return rs, next
}

// wholeLog reads a log in pages of a few, and checks what every page must say, and that places find the same.
func (c *client) wholeLog(id im.ConversationID) []im.Message {
	c.t.Helper()
	var all []im.Message
	for {
		p := c.log(id, int64(len(all)), 7)
		all = append(all, p.Items...)
		if !p.HasMore {
			c.wantDense("log of "+string(id), seqs(all), p.Head)
			places := make([]timeline.Ref, len(all))
			for i, m := range all {
				places[i] = timeline.Ref{Conversation: id, Seq: m.Seq}
			}
			for i, m := range c.messages(places...) {
				wantMessage(c.t, "by its place", m, all[i])
			}
			return all
		}
		if len(p.Items) == 0 {
			c.t.Errorf("log of %s: an empty page says that there is more", id)
			return all
		}
	}
}

// wholeInbox is wholeLog for an inbox.
func (c *client) wholeInbox(user im.UserID) []timeline.Entry {
	c.t.Helper()
	var all []timeline.Entry
	for {
		p := c.inbox(user, int64(len(all)), 7)
		all = append(all, p.Items...)
		if !p.HasMore {
			c.wantDense("inbox of "+user.String(), inboxSeqs(all), p.Head)
			for i, e := range c.inboxAt(user, inboxSeqs(all)...) {
				wantEqual(c.t, "place of an entry", e.InboxSeq, all[i].InboxSeq)
				wantMessage(c.t, "by its place in the inbox of "+user.String(), e.Message, all[i].Message)
			}
			return all
		}
		if len(p.Items) == 0 {
			c.t.Errorf("inbox of %d: an empty page says that there is more", user)
			return all
		}
	}
}

// wantDense checks that seqs are 1, 2, 3 … head.
func (c *client) wantDense(what string, seqs []int64, head int64) {
	c.t.Helper()
	if int64(len(seqs)) != head {
		c.t.Errorf("%s: got %d entries, but the head is %d", what, len(seqs), head)
	}
	for i, seq := range seqs {
		if seq != int64(i+1) {
			c.t.Errorf("%s: entry %d has seq %d", what, i+1, seq)
			return
		}
	}
}

func seqs(ms []im.Message) (out []int64) {
	for _, m := range ms {
		out = append(out, m.Seq)
	}
	return out
}

func inboxSeqs(es []timeline.Entry) (out []int64) {
	for _, e := range es {
		out = append(out, e.InboxSeq)
	}
	return out
}

func bodies(ms []im.Message) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.Body))
	}
	return out
}

func entryBodies(es []timeline.Entry) (out []string) {
	for _, e := range es {
		out = append(out, string(e.Body))
	}
	return out
}

func want[T any](t *testing.T, what string, got, want T, equal func(a, b T) bool) {
	t.Helper()
	if !equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	want(t, what, got, wanted, func(a, b T) bool { return a == b })
}

func wantSlice[T comparable](t *testing.T, what string, got []T, wanted ...T) {
	t.Helper()
	want(t, what, got, wanted, slices.Equal[[]T])
}

func wantError(t *testing.T, what string, got, wanted error) {
	t.Helper()
	if !errors.Is(got, wanted) {
		t.Errorf("%s: got error %v, want %v", what, got, wanted)
	}
}

// wantMessage compares all that a message holds.
func wantMessage(t *testing.T, what string, got, want im.Message) {
	t.Helper()
	same := got.ID == want.ID && got.Conversation == want.Conversation && got.Seq == want.Seq &&
		got.Sender == want.Sender && got.ClientID == want.ClientID && got.Time.Equal(want.Time) &&
		string(got.Body) == string(want.Body)
	if !same {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}
