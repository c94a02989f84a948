package pebble

import (
	"bytes"
	"slices"

	db "github.com/cockroachdb/pebble/v2"
)

// writes are the sets and deletes of one batch, gathered to be put in the order
// of their keys: Pebble then finds each key's place from the one before, which
// costs less than a search from the top. The zero value is empty.
type writes struct {
	octets []byte // of all keys and values
	list   []write
}

// write is one set or delete: where in octets its key ends and its value follows.
type write struct {
	start, value, end int
	deleted           bool
}

func (w *writes) set(key, value []byte) { w.add(key, value, false) }

func (w *writes) delete(key []byte) { w.add(key, nil, true) }

func (w *writes) add(key, value []byte, deleted bool) {
	start := len(w.octets)
	w.octets = append(append(w.octets, key...), value...)
	w.list = append(w.list, write{start, start + len(key), len(w.octets), deleted})
}

func (w *writes) reset() { w.octets, w.list = w.octets[:0], w.list[:0] }

// size is about what the batch takes, in octets; 0: there is nothing to write.
func (w *writes) size() int { return len(w.octets) + 8*len(w.list) }

// fill puts everything into b. Of several writes to one key the last wins.
func (w *writes) fill(b *db.Batch) error {
	slices.SortFunc(w.list, func(x, y write) int {
		if c := bytes.Compare(w.octets[x.start:x.value], w.octets[y.start:y.value]); c != 0 {
			return c
		}
		return x.start - y.start // as they came
	})
	for _, x := range w.list {
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
