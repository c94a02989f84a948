package sql

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"
)

// recordAppending is a draft on its way through the committer. It copies what
// the draft's maker could change after giving up.
type recordAppending struct {
	timeline.Draft
	result timeline.Committed
	done   chan error // of length 1
}

// Append implements timeline.Store.
func (r *Record) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if err := r.validate(d); err != nil {
		return timeline.Committed{}, err
	}
	a := &recordAppending{Draft: d, done: make(chan error, 1)}
	a.Body, a.Inboxes = slices.Clone(d.Body), slices.Clone(d.Inboxes)
	if err := r.submit(ctx, a, a.done); err != nil {
		return timeline.Committed{}, fmt.Errorf("append to conversation %s: %w", d.Conversation, err)
	}
	return a.result, nil
}

// AppendAll implements timeline.Store. What one goroutine queues stays in its order; what is
// parked and comes later finds that its conditions do not hold.
func (r *Record) AppendAll(ctx context.Context, drafts []timeline.Draft) []error {
	errs, all := make([]error, len(drafts)), make([]*recordAppending, 0, len(drafts))
	for i, d := range drafts {
		err := r.validate(d)
		if err == nil {
			a := &recordAppending{Draft: d, done: make(chan error, 1)}
			a.Body, a.Inboxes = slices.Clone(d.Body), slices.Clone(d.Inboxes)
			all = append(all, a)
			err = r.enqueue(ctx, a)
		}
		if err != nil { // nor are those behind it queued
			for ; i < len(errs); i++ {
				errs[i] = err
			}
			break
		}
	}
	for i, a := range all {
		if errs[i] == nil {
			errs[i] = r.await(ctx, a.done)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("append to conversation %s: %w", a.Conversation, errs[i])
		}
	}
	return errs
}

func (r *Record) validate(d timeline.Draft) error {
	if n := len(d.Unless); n > maxName {
		return fmt.Errorf("append: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	if n := len(d.Conversation); n < 1 || n > maxName {
		return fmt.Errorf("append: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	if n := len(d.ClientID); n > maxName {
		return fmt.Errorf("append: a client ID has at most %d octets, this one %d", maxName, n)
	}
	if n := len(d.Body); n > r.packet/4 || n >= 1<<24 {
		return fmt.Errorf("append: a body of %d octets is too large for MySQL's max_allowed_packet", n)
	}
	return nil
}

// weigh implements recordOp.
func (a *recordAppending) weigh() (octets, rows int) {
	return len(a.Conversation) + len(a.ClientID) + len(a.Body) + 128, len(a.Inboxes)
}

// touch implements recordOp.
func (a *recordAppending) touch(b *recordBatch) {
	b.touchLog(a.Conversation)
	if a.Unless != "" {
		b.touchLog(a.Unless)
	}
	if a.Version != 0 || a.Least != 0 {
		b.touchVersions(a.Conversation)
	}
	b.touchPeople(a.Inboxes)
}

// free implements recordOp.
func (a *recordAppending) free(b *recordBatch) bool {
	return b.hasLog(a.Conversation) && (a.Unless == "" || b.hasLog(a.Unless)) && b.has(a.Inboxes...)
}

// stage implements recordOp. The ID is above those of the conversation and of the
// inboxes, which other cores' clocks may have made.
func (a *recordAppending) stage(b *recordBatch, ids *im.IDGenerator) error {
	if repeated, err := a.repeats(b); repeated || err != nil {
		return err
	}
	log := b.log(a.Conversation)
	if least := b.versions[a.Conversation].least; a.Version != 0 && a.Version < least {
		return &timeline.StaleError{Least: least}
	}
	if a.Expect != 0 && a.Expect != log.seq+1 || a.Unless != "" && b.log(a.Unless).seq > 0 {
		return timeline.ErrMoved
	}
	ids.Observe(log.last)
	seqs := make([]int64, len(a.Inboxes))
	for i, user := range a.Inboxes {
		p := b.person(user)
		ids.Observe(p.last)
		seqs[i] = p.inbox + 1
	}
	id := ids.Next(a.Conversation)
	log.seq, log.last, log.changed = log.seq+1, id, true
	if a.Least > b.versions[a.Conversation].least {
		b.versions[a.Conversation] = versions{least: a.Least, raised: true}
	}
	for _, user := range a.Inboxes {
		p := b.person(user)
		p.inbox, p.last = p.inbox+1, id
		p.grown.entries, p.grown.last = p.grown.entries+1, id
	}
	a.result = timeline.Committed{InboxSeqs: seqs, Message: im.Message{
		ID: id, Conversation: a.Conversation, Seq: log.seq, Sender: a.Sender,
		ClientID: a.ClientID, Time: id.Time(), Body: a.Body,
	}}
	if a.ClientID != "" {
		b.drafts[draftKey{a.Sender, a.ClientID}] = a
	}
	return nil
}

// repeats reports whether the draft was committed before, and then takes its
// result from there: from this very batch or from the database.
func (a *recordAppending) repeats(b *recordBatch) (bool, error) {
	if a.ClientID == "" {
		return false, nil
	}
	key := draftKey{a.Sender, a.ClientID}
	first, digest := timeline.Committed{}, [32]byte{}
	if other := b.drafts[key]; other != nil {
		first, digest = other.result, other.Digest
	} else if d, found := b.stored[key]; found {
		first, digest = d.Committed, d.digest
		b.resent = true
	} else {
		return false, nil
	}
	if digest != a.Digest {
		return true, timeline.ErrConflict
	}
	first.Body, first.InboxSeqs = slices.Clone(first.Body), slices.Clone(first.InboxSeqs)
	a.result, a.result.Duplicate = first, true
	return true, nil
}

// finish implements recordOp.
func (a *recordAppending) finish(r *Record, err error) {
	if err == nil && a.OnCommit != nil && !a.result.Duplicate {
		a.tell(r)
	}
	a.done <- err
}

// tell calls OnCommit. A panic in it is the caller's fault and must not stop the
// other callers' messages.
func (a *recordAppending) tell(r *Record) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("OnCommit panicked", "id", a.result.ID, "panic", p)
		}
	}()
	a.OnCommit(a.result)
}

