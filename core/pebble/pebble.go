// Package pebble is the embedded timeline.Store: one Pebble database in one
// directory, owned by one process. Everything that is written goes through one
// committer, and one fsync serves many callers' drafts; everything that
// is read comes from the last flushed state, so nobody sees what a power cut
// could take back. It knows nothing of users, rules or pushes. The core's main
// opens it; README.md beside it has the keys, the failure cases and the figures.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configures a Store.
type Options struct {
	// Dir is the directory of the database, made if it is missing. Required,
	// also with Memory, where it is only a name.
	Dir string
	// IDs makes the message IDs; Open makes it continue after the newest ID
	// stored. Required.
	IDs *im.IDGenerator
	// Log gets faults at error level, and what Pebble tells of itself at debug.
	// nil: slog.Default.
	Log *slog.Logger
	// CacheSize is the memory for blocks read from disk, in octets. 0: 64 MiB.
	CacheSize int64
	// MemTableSize is the memory that gathers writes before they go to a table,
	// in octets; twice that is used at most. 0: 16 MiB.
	MemTableSize int
	// Heads bounds how many conversations, and how many people, the committer
	// remembers the newest seq of; others cost a look-up. 0: 100,000.
	Heads int
	// Known is the memory of the filter that tells new client IDs without a look into
	// the database, in octets; it serves a message for each of them well, four at most.
	// 0: 16 MiB.
	Known int
	// Reserve is how much of the disk stays free, in octets: with less no write is
	// taken until there is more again. 0: 64 MiB, which is four memtables.
	Reserve int64
	// Memory keeps everything in memory: for tests, nothing survives Close.
	Memory bool
	// Figures, if set, gets the store's metrics, named freeim_timeline_….
	Figures prometheus.Registerer

	fs vfs.FS // tests cut its power; nil: the operating system's
}

// queueLen bounds the callers whose drafts wait for the next batch. When it is
// full, further callers wait for room, until their ctx ends: nothing is dropped.
const queueLen = 4096

// Store implements timeline.Store. Safe for concurrent use.
type Store struct {
	// Static after Open.
	db      *db.DB
	fs      gentle
	lock    *db.Lock // of the directory
	log     *slog.Logger
	room    room
	queue   chan op       // never closed
	closing chan struct{} // closed by Close: take nothing more
	stopped chan struct{} // closed when everybody has been told
	known   *known
	loading sync.WaitGroup // of known

	views views
	epoch atomic.Pointer[string] // replaced by an import, or by a new epoch when it is told
	fault atomic.Pointer[error]  // set by the flusher, or an import: nothing is written any more

	closeOnce sync.Once
	closeErr  error
}

// Open opens or makes the store in o.Dir. It returns an error that says so when
// another process has it open (ErrInUse), when it was written in a format that
// this version does not know, and when an import into it did not finish
// (timeline.ErrUnfinished).
func Open(o Options) (*Store, error) {
	if o.Dir == "" || o.IDs == nil {
		return nil, errors.New("pebble.Options needs Dir and IDs")
	}
	o.setDefaults()
	s := &Store{
		log:     o.Log,
		room:    room{o.fs, o.Dir, uint64(o.Reserve)},
		queue:   make(chan op, queueLen),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		known:   newKnown(o.Known),
	}
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("open timeline store %s: %w", o.Dir, err)
	}
	figures, err := newFigures(o.Figures, s)
	if err != nil {
		return nil, errors.Join(err, s.db.Close(), s.lock.Close())
	}
	if err := s.loadKnown(); err != nil {
		return nil, errors.Join(fmt.Errorf("read client IDs: %w", err), s.db.Close(), s.lock.Close())
	}
	s.views.publish(s.db.NewSnapshot())
	startCommitter(s, o, figures)
	return s, nil
}

// open takes the directory and opens what is in it, or leaves nothing open.
func (s *Store) open(o Options) (err error) {
	if s.lock, err = lockDir(o); err != nil {
		return err
	}
	s.fs.FS = o.fs
	if s.db, err = openDB(o, s.lock, &s.fs); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	epoch, err := initialise(s.db, o.IDs)
	if err != nil {
		return errors.Join(err, s.db.Close(), s.lock.Close())
	}
	s.epoch.Store(&epoch)
	return nil
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.CacheSize == 0 {
		o.CacheSize = 64 << 20
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = 16 << 20
	}
	if o.Heads == 0 {
		o.Heads = 100_000
	}
	if o.Known == 0 {
		o.Known = 16 << 20
	}
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.fs == nil {
		o.fs = vfs.Default
		if o.Memory {
			o.fs = vfs.NewMem()
		}
	}
}

// Epoch implements timeline.Store: it is made with the database, and changed by
// Import and Renew.
func (s *Store) Epoch() string { return *s.epoch.Load() }

// Health says why no write is taken now; nil: they are.
func (s *Store) Health(context.Context) error {
	select {
	case <-s.closing:
		return timeline.ErrClosed
	default:
	}
	if err := s.Broken(); err != nil {
		return err
	}
	return s.room.check()
}

// Broken is the fault after which nothing is written until the process starts
// anew: a flush that failed; nil for none.
func (s *Store) Broken() error {
	if p := s.fault.Load(); p != nil {
		return *p
	}
	return nil
}

// Close commits what is queued, waits for readers, and closes the database.
// After a fault it only lets go: what was acknowledged is in the log files.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.fs.hurry.Add(1)
		close(s.closing)
		<-s.stopped
		s.loading.Wait()
		s.closeErr = s.views.close()
		if s.Broken() != nil {
			return // Pebble's mutexes may be held for ever; the directory stays ours
		}
		if err := errors.Join(s.closeErr, s.db.Close(), s.lock.Close()); err != nil {
			s.closeErr = fmt.Errorf("close timeline store: %w", err)
		}
	})
	return s.closeErr
}
