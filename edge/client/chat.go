package client

import (
	"context"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people do with conversations, beside sending and reading messages.

// MarkRead says that this person has read a conversation up to seq. It may be called again.
func (a Actions) MarkRead(ctx context.Context, conversation string, seq int64) error {
	_, err := ask[chatpb.ReadReply](ctx, a.call, idl.ActionRead, &chatpb.ReadRequest{ConversationId: conversation, Seq: seq})
	return err
}

// Conversations lists this person's conversations, in pages.
func (a Actions) Conversations(ctx context.Context, req *chatpb.ListConversationsRequest) (*chatpb.ListConversationsReply, error) {
	return ask[chatpb.ListConversationsReply](ctx, a.call, idl.ActionListConversations, req)
}

// UpdateConversation changes the fields of req that are set, and gives the conversation as it is then.
func (a Actions) UpdateConversation(ctx context.Context, req *chatpb.UpdateConversationRequest) (*chatpb.Conversation, error) {
	rep, err := ask[chatpb.UpdateConversationReply](ctx, a.call, idl.ActionUpdateConversation, req)
	return rep.GetConversation(), err
}

// Readers tells who has read a message of a group so far, and how many may.
func (a Actions) Readers(ctx context.Context, m *chatpb.Message) (*chatpb.ReadersReply, error) {
	return ask[chatpb.ReadersReply](ctx, a.call, idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: m.ConversationId, Seq: m.Seq})
}

// Lifetime asks after how long messages of a conversation disappear or, if LifetimeMs is set, settles it for those that are
// sent from then on.
func (a Actions) Lifetime(ctx context.Context, req *chatpb.LifetimeRequest) (*chatpb.LifetimeReply, error) {
	return ask[chatpb.LifetimeReply](ctx, a.call, idl.ActionLifetime, req)
}

// Typing says that this person types to another one, or in a group, or has stopped.
func (a Actions) Typing(ctx context.Context, req *chatpb.TypingRequest) error {
	_, err := ask[chatpb.TypingReply](ctx, a.call, idl.ActionTyping, req)
	return err
}

// ChatSettings changes the fields of req that are set, and gives the settings as they are then.
func (a Actions) ChatSettings(ctx context.Context, req *chatpb.ChatSettingsRequest) (*chatpb.ChatSettings, error) {
	rep, err := ask[chatpb.ChatSettingsReply](ctx, a.call, idl.ActionChatSettings, req)
	return rep.GetSettings(), err
}
