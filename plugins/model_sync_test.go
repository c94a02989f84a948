package plugins_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is the part of the model of messengers that looks at what people are given: by sync, by history and by search. Whatever they
// are told must be the whole, or say that it is not.

// screen is what a device knows: what its syncs told it, and nothing else.
type screen struct {
	cursor, receipts int64 // up to where it has the inbox, and what was read and delivered
	epoch            string
	read, held       map[position]int64
}

// position is whose seq in what is told.
type position struct {
	conversation im.ConversationID
	user         im.UserID
}

// sync has a device read the inbox to its end, from where it is, from anywhere, or by a cursor that means nothing, and compares it with
// the model.
func (m *messenger) sync(p *person, which int) error {
	s := &p.screens[which]
	req := &chatpb.SyncRequest{AfterSeq: s.cursor, ReceiptsAfter: s.receipts, Epoch: s.epoch, Limit: 1 + m.rng.Int32N(20)}
	from, restarts := req.AfterSeq, false
	switch n := m.rng.IntN(16); {
	case n == 0:
		req.Epoch, restarts = "another", true
	case n == 1:
		req.AfterSeq, restarts = int64(len(p.inbox))+1000, true
	case n == 2 && len(p.inbox) > 0:
		at := m.rng.IntN(len(p.inbox))
		req.AfterSeq, req.AfterMessageId, from = 0, p.inbox[at].id, int64(at)+1
	case n < 7:
		req.AfterSeq = m.rng.Int64N(int64(len(p.inbox)) + 1)
		from = req.AfterSeq
	}
	if restarts {
		*s, from = screen{}, 0
	}
	m.did(p, "syncs device %d by %+v", which, req)
	got, err := m.catchUp(p.devices[which], s, req, from, restarts)
	if err != nil {
		return err
	}
	for _, e := range got {
		c := im.ConversationID(e.Message.ConversationId)
		if e.InboxSeq <= int64(len(p.inbox)) {
			if was := p.inbox[e.InboxSeq-1]; was.id != e.Message.Id {
				return fmt.Errorf("place %d has %s, and had %s", e.InboxSeq, e.Message.Id, was.id)
			}
		} else {
			one := place{id: e.Message.Id, conversation: c, seq: e.Message.Seq, quiet: e.Message.About != nil}
			if e.Message.Event == "chat.recalled" {
				one.recalls = e.Message.About.GetSeq()
			}
			p.inbox = append(p.inbox, one)
		}
		if c.Type() == im.Notices {
			continue
		}
		if err := m.reads(p, e.Message); err != nil {
			return fmt.Errorf("place %d: %w", e.InboxSeq, err)
		}
	}
	return errors.Join(m.has(p), m.knows(p, s))
}

// catchUp has a device ask until there is no more, and holds each answer to what it says of itself. The first one begins behind from, or
// at the beginning if the cursor means nothing; after a message ID it may begin before.
func (m *messenger) catchUp(d *plugintest.Session, s *screen, req *chatpb.SyncRequest, from int64, restarts bool) (got []*chatpb.InboxEntry, err error) {
	for byID := req.AfterMessageId != ""; ; restarts = false {
		var rep chatpb.SyncReply
		if err := d.Call(idl.ActionSync, req, &rep); err != nil {
			return nil, err
		}
		if rep.Restarted != restarts || rep.Floor != 1 || rep.Epoch != m.cores[0].Timelines().Epoch() || len(rep.Entries) > int(req.Limit) {
			return nil, fmt.Errorf("restarted is %t, floor %d, epoch %q with %d entries; want %t, 1, %q", rep.Restarted, rep.Floor, rep.Epoch, len(rep.Entries), restarts, m.cores[0].Timelines().Epoch())
		}
		if byID && len(rep.Entries) > 0 {
			from = min(from, rep.Entries[0].InboxSeq-1)
		}
		for _, e := range rep.Entries {
			if e.InboxSeq != from+1 {
				return nil, fmt.Errorf("entry %d comes after %d", e.InboxSeq, from)
			}
			from, got = e.InboxSeq, append(got, e)
		}
		if byID, s.epoch = false, rep.Epoch; rep.HasMore {
			if len(rep.Entries) == 0 || rep.ReceiptsHead != 0 || len(rep.Reads)+len(rep.Receipts) > 0 {
				return nil, fmt.Errorf("there is more, and %+v came", &rep)
			}
		} else {
			if from != rep.Head {
				return nil, fmt.Errorf("there is no more behind %d, and the inbox ends at %d", from, rep.Head)
			}
			if err := s.moves(&rep); err != nil || !rep.MoreReceipts {
				s.cursor = from
				return got, err
			}
		}
		req.AfterMessageId, req.AfterSeq, req.Epoch, req.ReceiptsAfter = "", from, s.epoch, s.receipts
	}
}

