package chat

import (
	"context"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// readMark follows a conversation's ID in the name of what its people have read of it: a position
// of its own beside that of deliveries, filed as a receipt. No conversation that people can name
// holds it. README.md tells why it lies there.
const readMark = "\x1e"

// readOf is what a receipt says somebody has read; is is false when it tells of a delivery.
func readOf(r timeline.Receipt) (read *chatpb.Read, is bool) {
	c, is := strings.CutSuffix(string(r.Conversation), readMark)
	return &chatpb.Read{ConversationId: c, UserId: int64(r.By), Seq: r.Seq}, is
}

// read takes a person's word that he has read a conversation up to a seq, and tells his other
// devices and the other person of a chat.
func (p *Chat) read(ctx context.Context, call *plugin.Call, req *chatpb.ReadRequest) (*chatpb.ReadReply, error) {
	c, peer, err := p.conversation(req.ConversationId, 0, "conversation_id", call.User)
	if err != nil {
		return nil, err
	}
	if peer == 0 {
		err := p.mayAck(ctx, c, call.User, req.Seq)
		if im.CodeOf(err) == idl.CodePermissionDenied {
			err = p.hasStill(ctx, c, call.User, req.Seq, err)
		}
		if err != nil {
			return nil, err
		}
	}
	seq, err := p.reached(ctx, c, call.User, req.Seq)
	if err != nil || seq == 0 {
		return &chatpb.ReadReply{}, err
	}
	people := []im.UserID{call.User}
	if peer != 0 && peer != call.User {
		tells, err := p.tellsReads(ctx, call.User)
		if err != nil {
			return nil, err
		}
		if tells {
			people = append(people, peer)
		}
	}
	r := timeline.Receipt{Conversation: c + readMark, By: call.User, Seq: seq}
	moved, err := p.timelines.Acknowledge(ctx, r, people)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if moved {
		body, _ := readOf(r)
		p.host.Push(plugin.Push{Action: idl.ActionRead, Body: body, Users: people, Except: call.Session})
	}
	return &chatpb.ReadReply{Moved: moved}, nil
}

// hasStill lets somebody read what he got of a conversation before it was closed to him, which stays in his list: else that is
// unread for good. Of what he never got it gives refused.
func (p *Chat) hasStill(ctx context.Context, c im.ConversationID, user im.UserID, seq int64, refused error) error {
	if err := p.upToDate(ctx, user); err != nil {
		return err
	}
	rows, err := p.lists.some(ctx, p.host.DB(), user, []im.ConversationID{c})
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if l := rows[c]; l == nil || seq > l.lastSeq {
		return refused
	}
	return nil
}
