package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how a person's list of conversations follows his inbox and his receipts: when he asks
// for it, never when somebody writes. README.md tells why.

// followBatch is how many entries of an inbox are taken at once.
const followBatch = 500

// How many times followBatch messages of logs that somebody follows are brought into his inbox at most, before his list
// is brought up to date: for a list that he waits for, and for a copy of what is kept of him. For a badge it is one (badges.go).
const (
	gatherForList   = 20
	gatherForExport = 100
)

// upToDate brings a person's list up to date, or refuses when there is so much that it takes another call: what this one
// did, the next need not.
func (p *Chat) upToDate(ctx context.Context, u im.UserID) error {
	more, err := p.follow(ctx, u, gatherForList)
	if err == nil && more {
		err = im.Unavailable(gatherAgain, errGathering)
	}
	return err
}

// gatherAgain is when who waits for his list may ask again.
const gatherAgain = 200 * time.Millisecond

var errGathering = errors.New("more has come of large groups than one call brings into the list")

// follow brings a person's list up to date, but for what is left of the logs that he follows after so many
// steps: then there is more. Several cores may do so at once: of each step one counts, and the others see what it did.
func (p *Chat) follow(ctx context.Context, u im.UserID, steps int) (more bool, err error) {
	if more, err = p.gatherUp(ctx, u, steps); err != nil {
		return false, err
	}
	return more, p.followInbox(ctx, u)
}

// gatherUp gathers in so many steps at most; more says that there is more.
func (p *Chat) gatherUp(ctx context.Context, u im.UserID, steps int) (more bool, err error) {
	for more = true; more && steps > 0; steps-- {
		g, err := p.gather(ctx, u, followBatch)
		if err != nil {
			return false, err
		}
		more = g.more
	}
	return more, nil
}

// gatherAll gathers all that waits for somebody, or refuses as upToDate does.
func (p *Chat) gatherAll(ctx context.Context, u im.UserID) error {
	more, err := p.gatherUp(ctx, u, gatherForList)
	if err == nil && more {
		err = im.Unavailable(gatherAgain, errGathering)
	}
	return err
}

// followInbox brings a person's list to the end of his inbox.
func (p *Chat) followInbox(ctx context.Context, u im.UserID) error {
	for {
		at, err := p.lists.followed(ctx, u)
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		if epoch := p.timelines.Epoch(); at.epoch != epoch {
			if err := p.restart(ctx, u, at, epoch); err != nil {
				return plugin.Stored(ctx, err)
			}
			continue
		}
		more, err := p.followSome(ctx, u, at)
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		if !more {
			return nil
		}
	}
}

// followSome takes one step; again says that another is to follow.
func (p *Chat) followSome(ctx context.Context, u im.UserID, at followed) (again bool, err error) {
	moved, read, more, err := p.timelines.Receipts(ctx, u, at.receipts, followBatch)
	if err != nil {
		return false, err
	}
	page, err := p.entries(ctx, u, at.inbox, followBatch)
	if err != nil {
		return false, err
	}
	to := followed{epoch: at.epoch, inbox: at.inbox, receipts: max(read, at.receipts)}
	if n := len(page.Items); n > 0 {
		to.inbox = page.Items[n-1].InboxSeq
	}
	if to == at {
		return false, nil
	}
	news, err := newsOf(u, page.Items, moved)
	if err != nil {
		return false, err
	}
	if err := p.standAll(ctx, u, news); err != nil {
		return false, err
	}
	mine := false
	err = p.host.Tx(ctx, func(tx *sql.Tx) (err error) {
		if mine, err = p.lists.move(ctx, tx, u, at, to); !mine || err != nil {
			return err
		}
		return p.take(ctx, tx, u, news)
	})
	return !mine || page.HasMore || more, err
}

// news is what came of one conversation.
type news struct {
	read    int64
	entries []newEntry
	aside   bool // it stands in the list where at says, not by its place in the inbox
	at      int64
}

// newEntry is an entry of an inbox, as far as a list cares.
type newEntry struct {
	inbox, seq int64
	id         im.MessageID
	logged     bool  // it came into the inbox when its person asked
	shadow     bool  // only the person sees it: seq is the one that it seems to have
	own        bool  // he wrote it
	silent     bool  // it makes nothing unread: an event, or for programs
	mention    bool  // it names him
	lifetime   int64 // it disappears so long after it was committed, in ms, at expires; 0: it stays
	expires    int64
	quiet      bool  // it moves nothing in the list: for programs, or about another message
	recalled   int64 // the seq of the message that it tells is recalled; 0: none
}

