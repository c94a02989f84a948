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

// metaImport is the meta key that stands in the database from the beginning of
// an import to its end.
const metaImport = "import"

// Export implements timeline.Exporter: it reads one snapshot.
func (s *Store) Export(ctx context.Context, yield func(timeline.Item) error) error {
	err := s.read(ctx, func(v *view) error {
		state, err := stateOf(v)
		if err != nil {
			return err
		}
		if err := yield(state); err != nil {
			return err
		}
		for _, kind := range []byte{kindLog, kindInbox, kindPosition, kindReceipt} {
			if err := exportKind(ctx, v, kind, yield); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("export the timelines: %w", err)
	}
	return nil
}

func stateOf(r db.Reader) (state timeline.State, err error) {
	if state.Epoch, _, err = meta(r, metaEpoch); err != nil {
		return state, err
	}
	newest, _, err := meta(r, metaLast)
	copy(state.Newest[:], newest)
	return state, err
}

// exportKind yields everything whose keys begin with kind.
func exportKind(ctx context.Context, v *view, kind byte, yield func(timeline.Item) error) (err error) {
	iter, err := v.NewIter(&db.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for ok := iter.First(); ok; ok = iter.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if kind == kindInbox {
			err = exportRun(iter.Key()[1:], iter.Value(), yield)
		} else {
			err = exportItem(v, kind, iter.Key()[1:], iter.Value(), yield)
		}
		if err != nil {
			return err
		}
	}
	return nil // Close gives the iteration's error
}

// exportRun yields the entries of an inbox key.
func exportRun(key, value []byte, yield func(timeline.Item) error) error {
	k := decoder{rest: key}
	user, last := im.UserID(k.fixed()), k.fixed()
	run, err := decodeRun(nil, value, last)
	if err := errors.Join(k.end(), err); err != nil {
		return err
	}
	for i, e := range run {
		l := timeline.Listed{User: user, InboxSeq: last - int64(len(run)-1-i), ID: e.ID, Conversation: im.ConversationID(e.Conversation), Seq: e.Seq}
		if err := yield(l); err != nil {
			return err
		}
	}
	return nil
}

func exportItem(r db.Reader, kind byte, key, value []byte, yield func(timeline.Item) error) error {
	item, err := itemOf(r, kind, key, value)
	if err != nil {
		return err
	}
	return yield(item)
}

// itemOf reads one key but of an inbox, without its kind, and its value.
func itemOf(r db.Reader, kind byte, key, value []byte) (timeline.Item, error) {
	k := decoder{rest: key}
	switch kind {
	case kindLog:
		c, seq := im.ConversationID(k.name()), k.fixed()
		m, err := decodeMessage(value, c, seq)
		if err := errors.Join(k.end(), err); err != nil {
			return nil, fmt.Errorf("a message: %w", err)
		}
		return storedOf(r, m)
	case kindPosition:
		by := im.UserID(k.fixed())
		seq, err := decodeInt(value)
		if k.corrupt {
			err = errCorrupt
		}
		return timeline.Held{Receipt: timeline.Receipt{By: by, Conversation: im.ConversationID(k.rest), Seq: seq}}, err
	default:
		f := timeline.Filed{User: im.UserID(k.fixed()), Place: k.fixed()}
		what, err := decodeFiled(value)
		f.Receipt = timeline.Receipt(what)
		return f, errors.Join(k.end(), err)
	}
}

// storedOf adds to a message what its de-duplication key says.
func storedOf(r db.Reader, m im.Message) (timeline.Item, error) {
	stored := timeline.Stored{Message: m}
	if m.ClientID == "" {
		return stored, nil
	}
	known, err := get(r, dedupeKey(make([]byte, 0, 96), m.Sender, m.ClientID), func(value []byte) error {
		rec, err := decodeRecord(value)
		stored.Digest, stored.InboxSeqs = rec.Digest, rec.InboxSeqs
		return err
	})
	if err == nil && !known {
		err = errors.New("it has no record of its client ID")
	}
	if err != nil {
		return nil, fmt.Errorf("message %d of conversation %s: %w", m.Seq, m.Conversation, err)
	}
	return stored, nil
}

// importing is an import on its way through the committer, which does nothing
// else meanwhile.
type importing struct {
	fill func(add func(timeline.Item) error) error
	done chan error // of length 1
}

// Import implements timeline.Importer. Other writes wait in the queue.
func (s *Store) Import(ctx context.Context, fill func(add func(timeline.Item) error) error) error {
	i := &importing{done: make(chan error, 1)}
	i.fill = func(add func(timeline.Item) error) error {
		return fill(func(item timeline.Item) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return add(item)
		})
	}
	// Not ctx: whoever gave up would not know what became of the store.
	if err := s.submit(context.WithoutCancel(ctx), i, i.done, nil); err != nil {
		return fmt.Errorf("import timelines: %w", err)
	}
	return nil
}

// stage implements op.
func (i *importing) stage(c *committer) error {
	if c.writes.size() != 0 {
		return timeline.ErrNotEmpty // of what this very batch writes
	}
	c.settle() // what those before it write is in the database, or the store is broken
	if err := c.Broken(); err != nil {
		return err
	}
	if empty, err := onlyMeta(c.db); err != nil || !empty {
		return errors.Join(err, notEmpty(empty))
	}
	return c.whole(func() error { return i.run(c) })
}

func notEmpty(empty bool) error {
	if empty {
		return nil
	}
	return timeline.ErrNotEmpty
}

// finish implements op.
func (i *importing) finish(err error) { i.done <- err }

// whole runs fn, which writes past the batch. What it cannot undo or finish
// breaks the store.
func (c *committer) whole(fn func() error) (err error) {
	c.fs.hurry.Add(1)
	defer c.fs.hurry.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("import: %v", r)
			c.fault.Store(&err)
		}
		c.forget()
	}()
	return fn()
}

