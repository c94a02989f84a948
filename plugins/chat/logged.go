package chat

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how messages of a conversation come to be in its log alone. What is written to inboxes, and what
// is not, must not mix: who has the one at once and the other when he asks would get them in another order. So
// there is a point in the order of commits up to which all are written to inboxes and from which on none is:
// the fence, the only message of a log beside the conversation's. Whoever sends by an older word of its owner's
// finds it, and does as all do by then.

// fenceMark follows a conversation's ID in the name of its fence's log.
const fenceMark = "\x1b"

// fenced reports whether messages of c may once be in its log alone.
func (p *Chat) fenced(c im.ConversationID) bool { return c.Type() != im.Notices && p.owned(c) }

// file commits content as d has it for the rest: to the inboxes of d or, logged, to the log alone.
func (p *Chat) file(ctx context.Context, d timeline.Draft, content *chatpb.Content, logged bool) (done timeline.Committed, err error) {
	if !logged {
		if d.Body, err = content.Marshal(make([]byte, 0, len(content.Text)+32)); err != nil { // those of a plain text take less
			return done, err
		}
		if p.fenced(d.Conversation) {
			d.Unless = d.Conversation + fenceMark
		}
		if done, err = p.append(ctx, d); !errors.Is(err, timeline.ErrMoved) {
			return done, err
		}
		d.Queued, d.Unless = nil, ""
	}
	content.Logged = true
	if d.Body, err = content.Marshal(make([]byte, 0, len(content.Text)+32)); err != nil {
		return done, err
	}
	if err := p.raise(ctx, d.Conversation); err != nil {
		return done, err
	}
	d.Inboxes = nil
	d.OnCommit = func(done timeline.Committed) { p.host.Wake(done.Conversation, done.Seq) }
	done, err = p.append(ctx, d)
	if err == nil && done.Duplicate { // the core that committed it may have ended before it said so
		p.host.Wake(done.Conversation, done.Seq)
	}
	return done, err
}

// mostFences is how many fences a core remembers.
const mostFences = 10_000

// raise makes sure that c has its fence, and that it is known where its log ended when the present life of the store began.
func (p *Chat) raise(ctx context.Context, c im.ConversationID) error {
	p.fencesMu.Lock()
	raised := p.fences[c]
	p.fencesMu.Unlock()
	if raised {
		return nil
	}
	if err := p.begun(ctx, c); err != nil {
		return err
	}
	_, err := p.timelines.Append(ctx, timeline.Draft{Conversation: c + fenceMark, Expect: 1})
	if err != nil && !errors.Is(err, timeline.ErrMoved) {
		return err
	}
	p.fencesMu.Lock()
	defer p.fencesMu.Unlock()
	if len(p.fences) >= mostFences {
		clear(p.fences)
	}
	p.fences[c] = true
	return nil
}

// wakeAgain has those who follow the log of a message learn of it that was committed before: the core that did
// that may have ended before it said so.
func (p *Chat) wakeAgain(done timeline.Committed) {
	var content chatpb.Content
	if _, shadow := done.Conversation.Shadowed(); !shadow && content.Unmarshal(done.Body) == nil && content.Logged {
		p.host.Wake(done.Conversation, done.Seq)
	}
}