// newsOf sorts entries and receipts by conversation.
func newsOf(u im.UserID, entries []timeline.Entry, moved []timeline.Receipt) (map[im.ConversationID]*news, error) {
	all := map[im.ConversationID]*news{}
	of := func(c im.ConversationID) *news {
		if all[c] == nil {
			all[c] = &news{}
		}
		return all[c]
	}
	for _, r := range moved {
		if read, is := readOf(r); is && r.By == u {
			of(im.ConversationID(read.ConversationId)).read = read.Seq
		}
	}
	for _, e := range entries {
		var content chatpb.Content
		if err := content.Unmarshal(e.Body); err != nil {
			return nil, fmt.Errorf("body of message %s: %w", e.ID, err)
		}
		c, seq := place(e.Message, &content)
		if c.Type() == im.Notices {
			continue
		}
		_, shadow := e.Conversation.Shadowed()
		n := of(c)
		n.entries = append(n.entries, newEntry{inbox: e.InboxSeq, seq: seq, id: e.ID, logged: content.Logged && !shadow, shadow: shadow, own: e.Sender == u,
			silent: content.Kind == kindEvent || content.Kind == kindCommand, mention: content.MentionsAll || slices.Contains(content.Mentions, int64(u)),
			quiet: content.About != nil || content.Kind == kindCommand, recalled: recalledBy(&content), lifetime: content.LifetimeMs, expires: expiryMs(e.Message, &content)})
	}
	return all, nil
}

// recalledBy is the seq of the message that an event says was recalled; 0: it says no such thing.
func recalledBy(content *chatpb.Content) int64 {
	if content.Event != eventRecalled {
		return 0
	}
	return content.About.GetSeq()
}

// take writes what came into a person's conversations.
func (p *Chat) take(ctx context.Context, tx *sql.Tx, u im.UserID, all map[im.ConversationID]*news) error {
	names := make([]im.ConversationID, 0, len(all))
	for c := range all {
		names = append(names, c)
	}
	rows, err := p.lists.some(ctx, tx, u, names)
	if err != nil {
		return err
	}
	now := p.host.Now()
	for c, n := range all {
		l := rows[c]
		switch {
		case l == nil && len(n.entries) == 0:
			l = &listed{conversation: c, read: n.read, fresh: true} // what it reads is in the inbox behind
		case l == nil:
			l = &listed{conversation: c, fresh: true}
		}
		l.read = max(l.read, n.read)
		for _, e := range n.entries {
			l.add(e, now)
		}
		if err := p.lists.follow(ctx, tx, u, l, now); err != nil {
			return err
		}
		if err := p.lists.stand(ctx, tx, u, l, n); err != nil {
			return err
		}
	}
	return nil
}

// add counts an entry.
func (l *listed) add(e newEntry, now time.Time) {
	if !e.quiet {
		l.lastInbox = e.inbox
	}
	if e.shadow {
		if !e.quiet { // what became of such a message is nothing that he wrote
			l.since = max(l.since, e.seq-1)
		}
		return
	}
	if l.lastSeq == 0 || e.seq > l.lastSeq+1 { // he came, or came back
		l.since = max(l.since, e.seq-1)
	}
	countless := e.silent || e.expires > 0 && e.expires <= now.UnixMilli()
	nothing := countless && l.unread(now) == 0
	l.lastSeq = e.seq
	switch {
	case e.own && !e.silent, nothing:
		l.since = max(l.since, e.seq)
	case countless:
		l.uncounted = l.uncounted.add(e.seq)
	default:
		if e.mention {
			l.mentions = l.mentions.add(e.seq)
		}
		if e.expires > 0 {
			l.fading = l.fading.add(e.seq, e.expires, e.lifetime)
		}
	}
	if e.recalled > l.seen() { // what was not read yet is not to be read any more
		l.uncounted, l.mentions = l.uncounted.add(e.recalled), l.mentions.remove(e.recalled)
	}
}

// restart has a list follow the store's present life from its beginning. What the person said of
// conversations stays.
func (p *Chat) restart(ctx context.Context, u im.UserID, at followed, epoch string) error {
	ends := map[im.ConversationID]int64{}
	if !at.fresh {
		deleted, err := p.lists.list(ctx, p.host.DB(), selectListed+" AND floor_seq > 0", int64(u))
		if err != nil {
			return err
		}
		names := make([]im.ConversationID, len(deleted))
		for i, l := range deleted {
			names[i] = l.conversation
		}
		heads, _, err := p.timelines.Heads(ctx, names, nil)
		if err != nil {
			return err
		}
		for i, c := range names {
			ends[c] = heads[i]
		}
	}
	err := p.host.Tx(ctx, func(tx *sql.Tx) error {
		mine, err := p.lists.move(ctx, tx, u, at, followed{epoch: epoch})
		if !mine || err != nil || at.fresh {
			return err
		}
		return p.lists.forget(ctx, tx, u, ends)
	})
	if err != nil && at.fresh { // engines report a broken unique index in words of their own: look instead
		if now, lookErr := p.lists.followed(ctx, u); lookErr == nil && !now.fresh {
			return nil // somebody else began it
		}
	}
	return err
}
