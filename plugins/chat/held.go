package chat

import (
	"context"
	"errors"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what becomes of messages that the rules hold, and of what their senders
// send behind them: how they come to wait, and what clients see of it. README.md tells
// the whole way.

// remember is how long a denied message is known, for resends and its sender's list.
const remember = 24 * time.Hour

// hold has a message wait if the rules say so, or if any of its sender's waits in the
// conversation already. The reply is nil when it need not.
func (p *Chat) hold(ctx context.Context, call *plugin.Call, m *message) (*chatpb.SendReply, error) {
	l := line{m.sender, m.conversation}
	if call.Hold == nil {
		may, err := p.lines.may(ctx, l)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		if !may {
			return nil, nil
		}
	}
	return p.enter(ctx, call, m, l)
}

// enter has a message wait at the end of its line, unless nothing waits there and the rules let it pass.
func (p *Chat) enter(ctx context.Context, call *plugin.Call, m *message, l line) (*chatpb.SendReply, error) {
	now := p.host.Now()
	h := held{message: *m, id: p.host.MessageIDs().Next(m.conversation).String(), state: behind, heldMs: now.UnixMilli()}
	h.content.Held = noteOf(call, m)
	if by := call.Hold; by != nil {
		h.state, h.queue, h.rule, h.allow, h.untilMs = waiting, by.Queue, cut(by.Rule, 255), by.Allow, now.Add(by.Deadline).UnixMilli()
		if p.lines.note(l) {
			p.awake()
		}
	}
	was, begun, err := p.held.add(ctx, h, p.config.HeldOfOne, p.config.HeldOfAll)
	switch {
	case errors.Is(err, errFull) && h.state == behind: // no rule held this one: it may come later
		return nil, &im.Error{Code: idl.CodeRateLimited, Reason: "too many messages wait behind one that waits for a decision", RetryAfter: time.Minute}
	case errors.Is(err, errFull):
		return nil, &im.Error{Code: idl.CodeLimitExceeded, Reason: "too many messages wait for a decision", RetryAfter: time.Minute}
	case err != nil:
		return nil, plugin.Stored(ctx, err)
	case was == nil:
		return nil, nil
	case was.id != h.id:
		return p.heldAgain(ctx, call, was, begun)
	}
	if rep, err := p.heldTooLate(ctx, call, was); rep != nil || err != nil {
		return rep, err
	}
	call.Placed() // what this session sends next finds the line here
	p.host.Push(plugin.Push{Action: idl.ActionHeld, Body: shownHeld(was), Users: []im.UserID{m.sender}, Except: call.Session})
	if err := p.lines.spread(ctx, l, begun); err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return heldReply(was, false), nil
}

// noteOf is what has to be known of a message when it is released; nil: nothing.
func noteOf(call *plugin.Call, m *message) *chatpb.HeldNote {
	note := &chatpb.HeldNote{Operators: m.operators}
	if found, ok := call.Found.(*looked); ok {
		if note.Forwards = found.source; !found.gone.IsZero() {
			note.ExpiresMs = found.gone.UnixMilli()
		}
	}
	if note.Forwards == nil && !note.Operators {
		return nil
	}
	return note
}

// heldTooLate is the answer to a message that was held although it is committed: an earlier
// send of it was under way. It is taken out of its line; nil: it is not committed.
func (p *Chat) heldTooLate(ctx context.Context, call *plugin.Call, was *held) (*chatpb.SendReply, error) {
	if was.state != waiting {
		return nil, nil
	}
	committed, found, err := plugin.Resent(ctx, p.timelines, call, was.clientID)
	if err != nil || !found {
		return nil, err
	}
	if _, _, err := p.decide(ctx, was.id, true, "", "committed before"); err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return p.sentAgain(ctx, committed)
}

// heldBefore is the answer to a resend of a message that waits, or was denied; nil: it
// does not. may tells that it waited, perhaps, a moment ago.
func (p *Chat) heldBefore(ctx context.Context, call *plugin.Call, clientID string) (rep *chatpb.SendReply, may bool, err error) {
	if may, err = p.lines.mayOf(ctx, call.User); err != nil {
		return nil, false, plugin.Stored(ctx, err)
	}
	if !may {
		return nil, false, nil
	}
	was, err := p.held.sentAs(ctx, p.held.db, call.User, clientID)
	if err != nil {
		return nil, false, plugin.Stored(ctx, err)
	}
	if was == nil {
		return nil, true, nil
	}
	begun, err := p.held.begun(ctx, p.held.db, was.line())
	if err != nil {
		return nil, false, plugin.Stored(ctx, err)
	}
	rep, err = p.heldAgain(ctx, call, was, begun)
	return rep, true, err
}

// heldAgain is the answer to who sends a message again that waits, or was denied.
func (p *Chat) heldAgain(ctx context.Context, call *plugin.Call, was *held, begun string) (*chatpb.SendReply, error) {
	switch {
	case was.digest != call.Digest:
		return nil, &im.Error{Code: idl.CodeConflict, Field: "client_id", Reason: "used before for another message"}
	case was.state == denied:
		return nil, &im.Error{Code: idl.CodeRejected, Reason: was.reason}
	}
	call.Placed()
	if err := p.lines.spread(ctx, was.line(), begun); err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return heldReply(was, true), nil
}

// heldReply is the answer to the sender of a message that waits.
func heldReply(h *held, duplicate bool) *chatpb.SendReply {
	rep := &chatpb.SendReply{ConversationId: string(h.conversation), TimeMs: h.heldMs, Duplicate: duplicate, Rewritten: h.content.Rewritten, HeldId: h.id}
	if h.content.Rewritten {
		rep.Text = h.content.Text
	}
	return rep
}

// shownHeld is a held message as its sender sees it.
func shownHeld(h *held) *chatpb.Held {
	m := &chatpb.Held{HeldId: h.id, ClientId: h.clientID, ConversationId: string(h.conversation), TimeMs: h.heldMs, Kind: h.content.Kind, Text: h.content.Text}
	if h.state == denied {
		m.State, m.Reason = chatpb.HeldState_HELD_STATE_DENIED, h.reason
	}
	return m
}

const (
	usualHeld = 50
	mostHeld  = 100
)

// listHeld gives a person's own messages that wait, or were denied a while ago.
func (p *Chat) listHeld(ctx context.Context, call *plugin.Call, req *chatpb.HeldRequest) (*chatpb.HeldReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualHeld, mostHeld)
	if err != nil {
		return nil, err
	}
	if req.AfterHeldId != "" {
		if _, err := im.ParseMessageID(req.AfterHeldId); err != nil {
			return nil, im.Invalid("after_held_id", "%v", err)
		}
	}
	all, err := p.held.list(ctx, p.held.db, "WHERE sender = ? AND id > ? ORDER BY id LIMIT ?", int64(call.User), req.AfterHeldId, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &chatpb.HeldReply{}
	n := min(limit, plugin.Fits(all, p.config.PageBytes, func(h held) int { return plugin.SizeOf(h.content.Text, call.Codec) + perMessage }))
	for _, h := range all[:min(n, len(all))] {
		rep.Held = append(rep.Held, shownHeld(&h))
	}
	rep.HasMore = len(rep.Held) < len(all)
	return rep, nil
}

// cut is text of at most so many octets, none of which is half a character.
func cut(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
