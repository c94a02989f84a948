package pebble

import (
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFull is in the error of a write for which the disk has no room. The store is
// as it was, and takes writes again when there is some.
var ErrFull = errors.New("the disk is full")

// room is the space on the store's disk. A log that cannot be written, or a
// manifest, breaks Pebble for good; so writes are refused while there is still
// enough for Pebble to move what it has in memory into tables.
type room struct {
	fs   vfs.FS
	dir  string
	keep uint64 // octets that stay free
}

// free is how many octets others than root may still write; known is false where
// the file system does not tell.
func (r room) free() (octets uint64, known bool) {
	usage, err := r.fs.GetDiskUsage(r.dir)
	return usage.AvailBytes, err == nil
}

// check returns ErrFull when no write may be taken. It costs one statfs.
func (r room) check() error {
	if free, known := r.free(); known && free < r.keep {
		return fmt.Errorf("%w: %d MiB are left in %s, the store's own work needs %d", ErrFull, free>>20, r.dir, r.keep>>20)
	}
	return nil
}

// left is how many octets may be written before check refuses; infinite where the
// file system does not tell.
func (r room) left() float64 {
	free, known := r.free()
	if !known {
		return math.Inf(1)
	}
	return max(0, float64(free)-float64(r.keep))
}
