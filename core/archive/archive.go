// Package archive carries everything that a site's stores hold, the timelines and
// the directory, in one portable file or stream: out of running stores of any
// profile (Backup), into empty ones of any profile (Restore), or straight from
// one to the other (Move). It does not open stores, knows no configuration, and
// holds no rules, sessions or routes. core/command and core/server call it;
// README.md has the format and the failure cases.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"freeim/core/sql"
	"freeim/core/timeline"
)

// Schema is a plugin's tables: its name and migrations.
type Schema struct {
	Plugin string
	Files  fs.FS
}

// Stores are what is archived.
type Stores struct {
	// Timelines must be a timeline.Exporter to be backed up, and a
	// timeline.Importer to be restored.
	Timelines timeline.Store
	Directory *sql.Directory
	// Schemas are all plugins with tables, in the order of starting.
	Schemas []Schema
	// Others are names under which something else than a plugin keeps tables in
	// the directory's database: they are left alone.
	Others []string
}

// Summary counts what an archive holds.
type Summary struct {
	Made      time.Time
	Epoch     string // of the store that was archived
	Messages  int64
	Entries   int64 // of inboxes
	Positions int64
	Receipts  int64
	Tables    int64
	Rows      int64
	Octets    int64 // of the archive, so far
}

// String is one line for people.
func (s Summary) String() string {
	return fmt.Sprintf("%d messages, %d inbox entries, %d positions, %d receipts, %d rows of %d tables, %s",
		s.Messages, s.Entries, s.Positions, s.Receipts, s.Rows, s.Tables, size(s.Octets))
}

