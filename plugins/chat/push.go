package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// push hands a committed message to fan-out: to all devices of the people whose
// inboxes hold it, but for the session that sent it. It runs in the order of
// commits (timeline.Draft.OnCommit). content is what its body was made of, which saves decoding it.
func (p *Chat) push(done timeline.Committed, content *chatpb.Content, people []im.UserID, sender presence.SessionRef) {
	p.pushNow(done, content, people, sender, nil)
}

// pushNow is push for an event about a message of which that became.
func (p *Chat) pushNow(done timeline.Committed, content *chatpb.Content, people []im.UserID, sender presence.SessionRef, now *became) {
	o := opened{Message: done.Message, content: *content, now: now}
	p.host.Push(plugin.Push{
		Action: idl.ActionMessage, Body: &chatpb.InboxEntry{Message: o.shown()},
		Users: people, InboxSeqs: done.InboxSeqs, Except: sender,
	})
}

// sentAgain is the answer to who sends a committed message again: as sent, but for a text that is no
// more what it was.
func (p *Chat) sentAgain(ctx context.Context, done timeline.Committed) (*chatpb.SendReply, error) {
	p.wakeAgain(done)
	rep, err := sent(done, nil)
	if err != nil || !rep.Rewritten {
		return rep, err
	}
	all, err := p.open(ctx, 0, []im.Message{done.Message})
	if err != nil {
		return nil, err
	}
	rep.Text = all[0].text()
	if all[0].now.recalled() {
		rep.Text = ""
	}
	return rep, nil
}

// sent is the answer to the sender of a committed message. His inbox seq is the
// first: admit puts him there. content is what its body was made of; nil: it was another's, or is not known.
func sent(done timeline.Committed, content *chatpb.Content) (*chatpb.SendReply, error) {
	if content == nil {
		content = new(chatpb.Content)
		if err := content.Unmarshal(done.Body); err != nil {
			return nil, im.Unavailable(0, err)
		}
	}
	c, seq := place(done.Message, content)
	rep := &chatpb.SendReply{
		MessageId: done.ID.String(), ConversationId: string(c), Seq: seq,
		TimeMs: done.Time.UnixMilli(), Duplicate: done.Duplicate, Rewritten: content.Rewritten,
	}
	rep.ExpiresMs = expiryMs(done.Message, content)
	if len(done.InboxSeqs) > 0 && !content.Logged { // of what is logged the store may know a feed's
		rep.InboxSeq = done.InboxSeqs[0]
	}
	if content.Rewritten {
		rep.Text = content.Text
	}
	return rep, nil
}
