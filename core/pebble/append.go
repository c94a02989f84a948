package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// appending is a draft on its way through the committer. It copies what the
// draft's maker could change after giving up.
type appending struct {
	timeline.Draft
	value  []byte // of the log key; its end is the body
	result timeline.Committed
	raises bool // its Least is higher than that which there is
	store  *Store
	done   chan error // of length 1
}

// Append implements timeline.Store.
func (s *Store) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if err := validate(d); err != nil {
		return timeline.Committed{}, err
	}
	a := newAppending(s, d)
	if err := s.submit(ctx, a, a.done, d.Queued); err != nil {
		return timeline.Committed{}, fmt.Errorf("append to conversation %s: %w", d.Conversation, err)
	}
	return a.result, nil
}

// AppendAll implements timeline.Store. What one goroutine queues stays in its order.
func (s *Store) AppendAll(ctx context.Context, drafts []timeline.Draft) []error {
	errs, all := make([]error, len(drafts)), make([]*appending, 0, len(drafts))
	for i, d := range drafts {
		err := validate(d)
		if err == nil {
			all = append(all, newAppending(s, d))
			err = s.enqueue(ctx, all[i])
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
			errs[i] = s.await(ctx, a.done)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("append to conversation %s: %w", a.Conversation, errs[i])
		}
	}
	return errs
}

