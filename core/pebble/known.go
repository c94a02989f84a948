package pebble

import (
	"hash/maphash"
	"sync/atomic"

	db "github.com/cockroachdb/pebble/v2"
)

// known says which client IDs were certainly never committed, without a look into the
// database: a Bloom filter of all de-duplication keys, one cache line for a key. Nearly
// every message has a new client ID, and to learn from the memtable that a key is not
// there takes some thirty steps through its skip list.
//
// It is built in memory: the committer adds what it stages, and load what was there
// before. Until load is done everything may be there, and for ever when there are too many
// keys to be worth it: then the memory is given back. It allows one writer of new keys beside load, and any
// number of readers.
type known struct {
	seed   maphash.Seed
	blocks atomic.Pointer[[][8]atomic.Uint32] // nil: given up
	ready  atomic.Bool
}

// keysPerBlock of 32 octets let about one look in a hundred be in vain, twice as
// many one in ten, and four times as many every second one: then load gives up.
const keysPerBlock = 24

func newKnown(octets int) *known {
	blocks := make([][8]atomic.Uint32, max(octets/32, 1))
	k := &known{seed: maphash.MakeSeed()}
	k.blocks.Store(&blocks)
	return k
}

// lanes are odd numbers that spread one hash over the words of a block, as in the
// split block Bloom filter of the Parquet format.
var lanes = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// block is where a key belongs; nil: the filter was given up.
func (k *known) block(key []byte) (words *[8]atomic.Uint32, hash uint32) {
	blocks := k.blocks.Load()
	if blocks == nil {
		return nil, 0
	}
	h := maphash.Bytes(k.seed, key)
	return &(*blocks)[h>>32*uint64(len(*blocks))>>32], uint32(h)
}

// giveUp has everything be possible from now on.
func (k *known) giveUp() {
	k.ready.Store(false)
	k.blocks.Store(nil)
}

// add is called before anybody may ask for what is stored under key.
func (k *known) add(key []byte) {
	words, hash := k.block(key)
	if words == nil {
		return
	}
	for i := range words {
		words[i].Or(1 << (hash * lanes[i] >> 27))
	}
}

// may is false when nothing was ever stored under key.
func (k *known) may(key []byte) bool {
	if !k.ready.Load() {
		return true
	}
	words, hash := k.block(key)
	if words == nil {
		return true
	}
	for i := range words {
		if words[i].Load()&(1<<(hash*lanes[i]>>27)) == 0 {
			return false
		}
	}
	return true
}

// load adds what iter finds, and closes it. It ends early when stop is closed.
func (k *known) load(iter *db.Iterator, stop <-chan struct{}) error {
	most := 4 * keysPerBlock * len(*k.blocks.Load())
	n := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		k.add(iter.Key())
		if n++; n > most {
			k.giveUp()
			return iter.Close()
		}
		if n%1024 != 0 {
			continue
		}
		select {
		case <-stop:
			return iter.Close()
		default:
		}
	}
	err := iter.Close()
	if err != nil {
		k.giveUp()
		return err
	}
	k.ready.Store(true)
	return nil
}

// loadKnown starts load on what the database holds now. Called before the committer
// starts: what comes later, it adds.
func (s *Store) loadKnown() error {
	iter, err := s.db.NewIter(&db.IterOptions{LowerBound: []byte{kindDedupe}, UpperBound: []byte{kindDedupe + 1}})
	if err != nil {
		return err
	}
	s.loading.Go(func() {
		if err := s.known.load(iter, s.closing); err != nil {
			s.log.Error("client IDs could not be read, each is looked for from now on", "err", err)
		}
	})
	return nil
}
