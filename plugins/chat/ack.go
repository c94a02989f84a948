package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// ack takes a device's word that it holds a conversation up to a seq, and tells
// the other person: delivered.
func (p *Chat) ack(ctx context.Context, call *plugin.Call, req *chatpb.AckRequest) (*chatpb.AckReply, error) {
	c := im.ConversationID(req.ConversationId)
	peer, err := member(c, call.User)
	if err != nil {
		return nil, err
	}
	if err := p.mustReach(ctx, c, req.Seq); err != nil {
		return nil, err
	}
	if peer == call.User {
		return &chatpb.AckReply{}, nil
	}
	r := timeline.Receipt{Conversation: c, By: call.User, Seq: req.Seq}
	moved, err := p.timelines.Acknowledge(ctx, r, []im.UserID{peer})
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if moved {
		p.host.Push(plugin.Push{Action: idl.ActionMessageAck, Body: receipt(r), Users: []im.UserID{peer}})
	}
	return &chatpb.AckReply{}, nil
}

// mustReach refuses a seq that the conversation does not have yet: a receipt may
// not run ahead of the messages.
func (p *Chat) mustReach(ctx context.Context, c im.ConversationID, seq int64) error {
	if seq < 1 {
		return im.Invalid("seq", "must be 1 or more")
	}
	page, err := p.timelines.Log(ctx, c, 0, 0)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if seq > page.Head {
		return im.Invalid("seq", "the conversation ends at %d", page.Head)
	}
	return nil
}

func receipt(r timeline.Receipt) *chatpb.Receipt {
	return &chatpb.Receipt{ConversationId: string(r.Conversation), UserId: int64(r.By), Seq: r.Seq}
}
