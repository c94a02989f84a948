package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"freeim/core/archive"
	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/sql"
	"freeim/core/timeline"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const (
	usersSQL = `-- +goose Up
CREATE TABLE library_counters (name VARCHAR(16) NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO library_counters (name, value) VALUES ('next', 100);
CREATE TABLE library_users (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(64),
    picture BLOB,
    weight DOUBLE,
    friend BIGINT,
    FOREIGN KEY (friend) REFERENCES library_users (id)
);
`
	notesSQL  = "-- +goose Up\nALTER TABLE library_users ADD COLUMN note VARCHAR(64) NOT NULL DEFAULT 'none';\n"
	museumSQL = "-- +goose Up\nCREATE TABLE `order` (`group` BIGINT NOT NULL PRIMARY KEY, art VARCHAR(64) NOT NULL);\n"
)

// schemas are two plugins, of which the first has so many versions.
func schemas(versions int) []archive.Schema {
	library := fstest.MapFS{"00001_users.sql": {Data: []byte(usersSQL)}}
	if versions > 1 {
		library["00002_note.sql"] = &fstest.MapFile{Data: []byte(notesSQL)}
	}
	return []archive.Schema{
		{Plugin: "library", Files: library},
		{Plugin: "museum", Files: fstest.MapFS{"00001_art.sql": {Data: []byte(museumSQL)}}},
	}
}

// place is embedded stores in a directory, or a database of MariaDB.
type place struct {
	archive.Stores
	t   *testing.T
	dir string
	dsn string // empty: embedded
}

// newPlace opens empty embedded stores, not migrated yet.
func newPlace(t *testing.T) *place {
	t.Helper()
	return newPlaceIn(t, "")
}

// newPlaceIn is newPlace in a database of MariaDB, if dsn is not empty.
func newPlaceIn(t *testing.T, dsn string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), dsn: dsn}
	p.Schemas, p.Others = schemas(1), []string{"record"}
	p.open()
	return p
}

func (p *place) open() {
	p.t.Helper()
	var err error
	if p.dsn != "" {
		p.openProduction()
		return
	}
	if p.Directory, err = sql.Open(sql.Options{Path: filepath.Join(p.dir, "directory.db"), Log: quiet}); err != nil {
		p.t.Fatal(err)
	}
	p.Timelines, err = pebble.Open(pebble.Options{Dir: filepath.Join(p.dir, "timelines"), IDs: im.NewIDGenerator(nil), Log: quiet,
		CacheSize: 1 << 20, MemTableSize: 1 << 20})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.close() })
}

func (p *place) openProduction() {
	p.t.Helper()
	var err error
	if p.Directory, err = sql.Open(sql.Options{Dialect: "mysql", DSN: p.dsn, Log: quiet}); err != nil {
		p.t.Fatal(err)
	}
	p.Timelines, err = sql.OpenRecord(p.t.Context(), sql.RecordOptions{DSN: p.dsn, IDs: im.NewIDGenerator(nil), Log: quiet})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.close() })
}

func (p *place) close() {
	if err := errors.Join(p.Timelines.Close(), p.Directory.Close()); err != nil {
		p.t.Error(err)
	}
}

func (p *place) migrate() *place {
	p.t.Helper()
	for _, s := range p.Schemas {
		if err := p.Directory.Migrate(p.t.Context(), s.Plugin, s.Files); err != nil {
			p.t.Fatal(err)
		}
	}
	return p
}

func (p *place) exec(query string, args ...any) {
	p.t.Helper()
	if _, err := p.Directory.DB().ExecContext(p.t.Context(), query, args...); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
}