// moves takes over what was read and delivered; that only grows.
func (s *screen) moves(rep *chatpb.SyncReply) error {
	if s.read == nil {
		s.read, s.held = map[position]int64{}, map[position]int64{}
	}
	move := func(known map[position]int64, conversation string, user, seq int64) error {
		of := position{im.ConversationID(conversation), im.UserID(user)}
		if seq < known[of] {
			return fmt.Errorf("%v is at %d, and was at %d", of, seq, known[of])
		}
		known[of] = seq
		return nil
	}
	var errs []error
	for _, r := range rep.Reads {
		errs = append(errs, move(s.read, r.ConversationId, r.UserId, r.Seq))
	}
	for _, r := range rep.Receipts {
		errs = append(errs, move(s.held, r.ConversationId, r.UserId, r.Seq))
	}
	s.receipts = rep.ReceiptsHead
	return errors.Join(errs...)
}

// knows compares what a device of p's was told about what was read and delivered with what it should know.
func (m *messenger) knows(p *person, s *screen) error {
	read, held := map[position]int64{}, map[position]int64{}
	put := func(all map[position]int64, c im.ConversationID, of *person, seq int64) {
		if seq > 0 {
			all[position{c, of.user}] = seq
		}
	}
	for _, c := range m.conversations() {
		put(read, c, p, p.read[c])
		if other := m.peer(p, c); other != nil {
			put(read, c, other, other.told[c])
			put(held, c, other, other.acked[c])
		}
	}
	if !reflect.DeepEqual(s.read, read) || !reflect.DeepEqual(s.held, held) {
		return fmt.Errorf("a device of %d knows of reads %v and deliveries %v, want %v and %v", p.user-owner, s.read, s.held, read, held)
	}
	return nil
}

// peer is the other one of a chat of p's; nil: it is none with another.
func (m *messenger) peer(p *person, c im.ConversationID) *person {
	a, b, ok := c.Pair()
	switch {
	case !ok || a == b:
		return nil
	case a == p.user:
		return m.person(b)
	case b == p.user:
		return m.person(a)
	}
	return nil
}

// moved looks at a push about what was read or delivered: it goes to whom it concerns, and is true.
func (m *messenger) moved(p *person, r plugintest.Received) error {
	var told chatpb.Read // a Receipt has the same fields
	switch r.Action {
	default:
		return nil
	case idl.ActionMessageAck, idl.ActionRead:
		if err := r.Decode(&told); err != nil {
			return err
		}
	}
	c, by := im.ConversationID(told.ConversationId), m.person(im.UserID(told.UserId))
	most := int64(0)
	switch {
	case r.Action == idl.ActionRead && by == p:
		most = p.read[c]
	case by != m.peer(p, c):
	case r.Action == idl.ActionRead:
		most = by.told[c]
	default:
		most = by.acked[c]
	}
	if told.Seq > most {
		return fmt.Errorf("pushed %v %+v, where he may know of %d", r.Action, &told, most)
	}
	return nil
}

// fresh has a device that was never there read all, in small pages and at once: that is the same, and all that his other devices got.
func (m *messenger) fresh(p *person) error {
	var all [2][]*chatpb.InboxEntry
	for i, limit := range []int32{1 + m.rng.Int32N(7), 500} {
		m.did(p, "has a new device that syncs by %d", limit)
		d, s := m.connect(p, len(p.devices)+i), &screen{}
		got, err := m.catchUp(d, s, &chatpb.SyncRequest{Limit: limit}, 0, false)
		d.Close()
		if err := errors.Join(err, m.knows(p, s)); err != nil {
			return err
		}
		all[i] = got
	}
	if !reflect.DeepEqual(all[0], all[1]) || len(all[0]) != len(p.inbox) {
		return fmt.Errorf("small pages have %d entries, one has %d, and his devices got %d: not the same", len(all[0]), len(all[1]), len(p.inbox))
	}
	return nil
}

