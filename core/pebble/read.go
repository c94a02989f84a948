package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sort"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// floor is the oldest seq of every timeline: nothing is trimmed yet.
const floor = 1

// read calls fn with the newest flushed state.
func (s *Store) read(ctx context.Context, fn func(v *view) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := s.views.acquire()
	if err != nil {
		return err
	}
	defer s.views.release(v)
	return fn(v)
}

// readable is what read refuses by: nil while the store is open.
func (s *Store) readable(ctx context.Context) error {
	select {
	case <-s.closing:
		return timeline.ErrClosed
	default:
		return ctx.Err()
	}
}

// scan calls fn with an iterator over the timeline with that prefix.
func scan(v *view, prefix []byte, fn func(iter *db.Iterator, prefix []byte) error) error {
	iter, err := v.NewIter(&db.IterOptions{LowerBound: prefix, UpperBound: rangeEnd(prefix)})
	if err != nil {
		return err
	}
	err = fn(iter, prefix)
	return errors.Join(err, iter.Close()) // Close gives the iteration's error
}

// seekAfter moves iter to the first key after seq, which may be any number.
func seekAfter(iter *db.Iterator, prefix []byte, seq int64) bool {
	if seq == math.MaxInt64 {
		return false
	}
	return iter.SeekGE(appendInt(slices.Clip(prefix), max(seq, 0)+1))
}

// last moves iter to its end and gives the seq there; 0: the timeline is empty.
func last(iter *db.Iterator) int64 {
	if !iter.Last() {
		return 0
	}
	return seqOf(iter.Key())
}

// Log implements timeline.Store.
func (s *Store) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	return s.page(ctx, c, limit, func(iter *db.Iterator, prefix []byte) (bool, func() bool) {
		return seekAfter(iter, prefix, after), iter.Next
	})
}

// LogBefore implements timeline.Store.
func (s *Store) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	return s.page(ctx, c, limit, func(iter *db.Iterator, prefix []byte) (bool, func() bool) {
		if before <= 0 {
			return iter.Last(), iter.Prev
		}
		return iter.SeekLT(appendInt(slices.Clip(prefix), before)), iter.Prev
	})
}

// page reads up to limit messages of a log, from where start puts the iterator
// and in the direction that it gives.
func (s *Store) page(ctx context.Context, c im.ConversationID, limit int,
	start func(iter *db.Iterator, prefix []byte) (ok bool, step func() bool)) (timeline.Page[im.Message], error) {
	p := timeline.Page[im.Message]{Floor: floor}
	if len(c) > maxName {
		return p, ctx.Err()
	}
	err := s.read(ctx, func(v *view) error {
		return scan(v, logPrefix(nil, c), func(iter *db.Iterator, prefix []byte) error {
			ok, step := start(iter, prefix)
			for ; ok && len(p.Items) < limit; ok = step() {
				m, err := decodeMessage(slices.Clone(iter.Value()), c, seqOf(iter.Key()))
				if err != nil {
					return err
				}
				p.Items = append(p.Items, m)
			}
			p.HasMore, p.Head = ok, last(iter)
			return nil
		})
	})
	if err != nil {
		return timeline.Page[im.Message]{}, fmt.Errorf("log of conversation %s: %w", c, err)
	}
	return p, nil
}

// Inbox implements timeline.Store.
func (s *Store) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	p := timeline.Page[timeline.Entry]{Floor: floor}
	err := s.read(ctx, func(v *view) error {
		err := scan(v, userPrefix(nil, kindInbox, user), func(iter *db.Iterator, prefix []byte) error {
			seen := max(after, 0)
			var run []entry
			for ok := seekAfter(iter, prefix, after); ok && len(p.Items) < limit; ok = iter.Next() {
				var err error
				if run, err = decodeRun(run[:0], iter.Value(), seqOf(iter.Key())); err != nil {
					return err
				}
				rest, first := from(run, iter.Key(), seen+1)
				rest = rest[:min(len(rest), limit-len(p.Items))]
				for i, e := range rest {
					p.Items = append(p.Items, e.at(first+int64(i)))
				}
				seen = first + int64(len(rest)) - 1
			}
			p.Head = last(iter)
			p.HasMore = seen < p.Head
			return nil
		})
		if err != nil {
			return err
		}
		return fill(v, p.Items)
	})
	if err != nil {
		return timeline.Page[timeline.Entry]{}, fmt.Errorf("inbox of %d: %w", user, err)
	}
	return p, nil
}

