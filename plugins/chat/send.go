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
	c, peer, err := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return err
	}
	if c.Type() == im.Notices {
		return errNotYours
	}
	if req.Forward != nil {
		return checkForward(req)
	}
	if err := p.checkKind(req); err != nil {
		return err
	}
	return checkNamed(req, peer, call.User)
}

// answered gives the reply of the message that was committed under the same
// client ID: whatever the rules say by now, a resend gets what the send got.
func (p *Chat) answered(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	call.Digest = p.digest(call.User, req)
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
	return p.sentAgain(ctx, committed)
}

// digest identifies what the sender asked for, however it was encoded and
// addressed.
func (p *Chat) digest(sender im.UserID, req *chatpb.SendRequest) [32]byte {
	c, _, _ := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", sender)
	b := make([]byte, 0, 1024) // on the stack; only longer texts need more
	b = binary.BigEndian.AppendUint32(b, uint32(req.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c)))
	b = append(b, c...)
	b = append(b, req.Text...)
	if !plain(req) {
		rest := chatpb.SendRequest{Media: req.Media, Place: req.Place, Payload: req.Payload, ReplyTo: req.ReplyTo, Mentions: req.Mentions,
			MentionsAll: req.MentionsAll, Forward: req.Forward}
		b = append(b, 0) // no text holds it
		if more, err := rest.Marshal(nil); err == nil {
			b = append(b, more...)
		}
	}
	return sha256.Sum256(b)
}

// plain reports whether a request is for a text and nothing else.
func plain(req *chatpb.SendRequest) bool {
	return req.Kind == kindText && req.ReplyTo == nil && req.Forward == nil && len(req.Mentions) == 0 && !req.MentionsAll
}

// reviewed shows the rules what they may judge and rewrite.
func (p *Chat) reviewed(call *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed {
	c, _, _ := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	return plugin.Reviewed{Conversation: c, Kind: kindName(req.Kind), Text: &req.Text}
}

// send commits a message and has it pushed to every other device of all whom it is for; to
// the sender's only if the rules, or a guard, shadow it.
func (p *Chat) send(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	if attempted(ctx) == nil {
		return p.sending(ctx, call, req, p.admit)
	}
	return p.sending(ctx, call, req, func(ctx context.Context, m *message) error { // it was written long ago
		if err := p.present(ctx, m); err != nil {
			return err
		}
		return p.admit(ctx, m)
	})
}

func (p *Chat) sending(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest, admit func(context.Context, *message) error) (*chatpb.SendReply, error) {
	c, peer, err := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return nil, err
	}
	m := &message{sender: call.User, clientID: req.ClientId, digest: call.Digest, shadowed: call.Shadowed || toUnseen(call),
		content: chatpb.Content{Kind: req.Kind, Text: req.Text, Rewritten: call.Rewritten}}
	content := &m.content
	if !plain(req) {
		body(content, call, req)
	}
	target := call.Target
	if target != nil && target.User == call.User {
		target = nil // what the target answers goes to whom he answers
	}
	if target != nil {
		peer = target.User
		c = im.ChatOf(call.User, peer)
		content.ReplyTo, content.Mentions, content.MentionsAll = nil, nil, false // they are of the other conversation
	}
	if peer != 0 {
		if err := p.mustExist(ctx, peer, target); err != nil {
			return nil, err
		}
	}
	m.conversation, m.peer = c, peer
	if err := admit(ctx, m); err != nil {
		return nil, err
	}
	files, err := p.useFiles(ctx, m)
	if err != nil {
		p.giveBack(ctx, m)
		return nil, err
	}
	reaching(ctx, call)
	if rep, err := p.hold(ctx, call, m); rep != nil || err != nil {
		if refused(err) {
			p.giveBack(ctx, m)
			p.dropFiles(ctx, m, files.begun)
		}
		return rep, err
	}
	committed, err := p.commitAdmitted(ctx, m, call.Session, call.Placed, admit)
	if err != nil {
		err = refusal(ctx, err)
	}
	p.settleFiles(ctx, m, files, committed, err)
	if err != nil {
		return nil, err
	}
	if committed.Duplicate {
		return sent(committed, nil)
	}
	return sent(committed, &m.content)
}

// body fills in what a message is beside its text.
func body(content *chatpb.Content, call *plugin.Call, req *chatpb.SendRequest) {
	if _, has := leastText(req.Kind); !has && req.Text != "" { // a rule gave it one
		content.Text, content.Rewritten = "", false
	}
	content.Media, content.Place, content.Payload = req.Media, req.Place, req.Payload
	content.Mentions, content.MentionsAll = req.Mentions, req.MentionsAll
	if found, ok := call.Found.(*looked); ok {
		content.ReplyTo, content.Origin = found.reply, found.origin
	}
}

// message is what is committed: its conversation is that of both, also when it is
// shadowed.
type message struct {
	conversation im.ConversationID
	sender       im.UserID
	peer         im.UserID   // of a chat; 0: it is another conversation
	people       []im.UserID // whom it is for, the sender first: set by admit
	version      int64       // by which its owner said so: likewise
	taken        bool        // its owner took for it what is taken once: likewise
	clientID     string
	digest       [32]byte
	content      chatpb.Content
	shadowed     bool // nobody but the sender is to see it: also set by admit
	operators    bool // it is the operator's, about which nobody is asked: set by unasked and toMembers
	logged       bool // it is in the log alone, for those who follow it: set by admit
}

// commit appends a message to its timelines, and has it pushed to all devices of those
// whom it is for, but for the session that sent it.
func (p *Chat) commit(ctx context.Context, m *message, session presence.SessionRef, queued func()) (done timeline.Committed, err error) {
	log, people, content := m.conversation, m.people, &m.content
	if err := p.limit(ctx, m); err != nil {
		return done, err
	}
	if m.shadowed {
		log, people = log.Shadow(m.sender), []im.UserID{m.sender}
		if content.ShadowSeq, err = p.nextSeq(ctx, m.conversation); err != nil {
			return done, err
		}
		content.Logged = m.logged // its answer says as little of the inbox as that of others there
		if m.logged {             // and in the sender's inbox it comes behind them
			if err := p.gatherAll(ctx, m.sender); err != nil {
				return done, err
			}
		}
	}
	push := func(done timeline.Committed) { p.push(done, content, people, session) }
	if m.shadowed && m.logged { // and so do its pushes
		push = func(timeline.Committed) { p.Remind(m.sender) }
	}
	version := m.version
	if m.shadowed { // its log is another
		version = 0
	}
	done, err = p.file(ctx, timeline.Draft{
		Conversation: log, Sender: m.sender, ClientID: m.clientID, Digest: m.digest, Inboxes: people, Queued: queued, Version: version,
		OnCommit: push,
	}, content, m.logged && !m.shadowed)
	if err == nil && m.shadowed && !done.Duplicate && content.LifetimeMs > 0 {
		p.sweepShadow(ctx, done, content.LifetimeMs)
	}
	return done, err
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
