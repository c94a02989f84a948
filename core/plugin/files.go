package plugin

import (
	"context"
	"database/sql"
	"strings"

	"freeim/core/im"
	"freeim/idl/files"
)

// This file is what plugins may ask of the one that uploaded files belong to: whether people may
// put a file into what they write, and that it be kept as long as that is there. The file plugin
// provides it as the service ServiceFiles.

// ServiceFiles is the name of the service that is a Files.
const ServiceFiles = "file.references"

// fileScheme begins the address of an uploaded file, where there could be a URL too.
const fileScheme = "file:"

// FileOf gives the file that an address, "file:ID", names; is says that it names one.
func FileOf(address string) (id string, is bool) {
	id, is = strings.CutPrefix(address, fileScheme)
	return id, is && files.IsID(id)
}

// FilesOf gives those of the addresses that name files.
func FilesOf(addresses ...string) (ids []string) {
	for _, address := range addresses {
		if id, is := FileOf(address); is {
			ids = append(ids, id)
		}
	}
	return ids
}

// Files keeps uploaded files for those who refer to them. A file that nobody refers to is deleted
// after a day; one that is referred to is there until its owner's account is erased. Who may
// read a file is not asked: whoever knows its ID may, so tell it only to those who see the
// message, or whatever holds it. Safe for concurrent use.
type Files interface {
	// Use has holder refer to files, all or none: from the commit on they are kept. What
	// it refers to already stays, so it may be called again.
	//
	// With a tx the reference is made in the caller's transaction, behind the locks that it
	// has: the files' rows are locked until its end, so call it late. Without (nil) it is made
	// in one of Use's own, before it returns: who commits his own thing elsewhere, as a
	// message to the timelines, calls it first, and Release if that thing comes to nothing;
	// should he end between the two, the file is kept for nothing, never lost.
	//
	// Its errors are refusals, with u.Field: NOT_FOUND for a file that there is not, that was
	// deleted, or that is another's; INVALID_ARGUMENT for one that was not committed, is of
	// another type, or comes too many at once; or faults of the store, which for a nil tx are refusals too.
	Use(ctx context.Context, tx *sql.Tx, u FileUse) ([]File, error)
	// Release ends holder's references to the files with the IDs, or without IDs all of them.
	// Also those that are not there: it may be called again. tx as for Use.
	Release(ctx context.Context, tx *sql.Tx, holder string, ids ...string) error
}

// MostFiles is how many files one FileUse may name.
const MostFiles = 100

// FileUse is who begins to refer to which files.
type FileUse struct {
	// Holder is what refers: the plugin's name, a colon, and what is unique in the plugin, as
	// "moment:2ABC…"; 128 octets at most.
	Holder string
	// User is whose the files must be. 0: anybody's, for what is passed on: the caller has
	// seen then that whoever passes it on may see it.
	User im.UserID
	// Type is how the MIME types must begin, as "image/"; empty: any type will do.
	Type string
	// Field is the request's, for refusals.
	Field string
	IDs   []string // none: nothing is done
}

// File is what is known of an uploaded file.
type File struct {
	ID     string
	Owner  im.UserID
	Name   string // as the uploader calls it; not a path
	Type   string // its MIME type, as the uploader says
	Size   int64  // in octets
	SHA256 string // 64 hexadecimal digits
	New    bool   // the holder did not refer to it before this Use
}