// InboxAt implements timeline.Store.
func (s *Store) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	entries := make([]timeline.Entry, len(seqs))
	order := make([]int, len(seqs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(seqs[a], seqs[b]) })
	err := s.read(ctx, func(v *view) error {
		err := scan(v, userPrefix(nil, kindInbox, user), func(iter *db.Iterator, prefix []byte) (err error) {
			var run []entry // which ends at the key of iter
			end := int64(0)
			for _, i := range order {
				seq := seqs[i]
				if seq < floor {
					continue
				}
				if seq > end {
					if !seekAfter(iter, prefix, seq-1) {
						return nil // what is left is beyond the end
					}
					end = seqOf(iter.Key())
					if run, err = decodeRun(run[:0], iter.Value(), end); err != nil {
						return err
					}
				}
				if rest, first := from(run, iter.Key(), seq); first == seq {
					entries[i] = rest[0].at(seq)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return fill(v, entries)
	})
	if err != nil {
		return nil, fmt.Errorf("inbox of %d: %w", user, err)
	}
	return entries, nil
}

// Messages implements timeline.Store.
func (s *Store) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	messages := make([]im.Message, len(places))
	for i, at := range places {
		if at.Seq >= floor && len(at.Conversation) <= maxName {
			messages[i] = im.Message{Conversation: at.Conversation, Seq: at.Seq}
		}
	}
	err := s.read(ctx, func(v *view) error {
		return fetch(v, len(messages), func(i int) *im.Message { return &messages[i] }, func(m *im.Message) error {
			*m = im.Message{}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("messages by their places: %w", err)
	}
	return messages, nil
}

// at is the entry at a seq of an inbox, with a message that says so far where it is.
func (e *entry) at(seq int64) timeline.Entry {
	return timeline.Entry{InboxSeq: seq, Message: im.Message{Conversation: im.ConversationID(e.Conversation), Seq: e.Seq}}
}

// from is what the run of an inbox key has from seq on, which is not behind it, and the seq of the first of those.
func from(run []entry, key []byte, seq int64) (rest []entry, first int64) {
	begin := seqOf(key) - int64(len(run)) + 1
	first = max(begin, seq)
	return run[first-begin:], first
}

// fill reads the message of each entry, all of which must be there.
func fill(v *view, entries []timeline.Entry) error {
	return fetch(v, len(entries), func(i int) *im.Message { return &entries[i].Message }, func(m *im.Message) error {
		return missing(m.Conversation, m.Seq)
	})
}

// fetch reads n messages, each of which says so far where it is, but for those of seq 0; absent is told of
// one that is not there. It reads them in the order of their keys: an iterator finds the next one near the
// last, in a block that is decoded already, where a Get of each starts from nothing. Between two it lets
// others go first: pages of thousands may be read at once, and an acknowledgement is a matter of several
// short steps.
func fetch(v *view, n int, message func(i int) *im.Message, absent func(m *im.Message) error) error {
	order, keys := make([]int, 0, n), make([][]byte, n)
	for i := range n {
		if m := message(i); m.Seq > 0 {
			order, keys[i] = append(order, i), logKey(nil, m.Conversation, m.Seq)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(keys[a], keys[b]) })
	return scan(v, []byte{kindLog}, func(iter *db.Iterator, _ []byte) (err error) {
		for _, i := range order {
			runtime.Gosched()
			m := message(i)
			if !iter.SeekGE(keys[i]) || !bytes.Equal(iter.Key(), keys[i]) {
				if err := errors.Join(iter.Error(), absent(m)); err != nil {
					return err
				}
			} else if *m, err = decodeMessage(slices.Clone(iter.Value()), m.Conversation, m.Seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// Heads implements timeline.Store: one iterator looks where each timeline ends.
func (s *Store) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) (logSeqs, inboxSeqs []int64, err error) {
	logSeqs, inboxSeqs = make([]int64, len(logs)), make([]int64, len(inboxes))
	err = s.read(ctx, func(v *view) error {
		iter, err := v.NewIter(nil)
		if err != nil {
			return err
		}
		var key []byte
		for i, c := range logs {
			if len(c) <= maxName {
				key = logPrefix(key[:0], c)
				logSeqs[i] = headOf(iter, key)
			}
		}
		for i, user := range inboxes {
			key = userPrefix(key[:0], kindInbox, user)
			inboxSeqs[i] = headOf(iter, key)
		}
		return errors.Join(iter.Error(), iter.Close())
	})
	if err != nil {
		return nil, nil, fmt.Errorf("heads of timelines: %w", err)
	}
	return logSeqs, inboxSeqs, nil
}

// headOf is the newest seq of the timeline whose keys begin with prefix; 0: it is empty.
func headOf(iter *db.Iterator, prefix []byte) int64 {
	if iter.SeekLT(rangeEnd(prefix)) && hasPrefix(iter.Key(), prefix) {
		return seqOf(iter.Key())
	}
	return 0
}

// Locate implements timeline.Store. One committer makes all IDs, so the entries
// of an inbox are in the order of their IDs.
func (s *Store) Locate(ctx context.Context, user im.UserID, id im.MessageID) (after int64, err error) {
	err = s.read(ctx, func(v *view) error {
		return scan(v, userPrefix(nil, kindInbox, user), func(iter *db.Iterator, prefix []byte) (err error) {
			var run []entry
			n := sort.Search(int(last(iter)), func(i int) bool {
				if err != nil || !seekAfter(iter, prefix, int64(i)) {
					return true
				}
				if run, err = decodeRun(run[:0], iter.Value(), seqOf(iter.Key())); err != nil {
					return true
				}
				rest, _ := from(run, iter.Key(), int64(i)+1)
				return string(rest[0].ID[:]) > string(id[:])
			})
			after = int64(n)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("locate %s in the inbox of %d: %w", id, user, err)
	}
	return after, nil
}
