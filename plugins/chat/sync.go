package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	usualSync = 100 // entries in a page that names no limit
	mostSync  = 500
)

// sync gives a device what its inbox holds after its cursor. An answer is never
// silently partial: has_more, floor, epoch and restarted say what it covers.
func (p *Chat) sync(ctx context.Context, call *plugin.Call, req *chatpb.SyncRequest) (*chatpb.SyncReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualSync, mostSync)
	if err != nil {
		return nil, err
	}
	rep := &chatpb.SyncReply{Epoch: p.timelines.Epoch()}
	rep.Restarted = req.Epoch != "" && req.Epoch != rep.Epoch
	page, err := p.inbox(ctx, call.User, req, rep, limit)
	if err != nil {
		return nil, err
	}
	if err := p.fill(rep, page, call.Codec); err != nil {
		return nil, err
	}
	if rep.HasMore {
		return rep, nil
	}
	return rep, p.receipts(ctx, call.User, req, rep)
}

// inbox reads the page after the request's cursor, or from the floor when that
// cursor means nothing in this inbox; then it sets rep.Restarted.
func (p *Chat) inbox(ctx context.Context, user im.UserID, req *chatpb.SyncRequest, rep *chatpb.SyncReply,
	limit int) (timeline.Page[timeline.Entry], error) {
	after, err := p.cursor(ctx, user, req, rep.Restarted)
	if err != nil {
		return timeline.Page[timeline.Entry]{}, err
	}
	page, err := p.timelines.Inbox(ctx, user, after, limit)
	if err != nil {
		return page, plugin.Stored(ctx, err)
	}
	if after > page.Head || after > 0 && after < page.Floor-1 {
		rep.Restarted = true
		if page, err = p.timelines.Inbox(ctx, user, 0, limit); err != nil {
			return page, plugin.Stored(ctx, err)
		}
	}
	return page, nil
}

// cursor is the inbox seq that the request starts after.
func (p *Chat) cursor(ctx context.Context, user im.UserID, req *chatpb.SyncRequest, restarted bool) (int64, error) {
	switch {
	case req.AfterSeq < 0:
		return 0, im.Invalid("after_seq", "must not be negative")
	case req.AfterSeq != 0 && req.AfterMessageId != "":
		return 0, im.Invalid("after_message_id", "give after_seq or after_message_id, not both")
	case restarted:
		return 0, nil
	case req.AfterMessageId == "":
		return req.AfterSeq, nil
	}
	id, err := im.ParseMessageID(req.AfterMessageId)
	if err != nil {
		return 0, im.Invalid("after_message_id", "%v", err)
	}
	after, err := p.timelines.Locate(ctx, user, id)
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	return after, nil
}

// fill puts as many entries into the answer as a page may hold.
func (p *Chat) fill(rep *chatpb.SyncReply, page timeline.Page[timeline.Entry], c idl.Codec) error {
	n := plugin.Fits(page.Items, p.config.PageBytes, func(e timeline.Entry) int { return plugin.SizeOf(e.Body, c) + perMessage })
	for _, e := range page.Items[:n] {
		m, err := shown(e.Message)
		if err != nil {
			return err
		}
		rep.Entries = append(rep.Entries, &chatpb.InboxEntry{InboxSeq: e.InboxSeq, Message: m})
	}
	rep.HasMore = page.HasMore || n < len(page.Items)
	rep.Head, rep.Floor = page.Head, page.Floor
	return nil
}

// receipts adds the delivered positions that moved since the device last asked.
func (p *Chat) receipts(ctx context.Context, user im.UserID, req *chatpb.SyncRequest, rep *chatpb.SyncReply) error {
	since := req.ReceiptsAfter
	if rep.Restarted || since < 0 {
		since = 0
	}
	moved, head, err := p.timelines.Receipts(ctx, user, since)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	rep.ReceiptsHead = head
	for _, r := range moved {
		rep.Receipts = append(rep.Receipts, receipt(r))
	}
	return nil
}
