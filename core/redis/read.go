package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"

	goredis "github.com/redis/go-redis/v9"
)

// floor is the oldest seq of every timeline: the record trims nothing.
const floor = 1

// span is what a page holds of a timeline: the seqs from first to last, none when
// first is greater.
type span struct{ first, last int64 }

func (s span) len() int { return int(max(0, s.last-s.first+1)) }

// forward is the span of up to limit seqs after that one, of a timeline up to head.
func forward(after int64, limit int, head int64) span {
	first := max(after, floor-1) // no overflow below, whatever after is
	if first >= head || limit <= 0 {
		return span{floor, floor - 1}
	}
	return span{first + 1, first + min(head-first, int64(limit))}
}

// backward is the span of up to limit seqs before that one; 0: from the end.
func backward(before int64, limit int, head int64) span {
	last := head
	if before > 0 {
		last = min(head, before-1)
	}
	if last < floor || limit <= 0 {
		return span{floor, floor - 1}
	}
	return span{last - min(last, int64(limit)) + 1, last}
}

// Log implements timeline.Store.
func (t *Timelines) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	p, err := t.logPage(ctx, c, func(head int64) span { return forward(after, limit, head) })
	if err == nil && p.Items == nil {
		p.HasMore = max(after, floor-1) < p.Head
	} else if err == nil {
		p.HasMore = p.Items[len(p.Items)-1].Seq < p.Head
	}
	return p, err
}

// LogBefore implements timeline.Store.
func (t *Timelines) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	p, err := t.logPage(ctx, c, func(head int64) span { return backward(before, limit, head) })
	if err == nil && p.Items == nil {
		p.HasMore = p.Head >= floor && (before <= 0 || before > floor)
	} else if err == nil {
		slices.Reverse(p.Items)
		p.HasMore = p.Items[len(p.Items)-1].Seq > floor
	}
	return p, err
}

// logPage reads a span of a log, oldest first, and where it ends.
func (t *Timelines) logPage(ctx context.Context, c im.ConversationID, cut func(head int64) span) (timeline.Page[im.Message], error) {
	heads, _, err := t.Heads(ctx, []im.ConversationID{c}, nil)
	if err != nil {
		return timeline.Page[im.Message]{}, fmt.Errorf("log of conversation %s: %w", c, err)
	}
	p := timeline.Page[im.Message]{Head: heads[0], Floor: floor}
	wanted := cut(p.Head)
	if wanted.len() == 0 {
		return p, nil
	}
	p.Items = make([]im.Message, wanted.len())
	if t.hot(wanted, p.Head) {
		t.cachedLog(ctx, c, wanted, p.Items)
	}
	missing, n := holes(p.Items, wanted, func(m *im.Message) bool { return m.Seq == 0 })
	t.client.figures.looked("log", wanted.len()-n, n)
	if n == 0 {
		return p, nil
	}
	page, err := t.Record.Log(ctx, c, missing.first-1, missing.len())
	if err == nil && len(page.Items) != missing.len() {
		err = fmt.Errorf("the record has %d messages from %d to %d", len(page.Items), missing.first, missing.last)
	}
	if err != nil {
		return timeline.Page[im.Message]{}, fmt.Errorf("log of conversation %s: %w", c, err)
	}
	copy(p.Items[missing.first-wanted.first:], page.Items)
	t.writer.fillLog(c, p.Head, page.Items)
	return p, nil
}

// hot reports whether Redis may hold some of a span.
func (t *Timelines) hot(wanted span, head int64) bool { return wanted.last > head-t.keep }

// cachedLog puts what Redis has of a span of a log into items.
func (t *Timelines) cachedLog(ctx context.Context, c im.ConversationID, wanted span, items []im.Message) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	members, err := t.client.db.ZRangeByScore(ctx, t.keys.log(t.Epoch(), c), wanted.by()).Result()
	if err != nil {
		t.client.failed("timelines", err)
		return
	}
	var s seal
	s.atLog(c)
	for _, member := range members {
		m, ok := s.readMessage(member, c)
		if !ok {
			t.client.figures.corrupt.Inc()
		} else if wanted.first <= m.Seq && m.Seq <= wanted.last {
			items[m.Seq-wanted.first] = m
		}
	}
}

func (s span) by() *goredis.ZRangeBy {
	return &goredis.ZRangeBy{Min: score(s.first), Max: score(s.last)}
}

