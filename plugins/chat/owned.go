package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what other plugins say about messages: those that own a type of
// conversation, and those that guard chats.

// mostID is the longest ID of a conversation that is owned, in octets.
const mostID = 64

var errNotYours = &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "not a conversation of yours"}

// Own implements plugin.Messages. It panics on a type that is owned, or that is chats'.
func (p *Chat) Own(t im.ConversationType, o plugin.ConversationOwner) {
	if p.owners[t] != nil || t == im.Chat || t == 0 {
		panic(fmt.Sprintf("conversations of type %d have an owner", t))
	}
	p.owners[t] = o
}

// Guard implements plugin.Messages.
func (p *Chat) Guard(g plugin.ChatGuard) { p.guards = append(p.guards, g) }

// owned reports whether another plugin decides about c: its type has an owner, and its ID
// can be one.
func (p *Chat) owned(c im.ConversationID) bool {
	if len(c) > mostID || p.owners[c.Type()] == nil {
		return false
	}
	for _, b := range []byte(c) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// admit says whom a message is for, or refuses it: the owner of its conversation, or the guards
// of chats. Asked before each commit, and again when what he said is too old by then.
func (p *Chat) admit(ctx context.Context, m *message) error {
	if m.peer != 0 {
		m.people = both(m.sender, m.peer)
		if m.peer == m.sender {
			return nil
		}
		return p.guarded(ctx, m)
	}
	owner := p.owners[m.conversation.Type()]
	if owner == nil { // held by a core that had one
		return errNotYours
	}
	asked := outgoing(&m.content)
	asked.Taken = m.taken
	audience, err := owner.Send(ctx, m.conversation, m.sender, asked)
	if err != nil {
		return refusal(ctx, err)
	}
	m.people, err = senderFirst(audience.Inboxes, m.sender)
	m.logged, m.version, m.taken = audience.Log, audience.Version, m.taken || audience.Taken
	return err
}

// outgoing is a message as the owner of its conversation hears of it.
func outgoing(content *chatpb.Content) plugin.Outgoing {
	m := plugin.Outgoing{Kind: kindName(content.Kind), MentionsAll: content.MentionsAll}
	if len(content.Mentions) > 0 {
		m.Mentions = make([]im.UserID, len(content.Mentions))
		for i, u := range content.Mentions {
			m.Mentions[i] = im.UserID(u)
		}
	}
	return m
}

// unasked is admit for messages of chats that no guard is asked about.
func unasked(_ context.Context, m *message) error {
	m.people, m.operators = both(m.sender, m.peer), true
	return nil
}

// guarded asks all guards about a message of a chat.
func (p *Chat) guarded(ctx context.Context, m *message) error {
	for _, g := range p.guards {
		switch err := g.Chat(ctx, m.sender, m.peer); {
		case errors.Is(err, plugin.ErrUnseen):
			m.shadowed = true
		case err != nil:
			return refusal(ctx, err)
		}
	}
	return nil
}

// senderFirst is people with the sender in front; none stays none.
func senderFirst(people []im.UserID, sender im.UserID) ([]im.UserID, error) {
	if len(people) == 0 {
		return nil, nil
	}
	i := slices.Index(people, sender)
	if i < 0 {
		return nil, fmt.Errorf("the owner of a conversation lets %d send, and leaves him out of its audience", sender)
	}
	first := make([]im.UserID, len(people))
	first[0] = sender
	copy(first[1:], people[:i])
	copy(first[1+i:], people[i+1:])
	return first, nil
}

// refusal is what a client sees of an error of an owner or a guard.
func refusal(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*im.Error](err); ok {
		return err
	}
	return plugin.Stored(ctx, err)
}

// reach is the part of a log that user may read. peer is 0 when it is no chat's.
func (p *Chat) reach(ctx context.Context, c im.ConversationID, peer, user im.UserID) (plugin.Reach, error) {
	if peer != 0 {
		return plugin.Reach{}, nil
	}
	reach, err := p.owners[c.Type()].Read(ctx, c, user)
	if err != nil {
		return reach, refusal(ctx, err)
	}
	return reach, nil
}

// mayAck refuses an acknowledgement of what user may not read.
func (p *Chat) mayAck(ctx context.Context, c im.ConversationID, user im.UserID, seq int64) error {
	reach, err := p.reach(ctx, c, 0, user)
	if err != nil {
		return err
	}
	if reach.Through != 0 && seq > reach.Through {
		return im.Invalid("seq", "you may read the conversation up to %d", reach.Through)
	}
	return nil
}

// log reads a span of a log, within what user may read of it and has not deleted.
func (p *Chat) log(ctx context.Context, c im.ConversationID, peer, user im.UserID, span plugin.Span, limit int) (page timeline.Page[im.Message], reach plugin.Reach, err error) {
	if reach, err = p.reach(ctx, c, peer, user); err != nil {
		return page, reach, err
	}
	floor, err := p.lists.floor(ctx, user, c)
	if err != nil {
		return page, reach, plugin.Stored(ctx, err)
	}
	reach.After = max(reach.After, floor)
	if page, err = plugin.History(ctx, p.timelines, c, within(span, reach), limit); err != nil {
		return page, reach, err
	}
	n := len(page.Items)
	page.Items = slices.DeleteFunc(page.Items, func(m im.Message) bool { return !reach.Has(m.Seq) })
	page.HasMore = page.HasMore && len(page.Items) == n && n > 0 && reach.Has(beyond(page.Items[n-1].Seq, span))
	page.Floor = max(page.Floor, reach.After+1)
	return page, reach, nil
}

// beyond is the seq that follows seq in a span's direction.
func beyond(seq int64, span plugin.Span) int64 {
	if span.AfterSeq > 0 {
		return seq + 1
	}
	return seq - 1
}

// within is a span that begins within a reach: backward from its end, forward from its beginning.
func within(span plugin.Span, reach plugin.Reach) plugin.Span {
	switch {
	case span.AfterSeq > 0:
		span.AfterSeq = max(span.AfterSeq, reach.After)
	case reach.Through > 0 && (span.BeforeSeq == 0 || span.BeforeSeq > reach.Through):
		span.BeforeSeq = reach.Through + 1
	}
	return span
}

// notices owns what the server tells people: only whom it tells reads it, nobody sends.
type notices struct{}

func (notices) Send(context.Context, im.ConversationID, im.UserID, plugin.Outgoing) (plugin.Audience, error) {
	return plugin.Audience{}, errNotYours
}

func (notices) Read(_ context.Context, c im.ConversationID, user im.UserID) (plugin.Reach, error) {
	if c != im.NoticesOf(user) {
		return plugin.Reach{}, errNotYours
	}
	return plugin.Reach{}, nil
}