// forget lets go of everything that is remembered of the database.
func (c *committer) forget() {
	c.letGo()
	c.under = nil
	c.logs, c.versions = newHeads[im.ConversationID](c.logs.limit), newHeads[im.ConversationID](c.versions.limit)
	c.inboxes, c.receipts = newHeads[im.UserID](c.inboxes.limit), newHeads[im.UserID](c.receipts.limit)
	if c.Broken() == nil {
		c.views.publish(c.db.NewSnapshot())
	}
}

// run marks the database, fills it, and takes the mark away.
func (i *importing) run(c *committer) error {
	if err := c.db.Set(metaKey(metaImport), nil, db.Sync); err != nil {
		return err
	}
	in := &intake{db: c.db, known: c.known, batch: c.db.NewBatch()}
	err := i.fill(in.add)
	if err == nil && !in.begun {
		err = errors.New("there is no state in what was to be imported")
	}
	if err == nil {
		err = in.end(c)
	}
	if err != nil {
		in.batch.Close()
		return errors.Join(err, c.empty())
	}
	return nil
}

// empty takes back everything that an import wrote, and its mark.
func (c *committer) empty() error {
	b := c.db.NewBatch()
	err := errors.Join(
		b.DeleteRange([]byte{0}, []byte{kindMeta}, nil),
		b.DeleteRange([]byte{kindMeta + 1}, []byte{0xff}, nil),
		b.Delete(metaKey(metaImport), nil),
		b.Commit(db.Sync))
	if err != nil {
		err = fmt.Errorf("empty the store again: %w", err)
		c.fault.Store(&err)
	}
	return err
}

// onlyMeta reports whether the database holds nothing but meta keys.
func onlyMeta(r db.Reader) (empty bool, err error) {
	iter, err := r.NewIter(nil)
	if err != nil {
		return false, err
	}
	empty = true
	for ok := iter.First(); ok && empty; ok = iter.Next() {
		empty = iter.Key()[0] == kindMeta
	}
	return empty, iter.Close()
}

// intake writes items in batches, unflushed: the last write of an import, which
// is flushed, flushes them all.
type intake struct {
	db    *db.DB
	known *known
	batch *db.Batch
	state timeline.State
	begun bool // state was there
	key   []byte
	val   []byte
}

func (in *intake) add(item timeline.Item) (err error) {
	if state, ok := item.(timeline.State); ok {
		in.state, in.begun = state, true
		return nil
	}
	if !in.begun {
		return errors.New("what is to be imported begins without its state")
	}
	switch item := item.(type) {
	case timeline.Stored:
		err = in.stored(item)
	case timeline.Listed:
		err = in.listed(item)
	case timeline.Held:
		if err = wantName("conversation ID", string(item.Conversation)); err == nil {
			in.key = positionKey(in.key[:0], item.By, item.Conversation)
			err = in.set(binary.AppendUvarint(in.val[:0], uint64(item.Seq)))
		}
	case timeline.Filed:
		err = in.filed(item)
	default:
		err = fmt.Errorf("a %T is nothing that this store holds", item)
	}
	if err == nil && in.batch.Len() >= maxBatch {
		err = in.flush(db.NoSync)
	}
	return err
}

