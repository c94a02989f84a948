package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	// mostReactions is how many kinds of reactions one message has at most.
	mostReactions = 20
	// mostOfOne is how many kinds one person has at one message.
	mostOfOne = 5
	// mostReaction is how many characters one has, and mostReactionOctets how many octets.
	mostReaction       = 16
	mostReactionOctets = 64

	usualReacted = 50
	mostListedBy = 100
)

func checkReaction(name string) error {
	if err := im.CheckLine("reaction", name, 1, mostReaction); err != nil {
		return err
	}
	if len(name) > mostReactionOctets || strings.ContainsFunc(name, unicode.IsSpace) {
		return im.Invalid("reaction", "must have no blanks, and at most %d octets", mostReactionOctets)
	}
	return nil
}

// react adds a reaction to a message that the caller reads, or takes it away.
func (p *Chat) react(ctx context.Context, call *plugin.Call, req *chatpb.ReactRequest) (*chatpb.ReactReply, error) {
	if err := checkRef("", req.Seq, req.MessageId); err != nil {
		return nil, err
	}
	if err := checkReaction(req.Reaction); err != nil {
		return nil, err
	}
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	t, _, err := p.alterable(ctx, call.User, req.ConversationId, req.Seq, req.MessageId)
	if err != nil {
		return nil, err
	}
	var permit may // whoever reads it may take his reactions away
	if !req.Remove {
		permit = p.mayWrite(t, call.User, "reaction")
	}
	heard, err := p.heard(ctx, t, call.User)
	if err != nil {
		return nil, err
	}
	now, err := p.change(ctx, t, call.User, eventReacted, permit, heard, func(ctx context.Context, c *changing) (string, error) {
		if err := c.react(ctx, call.User, req.Reaction, req.Remove); err != nil {
			return "", err
		}
		data, err := json.Marshal(map[string]any{"reaction": req.Reaction, "removed": req.Remove})
		return string(data), err
	})
	if err != nil {
		return nil, err
	}
	return &chatpb.ReactReply{Became: now.told()}, nil
}

// react changes the reactions, unless the message was recalled.
func (c *changing) react(ctx context.Context, user im.UserID, name string, remove bool) error {
	b := c.now
	if b.recalled() {
		return errGone
	}
	s := c.p.changes
	mine, err := s.ofUser(ctx, c.tx, user, b.stored)
	if err != nil {
		return err
	}
	b.mine = mine
	if slices.Contains(mine, name) != remove {
		return errSame
	}
	i := slices.IndexFunc(b.reactions, func(r reaction) bool { return r.name == name })
	switch {
	case remove:
		b.mine = slices.DeleteFunc(mine, func(one string) bool { return one == name })
		b.take(i)
		_, err := s.unreact(ctx, c.tx, user, b.stored, name)
		return err
	case len(mine) == mostOfOne:
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "reaction", Reason: fmt.Sprintf("you have %d reactions to the message", mostOfOne)}
	case i >= 0:
		b.reactions[i].count++
	case len(b.reactions) == mostReactions:
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "reaction", Reason: fmt.Sprintf("the message has %d kinds of reactions", mostReactions)}
	default:
		b.reactions = append(b.reactions, reaction{name, 1})
	}
	b.mine = append(b.mine, name)
	return s.reacted(ctx, c.tx, user, b.stored, name, c.ms)
}

// take takes one away from the reactions at i.
func (b *became) take(i int) {
	if i < 0 {
		return
	}
	if b.reactions[i].count--; b.reactions[i].count < 1 {
		b.reactions = slices.Delete(b.reactions, i, i+1)
	}
}

// listReactions tells who reacted so to a message.
func (p *Chat) listReactions(ctx context.Context, call *plugin.Call, req *chatpb.ReactionsRequest) (*chatpb.ReactionsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualReacted, mostListedBy)
	if err != nil {
		return nil, err
	}
	if err := checkRef("", req.Seq, req.MessageId); err != nil {
		return nil, err
	}
	if err := checkReaction(req.Reaction); err != nil {
		return nil, err
	}
	if req.AfterUserId < 0 {
		return nil, im.Invalid("after_user_id", "must not be negative")
	}
	t, _, err := p.changeable(ctx, call.User, req.ConversationId, req.Seq, req.MessageId)
	if err != nil {
		return nil, err
	}
	at := stored{t.Message.Conversation, t.Message.Seq}
	now, err := p.changes.one(ctx, p.host.DB(), at, t.ID.String())
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if now == nil || len(now.reactions) == 0 { // what is there may be of another life of the store
		return &chatpb.ReactionsReply{}, nil
	}
	all, err := p.changes.by(ctx, at, req.Reaction, im.UserID(req.AfterUserId), limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	n := min(limit, len(all))
	return &chatpb.ReactionsReply{Reacted: all[:n], HasMore: n < len(all)}, nil
}
