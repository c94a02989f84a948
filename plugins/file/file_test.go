package file_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
	"freeim/plugins/file"
)

const (
	alice im.UserID = 100_001 + iota
	bob
)

// world is a host with the plugin, and a directory as an edge would fill it.
type world struct {
	*plugintest.Host
	t      *testing.T
	plugin *file.File
	people *plugintest.People
	dir    string
	files  plugin.Files
}

func start(t *testing.T, changes ...func(*file.Config)) *world {
	t.Helper()
	return startAt(t, time.Time{}, changes...)
}

func startAt(t *testing.T, at time.Time, changes ...func(*file.Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, plugin: file.With(dir, changes...), people: plugintest.NewPeople(alice, bob)}
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{w.plugin}, Stubs: w.people.Stubs(), Start: at})
	service, _ := w.Service(plugin.ServiceFiles)
	w.files = service.(plugin.Files)
	return w
}

func TestConform(t *testing.T) {
	plugintest.Conform(t, func() plugin.Plugin { return file.With(t.TempDir()) }, plugintest.NewPeople().Stubs()...)
}

func (w *world) as(u im.UserID) *plugintest.Session { return w.As(u, "phone", idl.CodecProtobuf) }

// ask is a request for a ticket.
func ask(text, kind string) *filepb.FileUploadRequest {
	sum := sha256.Sum256([]byte(text))
	return &filepb.FileUploadRequest{Name: "a.png", Size: int64(len(text)), Type: kind, Sha256: hex.EncodeToString(sum[:])}
}

