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

	mostReceipts = 1000 // in an answer: some 100 KiB in JSON, beside the entries
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
	var logs []plugin.Followed
	if !page.HasMore {
		if logs, err = p.extend(ctx, call.User, &page, limit); err != nil {
			return nil, err
		}
	}
	if err := p.fill(ctx, call.User, rep, page, call.Codec); err != nil {
		return nil, err
	}
	if rep.HasMore {
		return rep, nil
	}
	call.Follow(logs)
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
	page, err := p.entries(ctx, user, after, limit)
	if err != nil {
		return page, plugin.Stored(ctx, err)
	}
	if after > page.Head || after > 0 && after < page.Floor-1 {
		rep.Restarted = true
		if page, err = p.entries(ctx, user, 0, limit); err != nil {
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
	after, err := p.locate(ctx, user, id)
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	return after, nil
}

// fill puts as many entries into the answer as a page may hold.
func (p *Chat) fill(ctx context.Context, user im.UserID, rep *chatpb.SyncReply, page timeline.Page[timeline.Entry], c idl.Codec) error {
	items := make([]im.Message, len(page.Items))
	for i, e := range page.Items {
		items[i] = e.Message
	}
	messages, err := p.page(ctx, user, items, p.config.PageBytes, c)
	if err != nil {
		return err
	}
	for i, m := range messages {
		rep.Entries = append(rep.Entries, &chatpb.InboxEntry{InboxSeq: page.Items[i].InboxSeq, Message: m})
	}
	rep.HasMore = page.HasMore || len(messages) < len(page.Items)
	rep.Head, rep.Floor = page.Head, page.Floor
	return nil
}

// receipts adds the delivered and the read positions that moved since the device last asked, the oldest first.
func (p *Chat) receipts(ctx context.Context, user im.UserID, req *chatpb.SyncRequest, rep *chatpb.SyncReply) error {
	since := req.ReceiptsAfter
	if rep.Restarted || since < 0 {
		since = 0
	}
	moved, next, more, err := p.timelines.Receipts(ctx, user, since, mostReceipts)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	rep.ReceiptsHead, rep.MoreReceipts = next, more
	for _, r := range moved {
		if read, is := readOf(r); is {
			rep.Reads = append(rep.Reads, read)
		} else {
			rep.Receipts = append(rep.Receipts, receipt(r))
		}
	}
	return nil
}
