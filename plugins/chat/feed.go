package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
)

// This file is how all that is committed comes into feeds too, if a plugin asked for it: by one more
// inbox of each draft. README.md tells what is in a feed.

// Feed implements plugin.Messages.
func (p *Chat) Feed(woken func(feed im.UserID)) { p.woken = append(p.woken, woken) }

// append commits a draft, to the feed of its conversation too if there are feeds. The
// caller sees nothing of that, but in what Find gives later.
func (p *Chat) append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if len(p.woken) == 0 {
		return p.timelines.Append(ctx, d)
	}
	feed, n, told := im.FeedOf(d.Conversation), len(d.Inboxes), d.OnCommit
	inboxes := make([]im.UserID, n+1) // the caller's, or an owner's, stays as it is
	copy(inboxes, d.Inboxes)
	inboxes[n] = feed
	d.Inboxes = inboxes
	d.OnCommit = func(done timeline.Committed) {
		done.InboxSeqs = done.InboxSeqs[:n]
		told(done)
		for _, woken := range p.woken {
			woken(feed)
		}
	}
	done, err := p.timelines.Append(ctx, d)
	done.InboxSeqs = done.InboxSeqs[:min(n, len(done.InboxSeqs))]
	return done, err
}

// Fed implements plugin.Messages.
func (p *Chat) Fed(ctx context.Context, feed im.UserID, after int64, limit int) (page timeline.Page[plugin.Fed], err error) {
	entries, err := p.timelines.Inbox(ctx, feed, after, limit)
	if err != nil {
		return page, err
	}
	page = timeline.Page[plugin.Fed]{HasMore: entries.HasMore, Head: entries.Head, Floor: entries.Floor}
	messages := make([]im.Message, len(entries.Items))
	for i, e := range entries.Items {
		messages[i] = e.Message
	}
	all, err := p.open(ctx, 0, messages) // a replay shows nothing that was recalled meanwhile
	if err != nil {
		return page, err
	}
	for i := range all {
		_, shadowed := all[i].Conversation.Shadowed()
		page.Items = append(page.Items, plugin.Fed{Position: entries.Items[i].InboxSeq, ID: all[i].ID, Message: all[i].shown(), Shadowed: shadowed})
	}
	return page, nil
}
