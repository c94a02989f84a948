package pebble

import (
	"sync/atomic"
	"time"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble's background work, moving memtables into tables and tables into larger ones, takes one
// processor for up to seconds at a time, and there is no order of precedence among goroutines: on two processors
// callers would wait for it tens of milliseconds. So it rests, for so many times as long as it worked.
const (
	// rests is how many times. A memtable is moved in 0.1 s, and filled in 0.6 s at the most that two processors commit.
	rests = 3
	// shortest is what it works at least between two rests, and longest what counts of a time in which others may
	// have had the processor.
	shortest, longest = time.Millisecond / 2, 10 * time.Millisecond

	// manyTables is how many levels of tables that overlap may wait for a compaction while it still rests; Pebble begins at
	// compactFrom, and takes no more writes at stopAt.
	compactFrom, manyTables, stopAt = 8, 12, 24
	// lookEvery is how often they are counted for each file.
	lookEvery = 100 * time.Millisecond
)

// gentle is a file system on which the files of Pebble's background work are written with rests.
type gentle struct {
	vfs.FS
	behind atomic.Pointer[func() bool] // reports whether many tables wait; nil while the database opens: no rests
	hurry  atomic.Int32                // of those who wait for it, who fill the store or close it: no rests
}

// Create implements vfs.FS.
func (g *gentle) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	switch category {
	case "pebble-memtable-flush", "pebble-compaction":
		return &restful{File: f, fs: g, since: time.Now()}, nil
	}
	return f, nil
}

// manyTablesOf is for gentle.behind.
func manyTablesOf(d *db.DB) func() bool {
	return func() bool { return d.Metrics().Levels[0].Sublevels >= manyTables }
}

// restful is a table that is written. One goroutine does, which makes its blocks between two writes.
type restful struct {
	vfs.File
	fs     *gentle
	since  time.Time // it has worked since then
	worked time.Duration
	looked time.Time // when tables were counted
	behind bool      // there were many
}

// Write implements vfs.File.
func (f *restful) Write(p []byte) (int, error) {
	f.worked += min(time.Since(f.since), longest)
	n, err := f.File.Write(p)
	if f.worked >= shortest && err == nil {
		if !f.hurries() {
			time.Sleep(rests * f.worked)
		}
		f.worked = 0
	}
	f.since = time.Now()
	return n, err
}

// hurries reports whether it must not rest.
func (f *restful) hurries() bool {
	behind := f.fs.behind.Load()
	if behind == nil || f.fs.hurry.Load() > 0 {
		return true
	}
	if time.Since(f.looked) >= lookEvery {
		f.behind, f.looked = (*behind)(), time.Now()
	}
	return f.behind
}
