package timelinetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// testErase erases some messages of two logs, among others that stay.
func testErase(t *testing.T, open Open) {
	c := start(t, open)
	var sent []timeline.Committed
	for i := range 12 {
		sent = append(sent, c.append(draft([]im.ConversationID{chat, group}[i%2], alice, fmt.Sprint("m", i), alice, bob)))
	}
	anonymous := c.append(draft(chat, bob, "", bob, alice))
	whole, inbox := c.wholeLog(chat), c.wholeInbox(bob) // whoever keeps copies has them now
	stranger := sent[2].Message
	stranger.ID[9]++
	beyond := sent[2].Message
	beyond.Seq += 100
	elsewhere := sent[2].Message
	elsewhere.Conversation = "g_nobody"

	for _, left := range []string{"", "", "a place"} {
		c.erase(left, sent[0].Message, stranger, sent[5].Message, beyond, sent[6].Message, elsewhere, sent[0].Message, anonymous.Message)
		for _, when := range []string{"at once", "after a restart"} {
			check := func(where string, got, was im.Message) {
				t.Helper()
				if was = like(was); was.ID == sent[0].ID || was.ID == sent[5].ID || was.ID == sent[6].ID || was.ID == anonymous.ID {
					was.Body = []byte(left)
				}
				wantMessage(t, where+" "+when, got, was)
			}
			for i, m := range c.wholeLog(chat) {
				check("in the log", m, whole[i])
			}
			for i, m := range c.logBefore(chat, 0, 100).Items {
				check("in the log, backward", m, whole[len(whole)-1-i])
			}
			for i, e := range c.wholeInbox(bob) {
				check("in the inbox", e.Message, inbox[i].Message)
			}
			for i, first := range sent {
				found, digest, ok := c.find(alice, first.ClientID)
				wantEqual(t, "found "+when, ok, true)
				wantEqual(t, "digest "+when, digest, digestOf(fmt.Sprint("m", i)))
				check("found", found.Message, first.Message)
				wantSlice(t, "inbox seqs "+when, found.InboxSeqs, first.InboxSeqs...)
				again := c.append(draft(first.Conversation, alice, first.ClientID, alice, bob))
				wantEqual(t, "duplicate "+when, again.Duplicate, true)
				check("the resend's answer", again.Message, first.Message)
			}
			c.restart(open)
		}
	}
	other := draft(chat, alice, "m0", alice, bob)
	other.Digest = digestOf("another")
	_, err := c.store.Append(c.ctx, other)
	wantError(t, "another message under the client ID of one that is erased", err, timeline.ErrConflict)
	next := c.append(draft(chat, alice, "next", alice, bob))
	wantEqual(t, "the next seq", next.Seq, anonymous.Seq+1)
	wantEqual(t, "messages in the log that nobody wrote to", len(c.wholeLog("g_nobody")), 0)
	if err := c.store.Erase(c.ctx, nil); err != nil {
		t.Errorf("erase nothing: %v", err)
	}
}

func like(m im.Message) im.Message {
	m.Body = bytes.Clone(m.Body)
	return m
}

// testEraseRace has many read and resend a message while it is erased: who asks afterwards, as often as he likes, gets its body
// from nowhere.
func testEraseRace(t *testing.T, open Open) {
	c := start(t, open)
	for round := range 20 {
		d := draft(chat, alice, fmt.Sprint("secret", round), alice, bob)
		m := c.append(d).Message
		ask := []func() []string{
			func() []string { return bodies(c.logBefore(chat, 0, 3).Items) },
			func() []string { return bodies(c.log(chat, m.Seq-1, 3).Items) },
			func() []string { return entryBodies(c.inbox(bob, m.Seq-1, 3).Items) },
			func() []string { return []string{string(c.append(d).Body)} },
			func() []string {
				found, _, _ := c.find(alice, d.ClientID)
				return []string{string(found.Body)}
			},
		}
		var busy sync.WaitGroup
		done := make(chan struct{})
		for _, ask := range ask {
			busy.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						ask()
					}
				}
			})
		}
		c.erase("gone", m)
		for range 20 {
			for i, ask := range ask {
				if got := ask(); slices.Contains(got, d.ClientID) || !slices.Contains(got, "gone") {
					t.Errorf("round %d: asked in way %d, got %q", round, i, got)
				}
			}
		}
		close(done)
		busy.Wait()
	}
}