// fill gives the place people, notes and messages.
func (p *place) fill(messages int) *place {
	p.t.Helper()
	p.migrate()
	p.exec("UPDATE library_counters SET value = 103")
	p.exec("INSERT INTO library_users (id, name, picture, weight, friend) VALUES (101, ?, ?, 1.5, NULL)", "O'Hara \x00 \U0001F980", []byte{0, 0xff, 'x'})
	p.exec("INSERT INTO library_users (id, name, picture, weight, friend) VALUES (102, NULL, NULL, NULL, 101)")
	p.exec("INSERT INTO library_users (id, name, picture, weight, friend) VALUES (103, '', ?, -2, 102)", []byte{})
	p.exec("UPDATE library_users SET friend = 103 WHERE id = 101") // refers to a later row
	p.exec("INSERT INTO `order` (`group`, art) VALUES (1, 'a')")
	for i := range messages {
		p.append(fmt.Sprint(i))
	}
	if _, err := p.Timelines.Acknowledge(p.t.Context(), timeline.Receipt{Conversation: "g_1", By: 102, Seq: 1}, []im.UserID{101}); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func (p *place) append(clientID string) timeline.Committed {
	p.t.Helper()
	c, err := p.Timelines.Append(p.t.Context(), timeline.Draft{Conversation: "g_1", Sender: 101, ClientID: clientID,
		Body: []byte("body of " + clientID), Inboxes: []im.UserID{101, 102, 103}})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *place) backup() []byte {
	p.t.Helper()
	var out bytes.Buffer
	sum, err := archive.Backup(p.t.Context(), &out, p.Stores, nil)
	if err != nil {
		p.t.Fatalf("back up: %v", err)
	}
	if sum.Octets != int64(out.Len()) {
		p.t.Errorf("the summary says %d octets, %d were written", sum.Octets, out.Len())
	}
	return out.Bytes()
}

// describe is everything in the place but for the epoch, as text.
func (p *place) describe() string {
	p.t.Helper()
	var all strings.Builder
	records, err := readAll(p.backup())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range records {
		switch r.(type) {
		case archive.Begin, timeline.State:
		default:
			fmt.Fprintf(&all, "%#v\n", r)
		}
	}
	return all.String()
}

func (p *place) wantSame(other *place) {
	p.t.Helper()
	if got, want := p.describe(), other.describe(); got != want {
		p.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// wantEmpty checks that there is nothing but what migrations made.
func (p *place) wantEmpty() {
	p.t.Helper()
	fresh := newPlace(p.t)
	if p.tables() > 0 {
		fresh.migrate()
	}
	if got, want := p.describe(), fresh.describe(); got != want {
		p.t.Errorf("left behind:\n%s\nwant\n%s", got, want)
	}
}

func (p *place) tables() int {
	p.t.Helper()
	names, err := p.Directory.Migrated(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return len(names)
}

func TestBackupAndRestore(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		t.Run(fmt.Sprintf("migrated before %t", prepared), func(t *testing.T) {
			from, to := newPlace(t).fill(1000), newPlace(t)
			if prepared {
				to.migrate()
			}
			before := to.Timelines.Epoch()
			sum, err := archive.Restore(t.Context(), bytes.NewReader(from.backup()), to.Stores, archive.Anew, nil)
			if err != nil {
				t.Fatal(err)
			}
			if sum.Messages != 1000 || sum.Entries != 3000 || sum.Rows != 5 || sum.Tables != 3 || sum.Positions != 1 || sum.Receipts != 1 {
				t.Errorf("the summary says: %s", sum)
			}
			if e := to.Timelines.Epoch(); e == from.Timelines.Epoch() || e == before {
				t.Errorf("the epoch is still %q", e)
			}
			to.close()
			to.open()
			to.wantSame(from)
			if c := to.append("12"); !c.Duplicate {
				t.Error("a resend is not recognised")
			}
			if c := to.append("next"); c.Seq != 1001 || !slices.Equal(c.InboxSeqs, []int64{1001, 1001, 1001}) {
				t.Errorf("the next message has seq %d, inbox seqs %d", c.Seq, c.InboxSeqs)
			}
			if _, err := to.Directory.DB().ExecContext(t.Context(), "INSERT INTO library_users (id, friend) VALUES (7, 8)"); err == nil {
				t.Error("foreign keys hold no more")
			}
		})
	}
}

func TestMove(t *testing.T) {
	from, to := newPlace(t).fill(100), newPlace(t)
	if _, err := archive.Move(t.Context(), from.Stores, to.Stores, archive.Continue, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := to.Timelines.Epoch(), from.Timelines.Epoch(); got != want {
		t.Errorf("got epoch %q, want %q", got, want)
	}
	to.wantSame(from)
	_, err := archive.Move(t.Context(), from.Stores, to.Stores, archive.Continue, nil)
	if !errors.Is(err, archive.ErrNotEmpty) {
		t.Errorf("again: got %v", err)
	}
	from.Timelines.Close()
	fresh := newPlace(t)
	if _, err := archive.Move(t.Context(), from.Stores, fresh.Stores, archive.Continue, nil); !errors.Is(err, timeline.ErrClosed) {
		t.Errorf("from a closed store: got %v", err)
	}
	fresh.wantEmpty()
}

// From the embedded profile to production, and back, with life between; what is
// there is the same everywhere.
func TestMoveToProductionAndBack(t *testing.T) {
	home, site := newPlace(t).fill(300), newPlaceIn(t, engines.Database(t))
	if _, err := archive.Move(t.Context(), home.Stores, site.Stores, archive.Continue, nil); err != nil {
		t.Fatal(err)
	}
	site.close()
	site.open()
	if got, want := site.Timelines.Epoch(), home.Timelines.Epoch(); got != want {
		t.Errorf("got epoch %q, want %q", got, want)
	}
	site.wantSame(home)
	if c := site.append("12"); !c.Duplicate {
		t.Error("a resend is not recognised")
	}
	if c := site.append("next"); c.Seq != 301 || !slices.Equal(c.InboxSeqs, []int64{301, 301, 301}) {
		t.Errorf("the next message has seq %d, inbox seqs %d", c.Seq, c.InboxSeqs)
	}
	site.exec("INSERT INTO library_users (id, name, weight, friend) VALUES (104, 'new', 0.1, 103)")

	again := newPlace(t)
	if _, err := archive.Move(t.Context(), site.Stores, again.Stores, archive.Continue, nil); err != nil {
		t.Fatal(err)
	}
	again.wantSame(site)
	if c := again.append("last"); c.Seq != 302 {
		t.Errorf("got seq %d", c.Seq)
	}
	if _, err := archive.Move(t.Context(), again.Stores, site.Stores, archive.Continue, nil); !errors.Is(err, archive.ErrNotEmpty) {
		t.Errorf("into a database in use: got %v", err)
	}
}

// What fails on the way into a database leaves it empty.
func TestRestoreIntoProductionFails(t *testing.T) {
	good := newPlace(t).fill(100).backup()
	site := newPlaceIn(t, engines.Database(t))
	for name, bad := range map[string][]byte{"cut": good[:len(good)-1], "altered": append(slices.Clone(good[:len(good)-1]), ^good[len(good)-1])} {
		if _, err := archive.Restore(t.Context(), bytes.NewReader(bad), site.Stores, archive.Anew, nil); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := archive.Restore(t.Context(), bytes.NewReader(good), site.Stores, archive.Anew, nil); err != nil {
		t.Errorf("after that: %v", err)
	}
	if _, err := site.Directory.DB().ExecContext(t.Context(), "INSERT INTO library_users (id, friend) VALUES (7, 8)"); err == nil {
		t.Error("foreign keys hold no more")
	}
}

func TestRestoreRefuses(t *testing.T) {
	good := newPlace(t).fill(50).backup()
	for _, row := range []struct {
		name  string
		with  []byte
		where func(p *place)
		want  error
		says  string
	}{
		{"a directory with people", good, func(p *place) { p.migrate().exec("INSERT INTO library_users (id) VALUES (1)") }, archive.ErrNotEmpty, "library_users"},
		{"a directory with another seed", good, func(p *place) { p.migrate().exec("UPDATE library_counters SET value = 101") }, archive.ErrNotEmpty, "library_counters"},
		{"timelines with a message", good, func(p *place) { p.append("x") }, timeline.ErrNotEmpty, ""},
		{"a newer directory", good, func(p *place) { p.Schemas = schemas(2); p.migrate() }, nil, "version 1 of the tables of plugin library"},
		{"a program without the plugin", good, func(p *place) { p.Schemas = p.Schemas[1:] }, nil, `plugin "library", which this program does not have`},
		{"a directory of another program", good, func(p *place) { p.migrate(); p.Schemas = p.Schemas[1:] }, nil, "plugin library, which this program does not have"},
		{"half an archive", good[:len(good)/2], func(p *place) { p.migrate() }, archive.ErrDamaged, ""},
		{"an archive without its end", good[:len(good)-1], func(*place) {}, archive.ErrDamaged, ""},
		{"an altered archive", append(slices.Clone(good[:len(good)-40]), append([]byte{^good[len(good)-40]}, good[len(good)-39:]...)...), func(*place) {}, archive.ErrDamaged, ""},
		{"no archive", []byte("hello"), func(*place) {}, archive.ErrDamaged, ""},
		{"a row of a wrong type", written(t, []archive.Record{archive.Begin{}, timeline.State{}, archive.Plugin{Name: "library", Version: 1},
			archive.Table{Plugin: "library", Name: "library_counters", Columns: []string{"name", "value"}}, archive.Row{nil, nil}}), func(*place) {}, nil, "library_counters"},
		{"a table that is none", written(t, []archive.Record{archive.Begin{}, timeline.State{}, archive.Plugin{Name: "library", Version: 1},
			archive.Table{Plugin: "library", Name: "sqlite_master", Columns: []string{"name"}}}), func(*place) {}, nil, "no table"},
		{"a column that is none", written(t, []archive.Record{archive.Begin{}, timeline.State{}, archive.Plugin{Name: "library", Version: 1},
			archive.Table{Plugin: "library", Name: "library_counters", Columns: []string{"name", "value) VALUES (1); --"}}}), func(*place) {}, nil, "columns"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t)
			row.where(p)
			before, epoch := "", p.Timelines.Epoch()
			kept := p.Schemas
			if p.Schemas = schemas(len(kept[0].Files.(fstest.MapFS))); p.tables() > 0 {
				before = p.describe()
			}
			p.Schemas = kept
			_, err := archive.Restore(t.Context(), bytes.NewReader(row.with), p.Stores, archive.Anew, nil)
			if err == nil || row.want != nil && !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %v, %q", err, row.want, row.says)
			}
			p.close()
			p.open() // it is not marked as half an import
			if e := p.Timelines.Epoch(); e != epoch {
				t.Errorf("the epoch went from %s to %s", epoch, e)
			}
			p.Schemas = schemas(len(kept[0].Files.(fstest.MapFS)))
			if before != "" && p.describe() != before {
				t.Errorf("changed to\n%s\nfrom\n%s", p.describe(), before)
			}
		})
	}
}

// An archive of an older program is restored by a newer one, and brought up to
// date.
func TestRestoreOlder(t *testing.T) {
	from, to := newPlace(t).fill(3), newPlace(t)
	to.Schemas = append(schemas(2), archive.Schema{Plugin: "later", Files: fstest.MapFS{
		"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE later_x (n BIGINT);\nINSERT INTO later_x VALUES (1);\n")}}})
	if _, err := archive.Restore(t.Context(), bytes.NewReader(from.backup()), to.Stores, archive.Anew, nil); err != nil {
		t.Fatal(err)
	}
	var notes, later int
	if err := to.Directory.DB().QueryRow("SELECT count(*) FROM library_users WHERE note = 'none'").Scan(&notes); err != nil || notes != 3 {
		t.Errorf("got %d notes, %v", notes, err)
	}
	if err := to.Directory.DB().QueryRow("SELECT count(*) FROM later_x").Scan(&later); err != nil || later != 1 {
		t.Errorf("got %d rows of a plugin that came later, %v", later, err)
	}
}

