package chat

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how stored messages are read: always with what became of them, which a page
// looks up at once. What was recalled, or edited, is given out by no other way.

// perReaction is what stands around the name of a reaction, in JSON.
const perReaction = 60

// opened is a stored message, with what became of it or, if it is an event about another one, of that.
type opened struct {
	im.Message
	content chatpb.Content
	now     *became
	beyond  bool // who reads has it from before, and may not read it any more: a recall is all that he learns
}

// open reads stored messages for somebody; user 0: for nobody in particular.
func (p *Chat) open(ctx context.Context, user im.UserID, items []im.Message) ([]opened, error) {
	all, wanted := make([]opened, len(items)), make([]stored, 0, len(items))
	for i, m := range items {
		o := &all[i]
		o.Message = m
		if err := o.content.Unmarshal(m.Body); err != nil {
			return nil, fmt.Errorf("body of message %s: %w", m.ID, err)
		}
		if at, ok := o.subject(); ok {
			wanted = append(wanted, at)
		}
	}
	if len(wanted) == 0 {
		return all, nil
	}
	found, err := p.changes.of(ctx, user, wanted)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for i := range all {
		o := &all[i]
		at, ok := o.subject()
		if b := found[at]; ok && b != nil && b.id == o.subjectID() {
			o.now = b
		}
	}
	if err := p.restrict(ctx, user, all); err != nil {
		return nil, err
	}
	at := p.host.Now()
	for i := range all {
		o := &all[i]
		if subject, ok := o.subject(); ok {
			o.now = over(subject, o.subjectID(), o.ends(), at, o.now)
			if o.content.Erased && o.content.About == nil && !o.now.recalled() { // the directory was taken back to before that
				o.now = &became{stored: subject, id: o.subjectID(), revision: 1, version: 1, recalledMs: o.Time.UnixMilli()}
			}
		}
	}
	return all, nil
}

// restrict finds the messages that user has in his inbox and may not read any more: he was removed from the
// conversation, or came in again. The owner of each is asked once, and only if something became of one.
func (p *Chat) restrict(ctx context.Context, user im.UserID, all []opened) error {
	type read struct {
		reach   plugin.Reach
		refused bool
	}
	asked := map[im.ConversationID]read{}
	for i := range all {
		o := &all[i]
		c, seq := place(o.Message, &o.content)
		if user == 0 || o.now == nil || o.content.About != nil || c.Type() == im.Chat {
			continue
		}
		r, known := asked[c]
		if owner := p.owners[c.Type()]; owner == nil {
			r.refused = true
		} else if !known {
			var err error
			if r.reach, err = owner.Read(ctx, c, user); err != nil && !final(err) {
				return refusal(ctx, err)
			}
			r.refused = err != nil
			asked[c] = r
		}
		o.beyond = r.refused || !r.reach.Has(seq)
	}
	return nil
}

// subject is the message of which something may have become: this one, or that which the event is about.
func (o *opened) subject() (at stored, ok bool) {
	if o.content.About != nil {
		return stored{o.Conversation, o.content.AboutSeq}, true
	}
	return stored{o.Conversation, o.Seq}, o.content.Kind != kindEvent
}

// ends is when its subject disappears, in ms; 0: it stays.
func (o *opened) ends() int64 {
	if o.content.About != nil {
		return o.content.AboutExpiresMs
	}
	return expiryMs(o.Message, &o.content)
}

func (o *opened) subjectID() string {
	if o.content.About != nil {
		return o.content.About.MessageId
	}
	return o.ID.String()
}

// text is how it reads now.
func (o *opened) text() string {
	if o.now.edited() && o.content.About == nil {
		return o.now.text
	}
	return o.content.Text
}

// size is about what it takes in codec c.
func (o *opened) size(c idl.Codec) int {
	size := plugin.SizeOf(o.Body, c) + perMessage
	if o.now != nil {
		size += plugin.SizeOf(o.now.text, c) + perMessage
		for _, r := range o.now.reactions {
			size += len(r.name) + perReaction
		}
	}
	return size
}

// shown is it as clients see it.
func (o *opened) shown() *chatpb.Message {
	c, seq := place(o.Message, &o.content)
	m := &chatpb.Message{
		Id: o.ID.String(), ConversationId: string(c), Seq: seq, SenderId: int64(o.Sender),
		ClientId: o.ClientID, TimeMs: o.Time.UnixMilli(), Kind: o.content.Kind,
	}
	m.ExpiresMs = expiryMs(o.Message, &o.content)
	about := o.content.About
	if o.now.recalled() && about == nil {
		m.Became = o.now.shown()
		return m
	}
	m.Text, m.Event, m.Data, m.Media, m.Place, m.Payload = o.text(), o.content.Event, o.content.Data, o.content.Media, o.content.Place, o.content.Payload
	m.ReplyTo, m.Origin, m.Mentions, m.MentionsAll, m.About = o.content.ReplyTo, o.content.Origin, o.content.Mentions, o.content.MentionsAll, about
	switch {
	case about != nil:
		m.Became = o.now.announced()
		if o.now.recalled() {
			m.Data = ""
		}
	case o.beyond:
		m.Became = o.now.announced()
		if o.now.edited() {
			m.Text = ""
		}
	default:
		m.Became = o.now.shown()
	}
	return m
}

// shown is a message that was committed just now, as clients see it: nothing became of it.
func shown(m im.Message) (*chatpb.Message, error) {
	o := opened{Message: m}
	if err := o.content.Unmarshal(m.Body); err != nil {
		return nil, fmt.Errorf("body of message %s: %w", m.ID, err)
	}
	return o.shown(), nil
}

// page gives as many of the first messages as make up a page of so many octets in codec c, at
// least one if there is one, as clients see them.
func (p *Chat) page(ctx context.Context, user im.UserID, items []im.Message, octets int, c idl.Codec) ([]*chatpb.Message, error) {
	items = items[:plugin.Fits(items, octets, func(m im.Message) int { return plugin.SizeOf(m.Body, c) + perMessage })]
	all, err := p.open(ctx, user, items)
	if err != nil {
		return nil, err
	}
	n := plugin.Fits(all, octets, func(o opened) int { return o.size(c) })
	out := make([]*chatpb.Message, n)
	for i := range out {
		out[i] = all[i].shown()
	}
	return out, nil
}
