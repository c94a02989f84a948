package chat

import (
	"cmp"
	"context"
	"math"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what becomes of messages that the rules shadow: how the sender, and nobody
// else, finds them. README.md tells why they lie where they do.

// shownShadows is how many shadowed messages of a conversation its history can show: the
// newest. The inbox has them all.
const shownShadows = 100

// nextSeq is the seq that the next message of a conversation will have.
func (p *Chat) nextSeq(ctx context.Context, c im.ConversationID) (int64, error) {
	end, err := p.timelines.Log(ctx, c, 0, 0)
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	return end.Head + 1, nil
}

// place is the conversation in which people see a message, and its seq there.
func place(m im.Message, content *chatpb.Content) (im.ConversationID, int64) {
	if c, ok := m.Conversation.Shadowed(); ok {
		return c, content.ShadowSeq
	}
	return m.Conversation, m.Seq
}

// shadows are the newest of user's own in a conversation, half a page of them at most.
func (p *Chat) shadows(ctx context.Context, c im.ConversationID, user im.UserID, codec idl.Codec) ([]*chatpb.Message, error) {
	own, err := p.timelines.LogBefore(ctx, c.Shadow(user), 0, shownShadows)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return p.page(ctx, user, own.Items, p.config.PageBytes/2, codec)
}

// withShadows puts those that belong to a page among its messages.
func withShadows(messages, own []*chatpb.Message, span plugin.Span, page timeline.Page[im.Message]) []*chatpb.Message {
	low, high := covered(span, page)
	for _, m := range own {
		if low <= m.Seq && m.Seq <= high {
			messages = append(messages, m)
		}
	}
	slices.SortFunc(messages, func(a, b *chatpb.Message) int {
		if span.AfterSeq == 0 {
			a, b = b, a
		}
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Id, b.Id))
	})
	return messages
}

// covered are the seqs that a page speaks for, both included. A client goes on behind the
// last of a page, so forward it ends where the log does: what has a seq that the log
// does not have yet must not move the cursor there.
func covered(span plugin.Span, page timeline.Page[im.Message]) (low, high int64) {
	last := int64(0)
	if n := len(page.Items); n > 0 {
		last = page.Items[n-1].Seq
	}
	if span.AfterSeq > 0 {
		return span.AfterSeq + 1, last
	}
	low, high = 1, math.MaxInt64
	if page.HasMore {
		low = last
	}
	if span.BeforeSeq > 0 {
		high = span.BeforeSeq - 1
	}
	return low, high
}

// reached is the seq of an acknowledgement of user's, as the other person may hear of it.
// It refuses one that the conversation does not have yet: a receipt may not run ahead of
// the messages. A shadow has such a seq, perhaps, and leads to the end.
func (p *Chat) reached(ctx context.Context, c im.ConversationID, user im.UserID, seq int64) (int64, error) {
	if seq < 1 {
		return 0, im.Invalid("seq", "must be 1 or more")
	}
	page, err := p.timelines.Log(ctx, c, 0, 0)
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	if seq <= page.Head {
		return seq, nil
	}
	own, err := p.timelines.Log(ctx, c.Shadow(user), 0, 0)
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	if own.Head == 0 || seq > page.Head+1 {
		return 0, im.Invalid("seq", "the conversation ends at %d", page.Head)
	}
	return page.Head, nil
}