func wantName(what, name string) error {
	if n := len(name); n < 1 || n > maxName {
		return fmt.Errorf("a %s has 1-%d octets, this one %d", what, maxName, n)
	}
	return nil
}

func (in *intake) stored(m timeline.Stored) error {
	if err := wantName("conversation ID", string(m.Conversation)); err != nil {
		return err
	}
	if n := len(m.ClientID); n > maxName {
		return fmt.Errorf("a client ID has at most %d octets, this one %d", maxName, n)
	}
	if string(m.ID[:]) > string(in.state.Newest[:]) {
		in.state.Newest = m.ID
	}
	in.key = logKey(in.key[:0], m.Conversation, m.Seq)
	in.val = appendMessage(in.val[:0], m.Sender, m.ClientID, m.Body)
	copy(in.val, m.ID[:])
	if err := in.set(in.val); err != nil || m.ClientID == "" {
		return err
	}
	in.key = dedupeKey(in.key[:0], m.Sender, m.ClientID)
	in.known.add(in.key)
	return in.set(record{m.Digest, m.Conversation, m.Seq, m.InboxSeqs}.append(in.val[:0]))
}

func (in *intake) listed(l timeline.Listed) error {
	if err := wantName("conversation ID", string(l.Conversation)); err != nil {
		return err
	}
	in.key = userKey(in.key[:0], kindInbox, l.User, l.InboxSeq)
	return in.set(entry{ID: l.ID, Conversation: []byte(l.Conversation), Seq: l.Seq}.append(in.val[:0]))
}

func (in *intake) filed(f timeline.Filed) error {
	if err := wantName("conversation ID", string(f.Conversation)); err != nil {
		return err
	}
	in.key = userKey(in.key[:0], kindReceipt, f.User, f.Place)
	if err := in.set(filed(f.Receipt).append(in.val[:0])); err != nil {
		return err
	}
	in.key = latestKey(in.key[:0], f.User, f.By, f.Conversation)
	return in.set(binary.AppendUvarint(in.val[:0], uint64(f.Place)))
}

// set writes value, which may be built on val, under key.
func (in *intake) set(value []byte) error {
	in.val = value
	return in.batch.Set(in.key, value, nil)
}

func (in *intake) flush(how *db.WriteOptions) error {
	err := errors.Join(in.db.Apply(in.batch, how), in.batch.Close())
	in.batch = in.db.NewBatch()
	return err
}

// end makes the store whole: what is missing, the epoch and the newest ID, and
// no mark any more.
func (in *intake) end(c *committer) error {
	if in.state.Epoch == "" {
		in.state.Epoch = newEpoch()
	}
	b := in.batch
	err := errors.Join(
		b.Set(metaKey(metaEpoch), []byte(in.state.Epoch), nil),
		b.Set(metaKey(metaLast), slices.Clone(in.state.Newest[:]), nil),
		b.Delete(metaKey(metaImport), nil))
	if err != nil {
		return err
	}
	if err := in.flush(db.Sync); err != nil {
		return err
	}
	c.epoch.Store(&in.state.Epoch)
	c.ids.Observe(in.state.Newest)
	in.batch.Close() // the empty one that flush made
	return nil
}

// renewing is a new epoch on its way through the committer.
type renewing struct {
	store *Store
	epoch string
	done  chan error // of length 1
}

// Renew implements timeline.Renewer.
func (s *Store) Renew(ctx context.Context) (string, error) {
	r := &renewing{s, newEpoch(), make(chan error, 1)}
	if err := s.submit(ctx, r, r.done, nil); err != nil {
		return "", fmt.Errorf("renew the epoch of the timelines: %w", err)
	}
	return r.epoch, nil
}

// stage implements op.
func (r *renewing) stage(c *committer) error {
	c.writes.set(metaKey(metaEpoch), []byte(r.epoch))
	return nil
}

// finish implements op.
func (r *renewing) finish(err error) {
	if err == nil {
		r.store.epoch.Store(&r.epoch)
	}
	r.done <- err
}
