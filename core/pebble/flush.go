package pebble

import (
	"fmt"
	"time"

	"freeim/core/im"

	db "github.com/cockroachdb/pebble/v2"
)

// flusher makes rounds durable and visible, one after the other, and gives each to the teller.
// Its goroutine is the only one that writes to the database, but for an import, during which
// it has nothing.
type flusher struct {
	*Store
	figures *figures
	idle    chan<- struct{} // of length 1, to the committer: it has no round
	rounds  <-chan *round   // from the committer, one for each token, which closes it
	flushed chan<- *round   // to the teller
}

func (f *flusher) run() {
	defer close(f.flushed)
	f.idle <- struct{}{}
	for r := range f.rounds {
		r.failed = f.flush(r)
		f.idle <- struct{}{}
		f.flushed <- r
	}
}

// tell tells the callers of each round, and gives it back.
func tell(flushed <-chan *round, spare chan<- *round, told chan<- struct{}) {
	defer close(told)
	for r := range flushed {
		r.tell()
		spare <- r // never blocks: it has room for all
	}
}

// flush makes a batch durable and visible. After an error nobody knows what is
// on the disk, so the store takes no further write.
func (f *flusher) flush(r *round) error {
	if err := f.Broken(); err != nil {
		return err
	}
	if r.writes.size() == 0 {
		return nil
	}
	started := time.Now()
	if err := f.apply(r); err != nil {
		err = fmt.Errorf("timeline store takes no more writes: %w", err)
		f.fault.Store(&err)
		f.log.Error("timeline store is broken, restart the process", "err", err)
		return err
	}
	f.figures.committed(len(r.ops), time.Since(started))
	f.views.publish(f.db.NewSnapshot())
	return nil
}

// apply commits the batch with an fsync. Pebble reports a log that cannot be
// written by panics and by Logger.Fatalf, after which Apply would return nil.
func (f *flusher) apply(r *round) (err error) {
	defer func() {
		if said := recover(); said != nil {
			err = fmt.Errorf("commit: %v", said)
		}
	}()
	if r.newest != (im.MessageID{}) {
		r.writes.set(metaKey(metaLast), r.newest[:])
	}
	batch := f.db.NewBatchWithSize(r.writes.size())
	if err := r.writes.fill(batch); err != nil {
		return err
	}
	if err := f.db.Apply(batch, db.Sync); err != nil {
		return err
	}
	return batch.Close()
}
