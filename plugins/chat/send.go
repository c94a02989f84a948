package chat

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// validateSend checks a request by itself, before the store or a rule sees it.
func (p *Chat) validateSend(call *plugin.Call, req *chatpb.SendRequest) error {
	if err := plugin.ValidateClientID(req.ClientId); err != nil {
		return err
	}
	if _, _, err := conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User); err != nil {
		return err
	}
	if req.Kind != chatpb.MessageKind_MESSAGE_KIND_TEXT {
		return im.Invalid("kind", "%d is not known", req.Kind)
	}
	return im.CheckText("text", req.Text, 1, p.config.MaxText)
}

// answered gives the reply of the message that was committed under the same
// client ID: whatever the rules say by now, a resend gets what the send got.
func (p *Chat) answered(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	call.Digest = digest(call.User, req)
	committed, found, err := plugin.Resent(ctx, p.timelines, call, req.ClientId)
	if err != nil {
		return nil, err
	}
	if !found {
		rep, may, err := p.heldBefore(ctx, call, req.ClientId)
		if rep != nil || err != nil || !may {
			return rep, err
		}
		// It was committed between both looks, perhaps.
		if committed, found, err = plugin.Resent(ctx, p.timelines, call, req.ClientId); !found || err != nil {
			return nil, err
		}
	}
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

// send commits a message and has it pushed to every other device of both people; to the
// sender's only if the rules shadow it.
func (p *Chat) send(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	c, peer, err := conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return nil, err
	}
	target := call.Target
	if target != nil && target.User == call.User {
		target = nil // what the target answers goes to whom he answers
	}
	if target != nil {
		peer = target.User
		c = im.ChatOf(call.User, peer)
	}
	if err := p.mustExist(ctx, peer, target); err != nil {
		return nil, err
	}
	m := message{conversation: c, sender: call.User, peer: peer, clientID: req.ClientId, digest: call.Digest, kind: req.Kind, text: req.Text,
		rewritten: call.Rewritten, shadowed: call.Shadowed}
	if rep, err := p.hold(ctx, call, m); rep != nil || err != nil {
		return rep, err
	}
	committed, err := p.commit(ctx, m, call.Session, call.Placed)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return sent(committed)
}

// message is what is committed: its conversation is that of both, also when it is
// shadowed.
type message struct {
	conversation im.ConversationID
	sender, peer im.UserID
	clientID     string
	digest       [32]byte
	kind         chatpb.MessageKind
	text         string
	rewritten    bool
	shadowed     bool // nobody but the sender is to see it
}

// commit appends a message to its timelines, and has it pushed to all devices of those
// whom it is for, but for the session that sent it.
func (p *Chat) commit(ctx context.Context, m message, session presence.SessionRef, queued func()) (done timeline.Committed, err error) {
	log, people, content := m.conversation, both(m.sender, m.peer), chatpb.Content{Kind: m.kind, Text: m.text, Rewritten: m.rewritten}
	if m.shadowed {
		log, people = log.Shadow(m.sender), people[:1]
		if content.ShadowSeq, err = p.nextSeq(ctx, m.conversation); err != nil {
			return done, err
		}
	}
	body, err := content.Marshal(make([]byte, 0, len(m.text)+32)) // its other fields take less
	if err != nil {
		return done, err
	}
	return p.timelines.Append(ctx, timeline.Draft{
		Conversation: log, Sender: m.sender, ClientID: m.clientID, Digest: m.digest, Body: body, Inboxes: people, Queued: queued,
		OnCommit: func(done timeline.Committed) { p.push(done, people, session) },
	})
}

// mustExist refuses a message to nobody; target says that the rules chose u.
func (p *Chat) mustExist(ctx context.Context, u im.UserID, target *plugin.Target) error {
	exists, err := p.people.Exists(ctx, u)
	switch {
	case err != nil:
		return plugin.Stored(ctx, err)
	case exists:
		return nil
	case target != nil:
		return fmt.Errorf("the rules sent a message to the target %s: there is no user %d", target.Name, u)
	default:
		return &im.Error{Code: idl.CodeNotFound, Field: "to_user_id", Reason: "no such user"}
	}
}

// both are the people of a chat, once each, the sender first.
func both(sender, peer im.UserID) []im.UserID {
	if sender == peer {
		return []im.UserID{sender}
	}
	return []im.UserID{sender, peer}
}
