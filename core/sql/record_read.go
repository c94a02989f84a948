package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"

	"freeim/core/im"
	"freeim/core/timeline"
)

// floor is the oldest seq of every timeline: nothing is trimmed.
const floor = 1

// query asks with a connection of the readers.
func (r *Record) query(ctx context.Context, s *script) error {
	if err := r.refusal(ctx); err != nil {
		return err
	}
	packets := s.all()
	for i, again := 0, true; i < len(packets); {
		err := r.queryOne(ctx, packets[i])
		switch {
		case err == nil:
			i++
		case errors.Is(err, driver.ErrBadConn) && again && ctx.Err() == nil:
			again = false // a connection from before MySQL's restart: nothing was sent
		case r.refusal(ctx) != nil:
			return r.refusal(ctx)
		default:
			return err
		}
	}
	r.answer()
	return nil
}

func (r *Record) queryOne(ctx context.Context, p packet) error {
	conn, err := r.readers.Conn(ctx)
	if err != nil {
		return err
	}
	if err := exchange(ctx, conn, p); err != nil {
		if number(err) != 0 { // MySQL's: the connection is sound
			if _, rolling := conn.ExecContext(ctx, "ROLLBACK"); rolling == nil { // of what the packet began
				return errors.Join(err, conn.Close())
			}
		}
		discard(conn)
		return err
	}
	return conn.Close()
}

// span is the piece of a dense timeline, after and up to, that a page holds.
type span struct{ after, upTo int64 }

func (s span) len() int64 { return s.upTo - s.after }

// forward is the page of up to limit entries after seq, of a timeline that ends
// at head; more says whether others follow.
func forward(after, head int64, limit int) (s span, more bool) {
	after = min(max(after, 0), head)
	upTo := after + min(int64(max(limit, 0)), head-after)
	return span{after, upTo}, upTo < head
}

// backward is that of up to limit entries before seq; 0: from the end.
func backward(before, head int64, limit int) (s span, more bool) {
	upTo := head
	if before > 0 {
		upTo = min(before-1, head)
	}
	after := max(0, upTo-int64(max(limit, 0)))
	return span{after, upTo}, after > 0
}

// Log implements timeline.Store.
func (r *Record) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	return r.page(ctx, c, func(head int64) (span, bool) { return forward(after, head, limit) }, "")
}

// LogBefore implements timeline.Store.
func (r *Record) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	return r.page(ctx, c, func(head int64) (span, bool) { return backward(before, head, limit) }, " DESC")
}

// page reads a piece of a log, once its head is known: what is committed
// meanwhile is not in it.
func (r *Record) page(ctx context.Context, c im.ConversationID, piece func(head int64) (span, bool), order string) (
	timeline.Page[im.Message], error) {
	p := timeline.Page[im.Message]{Floor: floor}
	if len(c) > maxName {
		return p, r.refusal(ctx)
	}
	head, err := r.logHead(ctx, c)
	if err != nil {
		return timeline.Page[im.Message]{}, fmt.Errorf("log of conversation %s: %w", c, err)
	}
	part, more := piece(head)
	p.Head, p.HasMore = head, more
	if part.len() == 0 {
		return p, nil
	}
	s := script{limit: math.MaxInt}
	s.raw("SELECT " + messageColumns + " FROM record_messages m WHERE m.conversation = ")
	s.name(string(c))
	s.between(" AND m.seq", part)
	s.statement(" ORDER BY m.seq"+order, func(row []driver.Value) error {
		m, err := readMessage(row)
		p.Items = append(p.Items, m)
		return err
	})
	if err := r.complete(ctx, &s, func() int64 { return int64(len(p.Items)) - part.len() }); err != nil {
		return timeline.Page[im.Message]{}, fmt.Errorf("log of conversation %s: %w", c, err)
	}
	return p, nil
}

// complete asks, and is an error when what was read is not exactly what must be
// there.
func (r *Record) complete(ctx context.Context, s *script, surplus func() int64) error {
	if err := r.query(ctx, s); err != nil {
		return err
	}
	if surplus() != 0 {
		return errMissing
	}
	return nil
}

// between writes the condition that column is in the span.
func (s *script) between(column string, part span) {
	s.raw(column + " > ")
	s.int(part.after)
	s.raw(column + " <= ")
	s.int(part.upTo)
}

// selectEntries selects what readEntry reads. An entry whose message is not there is a row that cannot be read.
const selectEntries = "SELECT STRAIGHT_JOIN i.seq, " + messageColumns + " FROM record_inboxes i LEFT JOIN record_messages m " +
	"ON m.conversation = i.conversation AND m.seq = i.conversation_seq"

func readEntry(row []driver.Value) (timeline.Entry, error) {
	c := columns{row: row[:1]}
	m, err := readMessage(row[1:])
	return timeline.Entry{InboxSeq: c.int(), Message: m}, errors.Join(err, c.end())
}

// Inbox implements timeline.Store.
func (r *Record) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	p := timeline.Page[timeline.Entry]{Floor: floor}
	s := script{limit: math.MaxInt}
	part, err := r.inbox(ctx, &s, user, after, limit, &p.Head, &p.HasMore, selectEntries, func(row []driver.Value) error {
		e, err := readEntry(row)
		p.Items = append(p.Items, e)
		return err
	})
	if err == nil && part.len() > 0 {
		err = r.complete(ctx, &s, func() int64 { return int64(len(p.Items)) - part.len() })
	}
	if err != nil {
		return timeline.Page[timeline.Entry]{}, fmt.Errorf("inbox of %d: %w", user, err)
	}
	return p, nil
}