// A backup while people write holds every message that was acknowledged before
// it began, and nobody that is missing from the directory.
func TestBackupUnderLoad(t *testing.T) {
	from := newPlace(t).fill(10)
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex // guards the fields below
	acked, newest := map[string]bool{}, im.UserID(1000)
	var writers, warm sync.WaitGroup
	warm.Add(4)
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				// A new person, who then sends.
				mu.Lock()
				newest++
				user := newest
				mu.Unlock()
				if _, err := from.Directory.DB().ExecContext(t.Context(), "INSERT INTO library_users (id) VALUES (?)", int64(user)); err != nil {
					t.Errorf("insert: %v", err)
					return
				}
				id := fmt.Sprint(w, "-", i)
				if _, err := from.Timelines.Append(t.Context(), timeline.Draft{Conversation: im.ConversationID(fmt.Sprint("g_", i%3)),
					Sender: user, ClientID: id, Inboxes: []im.UserID{user, 101}}); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				acked[fmt.Sprint(user, "/", id)] = true
				mu.Unlock()
				if i == 10 {
					warm.Done()
				}
			}
		})
	}
	warm.Wait()
	mu.Lock()
	want := make([]string, 0, len(acked))
	for key := range acked {
		want = append(want, key)
	}
	mu.Unlock()
	b := from.backup()
	stop()
	writers.Wait()

	to := newPlace(t)
	if _, err := archive.Restore(t.Context(), bytes.NewReader(b), to.Stores, archive.Anew, nil); err != nil {
		t.Fatal(err)
	}
	there, people := map[string]bool{}, map[int64]bool{}
	records, err := readAll(to.backup())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if row, ok := r.(archive.Row); ok {
			if id, ok := row[0].(int64); ok {
				people[id] = true
			}
		}
	}
	for _, r := range records {
		if m, ok := r.(timeline.Stored); ok {
			there[fmt.Sprint(m.Sender, "/", m.ClientID)] = true
			if !people[int64(m.Sender)] {
				t.Errorf("%d has sent a message and is not in the directory", m.Sender)
			}
		}
	}
	for _, key := range want {
		if !there[key] {
			t.Errorf("message %s was acknowledged before the backup and is not in it", key)
		}
	}
	t.Logf("%d of %d messages acknowledged before, %d in the archive", len(want), len(acked), len(there))
}