// holes gives the least span that holds every item that is not there, and how many
// are in it. One query of the record fills it.
func holes[T any](items []T, all span, absent func(*T) bool) (missing span, n int) {
	missing = span{all.last + 1, all.last}
	for i := range items {
		if absent(&items[i]) {
			seq := all.first + int64(i)
			missing = span{min(missing.first, seq), seq}
		}
	}
	return missing, missing.len()
}

// Inbox implements timeline.Store.
func (t *Timelines) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	p, err := t.inboxPage(ctx, user, after, limit)
	if err != nil {
		return timeline.Page[timeline.Entry]{}, fmt.Errorf("inbox of %d: %w", user, err)
	}
	return p, nil
}

func (t *Timelines) inboxPage(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	_, heads, err := t.Heads(ctx, nil, []im.UserID{user})
	if err != nil {
		return timeline.Page[timeline.Entry]{}, err
	}
	p := timeline.Page[timeline.Entry]{Head: heads[0], Floor: floor}
	wanted := forward(after, limit, p.Head)
	if wanted.len() == 0 {
		p.HasMore = max(after, floor-1) < p.Head
		return p, nil
	}
	if !t.hot(wanted, p.Head) {
		return t.Record.Inbox(ctx, user, after, limit)
	}
	refs := make([]timeline.EntryRef, wanted.len())
	t.cachedEntries(ctx, user, wanted, refs)
	missing, n := holes(refs, wanted, func(e *timeline.EntryRef) bool { return e.InboxSeq == 0 })
	t.client.figures.looked("inbox", wanted.len()-n, n)
	switch n {
	case 0:
	case wanted.len():
		return t.wholePage(ctx, user, after, limit)
	default:
		if err := t.entries(ctx, user, wanted, missing, p.Head, refs); err != nil {
			return p, err
		}
	}
	messages, err := t.messages(ctx, refs)
	if err != nil || !agree(refs, messages) {
		// An entry may name a message that is not there. Only the record is right,
		// and with its answer what Redis has of this inbox goes.
		whole, err := t.Record.Inbox(ctx, user, after, limit)
		if err == nil {
			t.forget(ctx, user)
		}
		return whole, err
	}
	p.Items = make([]timeline.Entry, len(refs))
	for i := range refs {
		p.Items[i] = timeline.Entry{InboxSeq: refs[i].InboxSeq, Message: messages[i]}
	}
	p.HasMore = wanted.last < p.Head
	return p, nil
}

// agree reports whether the messages are those that the refs name.
func agree(refs []timeline.EntryRef, messages []im.Message) bool {
	for i := range refs {
		if messages[i].ID != refs[i].ID {
			return false
		}
	}
	return true
}

// wholePage reads a page from the record, in one query, and puts it into Redis.
func (t *Timelines) wholePage(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	p, err := t.Record.Inbox(ctx, user, after, limit)
	if err != nil {
		return p, err
	}
	t.fill(user, p.Head, p.Items)
	return p, nil
}

// fill puts those entries of an inbox into Redis that are among its newest, with their messages.
func (t *Timelines) fill(user im.UserID, head int64, entries []timeline.Entry) {
	var refs []timeline.EntryRef
	var messages []im.Message
	for _, e := range entries {
		if e.InboxSeq > max(0, head-t.keep) {
			refs = append(refs, timeline.EntryRef{InboxSeq: e.InboxSeq, ID: e.ID, Ref: timeline.Ref{Conversation: e.Conversation, Seq: e.Seq}})
			messages = append(messages, e.Message)
		}
	}
	if len(refs) > 0 {
		slices.SortFunc(refs, func(a, b timeline.EntryRef) int { return cmp.Compare(a.InboxSeq, b.InboxSeq) })
		t.writer.fillInbox(user, head, refs)
		t.writer.fillLogs(messages)
	}
}

// InboxAt implements timeline.Store.
func (t *Timelines) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	entries, err := t.inboxAt(ctx, user, seqs)
	if err != nil {
		return nil, fmt.Errorf("inbox of %d: %w", user, err)
	}
	return entries, nil
}

