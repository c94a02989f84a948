package chat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how messages that are in no inbox come into one: when its person asks for it. Each message of a
// log that he follows becomes a place, a message without a body in a log of his own for that part of the log:
// the n-th place stands for the n-th message of the part. A place is in his inbox like any message, and
// says by where it is what it stands for; the store lets only one be the n-th (Draft.Expect). So whoever
// gathers for him, on how many cores at once, and wherever it ends: each message comes once, in the log's order.

// placeMark stands in the name of a log of places between the conversation and whose it is. No conversation that
// people can name holds it.
const placeMark = "\x1c"

// places names the log of u's places for f.
func (f follow) places(u im.UserID) im.ConversationID {
	return im.ConversationID(fmt.Sprintf("%s%s%d.%d", f.conversation, placeMark, u, f.after))
}

// placed gives the message that a place stands for; ok is false when m is none.
func placed(m im.Message) (at stored, ok bool) {
	c, rest, ok := strings.Cut(string(m.Conversation), placeMark)
	if !ok {
		return at, false
	}
	_, text, _ := strings.Cut(rest, ".")
	after, err := strconv.ParseInt(text, 10, 64)
	return stored{im.ConversationID(c), after + m.Seq}, err == nil
}

// part is a follow, and how far it is gathered.
type part struct {
	follow
	at, end  int64        // gathered up to at; there is more up to end
	messages []im.Message // some of what is behind at
	cut      bool         // and there is more
	step     int64        // how many messages were asked for last
}

// gathered says what gather did.
type gathered struct {
	follows bool // he follows logs, or parts of some
	added   int  // entries that came into the inbox
	more    bool // there is more
	logs    []plugin.Followed
}

// gather brings up to room messages of the logs that somebody follows into his inbox, the oldest first. Without
// more, all is there that was committed before the call.
func (p *Chat) gather(ctx context.Context, u im.UserID, room int) (g gathered, err error) {
	for {
		if g, err = p.gatherSome(ctx, u, room); err != nil {
			return g, plugin.Stored(ctx, err)
		}
		// Nothing came, and there is more: what came is in his inbox by other ways, or somebody gathers for
		// him too.
		if g.added > 0 || !g.more {
			return g, nil
		}
		if err := ctx.Err(); err != nil {
			return g, plugin.Stored(ctx, err)
		}
	}
}

// gatherSome takes one step. When others took it, or a part of it, there is more.
func (p *Chat) gatherSome(ctx context.Context, u im.UserID, room int) (g gathered, err error) {
	all, err := p.followed(ctx, u)
	if err != nil || len(all) == 0 {
		return g, err
	}
	g.follows = true
	parts, done, logs, err := p.parts(ctx, u, all)
	if err != nil {
		return g, err
	}
	g.logs = logs
	if err := p.forgetFollows(ctx, u, done); err != nil || len(parts) == 0 {
		return g, err
	}
	if parts, err = p.still(ctx, u, parts); err != nil {
		return g, err
	}
	if parts, g.more = firsts(parts); len(parts) == 0 {
		return g, nil
	}
	if err := p.readParts(ctx, parts, room); err != nil {
		return g, err
	}
	drafts, left, err := p.draftPlaces(ctx, u, parts, room)
	if err != nil {
		return g, err
	}
	g.more = g.more || left
	for i, err := range p.timelines.AppendAll(ctx, drafts) {
		switch {
		case errors.Is(err, timeline.ErrMoved):
			g.more = true
		case err != nil:
			return g, err
		case len(drafts[i].Inboxes) > 0:
			g.added++
		}
	}
	return g, nil
}

