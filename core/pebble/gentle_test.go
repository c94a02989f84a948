package pebble

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Background work rests three times as long as it works, but not while nobody waits, while tables pile up, or while the
// database opens; other files are written without.
func TestBackgroundWorkRests(t *testing.T) {
	const blocks, work = 100, time.Millisecond
	no, yes := func() bool { return false }, func() bool { return true }
	for _, row := range []struct {
		name     string
		category vfs.DiskWriteCategory
		behind   *func() bool
		hurry    bool
		want     time.Duration
	}{
		{"flush", "pebble-memtable-flush", &no, false, 4 * blocks * work},
		{"compaction", "pebble-compaction", &no, false, 4 * blocks * work},
		{"tables pile up", "pebble-compaction", &yes, false, blocks * work},
		{"an import", "pebble-compaction", &no, true, blocks * work},
		{"opening", "pebble-memtable-flush", nil, false, blocks * work},
		{"the log", "pebble-wal", &no, false, blocks * work},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &gentle{FS: vfs.NewMem()}
				g.behind.Store(row.behind)
				if row.hurry {
					g.hurry.Add(1)
				}
				f, err := g.Create("file", row.category)
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				for range blocks {
					time.Sleep(work)
					if _, err := f.Write([]byte("block")); err != nil {
						t.Fatal(err)
					}
				}
				if got := time.Since(begun); got != row.want {
					t.Errorf("it took %v, want %v", got, row.want)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Who closes a store waits for no rests.
func TestCloseHurries(t *testing.T) {
	s := openOn(t, vfs.NewMem())
	if err := s.Close(); err != nil || s.fs.hurry.Load() == 0 {
		t.Errorf("%d hurry, %v", s.fs.hurry.Load(), err)
	}
}

// Pebble names its background work as gentle knows it.
func TestTablesAreRestful(t *testing.T) {
	seen := make(chan vfs.DiskWriteCategory, 1024)
	s := openOn(t, categories{vfs.NewMem(), seen})
	for i := range 3 {
		mustAppend(t, s, fmt.Sprint("message ", i))
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	got := map[vfs.DiskWriteCategory]bool{}
	for len(seen) > 0 {
		got[<-seen] = true
	}
	for _, want := range []vfs.DiskWriteCategory{"pebble-memtable-flush", "pebble-compaction"} {
		if !got[want] {
			t.Errorf("no file of the category %s was made: %v", want, got)
		}
	}
}

// categories is a file system that tells what files are for.
type categories struct {
	vfs.FS
	seen chan<- vfs.DiskWriteCategory
}

func (c categories) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	c.seen <- category
	return c.FS.Create(name, category)
}
