package client

import (
	"context"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people do with messages that are there.

// Recall takes a message back, for everybody: one's own for a while, or one over whose sender one has a say
// in a group. It may be called again.
func (a Actions) Recall(ctx context.Context, m *chatpb.Message) (*chatpb.Became, error) {
	rep, err := ask[chatpb.RecallReply](ctx, a.call, idl.ActionRecall, &chatpb.RecallRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.Id})
	return rep.GetBecame(), err
}

// RecallHeld has one's own message that waits for a decision never be committed.
func (a Actions) RecallHeld(ctx context.Context, heldID string) error {
	_, err := ask[chatpb.RecallReply](ctx, a.call, idl.ActionRecall, &chatpb.RecallRequest{HeldId: heldID})
	return err
}

// Edit gives one's own message another text, or caption, and tells how it reads then. version is which one the text is
// made of: if it is another by now, the error is a CONFLICT. 0: whichever. It may be called again.
func (a Actions) Edit(ctx context.Context, m *chatpb.Message, text string, version int32) (*chatpb.Became, error) {
	rep, err := ask[chatpb.EditReply](ctx, a.call, idl.ActionEdit, &chatpb.EditRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.Id, Text: text, Version: version})
	return rep.GetBecame(), err
}

// Versions tells how an edited message read before, in pages.
func (a Actions) Versions(ctx context.Context, req *chatpb.VersionsRequest) (*chatpb.VersionsReply, error) {
	return ask[chatpb.VersionsReply](ctx, a.call, idl.ActionVersions, req)
}

// React adds a reaction to a message, an emoji or a word, or takes it away. It may be called again.
func (a Actions) React(ctx context.Context, m *chatpb.Message, reaction string, remove bool) (*chatpb.Became, error) {
	rep, err := ask[chatpb.ReactReply](ctx, a.call, idl.ActionReact,
		&chatpb.ReactRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.Id, Reaction: reaction, Remove: remove})
	return rep.GetBecame(), err
}

// Reactions tells who reacted so to a message, in pages.
func (a Actions) Reactions(ctx context.Context, req *chatpb.ReactionsRequest) (*chatpb.ReactionsReply, error) {
	return ask[chatpb.ReactionsReply](ctx, a.call, idl.ActionReactions, req)
}

// ReplyTo is a reply to m, for an Outgoing to the same conversation.
func ReplyTo(m *chatpb.Message) *chatpb.Reply {
	return &chatpb.Reply{Seq: m.Seq, MessageId: m.Id, SenderId: m.SenderId, Kind: m.Kind}
}

// Forward is a copy of m, for an Outgoing that has nothing of its own.
func Forward(m *chatpb.Message) *chatpb.Source {
	return &chatpb.Source{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.Id}
}

// Follow changes a message that an application keeps to what became of it: event is an EVENT that is about it,
// in whatever order such come. A recall it applies by itself; another text and reactions no event tells, so the
// message is read again. It is false, and changes nothing, when event is about another one, or tells nothing new.
func (a Actions) Follow(ctx context.Context, m, event *chatpb.Message) (bool, error) {
	about, now := event.About, event.Became
	switch {
	case about.GetMessageId() != m.Id || now.GetRevision() <= m.Became.GetRevision():
		return false, nil
	case now.Recalled:
		return Became(m, now), nil
	}
	page, err := a.History(ctx, &chatpb.HistoryRequest{ConversationId: event.ConversationId, BeforeSeq: about.Seq + 1, Limit: 1})
	if err != nil {
		return false, err
	}
	for _, read := range page.Messages {
		if read.Id == m.Id && read.Became != nil {
			read.Became.Text = read.Text
			return Became(m, read.Became), nil
		}
	}
	return false, nil
}

// Became is Follow for the answer to a request of one's own.
func Became(m *chatpb.Message, now *chatpb.Became) bool {
	if now == nil || now.Revision <= m.Became.GetRevision() {
		return false
	}
	was := *now
	m.Became = &was
	switch {
	case now.Recalled:
		m.Text, m.Media, m.Place, m.Payload, m.ReplyTo, m.Origin, m.Mentions, m.MentionsAll = "", nil, nil, nil, nil, nil, nil, false
	case now.EditedMs != 0:
		m.Text = now.Text
	}
	m.Became.Text = ""
	return true
}

// Expire changes a message that an application keeps to one that has disappeared, if its time is over at now: the server
// tells nobody of that, it only gives such messages out no more. now is the server's time: correct a clock that may be wrong by
// the time_ms of what is pushed. It is false when that is not so, or not new.
func Expire(m *chatpb.Message, now time.Time) bool {
	if m.ExpiresMs == 0 || now.UnixMilli() < m.ExpiresMs || m.Became.GetRecalled() {
		return false
	}
	return Became(m, &chatpb.Became{Revision: m.Became.GetRevision() + 1, Recalled: true, Expired: true, RecalledMs: m.ExpiresMs, Version: max(1, m.Became.GetVersion())})
}