// has compares what came into somebody's inbox with what was said where he was: all of that, once, in its order, and nothing else.
func (m *messenger) has(p *person) error {
	for _, c := range m.conversations() {
		var want, got []int64
		for _, one := range m.logs[c] {
			if one.isFor() && slices.Contains(one.inboxes, p.user) {
				want = append(want, one.seq)
			}
		}
		last := int64(0)
		for _, e := range p.inbox {
			if e.conversation != c {
				continue
			}
			if e.seq <= last {
				return fmt.Errorf("%s: %d comes behind %d", c, e.seq, last)
			}
			if last = e.seq; m.logs[c][e.seq-1].isFor() {
				got = append(got, e.seq)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%s: %d has %v, want %v", c, p.user-owner, got, want)
		}
	}
	return nil
}

// history compares the pages of a conversation with what p may read of it.
func (m *messenger) history(p *person, c im.ConversationID) error {
	forward, limit := m.rng.IntN(2) == 0, int32(1+m.rng.IntN(20))
	m.did(p, "reads the history of %s by %d, forward %t", c, limit, forward)
	var want, got []int64
	for _, one := range m.logs[c] {
		if m.sees(p, c, one.seq) {
			want = append(want, one.seq)
		}
	}
	if forward && m.within(p, c) {
		return m.onward(p, c, limit, want)
	}
	req := &chatpb.HistoryRequest{ConversationId: string(c), Limit: limit}
	for more := true; more; {
		var rep chatpb.HistoryReply
		err := m.any(p).Call(idl.ActionHistory, req, &rep)
		if !m.within(p, c) {
			return wants(err, idl.CodePermissionDenied)
		}
		if err != nil || rep.Floor != m.bottom(p, c) {
			return fmt.Errorf("floor %d, %v, want %d", rep.Floor, err, m.bottom(p, c))
		}
		for _, one := range rep.Messages {
			if err := m.reads(p, one); err != nil {
				return err
			}
			got = append(got, one.Seq)
		}
		if more = rep.HasMore; more && len(rep.Messages) == 0 {
			return errors.New("there is more, and nothing came")
		}
		if len(got) == 0 {
			break
		}
		req.BeforeSeq = got[len(got)-1]
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

// bottom is the first seq of c that p may read.
func (m *messenger) bottom(p *person, c im.ConversationID) int64 {
	below := p.floor[c]
	switch c {
	case m.group:
		below = max(below, p.after)
	case im.ToAll:
		for _, one := range m.logs[c] {
			if !m.after(p, one.id) {
				below = max(below, one.seq)
			}
		}
	}
	return below + 1
}

// onward reads a history from its beginning to its end.
func (m *messenger) onward(p *person, c im.ConversationID, limit int32, want []int64) error {
	var got []int64
	if len(want) == 0 {
		return nil
	}
	for after, more := want[0], true; more; {
		var rep chatpb.HistoryReply
		if err := m.any(p).Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(c), Limit: limit, AfterSeq: after}, &rep); err != nil || rep.Floor != m.bottom(p, c) {
			return fmt.Errorf("floor %d, %v, want %d", rep.Floor, err, m.bottom(p, c))
		}
		for _, one := range rep.Messages {
			if err := m.reads(p, one); err != nil {
				return err
			}
			got = append(got, one.Seq)
			after = one.Seq
		}
		if more = rep.HasMore; more && len(rep.Messages) == 0 {
			return errors.New("there is more, and nothing came")
		}
	}
	if !slices.Equal(got, want[1:]) {
		return fmt.Errorf("onward: got %v, want %v", got, want[1:])
	}
	return nil
}

func (m *messenger) readUpTo(p *person) error {
	c := m.talked(p)
	head, least := int64(len(m.logs[c])), int64(0)
	if c == m.group {
		least = p.after
	}
	seq := least + 1 + m.rng.Int64N(head-min(least, head)+2)
	left := !m.within(p, c)
	if left {
		if err := m.sync(p, 1); err != nil {
			return err
		}
	}
	has, _ := p.ends(c)
	m.did(p, "reads %s up to %d", c, seq)
	var rep chatpb.ReadReply
	err := m.any(p).Call(idl.ActionRead, &chatpb.ReadRequest{ConversationId: string(c), Seq: seq}, &rep)
	switch {
	case left && seq > has: // what he got before he is out he may read
		return wants(err, idl.CodePermissionDenied)
	case seq > head:
		return wants(err, idl.CodeInvalidArgument)
	case err != nil:
		return err
	case rep.Moved != (seq > p.read[c]):
		return fmt.Errorf("moved is %t, he had read up to %d", rep.Moved, p.read[c])
	}
	if p.read[c] = max(p.read[c], seq); rep.Moved && !p.quiet {
		p.told[c] = seq
	}
	return nil
}

// ack says that a device of p's holds a conversation up to a seq.
func (m *messenger) ack(p *person) error {
	c := m.talked(p)
	head := int64(len(m.logs[c]))
	seq := 1 + m.rng.Int64N(head+1)
	m.did(p, "holds %s up to %d", c, seq)
	err := m.any(p).Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: string(c), Seq: seq}, nil)
	switch {
	case !m.within(p, c):
		return wants(err, idl.CodePermissionDenied)
	case seq > head:
		return wants(err, idl.CodeInvalidArgument)
	case err == nil && m.peer(p, c) != nil:
		p.acked[c] = max(p.acked[c], seq)
	}
	return err
}