func (t *Timelines) inboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	_, heads, err := t.Heads(ctx, nil, []im.UserID{user})
	if err != nil {
		return nil, err
	}
	entries := make([]timeline.Entry, len(seqs))
	refs := t.cachedAt(ctx, user, heads[0], seqs)
	var there, absent []int // indexes of seqs: those in Redis, and the others
	for i, seq := range seqs {
		switch {
		case refs[i].InboxSeq > 0:
			there = append(there, i)
		case seq >= floor && seq <= heads[0]:
			absent = append(absent, i)
		}
	}
	t.client.figures.looked("inbox", len(there), len(absent))
	if len(absent) > 0 {
		found, err := t.Record.InboxAt(ctx, user, chosen(seqs, absent))
		if err != nil {
			return nil, err
		}
		for i, at := range absent {
			entries[at] = found[i]
		}
		t.fill(user, heads[0], found)
	}
	named := chosen(refs, there)
	messages, err := t.messages(ctx, named)
	if err != nil || !agree(named, messages) { // as of a page
		whole, err := t.Record.InboxAt(ctx, user, seqs)
		if err == nil {
			t.forget(ctx, user)
		}
		return whole, err
	}
	for i, at := range there {
		entries[at] = timeline.Entry{InboxSeq: named[i].InboxSeq, Message: messages[i]}
	}
	return entries, nil
}

// chosen are the elements of all at the indexes.
func chosen[T any](all []T, at []int) []T {
	some := make([]T, len(at))
	for i, index := range at {
		some[i] = all[index]
	}
	return some
}

// Messages implements timeline.Store.
func (t *Timelines) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	logs := make([]im.ConversationID, len(places))
	for i, at := range places {
		logs[i] = at.Conversation
	}
	slices.Sort(logs)
	logs = slices.Compact(logs)
	heads, _, err := t.Heads(ctx, logs, nil)
	if err != nil {
		return nil, fmt.Errorf("messages by their places: %w", err)
	}
	var there, cold []int // indexes of the places that hold a message, logs are dense: the newest of their logs, and the others
	var refs []timeline.EntryRef
	for i, at := range places {
		of, _ := slices.BinarySearch(logs, at.Conversation)
		switch {
		case at.Seq < floor || at.Seq > heads[of]:
		case t.hot(span{at.Seq, at.Seq}, heads[of]):
			there, refs = append(there, i), append(refs, timeline.EntryRef{Ref: at})
		default:
			cold = append(cold, i)
		}
	}
	messages := make([]im.Message, len(places))
	if len(there) > 0 {
		found, err := t.messages(ctx, refs)
		if err != nil {
			return nil, err
		}
		for i, at := range there {
			messages[at] = found[i]
		}
	}
	if len(cold) > 0 {
		t.client.figures.looked("log", 0, len(cold))
		found, err := t.Record.Messages(ctx, chosen(places, cold))
		if err != nil {
			return nil, err
		}
		for i, at := range cold {
			messages[at] = found[i]
		}
	}
	return messages, nil
}

// entries reads what is missing of a span of an inbox from the record.
func (t *Timelines) entries(ctx context.Context, user im.UserID, wanted, missing span, head int64, refs []timeline.EntryRef) error {
	page, err := t.Entries(ctx, user, missing.first-1, missing.len())
	if err != nil {
		return err
	}
	if len(page.Items) != missing.len() {
		return fmt.Errorf("the record has %d entries from %d to %d", len(page.Items), missing.first, missing.last)
	}
	copy(refs[missing.first-wanted.first:], page.Items)
	t.writer.fillInbox(user, head, page.Items)
	return nil
}

// cachedEntries puts what Redis has of a span of an inbox into refs.
func (t *Timelines) cachedEntries(ctx context.Context, user im.UserID, wanted span, refs []timeline.EntryRef) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	members, err := t.client.db.ZRangeByScore(ctx, t.keys.inbox(t.Epoch(), user), wanted.by()).Result()
	if err != nil {
		t.client.failed("timelines", err)
		return
	}
	t.readEntries(user, members, wanted, refs)
}

// readEntries puts what members are of a span of an inbox into refs.
func (t *Timelines) readEntries(user im.UserID, members []string, wanted span, refs []timeline.EntryRef) {
	var s seal
	s.atInbox(user)
	for _, member := range members {
		e, ok := s.readEntry(member)
		if !ok {
			t.client.figures.corrupt.Inc()
		} else if wanted.first <= e.InboxSeq && e.InboxSeq <= wanted.last {
			refs[e.InboxSeq-wanted.first] = e
		}
	}
}

