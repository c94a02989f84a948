package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

// objects is where the octets of files are. Safe for concurrent use.
type objects interface {
	// ticket is the right to send the octets of a file until a time.
	ticket(ctx context.Context, f *file, until time.Time) (ticket, error)
	// check returns errAbsent unless the octets are there, as many and with the hash that f has.
	check(ctx context.Context, f *file) error
	// link is the right to read them until a time, as a URL: the same one for the same times.
	link(ctx context.Context, f *file, from, until time.Time) (string, error)
	// remove deletes them. It is no error if they are not there.
	remove(ctx context.Context, id string) error
	// walk gives fn, in batches, the IDs of what was stored before a time; fn says which of them are
	// nobody's, and those are deleted, as is what uploads have left behind.
	walk(ctx context.Context, before time.Time, fn func(ctx context.Context, ids []string) (strays []string, err error)) (deleted int, err error)
	close() error
}

// errAbsent says that the octets of a file have not come, or others have.
var errAbsent = errors.New("the octets are not there")

// ticket is how to send something by HTTP.
type ticket struct {
	method, url string
	headers     []*filepb.FileHeader
}

// walkBatch is how many IDs walk gives at a time, at most.
const walkBatch = 500

// disk is a directory that edges serve.
type disk struct {
	home   *files.Home
	public string // before the URLs
}

func (d *disk) url(t files.Ticket) (string, error) {
	_, key, err := d.home.Open()
	if err != nil {
		return "", err
	}
	return d.public + key.URL(t), nil
}

func (d *disk) ticket(_ context.Context, f *file, until time.Time) (ticket, error) {
	url, err := d.url(files.Ticket{Method: http.MethodPut, ID: f.id, Size: f.size, Type: f.kind, SHA256: f.sha256, Owner: int64(f.owner), Expires: until})
	return ticket{http.MethodPut, url, []*filepb.FileHeader{{Name: "Content-Type", Value: f.kind}}}, err
}

func (d *disk) link(_ context.Context, f *file, _, until time.Time) (string, error) {
	return d.url(files.Ticket{Method: http.MethodGet, ID: f.id, Size: f.size, Type: f.kind, SHA256: f.sha256, Name: f.name, Expires: until})
}

// check looks for the name alone: an edge gives it only to what has the hash, when it is on the disk. The edge
// may have ended before the name itself was.
func (d *disk) check(_ context.Context, f *file) error {
	root, _, err := d.home.Open()
	if err != nil {
		return err
	}
	at, err := root.Lstat(files.Path(f.id))
	if errors.Is(err, fs.ErrNotExist) {
		return errAbsent
	}
	if err != nil {
		return err
	}
	if !at.Mode().IsRegular() || at.Size() != f.size {
		return errAbsent
	}
	return files.Flush(root, files.Path(f.id))
}

func (d *disk) remove(_ context.Context, id string) error {
	root, _, err := d.home.Open()
	if err != nil {
		return err
	}
	if err := root.Remove(files.Path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *disk) walk(ctx context.Context, before time.Time, fn func(context.Context, []string) ([]string, error)) (deleted int, err error) {
	root, _, err := d.home.Open()
	if err != nil {
		return 0, err
	}
	dirs, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		if !dir.IsDir() || len(dir.Name()) != 2 {
			continue
		}
		names, err := fs.ReadDir(root.FS(), dir.Name())
		if err != nil {
			return deleted, err
		}
		var ids []string
		for _, name := range names {
			at, err := name.Info()
			if err != nil || !at.ModTime().Before(before) { // it has gone meanwhile
				continue
			}
			switch whole := path.Join(dir.Name(), name.Name()); {
			case files.IsID(name.Name()):
				ids = append(ids, name.Name())
			case strings.HasPrefix(name.Name(), ".") && strings.HasSuffix(name.Name(), files.Part):
				if err := root.Remove(whole); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return deleted, err
				}
				deleted++
			}
		}
		n, err := sift(ctx, d, ids, fn)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// sift deletes those of the IDs that fn says are nobody's.
func sift(ctx context.Context, o objects, ids []string, fn func(context.Context, []string) ([]string, error)) (deleted int, err error) {
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return deleted, err
		}
		n := min(len(ids), walkBatch)
		strays, err := fn(ctx, ids[:n])
		if err != nil {
			return deleted, err
		}
		for _, id := range strays {
			if err := o.remove(ctx, id); err != nil {
				return deleted, fmt.Errorf("delete a stray file: %w", err)
			}
			deleted++
		}
		ids = ids[n:]
	}
	return deleted, nil
}

func (d *disk) close() error { return d.home.Close() }