func TestSummaryIsForPeople(t *testing.T) {
	for octets, want := range map[int64]string{
		0: "0 octets", 1023: "1023 octets", 1024: "1.0 KiB", 1<<20 - 52: "1023.9 KiB", 1<<20 - 1: "1.0 MiB", 1 << 30: "1.0 GiB", 1 << 53: "8192.0 TiB",
	} {
		if got := (archive.Summary{Octets: octets}).String(); !strings.HasSuffix(got, " tables, "+want) {
			t.Errorf("%d octets: got %q, want %s", octets, got, want)
		}
	}
}

func TestVerify(t *testing.T) {
	good := newPlace(t).fill(20).backup()
	sum, err := archive.Verify(t.Context(), bytes.NewReader(good), nil)
	if err != nil || sum.Messages != 20 || sum.Epoch == "" || sum.Made.IsZero() {
		t.Errorf("got %s, %v", sum, err)
	}
	if _, err := archive.Verify(t.Context(), bytes.NewReader(good[:100]), nil); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("cut: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Verify(ctx, bytes.NewReader(good), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// A backup that cannot be written says why, and one that is cancelled ends.
func TestBackupFails(t *testing.T) {
	p := newPlace(t).fill(500)
	full := errors.New("no space left on device")
	if _, err := archive.Backup(t.Context(), failing{full}, p.Stores, nil); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := archive.Backup(ctx, io.Discard, p.Stores, func(s archive.Summary) {
		if s.Messages == 100 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write(b []byte) (int, error) { return 0, f.err }

// No scratch directory stays behind.
func TestNothingStaysBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	from, to := newPlace(t).fill(1), newPlace(t)
	b := from.backup()
	if _, err := archive.Restore(t.Context(), bytes.NewReader(b), to.Stores, archive.Anew, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Restore(t.Context(), bytes.NewReader(b), to.Stores, archive.Anew, nil); err == nil {
		t.Error("restored twice")
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "freeim-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