// Entries is Inbox without the messages.
func (r *Record) Entries(ctx context.Context, user im.UserID, after int64, limit int) (
	timeline.Page[timeline.EntryRef], error) {
	p := timeline.Page[timeline.EntryRef]{Floor: floor}
	s := script{limit: math.MaxInt}
	part, err := r.inbox(ctx, &s, user, after, limit, &p.Head, &p.HasMore,
		"SELECT i.seq, i.id, i.conversation, i.conversation_seq FROM record_inboxes i",
		func(row []driver.Value) error {
			c := columns{row: row}
			p.Items = append(p.Items, timeline.EntryRef{InboxSeq: c.int(), ID: c.id(),
				Ref: timeline.Ref{Conversation: im.ConversationID(c.name()), Seq: c.int()}})
			return c.end()
		})
	if err == nil && part.len() > 0 {
		err = r.complete(ctx, &s, func() int64 { return int64(len(p.Items)) - part.len() })
	}
	if err != nil {
		return timeline.Page[timeline.EntryRef]{}, fmt.Errorf("entries of %d: %w", user, err)
	}
	return p, nil
}

// inbox finds the piece of user's inbox and writes its query: sel with where and
// order.
func (r *Record) inbox(ctx context.Context, s *script, user im.UserID, after int64, limit int,
	head *int64, more *bool, sel string, read reader) (part span, err error) {
	if *head, err = r.inboxHead(ctx, user); err != nil {
		return part, err
	}
	part, *more = forward(after, *head, limit)
	s.raw(sel + " WHERE i.person = ")
	s.int(int64(user))
	s.between(" AND i.seq", part)
	s.statement(" ORDER BY i.seq", read)
	return part, nil
}

// InboxAt implements timeline.Store.
func (r *Record) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	if len(seqs) == 0 {
		return nil, r.refusal(ctx)
	}
	found := make(map[int64]timeline.Entry, len(seqs))
	s := script{limit: math.MaxInt}
	s.begin(selectEntries+" WHERE i.person = "+user.String()+" AND i.seq IN (", ")", func(row []driver.Value) error {
		e, err := readEntry(row)
		found[e.InboxSeq] = e
		return err
	})
	for _, seq := range seqs {
		s.row()
		s.int(seq)
	}
	s.end()
	if err := r.query(ctx, &s); err != nil {
		return nil, fmt.Errorf("inbox of %d: %w", user, err)
	}
	entries := make([]timeline.Entry, len(seqs))
	for i, seq := range seqs {
		entries[i] = found[seq]
	}
	return entries, nil
}

// Messages implements timeline.Store.
func (r *Record) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	if len(places) == 0 {
		return nil, r.refusal(ctx)
	}
	found := make(map[timeline.Ref]im.Message, len(places))
	s := script{limit: r.packet / 4}
	s.begin("SELECT "+messageColumns+" FROM record_messages m WHERE (m.conversation, m.seq) IN (", ")",
		func(row []driver.Value) error {
			m, err := readMessage(row)
			found[timeline.Ref{Conversation: m.Conversation, Seq: m.Seq}] = m
			return err
		})
	for _, at := range places {
		s.row()
		s.raw("(")
		s.name(string(at.Conversation))
		s.raw(",")
		s.int(at.Seq)
		s.raw(")")
	}
	s.end()
	if err := r.query(ctx, &s); err != nil {
		return nil, fmt.Errorf("messages by their places: %w", err)
	}
	messages := make([]im.Message, len(places))
	for i, at := range places {
		messages[i] = found[at]
	}
	return messages, nil
}

// locateStep is how many places of an inbox one query of Locate looks at.
const locateStep = 64

// Locate implements timeline.Store. The IDs of an inbox grow, so it looks at
// places evenly spread, then between two of them, and so on.
func (r *Record) Locate(ctx context.Context, user im.UserID, id im.MessageID) (int64, error) {
	head, err := r.inboxHead(ctx, user)
	low := int64(0) // every entry up to here has at most id
	for high := head + 1; err == nil && high-low > 1; {
		low, high, err = r.narrow(ctx, user, id, low, high)
	}
	if err != nil {
		return 0, fmt.Errorf("locate %s in the inbox of %d: %w", id, user, err)
	}
	return low, nil
}

// narrow looks at places between low and high, whose entry has a greater ID than
// id or is not there, and gives a narrower such pair.
func (r *Record) narrow(ctx context.Context, user im.UserID, id im.MessageID, low, high int64) (int64, int64, error) {
	s := script{limit: math.MaxInt}
	s.begin("SELECT seq, id FROM record_inboxes WHERE person = "+user.String()+" AND seq IN (", ")",
		func(row []driver.Value) error {
			c := columns{row: row}
			switch seq, at := c.int(), c.id(); {
			case string(at[:]) > string(id[:]):
				high = min(high, seq)
			default:
				low = max(low, seq)
			}
			return c.end()
		})
	for at, step := low+1, max(1, (high-low)/locateStep); at < high; at += step {
		s.row()
		s.int(at)
	}
	s.end()
	before := span{low, high}
	if err := r.query(ctx, &s); err != nil {
		return 0, 0, err
	}
	if before == (span{low, high}) {
		return 0, 0, errMissing
	}
	return low, high, nil
}