// size is a number of octets for people: whole below 1,024, else with one decimal.
func size(octets int64) string {
	if octets < 1<<10 {
		return fmt.Sprintf("%d octets", octets)
	}
	n, unit := float64(octets)/(1<<10), 0
	for n >= 1023.95 && unit < 3 { // it would be shown as 1024.0
		n, unit = n/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", n, "KMGT"[unit])
}

func (s *Summary) count(r Record, octets int64) {
	switch r := r.(type) {
	case Begin:
		s.Made = r.Made
	case timeline.State:
		s.Epoch = r.Epoch
	case timeline.Stored:
		s.Messages++
	case timeline.Listed:
		s.Entries++
	case timeline.Held:
		s.Positions++
	case timeline.Filed:
		s.Receipts++
	case Table:
		s.Tables++
	case Row:
		s.Rows++
	}
	s.Octets = octets
}

// Progress is told of what has been done so far, often; nil: nobody.
type Progress func(Summary)

func (p Progress) tell(s Summary) {
	if p != nil {
		p(s)
	}
}

// Backup writes an archive of the stores, which may be in use, to out: the
// timelines of one moment, then the directory of a later one, so that everybody
// who is named in a message is in the directory. Every message that was
// acknowledged before the call is in it. After an error what was written is no
// archive.
func Backup(ctx context.Context, out io.Writer, from Stores, progress Progress) (Summary, error) {
	var sum Summary
	exporter, ok := from.Timelines.(timeline.Exporter)
	if !ok {
		return sum, fmt.Errorf("back up: a %T cannot be exported", from.Timelines)
	}
	w, err := NewWriter(out)
	if err != nil {
		return sum, fmt.Errorf("begin the archive: %w", err)
	}
	write := func(r Record) error {
		if err := w.Write(r); err != nil {
			return err
		}
		sum.count(r, w.Written())
		progress.tell(sum)
		return nil
	}
	if err := write(Begin{Made: time.Now()}); err != nil {
		return sum, fmt.Errorf("begin the archive: %w", err)
	}
	if err := exporter.Export(ctx, func(item timeline.Item) error { return write(item) }); err != nil {
		return sum, err
	}
	if err := exportDirectory(ctx, from, write); err != nil {
		return sum, fmt.Errorf("export the directory: %w", err)
	}
	if err := w.Close(); err != nil {
		return sum, fmt.Errorf("end the archive: %w", err)
	}
	sum.Octets = w.Written()
	return sum, nil
}

// Verify reads a whole archive: nil says that it is as it was written.
func Verify(ctx context.Context, in io.Reader, progress Progress) (sum Summary, err error) {
	r, err := newCounted(in, progress)
	if err != nil {
		return sum, err
	}
	for err == nil {
		_, err = r.next(ctx)
	}
	if err != io.EOF {
		return r.sum, err
	}
	return r.sum, nil
}

// counted is a Reader that counts.
type counted struct {
	*Reader
	sum      Summary
	progress Progress
}

func newCounted(in io.Reader, progress Progress) (*counted, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	return &counted{Reader: r, progress: progress}, nil
}

func (r *counted) next(ctx context.Context) (Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	record, err := r.Next()
	r.sum.count(record, r.Read())
	if err == nil {
		r.progress.tell(r.sum)
	}
	return record, err
}

// Mode says what becomes of the epoch.
type Mode int

const (
	// Anew gives the target a new epoch: the archive may be older than what
	// clients have seen, so they load anew.
	Anew Mode = iota
	// Continue keeps the epoch: the target goes on where the source ended, and
	// clients' cursors stay valid. The source must never be used again.
	Continue
)

// Restore fills empty stores with the archive in. It returns an error, and has
// changed nothing, when they are not empty or the archive is not for this
// program. When the archive proves to be damaged, or anything else fails, the
// stores are empty again. When the process ends in between, the timelines do not
// open any more (timeline.ErrUnfinished).
func Restore(ctx context.Context, in io.Reader, to Stores, mode Mode, progress Progress) (Summary, error) {
	importer, ok := to.Timelines.(timeline.Importer)
	if !ok {
		return Summary{}, fmt.Errorf("restore: a %T cannot be imported into", to.Timelines)
	}
	target, err := newTarget(ctx, to)
	if err != nil {
		return Summary{}, err
	}
	defer target.close()
	r, err := newCounted(in, progress)
	if err != nil {
		return Summary{}, err
	}
	if _, err := r.next(ctx); err != nil { // the Begin
		return r.sum, err
	}
	err = importer.Import(ctx, func(add func(timeline.Item) error) error { return target.fill(ctx, r, mode, add) })
	if err != nil {
		return r.sum, fmt.Errorf("restore: %w", err)
	}
	return r.sum, nil
}

// fill adds the timelines, then the directory, and checks the archive's end
// before anything in the directory is committed.
func (t *target) fill(ctx context.Context, r *counted, mode Mode, add func(timeline.Item) error) error {
	for {
		record, err := r.next(ctx)
		if err == io.EOF {
			return t.finish(ctx, nil, r)
		}
		if err != nil {
			return err
		}
		item, ok := record.(timeline.Item)
		if !ok {
			return t.finish(ctx, record, r)
		}
		if state, ok := item.(timeline.State); ok && mode == Anew {
			state.Epoch = ""
			item = state
		}
		if err := add(item); err != nil {
			return err
		}
	}
}

// Move is Backup and Restore at once, without a file between.
func Move(ctx context.Context, from, to Stores, mode Mode, progress Progress) (sum Summary, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, in := io.Pipe()
	backedUp := make(chan error, 1)
	go func() {
		_, err := Backup(ctx, in, from, nil)
		in.CloseWithError(err) // nil is io.EOF
		backedUp <- err
	}()
	sum, err = Restore(ctx, out, to, mode, progress)
	cancel()
	out.CloseWithError(errAbandoned)
	if fault := <-backedUp; err != nil && fault != nil && !errors.Is(fault, errAbandoned) && !errors.Is(fault, context.Canceled) {
		return sum, fault // what Restore saw was its consequence
	}
	return sum, err
}

// errAbandoned ends a backup that nobody reads any more.
var errAbandoned = errors.New("the restore has ended")