func validate(d timeline.Draft) error {
	if n := len(d.Unless); n > maxName {
		return fmt.Errorf("append: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	if n := len(d.Conversation); n < 1 || n > maxName {
		return fmt.Errorf("append: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	if n := len(d.ClientID); n > maxName {
		return fmt.Errorf("append: a client ID has at most %d octets, this one %d", maxName, n)
	}
	return nil
}

func newAppending(s *Store, d timeline.Draft) *appending {
	a := &appending{Draft: d, store: s, done: make(chan error, 1)}
	size := idLen + 8 + 1 + len(d.ClientID) + len(d.Body)
	a.value = appendMessage(make([]byte, 0, size), d.Sender, d.ClientID, d.Body)
	a.Body = a.value[size-len(d.Body):]
	a.Inboxes = slices.Clone(d.Inboxes)
	return a
}

// stage implements op.
func (a *appending) stage(c *committer) error {
	if repeated, err := a.repeats(c); repeated || err != nil {
		return err
	}
	head, err := c.logHead(a.Conversation)
	if err != nil {
		return err
	}
	if err := a.conditions(c, head); err != nil {
		return err
	}
	seqs := make([]int64, len(a.Inboxes))
	for i, user := range a.Inboxes {
		if seqs[i], err = c.userHead(&c.inboxes, kindInbox, user); err != nil {
			return err
		}
		seqs[i]++
	}
	if a.Least != 0 {
		least, err := c.least(a.Conversation)
		if err != nil {
			return err
		}
		a.raises = a.Least > least
	}
	// Nothing fails from here on, so every seq that is taken is used.
	id := c.ids.Next(a.Conversation)
	c.newest = id
	a.result = timeline.Committed{InboxSeqs: seqs, Message: im.Message{
		ID: id, Conversation: a.Conversation, Seq: head + 1, Sender: a.Sender,
		ClientID: a.ClientID, Time: id.Time(), Body: a.Body,
	}}
	a.write(c)
	return nil
}

// conditions says whether the timelines are as the draft expects.
func (a *appending) conditions(c *committer, head int64) error {
	if a.Version != 0 {
		switch least, err := c.least(a.Conversation); {
		case err != nil:
			return err
		case a.Version < least:
			return &timeline.StaleError{Least: least}
		}
	}
	if a.Expect != 0 && a.Expect != head+1 {
		return timeline.ErrMoved
	}
	if a.Unless == "" {
		return nil
	}
	other, err := c.logHead(a.Unless)
	if err == nil && other > 0 {
		err = timeline.ErrMoved
	}
	return err
}

// write puts the message, its inbox entries and its record into the batch, and
// advances the heads.
func (a *appending) write(c *committer) {
	copy(a.value, a.result.ID[:])
	c.key = logKey(c.key[:0], a.Conversation, a.result.Seq)
	c.writes.set(c.key, a.value)
	c.logs.set(a.Conversation, a.result.Seq)
	if a.raises {
		c.key, c.val = versionKey(c.key[:0], a.Conversation), binary.AppendUvarint(c.val[:0], uint64(a.Least))
		c.writes.set(c.key, c.val)
		c.versions.set(a.Conversation, a.Least)
	}

	c.writes.enter(entry{ID: a.result.ID, Conversation: []byte(a.Conversation), Seq: a.result.Seq}, a.Inboxes, a.result.InboxSeqs)
	for i, user := range a.Inboxes {
		c.inboxes.set(user, a.result.InboxSeqs[i])
	}
	if a.ClientID == "" {
		return
	}
	c.key = dedupeKey(c.key[:0], a.Sender, a.ClientID)
	c.val = record{a.Digest, a.Conversation, a.result.Seq, a.result.InboxSeqs}.append(c.val[:0])
	c.writes.set(c.key, c.val)
	c.known.add(c.key)
	c.drafts[draftKey{a.Sender, a.ClientID}] = a
}

// repeats reports whether the draft was committed before, and then takes its
// result from there: from this very batch, the one before, or the database.
func (a *appending) repeats(c *committer) (bool, error) {
	if a.ClientID == "" {
		return false, nil
	}
	if c.key = dedupeKey(c.key[:0], a.Sender, a.ClientID); !c.known.may(c.key) {
		return false, nil
	}
	first, digest, found := c.repeated(draftKey{a.Sender, a.ClientID})
	if !found {
		iter, err := c.before()
		if err != nil {
			return false, err
		}
		if first, digest, found, err = find(iter, c.db, a.Sender, a.ClientID); err != nil {
			return false, err
		}
	}
	if found && digest != a.Digest {
		return true, timeline.ErrConflict
	}
	a.result, a.result.Duplicate = first, found
	return found, nil
}

// copied shares nothing with c.
func copied(c timeline.Committed) timeline.Committed {
	c.Body, c.InboxSeqs = slices.Clone(c.Body), slices.Clone(c.InboxSeqs)
	return c
}

// finish implements op.
func (a *appending) finish(err error) {
	if err == nil && a.OnCommit != nil && !a.result.Duplicate {
		a.tell()
	}
	a.done <- err
}

// tell calls OnCommit. A panic in it is the caller's fault and must not stop the
// other callers' messages.
func (a *appending) tell() {
	defer func() {
		if r := recover(); r != nil {
			a.store.log.Error("OnCommit panicked", "id", a.result.ID, "panic", r)
		}
	}()
	a.OnCommit(a.result)
}

// Find implements timeline.Store.
func (s *Store) Find(ctx context.Context, sender im.UserID, clientID string) (
	c timeline.Committed, digest [32]byte, ok bool, err error) {
	if clientID == "" || !s.known.may(dedupeKey(make([]byte, 0, 96), sender, clientID)) {
		return c, digest, false, s.readable(ctx)
	}
	err = s.read(ctx, func(v *view) error {
		iter, err := s.views.lookup(v)
		if err != nil {
			return err
		}
		c, digest, ok, err = find(iter, v, sender, clientID)
		return errors.Join(err, s.views.done(v, iter))
	})
	if err != nil {
		return c, digest, false, fmt.Errorf("find message %q of %d: %w", clientID, sender, err)
	}
	return c, digest, ok, nil
}

// find looks up what sender committed under clientID, with an iterator made by
// newLookup.
func find(iter *db.Iterator, r db.Reader, sender im.UserID, clientID string) (
	c timeline.Committed, digest [32]byte, ok bool, err error) {
	if !iter.SeekPrefixGE(dedupeKey(make([]byte, 0, 96), sender, clientID)) {
		return c, digest, false, iter.Error()
	}
	rec, err := decodeRecord(iter.Value())
	if err != nil {
		return c, digest, false, err
	}
	c.InboxSeqs = rec.InboxSeqs
	c.Message, err = message(r, rec.Conversation, rec.Seq)
	return c, rec.Digest, err == nil, err
}

// newLookup makes an iterator for keys that mostly are not there: it asks the
// filter of every level, where Get would read a block of the lowest one.
func newLookup(r db.Reader) (*db.Iterator, error) {
	return r.NewIter(&db.IterOptions{UseL6Filters: true})
}

// message reads one message; its body is a copy. That it is missing is an error:
// something refers to it.
func message(r db.Reader, c im.ConversationID, seq int64) (m im.Message, err error) {
	key := logKey(make([]byte, 0, 96), c, seq)
	found, err := get(r, key, func(value []byte) (err error) {
		m, err = decodeMessage(slices.Clone(value), c, seq)
		return err
	})
	if err == nil && !found {
		return m, missing(c, seq)
	}
	if err != nil {
		err = fmt.Errorf("message %d of conversation %s: %w", seq, c, err)
	}
	return m, err
}

func missing(c im.ConversationID, seq int64) error {
	return fmt.Errorf("message %d of conversation %s is missing: %w", seq, c, timeline.ErrCorrupt)
}
