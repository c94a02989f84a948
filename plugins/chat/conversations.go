package chat

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people see, and say, of their conversations.

const (
	usualListed = 50
	mostListed  = 100
	mostPinned  = 100
	mostDraft   = 500 // characters
)

// listPlace is where a page of a list begins: behind a conversation, among those that are pinned or not.
type listPlace struct {
	pinned bool
	before int64 // where that one stands
	last   int64 // and the entry of the inbox that is its newest message
}

func (l listPlace) String() string {
	kind := "n"
	if l.pinned {
		kind = "p"
	}
	if l.before == l.last {
		return fmt.Sprint(kind, l.last)
	}
	return fmt.Sprint(kind, l.before, ".", l.last)
}

// theFirst is where a list begins, or the part of it that is not pinned.
func theFirst(pinned bool) listPlace {
	return listPlace{pinned: pinned, before: math.MaxInt64, last: math.MaxInt64}
}

// parsePlace reads what String writes; empty: the beginning.
func parsePlace(cursor string) (l listPlace, err error) {
	if cursor == "" {
		return theFirst(true), nil
	}
	l.pinned = cursor[0] == 'p'
	before, last, two := strings.Cut(cursor[1:], ".")
	if !two {
		last = before
	}
	var faults [2]error
	l.before, faults[0] = strconv.ParseInt(before, 10, 64)
	l.last, faults[1] = strconv.ParseInt(last, 10, 64)
	if errors.Join(faults[:]...) != nil || l.before < 0 || l.last < 1 || l.String() != cursor {
		return l, im.Invalid("cursor", "is none that was given")
	}
	return l, nil
}

// listConversations gives a page of the caller's conversations: the pinned ones first, then by newest
// activity.
func (p *Chat) listConversations(ctx context.Context, call *plugin.Call, req *chatpb.ListConversationsRequest) (*chatpb.ListConversationsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualListed, mostListed)
	if err != nil {
		return nil, err
	}
	from, err := parsePlace(req.Cursor)
	if err != nil {
		return nil, err
	}
	if err := p.upToDate(ctx, call.User); err != nil {
		return nil, err
	}
	page, err := p.listPage(ctx, call.User, from, limit+1, req.Hidden)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &chatpb.ListConversationsReply{HasMore: len(page) > limit}
	page = page[:min(len(page), limit)]
	shown, sizes, err := p.shownListed(ctx, call.User, page, call.Codec)
	if err != nil {
		return nil, err
	}
	rep.Conversations = shown
	n := plugin.Fits(sizes, p.config.PageBytes, func(size int) int { return size })
	rep.HasMore = rep.HasMore || n < len(page)
	if rep.Conversations = rep.Conversations[:n]; n > 0 && rep.HasMore {
		rep.Cursor = page[n-1].place().String()
	}
	return rep, nil
}

// listPage reads so many conversations, from the pinned ones on to the others.
func (p *Chat) listPage(ctx context.Context, u im.UserID, from listPlace, limit int, hidden bool) (page []*listed, err error) {
	if from.pinned {
		if page, err = p.lists.page(ctx, u, from, limit, hidden); err != nil || len(page) == limit {
			return page, err
		}
		from = theFirst(false)
	}
	others, err := p.lists.page(ctx, u, from, limit-len(page), hidden)
	return append(page, others...), err
}

// shownListed are conversations as their person sees them, with their last messages, and about what each takes in
// codec codec.
func (p *Chat) shownListed(ctx context.Context, u im.UserID, page []*listed, codec idl.Codec) (out []*chatpb.Conversation, sizes []int, err error) {
	lasts, err := p.lasts(ctx, u, page)
	if err != nil {
		return nil, nil, plugin.Stored(ctx, err)
	}
	some := slices.DeleteFunc(slices.Clone(lasts), func(m im.Message) bool { return m.Seq == 0 })
	all, err := p.open(ctx, u, some)
	if err != nil {
		return nil, nil, err
	}
	names := make([]im.ConversationID, len(page))
	for i, l := range page {
		names[i] = l.conversation
	}
	lifetimes, err := p.lifetimes.ofAll(ctx, names)
	if err != nil {
		return nil, nil, plugin.Stored(ctx, err)
	}
	sizes = make([]int, len(page))
	out = make([]*chatpb.Conversation, len(page))
	for i, m := range lasts {
		out[i] = shownConversation(page[i], p.host.Now())
		out[i].LifetimeMs = lifetimes[page[i].conversation]
		sizes[i] = plugin.SizeOf(out[i].Draft, codec) + 2*perMessage
		if m.Seq == 0 {
			continue
		}
		if last := all[0].shown(); last.Seq > page[i].floor {
			out[i].Last, sizes[i] = last, sizes[i]+all[0].size(codec)
		}
		all = all[1:]
	}
	return out, sizes, nil
}

func shownConversation(l *listed, now time.Time) *chatpb.Conversation {
	return &chatpb.Conversation{ConversationId: string(l.conversation), Unread: l.unread(now), Mentions: l.named(now), ReadSeq: l.read, LastSeq: l.lastSeq, Floor: l.floor,
		Pinned: l.pinned, Mute: chatpb.Mute(l.mute), Draft: l.draft, Hidden: l.lastInbox <= l.hidden}
}

