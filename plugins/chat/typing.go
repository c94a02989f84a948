package chat

import (
	"context"
	"math"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// typing shows the other person of a chat, or those in a group of few, that the caller types. What the guards would not let him
// see of a message he does not see of this either, and the caller does not learn why.
func (p *Chat) typing(ctx context.Context, call *plugin.Call, req *chatpb.TypingRequest) (*chatpb.TypingReply, error) {
	c, peer, err := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	switch {
	case err != nil:
		return nil, err
	case c.Type() == im.Notices:
		return nil, errNotYours
	case peer == call.User:
		return &chatpb.TypingReply{}, nil
	}
	if wait := p.types.Take(ctx, call.User.String()); wait > 0 {
		return nil, &im.Error{Code: idl.CodeRateLimited, Reason: "too often", RetryAfter: wait}
	}
	people, err := p.typists(ctx, c, peer, call.User)
	if err != nil || len(people) == 0 {
		return &chatpb.TypingReply{}, err
	}
	p.host.Push(plugin.Push{Action: idl.ActionTyping, Users: people, Passing: true,
		Body: &chatpb.Typing{ConversationId: string(c), UserId: int64(call.User), Stopped: req.Stopped}})
	return &chatpb.TypingReply{}, nil
}

// typists are those who may see that user types in c: nobody in a group of many, nor where he may not write now.
func (p *Chat) typists(ctx context.Context, c im.ConversationID, peer, user im.UserID) ([]im.UserID, error) {
	if peer != 0 {
		m := message{conversation: c, sender: user, peer: peer}
		if err := p.guarded(ctx, &m); err != nil || m.shadowed {
			return nil, nil
		}
		return []im.UserID{peer}, nil
	}
	to, err := p.owners[c.Type()].Send(ctx, c, user, plugin.Outgoing{Kind: "typing"})
	if err != nil {
		if final(err) {
			return nil, errNotYours
		}
		return nil, refusal(ctx, err)
	}
	people := slices.Clone(to.Inboxes)
	if watched, ok := p.owners[c.Type()].(plugin.Watched); ok && to.Log {
		if people, err = watched.Readers(ctx, c, user, math.MaxInt64, p.config.TypingMembers); err != nil {
			if final(err) {
				return nil, nil
			}
			return nil, refusal(ctx, err)
		}
	}
	if len(people) > p.config.TypingMembers {
		return nil, nil
	}
	return slices.DeleteFunc(people, func(u im.UserID) bool { return u == user }), nil
}