// parts are those of which there is more to gather, those that are gathered to their ends, and where the logs
// end that he follows.
func (p *Chat) parts(ctx context.Context, u im.UserID, all []follow) (parts []*part, done []follow, logs []plugin.Followed, err error) {
	names := make([]im.ConversationID, 0, 2*len(all))
	for _, f := range all {
		names = append(names, f.places(u), f.conversation)
	}
	heads, _, err := p.timelines.Heads(ctx, names, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, f := range all {
		one := &part{follow: f, at: f.after + heads[2*i], end: heads[2*i+1]}
		switch {
		case f.through > 0:
			one.end = min(one.end, f.through)
		case f.conversation != im.ToAll: // of that edges need not know who follows it
			logs = append(logs, plugin.Followed{Log: f.conversation, Seq: one.end})
		}
		switch {
		case one.at < one.end:
			parts = append(parts, one)
		case f.through > 0 && one.at >= f.through:
			done = append(done, f)
		}
	}
	return parts, done, logs, nil
}

// still are the parts as they are after their logs' ends were looked up: whoever follows a log then might have
// all that it held before. He may have been removed meanwhile, and the log have grown; from announcements nobody is.
func (p *Chat) still(ctx context.Context, u im.UserID, parts []*part) ([]*part, error) {
	now, err := p.followedRows(ctx, u)
	epoch := p.timelines.Epoch()
	return slices.DeleteFunc(parts, func(one *part) bool {
		if one.conversation == im.ToAll {
			return one.epoch != epoch
		}
		i := slices.IndexFunc(now, func(f follow) bool {
			return f.conversation == one.conversation && f.after == one.after && f.epoch == one.epoch
		})
		if i >= 0 && now[i].through > 0 {
			one.end = min(one.end, now[i].through)
		}
		return i < 0 || one.at >= one.end
	}), err
}

// firsts leaves of each log the first part only: what somebody has left of it comes before what he has of it again.
func firsts(parts []*part) (first []*part, more bool) {
	for _, one := range parts {
		if n := len(first); n > 0 && first[n-1].conversation == one.conversation {
			more = true
			continue
		}
		first = append(first, one)
	}
	return first, more
}

// readParts begins to read each part: so much that of parts alike the oldest of all are among it.
func (p *Chat) readParts(ctx context.Context, parts []*part, room int) error {
	const least = 2
	return p.readOn(ctx, int64(max(least, room/len(parts)+1)), parts...)
}

// readOn reads up to n more messages of each part, of all at once.
func (p *Chat) readOn(ctx context.Context, n int64, parts ...*part) error {
	var places []timeline.Ref
	for _, one := range parts {
		one.step = n
		for seq := one.at + 1; seq <= min(one.at+n, one.end); seq++ {
			places = append(places, timeline.Ref{Conversation: one.conversation, Seq: seq})
		}
	}
	messages, err := p.messages(ctx, places)
	if err != nil {
		return err
	}
	for _, one := range parts {
		left := one.end - one.at
		k := min(n, left)
		one.messages, one.cut, messages = messages[:k:k], k < left, messages[k:]
	}
	return nil
}

// messages reads messages that must be there.
func (p *Chat) messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	messages, err := p.timelines.Messages(ctx, places)
	for i, m := range messages {
		if m.Seq == 0 {
			return nil, fmt.Errorf("%w: message %d of log %s is not there", timeline.ErrCorrupt, places[i].Seq, places[i].Conversation)
		}
	}
	return messages, err
}

// draftPlaces makes a place for each of the oldest messages of all parts; more says that others are left. What was
// written to inboxes, since the log was not followed yet when it was sent, has a place in no inbox. A part that comes to
// the end of what was read of it is read on, twice as much: what is read is not much more than what is used.
func (p *Chat) draftPlaces(ctx context.Context, u im.UserID, parts []*part, room int) (drafts []timeline.Draft, more bool, err error) {
	for len(drafts) < room {
		var next *part
		for _, one := range parts {
			if len(one.messages) > 0 && (next == nil || string(one.messages[0].ID[:]) < string(next.messages[0].ID[:])) {
				next = one
			}
		}
		if next == nil {
			break
		}
		m := next.messages[0]
		next.messages, next.at = next.messages[1:], m.Seq
		var content chatpb.Content
		if err := content.Unmarshal(m.Body); err != nil {
			return nil, false, fmt.Errorf("%w: body of message %s: %w", timeline.ErrCorrupt, m.ID, err)
		}
		d := timeline.Draft{Conversation: next.places(u), Sender: u, Expect: m.Seq - next.after}
		if content.Logged {
			d.Inboxes = []im.UserID{u}
		}
		drafts = append(drafts, d)
		// Entries have the IDs of their places: the newest message that somebody has may have another core's ID.
		p.host.MessageIDs().Observe(m.ID)
		if room := int64(room - len(drafts)); len(next.messages) == 0 && next.cut && room > 0 {
			if err := p.readOn(ctx, min(2*next.step, room), next); err != nil {
				return nil, false, err
			}
		}
	}
	more = slices.ContainsFunc(parts, func(one *part) bool { return len(one.messages) > 0 || one.cut })
	return drafts, more, nil
}

// entries reads a page of an inbox, with the messages for which places stand.
func (p *Chat) entries(ctx context.Context, u im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	page, err := p.timelines.Inbox(ctx, u, after, limit)
	if err != nil {
		return page, err
	}
	return page, p.fillPlaces(ctx, page.Items)
}

