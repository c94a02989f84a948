package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	usualHistory = 50
	mostHistory  = 500
)

// history reads one conversation's log: backward from before_seq (0: the end) or
// forward from after_seq.
func (p *Chat) history(ctx context.Context, call *plugin.Call, req *chatpb.HistoryRequest) (*chatpb.HistoryReply, error) {
	c, _, err := conversation(req.ConversationId, req.WithUserId, "with_user_id", call.User)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(req.Limit, usualHistory, mostHistory)
	if err != nil {
		return nil, err
	}
	page, err := p.log(ctx, c, req, limit)
	if err != nil {
		return nil, err
	}
	n := fits(page.Items, p.config.PageBytes, call.Codec, func(m im.Message) []byte { return m.Body })
	rep := &chatpb.HistoryReply{ConversationId: string(c), Floor: page.Floor, HasMore: page.HasMore || n < len(page.Items)}
	for _, item := range page.Items[:n] {
		m, err := shown(item)
		if err != nil {
			return nil, err
		}
		rep.Messages = append(rep.Messages, m)
	}
	return rep, nil
}

func (p *Chat) log(ctx context.Context, c im.ConversationID, req *chatpb.HistoryRequest,
	limit int) (page timeline.Page[im.Message], err error) {
	switch {
	case req.BeforeSeq < 0:
		return page, im.Invalid("before_seq", "must not be negative")
	case req.AfterSeq < 0:
		return page, im.Invalid("after_seq", "must not be negative")
	case req.BeforeSeq > 0 && req.AfterSeq > 0:
		return page, im.Invalid("after_seq", "give before_seq or after_seq, not both")
	case req.AfterSeq > 0:
		page, err = p.timelines.Log(ctx, c, req.AfterSeq, limit)
	default:
		page, err = p.timelines.LogBefore(ctx, c, req.BeforeSeq, limit)
	}
	if err != nil {
		return page, stored(ctx, err)
	}
	return page, nil
}

// getMessageID gives an ID that no message has, fit for a client message ID.
func (p *Chat) getMessageID(context.Context, *plugin.Call, *chatpb.GetMessageIdRequest) (*chatpb.GetMessageIdReply, error) {
	return &chatpb.GetMessageIdReply{MessageId: p.host.MessageIDs().Next("").String()}, nil
}
