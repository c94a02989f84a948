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
// the other person of a chat: delivered.
func (p *Chat) ack(ctx context.Context, call *plugin.Call, req *chatpb.AckRequest) (*chatpb.AckReply, error) {
	c := im.ConversationID(req.ConversationId)
	var audience []im.UserID // in other conversations than chats it is for nobody
	if p.owned(c) {
		if err := p.mayAck(ctx, c, call.User, req.Seq); err != nil {
			return nil, err
		}
	} else {
		peer, err := member(c, call.User)
		if err != nil {
			return nil, err
		}
		audience = []im.UserID{peer}
	}
	seq, err := p.reached(ctx, c, call.User, req.Seq)
	if err != nil {
		return nil, err
	}
	if seq == 0 || len(audience) == 1 && audience[0] == call.User {
		return &chatpb.AckReply{}, nil
	}
	r := timeline.Receipt{Conversation: c, By: call.User, Seq: seq}
	moved, err := p.timelines.Acknowledge(ctx, r, audience)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if moved && len(audience) > 0 {
		p.host.Push(plugin.Push{Action: idl.ActionMessageAck, Body: receipt(r), Users: audience})
	}
	return &chatpb.AckReply{}, nil
}

func receipt(r timeline.Receipt) *chatpb.Receipt {
	return &chatpb.Receipt{ConversationId: string(r.Conversation), UserId: int64(r.By), Seq: r.Seq}
}
