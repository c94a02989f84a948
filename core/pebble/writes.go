package pebble

import (
	"bytes"
	"cmp"
	"slices"

	"freeim/core/im"

	db "github.com/cockroachdb/pebble/v2"
)

// writes are the sets and deletes of one batch, gathered to be put in the order
// of their keys: Pebble then finds each key's place from the one before, which
// costs less than a search from the top. The zero value is empty.
type writes struct {
	octets []byte // of all keys and values
	list   []write
	listed []listing
	sizes  int    // of the listings in the database, about
	run    []byte // scratch
}

// write is one set or delete: where in octets its key ends and its value follows.
type write struct {
	start, value, end int
	deleted           bool
}

// listing is an inbox entry: where in octets it is.
type listing struct {
	user       im.UserID
	seq        int64
	start, end int
}

// maxRun is how many entries one inbox key holds at most, and so how many are read in vain at most to find one.
const maxRun = 64

func (w *writes) set(key, value []byte) { w.add(key, value, false) }

func (w *writes) delete(key []byte) { w.add(key, nil, true) }

func (w *writes) add(key, value []byte, deleted bool) {
	start := len(w.octets)
	w.octets = append(append(w.octets, key...), value...)
	w.list = append(w.list, write{start, start + len(key), len(w.octets), deleted})
}

// enter puts an entry into the inboxes of users, at those seqs.
func (w *writes) enter(e entry, users []im.UserID, seqs []int64) {
	start := len(w.octets)
	w.octets = e.append(w.octets)
	for i, user := range users {
		w.listed = append(w.listed, listing{user, seqs[i], start, len(w.octets)})
	}
	w.sizes += len(users) * (len(w.octets) - start + 24)
}

func (w *writes) reset() {
	if cap(w.octets) > mostSpare {
		w.octets = nil
	}
	if cap(w.listed) > mostListings {
		w.listed = nil
	}
	w.octets, w.list, w.listed, w.sizes = w.octets[:0], w.list[:0], w.listed[:0], 0
}

// size is about what the batch takes, in octets; 0: there is nothing to write.
func (w *writes) size() int { return len(w.octets) + 8*len(w.list) + w.sizes }

// fill puts everything into b. Of several writes to one key the last wins.
func (w *writes) fill(b *db.Batch) error {
	w.sort()
	behind, _ := slices.BinarySearchFunc(w.list, byte(kindInbox), func(x write, kind byte) int {
		return int(w.octets[x.start]) - int(kind)
	})
	if err := w.fillOthers(b, w.list[:behind]); err != nil {
		return err
	}
	if err := w.fillInboxes(b); err != nil {
		return err
	}
	return w.fillOthers(b, w.list[behind:])
}

func (w *writes) sort() {
	slices.SortFunc(w.list, func(x, y write) int {
		if c := bytes.Compare(w.octets[x.start:x.value], w.octets[y.start:y.value]); c != 0 {
			return c
		}
		return x.start - y.start // as they came
	})
	slices.SortFunc(w.listed, func(x, y listing) int {
		return cmp.Or(cmp.Compare(x.user, y.user), cmp.Compare(x.seq, y.seq))
	})
}

func (w *writes) fillOthers(b *db.Batch, list []write) error {
	for _, x := range list {
		var err error
		if key := w.octets[x.start:x.value]; x.deleted {
			err = b.Delete(key, nil)
		} else {
			err = b.Set(key, w.octets[x.value:x.end], nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fillInboxes puts what one person gets by this batch under one key: its seqs follow each other. Whoever was
// named twice in a draft has one entry of it.
func (w *writes) fillInboxes(b *db.Batch) error {
	var key [1 + 8 + 8]byte
	w.listed = slices.CompactFunc(w.listed, func(x, y listing) bool { return x.user == y.user && x.seq == y.seq })
	for rest := w.listed; len(rest) > 0; {
		n := 0
		w.run = w.run[:0]
		for n < min(len(rest), maxRun) && rest[n].user == rest[0].user {
			w.run = append(w.run, w.octets[rest[n].start:rest[n].end]...)
			n++
		}
		if err := b.Set(userKey(key[:0], kindInbox, rest[0].user, rest[n-1].seq), w.run, nil); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
