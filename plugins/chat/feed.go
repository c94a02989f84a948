package chat

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how all that is committed comes into feeds too, if a plugin asked for it, by one more
// inbox of each draft; and what comes there alone, of other plugins. README.md tells what is in a feed.

// The names of people's messages.
const (
	committedName = "message.committed"
	shadowedName  = "message.shadowed"
)

// outbox is the service plugin.ServiceOutbox.
type outbox struct{ *Chat }

// Feed implements plugin.Outbox.
func (p outbox) Feed(f plugin.Feeding) { p.feedings = append(p.feedings, f) }

// Show implements plugin.Outbox.
func (p outbox) Show(t im.ConversationType, show plugin.Show) { p.shows[t] = show }

// Wanted implements plugin.Outbox.
func (p outbox) Wanted(event string) bool {
	for _, f := range p.feedings {
		if event != "" && f.Wants != nil && f.Wants(event) {
			return true
		}
	}
	return false
}

// Append implements plugin.Outbox.
func (p outbox) Append(ctx context.Context, event string, d timeline.Draft) (timeline.Committed, error) {
	if !p.Wanted(event) {
		return p.timelines.Append(ctx, d)
	}
	return p.append(ctx, d)
}

// Tell implements plugin.Outbox.
func (p outbox) Tell(ctx context.Context, notices ...plugin.Notice) []error {
	faults := make([]error, len(notices))
	var drafts []timeline.Draft
	var of []int // the notice of each
	for i, n := range notices {
		if !p.Wanted(n.Name) {
			continue
		}
		d, err := p.noticed(n)
		if err != nil {
			faults[i] = fmt.Errorf("tell other programs: %w", err)
			continue
		}
		drafts, of = append(drafts, d), append(of, i)
	}
	for i, err := range p.timelines.AppendAll(ctx, drafts) {
		faults[of[i]] = err
	}
	return faults
}

// noticed is a notice as it is committed: beside what it is about, and to the same feed.
func (p *Chat) noticed(n plugin.Notice) (d timeline.Draft, err error) {
	if err := checkEvent(n.Name, n.Data); err != nil {
		return d, err
	}
	if len(n.ID) < 1 || len(n.ID) > 64 || n.About.Type() == 0 {
		return d, fmt.Errorf("%s about %q has an ID of %d octets", n.Name, n.About, len(n.ID))
	}
	content := chatpb.Content{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Event: n.Name, Data: n.Data}
	body, err := content.Marshal(nil)
	c := n.About.Aside()
	return p.fed(timeline.Draft{Conversation: c, ClientID: n.ID, Digest: sha256.Sum256(append([]byte(c), body...)), Body: body,
		OnCommit: func(timeline.Committed) {}}), err
}

// Note implements plugin.Outbox.
func (p outbox) Note(ctx context.Context, tx *sql.Tx, n plugin.Notice) error {
	if !p.Wanted(n.Name) {
		return nil
	}
	if err := checkEvent(n.Name, n.Data); err != nil {
		return fmt.Errorf("note what other programs are told: %w", err)
	}
	return p.events.put(ctx, tx, asideMark+string(n.About), plugin.Event{Name: n.Name, Data: n.Data})
}

// fed has a draft come into the feed of its conversation too. Its caller sees nothing of that, but in
// Committed.InboxSeqs and what Find gives later.
func (p *Chat) fed(d timeline.Draft) timeline.Draft {
	feed, n, told := im.FeedOf(d.Conversation), len(d.Inboxes), d.OnCommit
	inboxes := make([]im.UserID, n+1) // the caller's, or an owner's, stays as it is
	copy(inboxes, d.Inboxes)
	inboxes[n] = feed
	d.Inboxes = inboxes
	d.OnCommit = func(done timeline.Committed) {
		done.InboxSeqs = done.InboxSeqs[:n]
		told(done)
		for _, f := range p.feedings {
			f.Woken(feed)
		}
	}
	return d
}

// append commits a draft, to the feed of its conversation too if there are feeds.
func (p *Chat) append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if len(p.feedings) == 0 {
		return p.timelines.Append(ctx, d)
	}
	n := len(d.Inboxes)
	done, err := p.timelines.Append(ctx, p.fed(d))
	done.InboxSeqs = done.InboxSeqs[:min(n, len(done.InboxSeqs))]
	return done, err
}

// Fed implements plugin.Outbox.
func (p outbox) Fed(ctx context.Context, feed im.UserID, after int64, limit int) (page timeline.Page[plugin.Fed], err error) {
	entries, err := p.timelines.Inbox(ctx, feed, after, limit)
	if err != nil {
		return page, err
	}
	page = timeline.Page[plugin.Fed]{HasMore: entries.HasMore, Head: entries.Head, Floor: entries.Floor}
	page.Items = make([]plugin.Fed, len(entries.Items))
	var own []im.Message // chat's
	var at []int         // where in the page each is
	for i, e := range entries.Items {
		item := &page.Items[i]
		*item = plugin.Fed{Position: e.InboxSeq, ID: e.ID, Time: e.Time}
		show := p.shows[e.Conversation.Type()]
		if show == nil || e.Conversation.IsAside() {
			own, at = append(own, e.Message), append(at, i)
		} else if item.Event, item.Message, err = show(e.Message); err != nil {
			return page, err
		} else if shadowed(e.Conversation) { // an earlier version fed it
			item.Shadowed, item.Event = true, shadowedName
		}
	}
	all, err := p.open(ctx, 0, own) // a replay shows nothing that was recalled meanwhile
	if err != nil {
		return page, err
	}
	for i := range all {
		fill(&page.Items[at[i]], &all[i])
	}
	return page, nil
}

// fill makes an item of a message of chat's.
func fill(item *plugin.Fed, o *opened) {
	m := o.shown()
	item.Message, item.Event = m, committedName
	if shadowed(o.Conversation) {
		item.Shadowed, item.Event = true, shadowedName
	} else if m.Kind == kindEvent {
		item.Event = m.Event
	}
}

// shadowed reports whether c is the log of what only its sender sees.
func shadowed(c im.ConversationID) bool {
	_, beside := c.Shadowed()
	return beside && !c.IsAside()
}