// storedDraft is what was committed under a client ID.
type storedDraft struct {
	timeline.Committed
	digest [32]byte
}

// selectDrafts is followed by a list of draft keys.
const selectDrafts = "SELECT conversation, seq, id, sender, client_id, body, digest, inbox_seqs FROM record_messages " +
	"WHERE (sender, client_id) IN ("

// draft writes a key of that list.
func (s *script) draft(key draftKey) {
	s.raw("(")
	s.int(int64(key.sender))
	s.raw(",")
	s.name(key.clientID)
	s.raw(")")
}

// readDraft reads a row of selectDrafts; what it gives is the caller's.
func readDraft(row []driver.Value) (d storedDraft, err error) {
	if len(row) != 8 {
		return d, errCorrupt
	}
	if d.Message, err = readMessage(row[:6]); err != nil {
		return d, err
	}
	c := columns{row: row[6:]}
	digest, seqs := c.bytes(), c.bytes()
	if err := c.end(); err != nil || len(digest) != len(d.digest) {
		return d, fmt.Errorf("message %d of conversation %s: %w", d.Seq, d.Conversation, errCorrupt)
	}
	copy(d.digest[:], digest)
	d.InboxSeqs, err = decodeSeqs(seqs)
	return d, err
}

// messageColumns are what readMessage reads.
const messageColumns = "m.conversation, m.seq, m.id, m.sender, m.client_id, m.body"

// readMessage reads a message; what it gives is the caller's.
func readMessage(row []driver.Value) (m im.Message, err error) {
	c := columns{row: row}
	m.Conversation, m.Seq = im.ConversationID(c.name()), c.int()
	m.ID, m.Sender = c.id(), im.UserID(c.int())
	m.ClientID, m.Body = c.name(), bytes.Clone(c.bytes())
	m.Time = m.ID.Time()
	if err := c.end(); err != nil {
		return m, fmt.Errorf("message %d of conversation %s: %w", m.Seq, m.Conversation, err)
	}
	return m, nil
}

// errMissing means that something refers to a row that is not there.
var errMissing = fmt.Errorf("rows are missing in the record: %w", timeline.ErrCorrupt)