// keepReads has p keep from others what he has read, or not any more.
func (m *messenger) keepReads(p *person) error {
	m.did(p, "tells what he has read: %t", p.quiet)
	tells := p.quiet
	err := m.any(p).Call(idl.ActionChatSettings, &chatpb.ChatSettingsRequest{ReadReceipts: &tells}, nil)
	if err == nil {
		p.quiet = !tells
	}
	return err
}

// tells compares an event that says that something became of a message with what became of it: whoever gets it learns nothing that the
// message said.
func (m *messenger) tells(one *said, got *chatpb.Message) error {
	if one.about == 0 {
		return nil
	}
	of, became := m.logs[one.conversation][one.about-1], got.Became
	recalled := of.recalled || m.over(of)
	if got.About.GetSeq() != of.seq || got.About.GetMessageId() != of.id || got.Text != "" || became.GetText() != "" || len(became.GetReactions()) > 0 ||
		became.GetRecalled() != recalled || !recalled && became.GetVersion() != of.edits+1 {
		return fmt.Errorf("got %+v, want one of %q that was recalled: %t, edited %d times", got, of.first, recalled, of.edits)
	}
	return nil
}

// search looks for what was said, everywhere or in one conversation.
func (m *messenger) search(p *person) error {
	if err := m.sync(p, 0); err != nil { // of large groups what is in the inbox is found
		return err
	}
	req := &chatpb.SearchMessagesRequest{Text: []string{"text", "edited", "ALL to", "1", "nothing"}[m.rng.IntN(5)], Limit: 1 + m.rng.Int32N(5)}
	if m.rng.IntN(3) > 0 {
		req.ConversationId = string(m.somewhere(p))
	}
	if m.rng.IntN(3) == 0 {
		req.SenderId = int64(m.anybody().user)
	}
	return m.find(p, req)
}

// find compares what a search finds with what p may read of what he looks in.
func (m *messenger) find(p *person, req *chatpb.SearchMessagesRequest) error {
	m.did(p, "looks for %+v", req)
	c := im.ConversationID(req.ConversationId)
	among := m.logs[c]
	if c == "" {
		for _, e := range p.inbox {
			if e.conversation.Type() != im.Notices {
				among = append(among, m.logs[e.conversation][e.seq-1])
			}
		}
	}
	var want, got []string
	for _, one := range slices.Backward(among) {
		if m.sees(p, one.conversation, one.seq) && m.matches(one, req) {
			want = append(want, one.id)
		}
	}
	for more := true; more; {
		var rep chatpb.SearchMessagesReply
		err := m.any(p).Call(idl.ActionSearchMessages, req, &rep)
		if c != "" && !m.within(p, c) {
			return wants(err, idl.CodePermissionDenied)
		}
		if err != nil {
			return err
		}
		for _, one := range rep.Messages {
			if err := m.reads(p, one); err != nil {
				return err
			}
			got = append(got, one.Id)
		}
		if more = rep.HasMore; more && rep.Cursor == req.Cursor {
			return errors.New("there is more, and the search stays where it is")
		}
		req.Cursor = rep.Cursor
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("found %v, want %v", got, want)
	}
	return nil
}

// matches reports whether a message is one that is looked for.
func (m *messenger) matches(one *said, req *chatpb.SearchMessagesRequest) bool {
	if one.event != "" || one.recalled || m.over(one) || req.SenderId != 0 && req.SenderId != int64(one.sender) {
		return false
	}
	return !slices.ContainsFunc(strings.Fields(strings.ToLower(req.Text)), func(word string) bool { return !strings.Contains(one.text, word) })
}
