package chat

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// maxClientID is the longest client message ID in octets. Source: idl/chat.proto.
const maxClientID = 64

// validateSend checks a request by itself, before the store or a rule sees it.
func (p *Chat) validateSend(call *plugin.Call, req *chatpb.SendRequest) error {
	if err := validateClientID(req.ClientId); err != nil {
		return err
	}
	if _, _, err := conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User); err != nil {
		return err
	}
	if req.Kind != chatpb.MessageKind_MESSAGE_KIND_TEXT {
		return im.Invalid("kind", "%d is not known", req.Kind)
	}
	if n := utf8.RuneCountInString(req.Text); n < 1 || n > p.config.MaxText {
		return im.Invalid("text", "must have 1-%d characters, has %d", p.config.MaxText, n)
	}
	return nil
}

func validateClientID(id string) error {
	if len(id) < 1 || len(id) > maxClientID {
		return im.Invalid("client_id", "must have 1-%d characters, has %d", maxClientID, len(id))
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return im.Invalid("client_id", "may hold A-Z a-z 0-9 . _ - only")
		}
	}
	return nil
}

// answered gives the reply of the message that was committed under the same
// client ID: whatever the rules say by now, a resend gets what the send got.
func (p *Chat) answered(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	call.Digest = digest(call.User, req)
	committed, was, found, err := p.timelines.Find(ctx, call.User, req.ClientId)
	switch {
	case err != nil:
		return nil, stored(ctx, err)
	case !found:
		return nil, nil
	case was != call.Digest:
		return nil, stored(ctx, timeline.ErrConflict)
	}
	committed.Duplicate = true
	return sent(committed)
}

// digest identifies what the sender asked for, however it was encoded and
// addressed.
func digest(sender im.UserID, req *chatpb.SendRequest) [32]byte {
	c, _, _ := conversation(req.ConversationId, req.ToUserId, "to_user_id", sender)
	b := make([]byte, 0, 1024) // on the stack; only longer texts need more
	b = binary.BigEndian.AppendUint32(b, uint32(req.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c)))
	b = append(b, c...)
	b = append(b, req.Text...)
	return sha256.Sum256(b)
}

// reviewed shows the rules what they may judge and rewrite.
func (p *Chat) reviewed(call *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed {
	c, _, _ := conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	return plugin.Reviewed{Conversation: c, Kind: "text", Text: &req.Text}
}

// send commits a message and has it pushed to every other device of both people.
func (p *Chat) send(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	c, peer, err := conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return nil, err
	}
	if err := p.mustExist(ctx, peer); err != nil {
		return nil, err
	}
	body, err := (&chatpb.Content{
		Kind: req.Kind, Text: req.Text, Rewritten: digest(call.User, req) != call.Digest,
	}).Marshal(make([]byte, 0, len(req.Text)+16)) // its other fields take less
	if err != nil {
		return nil, err
	}
	session := call.Session
	committed, err := p.timelines.Append(ctx, timeline.Draft{
		Conversation: c, Sender: call.User, ClientID: req.ClientId, Digest: call.Digest,
		Body: body, Inboxes: both(call.User, peer),
		OnCommit: func(done timeline.Committed) { p.push(done, both(call.User, peer), session) },
	})
	if err != nil {
		return nil, stored(ctx, err)
	}
	return sent(committed)
}

func (p *Chat) mustExist(ctx context.Context, u im.UserID) error {
	exists, err := p.people.Exists(ctx, u)
	if err != nil {
		return stored(ctx, err)
	}
	if !exists {
		return &im.Error{Code: idl.CodeNotFound, Field: "to_user_id", Reason: "no such user"}
	}
	return nil
}

// both are the people of a chat, once each, the sender first.
func both(sender, peer im.UserID) []im.UserID {
	if sender == peer {
		return []im.UserID{sender}
	}
	return []im.UserID{sender, peer}
}