// lasts are the newest messages of conversations, in their order; the seq is 0 where there is none, or it was trimmed.
func (p *Chat) lasts(ctx context.Context, u im.UserID, page []*listed) ([]im.Message, error) {
	seqs := make([]int64, len(page))
	for i, l := range page {
		seqs[i] = l.lastInbox
	}
	entries, err := p.timelines.InboxAt(ctx, u, seqs)
	if err != nil {
		return nil, err
	}
	if err := p.fillPlaces(ctx, entries); err != nil {
		return nil, err
	}
	lasts := make([]im.Message, len(page))
	for i, e := range entries {
		lasts[i] = e.Message
	}
	return lasts, nil
}

// changed is what a change of a conversation tells the person's devices: what is different.
type changed struct {
	Conversation im.ConversationID `json:"conversation_id"`
	Pinned       *bool             `json:"pinned,omitempty"`
	Mute         *int32            `json:"mute,omitempty"`
	Draft        *string           `json:"draft,omitempty"`
	Hidden       *bool             `json:"hidden,omitempty"`
	Floor        *int64            `json:"floor,omitempty"`
}

func (c changed) any() bool {
	return c.Pinned != nil || c.Mute != nil || c.Draft != nil || c.Hidden != nil || c.Floor != nil
}

// updateConversation changes what the caller says of one of his conversations.
func (p *Chat) updateConversation(ctx context.Context, call *plugin.Call, req *chatpb.UpdateConversationRequest) (*chatpb.UpdateConversationReply, error) {
	if req.Mute != nil && chatpb.Mute_name[int32(*req.Mute)] == "" {
		return nil, im.Invalid("mute", "%d is not known", *req.Mute)
	}
	if req.Draft != nil {
		if err := im.CheckText("draft", *req.Draft, 0, mostDraft); err != nil {
			return nil, err
		}
	}
	c, _, err := p.conversation(req.ConversationId, 0, "conversation_id", call.User)
	if err != nil {
		return nil, err
	}
	if err := p.upToDate(ctx, call.User); err != nil {
		return nil, err
	}
	var l *listed
	err = p.host.Tx(ctx, func(tx *sql.Tx) (err error) {
		l, err = p.update(ctx, tx, call.User, c, req)
		return err
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	p.Deliver()
	out, _, err := p.shownListed(ctx, call.User, []*listed{l}, call.Codec)
	if err != nil {
		return nil, err
	}
	return &chatpb.UpdateConversationReply{Conversation: out[0]}, nil
}

func (p *Chat) update(ctx context.Context, tx *sql.Tx, u im.UserID, c im.ConversationID, req *chatpb.UpdateConversationRequest) (*listed, error) {
	if err := p.lists.lock(ctx, tx, u); err != nil {
		return nil, err
	}
	rows, err := p.lists.some(ctx, tx, u, []im.ConversationID{c})
	if err != nil {
		return nil, err
	}
	l := rows[c]
	if l == nil || l.lastInbox == 0 {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "conversation_id", Reason: "nobody has written there"}
	}
	was := *l
	l.change(req)
	if l.pinned && !was.pinned {
		n, err := p.lists.pinned(ctx, tx, u)
		if err != nil {
			return nil, err
		}
		if n >= mostPinned {
			return nil, &im.Error{Code: idl.CodeLimitExceeded, Field: "pinned", Reason: fmt.Sprintf("%d conversations are pinned", n)}
		}
	}
	diff := l.differs(&was)
	if !diff.any() {
		return l, nil
	}
	if err := p.lists.set(ctx, tx, u, l); err != nil {
		return nil, err
	}
	var data bytes.Buffer
	text := json.NewEncoder(&data)
	text.SetEscapeHTML(false)
	if err := text.Encode(diff); err != nil {
		return nil, err
	}
	return l, p.File(ctx, tx, plugin.Event{Users: []im.UserID{u}, Actor: u, Name: "chat.conversation", Data: strings.TrimSpace(data.String())})
}

// change does what a request says.
func (l *listed) change(req *chatpb.UpdateConversationRequest) {
	if req.Pinned != nil {
		l.pinned = *req.Pinned
	}
	if req.Mute != nil {
		l.mute = int32(*req.Mute)
	}
	if req.Draft != nil {
		l.draft = *req.Draft
	}
	if req.Delete {
		l.floor, l.hidden, l.draft = max(l.floor, l.lastSeq), l.lastInbox, ""
		l.pinned = req.Pinned != nil && *req.Pinned
	}
	if req.Hidden != nil {
		l.hidden = 0
		if *req.Hidden {
			l.hidden = l.lastInbox
		}
	}
}

// differs tells what of it is not as it was.
func (l *listed) differs(was *listed) changed {
	c := changed{Conversation: l.conversation}
	if l.pinned != was.pinned {
		c.Pinned = &l.pinned
	}
	if l.mute != was.mute {
		c.Mute = &l.mute
	}
	if l.draft != was.draft {
		c.Draft = &l.draft
	}
	if hides := l.lastInbox <= l.hidden; hides != (was.lastInbox <= was.hidden) {
		c.Hidden = &hides
	}
	if l.floor != was.floor {
		c.Floor = &l.floor
	}
	return c
}
