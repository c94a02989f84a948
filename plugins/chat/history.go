package chat

import (
	"context"

	"freeim/core/im"
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
	page, err := plugin.History(ctx, p.timelines, c, plugin.Span{BeforeSeq: req.BeforeSeq, AfterSeq: req.AfterSeq}, limit)
	if err != nil {
		return nil, err
	}
	n := fits(p, page.Items, call.Codec, func(m im.Message) []byte { return m.Body })
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

// getMessageID gives an ID that no message has, fit for a client message ID.
func (p *Chat) getMessageID(context.Context, *plugin.Call, *chatpb.GetMessageIdRequest) (*chatpb.GetMessageIdReply, error) {
	return &chatpb.GetMessageIdReply{MessageId: p.host.MessageIDs().Next("").String()}, nil
}
