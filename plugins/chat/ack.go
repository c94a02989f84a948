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
	seq, err := p.reached(ctx, c, call.User, req.Seq)
	if err != nil {
		return nil, err
	}
	if peer == call.User || seq == 0 {
		return &chatpb.AckReply{}, nil
	}
	r := timeline.Receipt{Conversation: c, By: call.User, Seq: seq}
	moved, err := p.timelines.Acknowledge(ctx, r, []im.UserID{peer})
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if moved {
		p.host.Push(plugin.Push{Action: idl.ActionMessageAck, Body: receipt(r), Users: []im.UserID{peer}})
	}
	return &chatpb.AckReply{}, nil
}

func receipt(r timeline.Receipt) *chatpb.Receipt {
	return &chatpb.Receipt{ConversationId: string(r.Conversation), UserId: int64(r.By), Seq: r.Seq}
}
