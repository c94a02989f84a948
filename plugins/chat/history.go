package chat

import (
	"context"
	"slices"

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
	c, peer, err := p.conversation(req.ConversationId, req.WithUserId, "with_user_id", call.User)
	if err != nil {
		return nil, err
	}
	limit, err := plugin.PageLimit(req.Limit, usualHistory, mostHistory)
	if err != nil {
		return nil, err
	}
	span := plugin.Span{BeforeSeq: req.BeforeSeq, AfterSeq: req.AfterSeq}
	page, reach, err := p.log(ctx, c, peer, call.User, span, limit)
	if err != nil {
		return nil, err
	}
	own, err := p.shadows(ctx, c, call.User, call.Codec)
	if err != nil {
		return nil, err
	}
	own = slices.DeleteFunc(own, func(m *chatpb.Message) bool { return !reach.Has(m.Seq) })
	octets := p.config.PageBytes
	if len(own) > 0 {
		octets /= 2
	}
	rep := &chatpb.HistoryReply{ConversationId: string(c), Floor: page.Floor}
	if rep.Messages, err = p.page(ctx, call.User, page.Items, octets, call.Codec); err != nil {
		return nil, err
	}
	n := len(rep.Messages)
	page.Items, page.HasMore = page.Items[:n], page.HasMore || n < len(page.Items)
	rep.HasMore = page.HasMore
	if len(own) > 0 {
		rep.Messages = withShadows(rep.Messages, own, span, page)
	}
	return rep, nil
}

// getMessageID gives an ID that no message has, fit for a client message ID.
func (p *Chat) getMessageID(context.Context, *plugin.Call, *chatpb.GetMessageIdRequest) (*chatpb.GetMessageIdReply, error) {
	return &chatpb.GetMessageIdReply{MessageId: p.host.MessageIDs().Next("").String()}, nil
}