func (w *world) ticket(u im.UserID, text string) *filepb.FileUploadReply {
	w.t.Helper()
	rep := new(filepb.FileUploadReply)
	if err := w.as(u).Call(idl.ActionUploadFile, ask(text, "image/png"), rep); err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// path is where the octets of a file are.
func (w *world) path(id string) string { return filepath.Join(w.dir, files.Path(id)) }

// send does what an edge does with an upload.
func (w *world) send(id, text string) {
	w.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(w.path(id)), 0o755), os.WriteFile(w.path(id), []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) has(id string) bool {
	_, err := os.Stat(w.path(id))
	return err == nil
}

func (w *world) commit(u im.UserID, id string) error {
	return w.as(u).Call(idl.ActionCommitFile, &filepb.FileCommitRequest{FileId: id}, new(filepb.FileCommitReply))
}

// upload makes a file that is ready.
func (w *world) upload(u im.UserID, text string) (id string) {
	w.t.Helper()
	id = w.ticket(u, text).FileId
	w.send(id, text)
	if err := w.commit(u, id); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) use(holder string, u im.UserID, ids ...string) error {
	_, err := w.files.Use(w.t.Context(), nil, plugin.FileUse{Holder: holder, User: u, Field: "images", IDs: ids})
	return err
}

func (w *world) release(holder string, ids ...string) {
	w.t.Helper()
	if err := w.files.Release(w.t.Context(), nil, holder, ids...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) collect() {
	w.t.Helper()
	if err := w.plugin.Collect(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for what the collector does aside.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			w.t.Fatalf("it never came to this: %s", what)
		}
	}
}

func (w *world) rows(query string, args ...any) (n int) {
	w.t.Helper()
	if err := w.DB().QueryRowContext(w.t.Context(), "SELECT count(*) FROM "+query, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func refused(err error, code idl.Code, field string) bool {
	no, ok := errors.AsType[*im.Error](err)
	return ok && no.Code == code && no.Field == field
}

func TestUploadRefuses(t *testing.T) {
	w := start(t, func(c *file.Config) {
		c.Types = []file.Type{{Type: "image/svg+xml", MaxSize: 10}, {Type: "image/*", MaxSize: 100}, {Type: "text/plain", MaxSize: 50}}
		c.MaxSize = 80
	})
	for name, row := range map[string]struct {
		change func(*filepb.FileUploadRequest)
		field  string
	}{
		"as it should be":        {func(*filepb.FileUploadRequest) {}, ""},
		"no name":                {func(r *filepb.FileUploadRequest) { r.Name = "" }, "name"},
		"a long name":            {func(r *filepb.FileUploadRequest) { r.Name = strings.Repeat("é", 256) }, "name"},
		"a name of 255":          {func(r *filepb.FileUploadRequest) { r.Name = strings.Repeat("é", 255) }, ""},
		"a path":                 {func(r *filepb.FileUploadRequest) { r.Name = "../../etc/passwd" }, "name"},
		"a path of Windows":      {func(r *filepb.FileUploadRequest) { r.Name = `..\boot.ini` }, "name"},
		"dots":                   {func(r *filepb.FileUploadRequest) { r.Name = ".." }, "name"},
		"a control character":    {func(r *filepb.FileUploadRequest) { r.Name = "a\nb" }, "name"},
		"turned round":           {func(r *filepb.FileUploadRequest) { r.Name = "a\u202egnp.exe" }, "name"},
		"empty":                  {func(r *filepb.FileUploadRequest) { r.Size = 0 }, "size"},
		"negative":               {func(r *filepb.FileUploadRequest) { r.Size = -1 }, "size"},
		"over all":               {func(r *filepb.FileUploadRequest) { r.Size = 81 }, "size"},
		"the most":               {func(r *filepb.FileUploadRequest) { r.Size = 80 }, ""},
		"over its type's":        {func(r *filepb.FileUploadRequest) { r.Type, r.Size = "image/svg+xml", 11 }, "size"},
		"another type's most":    {func(r *filepb.FileUploadRequest) { r.Type, r.Size = "text/plain", 51 }, "size"},
		"a type that is not in":  {func(r *filepb.FileUploadRequest) { r.Type = "video/mp4" }, "type"},
		"no type":                {func(r *filepb.FileUploadRequest) { r.Type = "" }, "type"},
		"a pattern":              {func(r *filepb.FileUploadRequest) { r.Type = "image/*" }, "type"},
		"parameters":             {func(r *filepb.FileUploadRequest) { r.Type = "image/png; a=b" }, "type"},
		"upper case":             {func(r *filepb.FileUploadRequest) { r.Type = "Image/PNG" }, "type"},
		"two lines":              {func(r *filepb.FileUploadRequest) { r.Type = "image/png\r\nX-Y: z" }, "type"},
		"a short hash":           {func(r *filepb.FileUploadRequest) { r.Sha256 = r.Sha256[1:] }, "sha256"},
		"a hash in upper case":   {func(r *filepb.FileUploadRequest) { r.Sha256 = strings.Repeat("A", 64) }, "sha256"},
		"a hash that is no hash": {func(r *filepb.FileUploadRequest) { r.Sha256 = strings.Repeat("z", 64) }, "sha256"},
	} {
		req := ask("hello", "image/png")
		row.change(req)
		err := w.as(alice).Call(idl.ActionUploadFile, req, new(filepb.FileUploadReply))
		if row.field == "" && err != nil || row.field != "" && !refused(err, idl.CodeInvalidArgument, row.field) {
			t.Errorf("%s: got %v, want field %q", name, err, row.field)
		}
	}
}

// A ticket is what an edge takes, with the key in the directory.
func TestTicket(t *testing.T) {
	w := start(t, func(c *file.Config) { c.PublicURL = "https://chat.example" })
	rep := w.ticket(alice, "hello")
	if !files.IsID(rep.FileId) || rep.Method != "PUT" || len(rep.Headers) != 1 || rep.ExpiresMs != w.Now().Add(time.Hour).UnixMilli() {
		t.Errorf("got %v", rep)
	}
	_, key, err := (&files.Home{Dir: w.dir}).Open()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(rep.Url)
	if err != nil || u.Host != "chat.example" {
		t.Fatalf("got %v, %v", u, err)
	}
	got, err := key.Ticket("PUT", u, w.Now())
	req := ask("hello", "image/png")
	want := files.Ticket{Method: "PUT", ID: rep.FileId, Size: 5, Type: "image/png", SHA256: req.Sha256, Owner: int64(alice), Expires: got.Expires}
	if err != nil || got != want || got.Expires.UnixMilli() != rep.ExpiresMs {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if strings.Contains(w.Logs(), rep.Url) {
		t.Error("a ticket is in the log")
	}
}

func TestQuota(t *testing.T) {
	w := start(t, func(c *file.Config) { c.FilesPerDay, c.OctetsPerDay = 3, 12 })
	try := func(text string) error {
		return w.as(alice).Call(idl.ActionUploadFile, ask(text, "image/png"), new(filepb.FileUploadReply))
	}
	for i, row := range []struct {
		text string
		code idl.Code
	}{{"hello", 0}, {"hello", 0}, {"hello", idl.CodeRateLimited}, {"h", 0}, {"h", idl.CodeRateLimited}} {
		if err := try(row.text); im.CodeOf(err) != row.code {
			t.Errorf("%d: got %v, want %v", i, err, row.code)
		}
	}
	if no, _ := errors.AsType[*im.Error](try("h")); no == nil || no.RetryAfter != 24*time.Hour {
		t.Errorf("at midnight: got %+v, want to wait for a day", no)
	}
	if err := w.as(bob).Call(idl.ActionUploadFile, ask("hello", "image/png"), new(filepb.FileUploadReply)); err != nil {
		t.Errorf("another person: %v", err)
	}
	w.Advance(24 * time.Hour)
	if err := try("hello"); err != nil {
		t.Errorf("the next day: %v", err)
	}
	if n := w.rows("file_files"); n != 5 {
		t.Errorf("%d rows, want those of the tickets that were given: 5", n)
	}
}

func TestCommit(t *testing.T) {
	w := start(t)
	id := w.ticket(alice, "hello").FileId
	if err := w.commit(alice, id); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("nothing came: got %v", err)
	}
	w.send(id, "hell")
	if err := w.commit(alice, id); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("less came: got %v", err)
	}
	w.send(id, "hello")
	if err := w.commit(bob, id); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("another's: got %v", err)
	}
	for range 2 {
		rep := new(filepb.FileCommitReply)
		err := w.as(alice).Call(idl.ActionCommitFile, &filepb.FileCommitRequest{FileId: id}, rep)
		if f := rep.File; err != nil || f.Id != id || f.Name != "a.png" || f.Size != 5 || f.Type != "image/png" || f.Used {
			t.Errorf("got %v, %v", f, err)
		}
	}
	for _, bad := range []string{"", "../../etc/passwd", strings.Repeat("A", 25), strings.Repeat("a", 26)} {
		if err := w.commit(alice, bad); !refused(err, idl.CodeInvalidArgument, "file_id") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if c := w.plugin.Counts(); c["committed"] != 1 || c["committed_octets"] != 5 || c["tickets"] != 1 {
		t.Errorf("got %v", c)
	}
}

// A link that somebody made in the directory is no file.
func TestCommitFollowsNoLink(t *testing.T) {
	w := start(t)
	id := w.ticket(alice, "hello").FileId
	elsewhere := filepath.Join(t.TempDir(), "secret")
	err := errors.Join(os.WriteFile(elsewhere, []byte("hello"), 0o600), os.MkdirAll(filepath.Dir(w.path(id)), 0o755), os.Symlink(elsewhere, w.path(id)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.commit(alice, id); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("got %v", err)
	}
}

func TestURL(t *testing.T) {
	w := start(t)
	a, b, raw := w.upload(alice, "hello"), w.upload(alice, "world"), w.ticket(alice, "raw").FileId
	ask := func(u im.UserID, ids ...string) (*filepb.FileURLReply, error) {
		rep := new(filepb.FileURLReply)
		return rep, w.as(u).Call(idl.ActionFileURL, &filepb.FileURLRequest{FileIds: ids}, rep)
	}
	if rep, err := ask(bob, a, b); err != nil || len(rep.Files) != 0 {
		t.Errorf("what nothing refers to: got %v, %v", rep, err)
	}
	if rep, err := ask(alice, a, b); err != nil || len(rep.Files) != 2 {
		t.Errorf("one's own: got %v, %v", rep, err)
	}
	if err := w.use("moment:1", alice, a, b); err != nil {
		t.Fatal(err)
	}
	rep, err := ask(bob, b, a, raw, files.NewID(), a)
	if err != nil || len(rep.Files) != 2 || rep.Files[0].File.Id != b || rep.Files[1].File.Id != a {
		t.Fatalf("got %v, %v", rep, err)
	}
	_, key, err := (&files.Home{Dir: w.dir}).Open()
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(rep.Files[1].Url)
	got, err := key.Ticket("HEAD", u, w.Now().Add(time.Hour-time.Second))
	if err != nil || got.ID != a || got.Name != "a.png" || got.Type != "image/png" || got.Expires.UnixMilli() != rep.Files[1].ExpiresMs {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := key.Ticket("PUT", u, w.Now()); !errors.Is(err, files.ErrTicket) {
		t.Errorf("to write: got %v", err)
	}
	w.Advance(20 * time.Minute)
	if again, err := ask(bob, a); err != nil || again.Files[0].Url != rep.Files[1].Url {
		t.Errorf("soon after: got %v, %v, want the same URL", again, err)
	}
	w.Advance(time.Hour)
	if again, err := ask(bob, a); err != nil || again.Files[0].Url == rep.Files[1].Url {
		t.Errorf("later: got %v, %v, want another URL", again, err)
	}
	w.release("moment:1", a)
	if again, err := ask(bob, a, b); err != nil || len(again.Files) != 1 || again.Files[0].File.Id != b {
		t.Errorf("one of them was deleted: got %v, %v", again, err)
	}
	for _, bad := range [][]string{nil, {"../x"}, slices.Repeat([]string{a}, 51)} {
		if _, err := ask(bob, bad...); !refused(err, idl.CodeInvalidArgument, "file_ids") {
			t.Errorf("%d IDs: got %v", len(bad), err)
		}
	}
}

func TestList(t *testing.T) {
	w := start(t)
	var want []string
	for i := range 7 {
		want = append(want, w.upload(alice, "hello"))
		if i%3 != 0 { // some in the same millisecond
			w.Advance(time.Millisecond)
		}
	}
	w.ticket(alice, "raw")
	w.upload(bob, "bob's")
	if err := w.use("moment:1", alice, want[0]); err != nil {
		t.Fatal(err)
	}
	seen, cursor := map[string]*filepb.File{}, ""
	for pages := 1; ; pages++ {
		rep := new(filepb.FileListReply)
		if err := w.as(alice).Call(idl.ActionListFiles, &filepb.FileListRequest{Cursor: cursor, Limit: 3}, rep); err != nil {
			t.Fatal(err)
		}
		for _, f := range rep.Files {
			if seen[f.Id] != nil {
				t.Errorf("%s comes twice", f.Id)
			}
			seen[f.Id] = f
		}
		if cursor = rep.Cursor; !rep.HasMore {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		others := new(filepb.FileListReply) // by her cursor
		if err := w.as(bob).Call(idl.ActionListFiles, &filepb.FileListRequest{Cursor: cursor}, others); err != nil || len(others.Files) > 0 {
			t.Errorf("bob reads on in alice's list: got %v, %v", others, err)
		}
	}
	for _, id := range want {
		if f := seen[id]; f == nil || f.Used != (id == want[0]) {
			t.Errorf("%s: got %v", id, f)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("got %d files, want %d", len(seen), len(want))
	}
	for field, req := range map[string]*filepb.FileListRequest{"limit": {Limit: 101}, "cursor": {Cursor: "1.x"}} {
		if err := w.as(alice).Call(idl.ActionListFiles, req, new(filepb.FileListReply)); !refused(err, idl.CodeInvalidArgument, field) {
			t.Errorf("%v: got %v", req, err)
		}
	}
}

func TestDelete(t *testing.T) {
	w := start(t)
	id := w.upload(alice, "hello")
	drop := func(u im.UserID) error {
		return w.as(u).Call(idl.ActionDeleteFile, &filepb.FileDeleteRequest{FileId: id}, new(filepb.FileDeleteReply))
	}
	if err := drop(bob); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("another's: got %v", err)
	}
	if err := w.use("moment:1", alice, id); err != nil {
		t.Fatal(err)
	}
	if err := drop(alice); !refused(err, idl.CodeConflict, "file_id") {
		t.Errorf("in use: got %v", err)
	}
	w.release("moment:1")
	if err := drop(alice); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"deleted": drop(alice), "committed": w.commit(alice, id), "used": w.use("moment:2", alice, id)} {
		if im.CodeOf(err) != idl.CodeNotFound {
			t.Errorf("%s again: got %v", name, err)
		}
	}
	w.until("the octets are gone", func() bool { return !w.has(id) })
}

// While a ticket holds, its octets may come again: they are deleted once more.
func TestDeletedStaysDeleted(t *testing.T) {
	w := start(t)
	id := w.upload(alice, "hello")
	if err := w.as(alice).Call(idl.ActionDeleteFile, &filepb.FileDeleteRequest{FileId: id}, new(filepb.FileDeleteReply)); err != nil {
		t.Fatal(err)
	}
	w.until("a row keeps the ticket in mind, and no more", func() bool { return w.rows("file_files WHERE owner = 0 AND name = ''") == 1 })
	w.send(id, "hello") // by the same ticket
	w.Advance(2 * time.Hour)
	w.collect()
	if w.has(id) || w.rows("file_files") != 0 {
		t.Error("something is left")
	}
}

// Every listing goes by an index.
func TestPlans(t *testing.T) {
	w := start(t)
	ids := make([]string, 3)
	for i := range ids {
		ids[i] = w.upload(alice, "hello")
	}
	if err := w.use("moment:1", alice, ids...); err != nil {
		t.Fatal(err)
	}
	for n := range 500 { // of others: a plan for three rows reads them all
		_, err := w.DB().ExecContext(t.Context(), "INSERT INTO file_files (id, owner, name, type, size, sha256, made_ms, until_ms, state, refs, due_ms) VALUES (?, ?, '', 'image/png', 1, '', ?, 0, 1, 0, ?)",
			fmt.Sprintf("%026d", n), 1000+n%50, n, int64(1)<<50+int64(n))
		if err != nil {
			t.Fatal(err)
		}
	}
	if plugintest.Production() {
		if _, err := w.DB().ExecContext(t.Context(), "ANALYZE TABLE file_files, file_references"); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range file.Listings(alice, ids[0], "moment:1") {
		t.Run(name, func(t *testing.T) { plugintest.WantOrdered(t, w.Host, q.Text, q.Args...) })
	}
}

// A URL that soon ends would be asked for at each drawing.
func TestTimeOfURLs(t *testing.T) {
	for _, test := range []struct {
		is time.Duration
		ok bool
	}{{5*time.Minute - time.Second, false}, {5 * time.Minute, true}, {168 * time.Hour, true}, {168*time.Hour + time.Second, false}} {
		err := file.With(t.TempDir(), func(c *file.Config) { c.URLTime = test.is }).Validate()
		if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "url_time") {
			t.Errorf("%s: %v", test.is, err)
		}
	}
}