// cachedAt gives what Redis has of an inbox at seqs, in their order; what it does not have is zero.
func (t *Timelines) cachedAt(ctx context.Context, user im.UserID, head int64, seqs []int64) []timeline.EntryRef {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	refs := make([]timeline.EntryRef, len(seqs))
	replies := make([]*goredis.StringSliceCmd, len(seqs))
	pipe := t.client.db.Pipeline()
	for i, seq := range seqs {
		if one := (span{seq, seq}); seq >= floor && seq <= head && t.hot(one, head) {
			replies[i] = pipe.ZRangeByScore(ctx, t.keys.inbox(t.Epoch(), user), one.by())
		}
	}
	if pipe.Len() == 0 {
		return refs
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.client.failed("timelines", err)
	}
	for i, seq := range seqs {
		if replies[i] == nil {
			continue
		}
		if members, err := replies[i].Result(); err == nil {
			t.readEntries(user, members, span{seq, seq}, refs[i:i+1])
		}
	}
	return refs
}

// messages gives the messages that the refs name, in their order: from Redis in one
// pipeline, and the others from the record in one query. A ref without an ID names
// whichever message is at its place.
func (t *Timelines) messages(ctx context.Context, refs []timeline.EntryRef) ([]im.Message, error) {
	messages := make([]im.Message, len(refs))
	t.cachedMessages(ctx, refs, messages)
	var absent []timeline.Ref
	for i := range messages {
		if messages[i].Seq == 0 {
			absent = append(absent, refs[i].Ref)
		}
	}
	t.client.figures.looked("log", len(refs)-len(absent), len(absent))
	if len(absent) == 0 {
		return messages, nil
	}
	found, err := t.Record.Messages(ctx, absent)
	if err != nil {
		return nil, err
	}
	next := 0
	for i := range messages {
		if messages[i].Seq == 0 {
			messages[i] = found[next]
			next++
		}
	}
	t.writer.fillLogs(slices.DeleteFunc(found, func(m im.Message) bool { return m.Seq == 0 }))
	return messages, nil
}

// piece is a span of one log that some refs name.
type piece struct {
	conversation im.ConversationID
	span
	at []int // for each seq of the span: the index of its ref
}

// pieces groups refs into as few spans as there are: an inbox has the messages of
// a conversation in the order of their seqs, mostly without gaps.
func pieces(refs []timeline.EntryRef) (all []*piece) {
	open := make(map[im.ConversationID]*piece)
	for i, r := range refs {
		p := open[r.Conversation]
		if p == nil || r.Seq != p.last+1 {
			p = &piece{conversation: r.Conversation, span: span{r.Seq, r.Seq - 1}}
			open[r.Conversation] = p
			all = append(all, p)
		}
		p.last = r.Seq
		p.at = append(p.at, i)
	}
	return all
}

// cachedMessages puts what Redis has of the messages into place. One whose ID is
// not the ref's, if that has one, is not taken.
func (t *Timelines) cachedMessages(ctx context.Context, refs []timeline.EntryRef, messages []im.Message) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	all := pieces(refs)
	replies := make([]*goredis.StringSliceCmd, len(all))
	pipe := t.client.db.Pipeline()
	for i, p := range all {
		replies[i] = pipe.ZRangeByScore(ctx, t.keys.log(t.Epoch(), p.conversation), p.by())
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.client.failed("timelines", err)
	}
	var s seal
	for i, p := range all {
		members, err := replies[i].Result()
		if err != nil {
			continue
		}
		s.atLog(p.conversation)
		for _, member := range members {
			m, ok := s.readMessage(member, p.conversation)
			if !ok || m.Seq < p.first || m.Seq > p.last {
				t.client.figures.corrupt.Inc()
				continue
			}
			if at := p.at[m.Seq-p.first]; refs[at].ID == (im.MessageID{}) || m.ID == refs[at].ID {
				messages[at] = m
			}
		}
	}
}

// forget drops an inbox from Redis.
func (t *Timelines) forget(ctx context.Context, user im.UserID) {
	t.client.figures.conflicts.Inc()
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	if err := t.client.db.Del(ctx, t.keys.inbox(t.Epoch(), user)).Err(); err != nil {
		t.client.failed("timelines", err)
	}
}
