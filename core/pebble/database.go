package pebble

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// format is the version of the keys and values that this package writes; it is
// stored in the database. Change it with anything in keys.go or values.go.
const format = "freeim timelines 2"

// formerly is the format before that: each inbox key holds one entry, which is a run as well. A
// database in it gets the new name when it is opened, and older versions refuse it.
const formerly = "freeim timelines 1"

// The names of meta keys.
const (
	metaFormat = "format"
	metaEpoch  = "epoch"
	metaLast   = "last"
)

// ErrInUse is in the error of opening a store that another process, or another
// store of this one, has open.
var ErrInUse = errors.New("another process has it open, or it cannot be locked")

// lockDir makes the directory and keeps other processes, and other stores of this
// one, out of it.
func lockDir(o Options) (*db.Lock, error) {
	if err := o.fs.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := db.LockDirectory(o.Dir, o.fs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return lock, nil
}

// openDB opens Pebble for this package's load: many small synced batches, point
// look-ups that mostly find nothing, short scans, a small machine.
func openDB(o Options, lock *db.Lock, fs *gentle) (*db.DB, error) {
	log := logger{o.Log}
	opts := &db.Options{
		FS:     fs,
		Lock:   lock,
		Logger: log,
		// Pebble takes the memory of memtables out of the cache.
		CacheSize:                   o.CacheSize + 2*int64(o.MemTableSize),
		MemTableSize:                uint64(o.MemTableSize),
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       compactFrom, // fewer, larger compactions: writes matter more than scans
		L0StopWritesThreshold:       stopAt,
		FormatMajorVersion:          db.FormatTableFormatV6,
		EventListener: &db.EventListener{
			BackgroundError: func(err error) { log.Errorf("background: %v", err) },
			// By default Pebble ends the process here. The reader gets the error.
			DataCorruption: func(i db.DataCorruptionInfo) { log.Errorf("%s", i) },
		},
	}
	opts.Levels[0].FilterPolicy = bloom.FilterPolicy(10) // the levels below take it over
	d, err := db.Open(o.Dir, opts)
	if err == nil {
		behind := manyTablesOf(d)
		fs.behind.Store(&behind)
	}
	return d, err
}

// initialise checks the format of d, writes it into a new one, and makes ids
// continue after the newest ID. It returns the epoch.
func initialise(d *db.DB, ids *im.IDGenerator) (epoch string, err error) {
	found, known, err := meta(d, metaFormat)
	switch {
	case err != nil:
		return "", err
	case !known:
		return create(d)
	case found != format && found != formerly:
		return "", fmt.Errorf("it has the format %q, this version reads %q", found, format)
	}
	if _, marked, err := meta(d, metaImport); err != nil || marked {
		return "", errors.Join(err, timeline.ErrUnfinished)
	}
	if found == formerly {
		if err := d.Set(metaKey(metaFormat), []byte(format), db.Sync); err != nil {
			return "", err
		}
	}
	newest, _, err := meta(d, metaLast)
	if err != nil {
		return "", err
	}
	var id im.MessageID
	copy(id[:], newest)
	ids.Observe(id)
	if epoch, known, err = meta(d, metaEpoch); err == nil && !known {
		err = errors.New("it has no epoch")
	}
	return epoch, err
}

// create writes the meta keys of a new database.
func create(d *db.DB) (epoch string, err error) {
	iter, err := d.NewIter(nil)
	if err != nil {
		return "", err
	}
	empty := !iter.First()
	if err := iter.Close(); err != nil {
		return "", err
	}
	if !empty {
		return "", errors.New("it holds a database that is not freeim's")
	}
	epoch = newEpoch()
	b := d.NewBatch()
	err = errors.Join(
		b.Set(metaKey(metaFormat), []byte(format), nil),
		b.Set(metaKey(metaEpoch), []byte(epoch), nil),
		b.Commit(db.Sync))
	return epoch, err
}

func newEpoch() string {
	var random [8]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

func meta(d db.Reader, name string) (text string, known bool, err error) {
	known, err = get(d, metaKey(name), func(value []byte) error {
		text = string(value)
		return nil
	})
	return text, known, err
}

// logger passes on what Pebble says.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble would go on as if nothing had happened. On the
// flusher's goroutine, or an import's, the panic is caught and breaks the store; in Pebble's
// own it ends the process, and nothing that was acknowledged is lost.
func (l logger) Fatalf(format string, args ...any) {
	panic("pebble: " + fmt.Sprintf(format, args...))
}
