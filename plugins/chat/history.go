package chat

import (
	"context"

	"freeim/core/plugin"
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
	limit, err := plugin.PageLimit(req.Limit, usualHistory, mostHistory)
	if err != nil {
		return nil, err
	}
	span := plugin.Span{BeforeSeq: req.BeforeSeq, AfterSeq: req.AfterSeq}
	page, err := plugin.History(ctx, p.timelines, c, span, limit)
	if err != nil {
		return nil, err
	}
	own, err := p.shadows(ctx, c, call.User, call.Codec)
	if err != nil {
		return nil, err
	}
	octets := p.config.PageBytes
	if len(own) > 0 {
		octets /= 2
	}
	n := fits(page.Items, octets, call.Codec)
	page.Items, page.HasMore = page.Items[:n], page.HasMore || n < len(page.Items)
	rep := &chatpb.HistoryReply{ConversationId: string(c), Floor: page.Floor, HasMore: page.HasMore}
	if rep.Messages, err = shownAll(page.Items); err != nil {
		return nil, err
	}
	if len(own) > 0 {
		rep.Messages = withShadows(rep.Messages, own, span, page)
	}
	return rep, nil
}

// getMessageID gives an ID that no message has, fit for a client message ID.
func (p *Chat) getMessageID(context.Context, *plugin.Call, *chatpb.GetMessageIdRequest) (*chatpb.GetMessageIdReply, error) {
	return &chatpb.GetMessageIdReply{MessageId: p.host.MessageIDs().Next("").String()}, nil
}
