package chat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// recall takes a message back, for everybody: its place is left, and nothing that it said. Done again
// it changes nothing.
func (p *Chat) recall(ctx context.Context, call *plugin.Call, req *chatpb.RecallRequest) (*chatpb.RecallReply, error) {
	if req.HeldId != "" {
		return p.recallHeld(ctx, call.User, req)
	}
	if err := checkRef("", req.Seq, req.MessageId); err != nil {
		return nil, err
	}
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	t, keeper, err := p.alterable(ctx, call.User, req.ConversationId, req.Seq, req.MessageId)
	if err != nil {
		return nil, err
	}
	now, err := p.takeBack(ctx, t, call.User, p.mayRecall(t, keeper, call.User))
	if err != nil {
		return nil, err
	}
	return &chatpb.RecallReply{Became: now.shown()}, nil
}

// takeBack recalls a message in somebody's name.
func (p *Chat) takeBack(ctx context.Context, t *target, by im.UserID, permit may) (*became, error) {
	return p.change(ctx, t, by, eventRecalled, permit, true, func(ctx context.Context, c *changing) (string, error) {
		if c.now.recalled() {
			return "", errSame
		}
		c.now.recalledBy, c.now.recalledMs, c.now.text = by, c.ms, ""
		c.now.reactions = nil
		err := errors.Join(p.changes.forget(ctx, c.tx, c.now.stored), p.changes.eraseLater(ctx, c.tx, c.now, p.config.KeepRecalled))
		if err != nil || t.content.Media == nil || p.files == nil {
			return "", err
		}
		return "", p.files.Release(ctx, c.tx, holder(t.Sender, t.ClientID))
	})
}

// mayRecall is the permission to take a message back; nobody is asked about one's own within the window.
func (p *Chat) mayRecall(t *target, keeper plugin.Keeper, user im.UserID) may {
	if t.Sender == user && p.host.Now().Sub(t.Time) < p.config.RecallWindow {
		return nil
	}
	return func(ctx context.Context) error {
		switch {
		case keeper != nil:
			if err := keeper.Recall(ctx, t.conversation, user, t.Sender); err != nil {
				return refusal(ctx, err)
			}
			return nil
		case t.Sender == user:
			return late(p.config.RecallWindow)
		}
		return &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: "not a message of yours"}
	}
}

// late is the refusal of who comes too late.
func late(window time.Duration) error {
	return &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: fmt.Sprintf("that is possible for %s", window)}
}

// recallHeld has a message of one's own wait no more, and never be committed.
func (p *Chat) recallHeld(ctx context.Context, user im.UserID, req *chatpb.RecallRequest) (*chatpb.RecallReply, error) {
	if req.ConversationId != "" || req.Seq != 0 || req.MessageId != "" {
		return nil, im.Invalid("held_id", "give held_id or a message, not both")
	}
	if _, err := im.ParseMessageID(req.HeldId); err != nil {
		return nil, im.Invalid("held_id", "%v", err)
	}
	all, err := p.held.list(ctx, p.held.db, "WHERE id = ? AND sender = ?", req.HeldId, int64(user))
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if len(all) == 0 || all[0].state == approved {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "held_id", Reason: "no message of yours waits so"}
	}
	h := &all[0]
	switch h.state {
	case waiting:
		var done bool
		if h, done, err = p.decide(ctx, h.id, false, recalledReason, "its sender"); err != nil {
			return nil, plugin.Stored(ctx, err)
		} else if done && h.state == denied {
			return &chatpb.RecallReply{}, nil
		}
	case behind:
		done, err := p.refuse(ctx, h, recalledReason)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		if done {
			p.awake()
			return &chatpb.RecallReply{}, nil
		}
	}
	if h != nil && h.state == denied && h.reason == recalledReason {
		return &chatpb.RecallReply{}, nil
	}
	return nil, &im.Error{Code: idl.CodeConflict, Field: "held_id", Reason: "it was decided about"}
}

const recalledReason = "recalled by its sender"
