package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what a message says of other messages, and of people: what it replies to, what
// it is a copy of, whom it mentions.

// mostMentions is how many people one message names at most.
const mostMentions = 50

// checkNamed checks by itself what a request names. peer is 0 when it is no chat's.
func checkNamed(req *chatpb.SendRequest, peer, user im.UserID) error {
	if n := len(req.Mentions); n > mostMentions {
		return im.Invalid("mentions", "must be at most %d, are %d", mostMentions, n)
	}
	for i, u := range req.Mentions {
		if u < 1 || slices.Contains(req.Mentions[:i], u) {
			return im.Invalid("mentions", "must be users, each once")
		}
		if peer != 0 && im.UserID(u) != peer && im.UserID(u) != user {
			return im.Invalid("mentions", "%d is not in the conversation", u)
		}
	}
	if req.MentionsAll && peer != 0 {
		return im.Invalid("mentions_all", "a chat has two people")
	}
	if r := req.ReplyTo; r != nil {
		if err := checkRef("reply_to.", r.Seq, r.MessageId); err != nil {
			return err
		}
		r.SenderId, r.Kind = 0, 0 // the server says it
	}
	return nil
}

// checkForward checks a request for a copy of another message, which has no body of its own.
func checkForward(req *chatpb.SendRequest) error {
	if err := checkRef("forward.", req.Forward.Seq, req.Forward.MessageId); err != nil {
		return err
	}
	if req.Kind != 0 || req.Text != "" || req.Media != nil || req.Place != nil || req.Payload != nil || req.ReplyTo != nil || len(req.Mentions) > 0 || req.MentionsAll {
		return im.Invalid("forward", "a forwarded message has nothing of its own")
	}
	return nil
}

// checkRef checks how a request names a message; within is before its fields' names.
func checkRef(within string, seq int64, id string) error {
	if seq < 1 {
		return im.Invalid(within+"seq", "must be 1 or more")
	}
	if _, err := im.ParseMessageID(id); err != nil {
		return im.Invalid(within+"message_id", "%v", err)
	}
	return nil
}

// target is a message that somebody names, and may read.
type target struct {
	im.Message   // as it is stored
	content      chatpb.Content
	conversation im.ConversationID // where people see it, and its seq there
	shownSeq     int64
	peer         im.UserID // of a chat; 0: it is another conversation
}

// find reads the message that user names by seq and ID, and may read: it is within his reach of
// the conversation, and he has not deleted it. field is what he named it in.
func (p *Chat) find(ctx context.Context, c im.ConversationID, peer, user im.UserID, field string, seq int64, id string) (*target, error) {
	reach, err := p.reach(ctx, c, peer, user)
	if err != nil {
		return nil, err
	}
	floor, err := p.lists.floor(ctx, user, c)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	reach.After = max(reach.After, floor)
	nobody := &im.Error{Code: idl.CodeNotFound, Field: field, Reason: "no such message in the conversation"}
	if !reach.Has(seq) {
		return nil, nobody
	}
	page, err := p.timelines.Log(ctx, c, seq-1, 1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if len(page.Items) == 0 || page.Items[0].ID.String() != id {
		if page, err = p.timelines.LogBefore(ctx, c.Shadow(user), 0, shownShadows); err != nil {
			return nil, plugin.Stored(ctx, err)
		}
	}
	for _, m := range page.Items {
		if m.ID.String() != id {
			continue
		}
		t := &target{Message: m, peer: peer}
		if err := t.content.Unmarshal(m.Body); err != nil {
			return nil, fmt.Errorf("body of message %s: %w", m.ID, err)
		}
		if t.conversation, t.shownSeq = place(m, &t.content); t.shownSeq == seq {
			return t, nil
		}
	}
	return nil, nobody
}

// looked is what permitSend found of what a request names.
type looked struct {
	reply  *chatpb.Reply
	unseen bool // nobody but the sender sees what he replies to
	origin *chatpb.Origin
	source *chatpb.Source // where it is a copy from, as that is stored
	gone   time.Time      // when that disappears; zero: never
}

// permitSend looks up what a message replies to, or is a copy of, for the rules to judge the copy.
func (p *Chat) permitSend(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) error {
	switch {
	case req.ReplyTo != nil:
		return p.permitReply(ctx, call, req)
	case req.Forward != nil:
		return p.permitForward(ctx, call, req)
	}
	return nil
}

func (p *Chat) permitReply(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) error {
	c, peer, err := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return err
	}
	t, err := p.find(ctx, c, peer, call.User, "reply_to", req.ReplyTo.Seq, req.ReplyTo.MessageId)
	if err != nil {
		return err
	}
	if t.content.Kind == kindEvent || t.content.Kind == kindCommand {
		return im.Invalid("reply_to", "nobody said that")
	}
	_, unseen := t.Message.Conversation.Shadowed()
	call.Found = &looked{unseen: unseen, reply: &chatpb.Reply{Seq: t.shownSeq, MessageId: t.ID.String(), SenderId: int64(t.Sender), Kind: t.content.Kind}}
	return nil
}

// source reads the message that is to be forwarded.
func (p *Chat) source(ctx context.Context, user im.UserID, from *chatpb.Source) (t *target, err error) {
	c, peer, err := p.conversation(from.ConversationId, 0, "conversation_id", user)
	if err == nil {
		t, err = p.find(ctx, c, peer, user, "forward", from.Seq, from.MessageId)
	}
	if refused, ok := errors.AsType[*im.Error](err); ok && refused.Field == "conversation_id" {
		of := *refused
		of.Field = "forward.conversation_id" // the request has two
		return nil, &of
	}
	return t, err
}

// permitForward gives the request the body of the message that it is a copy of.
func (p *Chat) permitForward(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) error {
	t, err := p.source(ctx, call.User, req.Forward)
	if err != nil {
		return err
	}
	if t.content.Kind == kindEvent || t.content.Kind == kindCommand {
		return im.Invalid("forward", "a message of this kind is not forwarded")
	}
	all, err := p.open(ctx, 0, []im.Message{t.Message})
	if err != nil {
		return err
	}
	if all[0].now.recalled() {
		return &im.Error{Code: idl.CodeNotFound, Field: "forward", Reason: "it was recalled"}
	}
	req.Kind, req.Text, req.Media, req.Place, req.Payload = t.content.Kind, all[0].text(), t.content.Media, t.content.Place, t.content.Payload
	origin := t.content.Origin
	if origin == nil {
		origin = &chatpb.Origin{SenderId: int64(t.Sender), TimeMs: t.Time.UnixMilli()}
	}
	call.Found = &looked{origin: origin, gone: expiry(t.Message, &t.content), source: &chatpb.Source{ConversationId: string(t.Message.Conversation), Seq: t.Message.Seq, MessageId: t.ID.String()}}
	return nil
}

// toUnseen reports whether a message replies to one that nobody but its sender sees: then nobody else is to see it
// either, or he would learn of it by what others ask, and they by a reply to nothing.
func toUnseen(call *plugin.Call) bool {
	found, ok := call.Found.(*looked)
	return ok && found.unseen
}
