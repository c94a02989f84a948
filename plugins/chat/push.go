package chat

import (
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// push hands a committed message to fan-out: to all devices of the people whose
// inboxes hold it, but for the session that sent it. It runs in the order of
// commits (timeline.Draft.OnCommit).
func (p *Chat) push(done timeline.Committed, people []im.UserID, sender presence.SessionRef) {
	m, err := shown(done.Message)
	if err != nil {
		p.host.Log().Error("committed message cannot be shown", "id", done.ID, "err", err)
		return
	}
	p.host.Push(plugin.Push{
		Action: idl.ActionMessage, Body: &chatpb.InboxEntry{Message: m},
		Users: people, InboxSeqs: done.InboxSeqs, Except: sender,
	})
}

// sent is the answer to the sender of a committed message. His inbox seq is the
// first: both puts him there.
func sent(done timeline.Committed) (*chatpb.SendReply, error) {
	var content chatpb.Content
	if err := content.Unmarshal(done.Body); err != nil {
		return nil, im.Unavailable(0, err)
	}
	c, seq := place(done.Message, &content)
	rep := &chatpb.SendReply{
		MessageId: done.ID.String(), ConversationId: string(c), Seq: seq,
		TimeMs: done.Time.UnixMilli(), Duplicate: done.Duplicate, Rewritten: content.Rewritten,
	}
	if len(done.InboxSeqs) > 0 {
		rep.InboxSeq = done.InboxSeqs[0]
	}
	if content.Rewritten {
		rep.Text = content.Text
	}
	return rep, nil
}