// fillPlaces has entries be of the messages for which their places stand.
func (p *Chat) fillPlaces(ctx context.Context, entries []timeline.Entry) error {
	var of []int // the indexes of those that are places
	var refs []timeline.Ref
	for i, e := range entries {
		if at, is := placed(e.Message); is {
			of, refs = append(of, i), append(refs, timeline.Ref{Conversation: at.log, Seq: at.seq})
		}
	}
	if len(of) == 0 {
		return nil
	}
	messages, err := p.messages(ctx, refs)
	for i, m := range messages {
		entries[of[i]].Message = m
	}
	return err
}

// locate gives a place in an inbox such that what comes behind it is all that somebody has not, who has message id and what
// came before it. A message that was gathered is in the inbox under the ID of its place, which is younger.
func (p *Chat) locate(ctx context.Context, u im.UserID, id im.MessageID) (int64, error) {
	after, err := p.timelines.Locate(ctx, u, id)
	if err != nil {
		return 0, err
	}
	all, err := p.placedParts(ctx, u)
	if err != nil {
		return 0, err
	}
	for _, f := range all {
		if !id.IsOf(f.conversation) {
			continue
		}
		at, found, err := p.locatePlace(ctx, u, f, id)
		if err != nil || found {
			return max(after, at), err
		}
	}
	// Of parts of long ago nobody knows what his places are called: they are where the ID leads, or behind it.
	raw, err := p.timelines.Inbox(ctx, u, after, mostSync)
	if err != nil || !slices.ContainsFunc(raw.Items, func(e timeline.Entry) bool { _, is := placed(e.Message); return is }) {
		return after, err
	}
	page, err := p.entries(ctx, u, after, len(raw.Items))
	for i, e := range page.Items {
		if _, is := placed(raw.Items[i].Message); is && e.ID == id {
			return e.InboxSeq, err
		}
	}
	return after, err
}

// locatePlace finds the place of message id in an inbox, if it belongs to f and is gathered.
func (p *Chat) locatePlace(ctx context.Context, u im.UserID, f follow, id im.MessageID) (at int64, found bool, err error) {
	m, found, err := p.inLog(ctx, f.conversation, id)
	if !found || err != nil || m.Seq <= f.after || f.through > 0 && m.Seq > f.through {
		return 0, false, err
	}
	var content chatpb.Content
	if content.Unmarshal(m.Body) != nil || !content.Logged {
		return 0, false, nil // it was written to inboxes
	}
	places, err := p.timelines.Log(ctx, f.places(u), m.Seq-f.after-1, 1)
	if err != nil || len(places.Items) == 0 {
		return 0, false, err
	}
	place := places.Items[0].ID
	if at, err = p.timelines.Locate(ctx, u, place); err != nil {
		return 0, false, err
	}
	// Where several cores write, what is near has not quite the order of IDs.
	near, err := p.timelines.Inbox(ctx, u, max(0, at-1), mostSync)
	for _, e := range near.Items {
		if e.ID == place {
			return e.InboxSeq, true, err
		}
	}
	return at, true, err
}

// inLog finds a message in its log, where IDs grow with the seqs.
func (p *Chat) inLog(ctx context.Context, c im.ConversationID, id im.MessageID) (m im.Message, found bool, err error) {
	end, err := p.timelines.Log(ctx, c, 0, 0)
	if err != nil {
		return m, false, err
	}
	for low, high := end.Floor, end.Head; low <= high; {
		middle := low + (high-low)/2
		page, err := p.timelines.Log(ctx, c, middle-1, 1)
		if err != nil || len(page.Items) == 0 {
			return m, false, err
		}
		switch m = page.Items[0]; bytes.Compare(m.ID[:], id[:]) {
		case 0:
			return m, true, nil
		case -1:
			low = middle + 1
		default:
			high = middle - 1
		}
	}
	return m, false, nil
}

// extend adds to a page that reaches the end of an inbox what comes into it when its logs are gathered.
func (p *Chat) extend(ctx context.Context, u im.UserID, page *timeline.Page[timeline.Entry], limit int) ([]plugin.Followed, error) {
	room := limit - len(page.Items)
	g, err := p.gather(ctx, u, max(1, room))
	if err != nil || !g.follows {
		return g.logs, err
	}
	if room <= 0 {
		page.HasMore = true
		return g.logs, nil
	}
	// Also if nothing came: another device's sync may have gathered since the page was read.
	rest, err := p.entries(ctx, u, page.Head, room)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	page.Items = append(page.Items, rest.Items...)
	page.Head, page.HasMore = rest.Head, rest.HasMore || g.more
	return g.logs, nil
}
