package files_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	edge "freeim/edge/files"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl/files"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a handler behind a server.
type world struct {
	*httptest.Server
	t       *testing.T
	home    *files.Home
	handler *edge.Handler
	key     files.Key
	visitor session.Visitor
	done    chan struct{} // gets one for each GET that was handled
}

func start(t *testing.T, o edge.Options) *world {
	t.Helper()
	w := &world{t: t, home: &files.Home{Dir: filepath.Join(t.TempDir(), "files")}, done: make(chan struct{}, 1)}
	o.Home, o.Figures, o.Log = w.home, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	var err error
	if w.handler, err = edge.New(o); err != nil {
		t.Fatal(err)
	}
	if _, w.key, err = w.home.Open(); err != nil {
		t.Fatal(err)
	}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		w.handler.ServeHTTP(out, in.WithContext(session.WithVisitor(in.Context(), w.visitor)))
		if in.Method == http.MethodGet {
			select {
			case w.done <- struct{}{}:
			default:
			}
		}
	}))
	t.Cleanup(func() {
		w.Client().CloseIdleConnections()
		w.Close()
		if err := w.home.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ticket is the right to send a text.
func ticket(text string) files.Ticket {
	return files.Ticket{Method: "PUT", ID: files.NewID(), Size: int64(len(text)), Type: "image/png", SHA256: hashOf(text), Expires: time.Now().Add(time.Hour)}
}

// reading is the right to read what a ticket brought.
func reading(t files.Ticket, kind, name string) files.Ticket {
	t.Method, t.Type, t.Name = "GET", kind, name
	return t
}

// reply is what the server said.
type reply struct {
	status int
	head   http.Header
	body   string
}

func (w *world) do(method, path string, body io.Reader, head ...string) reply {
	w.t.Helper()
	in, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(head); i += 2 {
		in.Header.Set(head[i], head[i+1])
	}
	rep, err := w.Client().Do(in)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rep.Body.Close()
	text, err := io.ReadAll(rep.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{rep.StatusCode, rep.Header, string(text)}
}

func (w *world) send(t files.Ticket, text string, head ...string) reply {
	w.t.Helper()
	return w.do("PUT", w.key.URL(t), strings.NewReader(text), head...)
}

func (w *world) get(t files.Ticket, head ...string) reply {
	w.t.Helper()
	return w.do("GET", w.key.URL(t), nil, head...)
}

// names are all files in the home but the key.
func (w *world) names() (names []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.home.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "key" {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// says reports whether a refusal has the status, and the code and the field in its body.
func (r reply) says(status int, code, field string) bool {
	var e struct {
		Code           int
		Field, Message string
	}
	return r.status == status && json.Unmarshal([]byte(r.body), &e) == nil && e.Message != "" && e.Field == field && fmt.Sprint(e.Code) == code
}

func TestUploadAndRead(t *testing.T) {
	w := start(t, edge.Options{})
	text := strings.Repeat("hello, world. ", 20_000)
	up := ticket(text)
	if rep := w.send(up, text, "Content-Type", "image/png"); rep.status != 200 || rep.head.Get("ETag") != `"`+up.SHA256+`"` {
		t.Fatalf("got %+v", rep)
	}
	if rep := w.do("PUT", w.key.URL(up), io.MultiReader(strings.NewReader(text))); rep.status != 200 { // again, of a length that is not said
		t.Fatalf("again: got %+v", rep)
	}
	read := reading(up, "image/png", "ä b.png")
	rep := w.get(read)
	for name, want := range map[string]string{
		"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": "inline; filename*=utf-8''%C3%A4%20b.png", "Etag": `"` + up.SHA256 + `"`, "Accept-Ranges": "bytes",
		"Cross-Origin-Resource-Policy": "cross-origin",
	} {
		if got := rep.head.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if rep.status != 200 || rep.body != text || !strings.HasPrefix(rep.head.Get("Cache-Control"), "private, immutable, max-age=3") {
		t.Errorf("got %d with %d octets, %s", rep.status, len(rep.body), rep.head.Get("Cache-Control"))
	}
	if rep := w.do("HEAD", w.key.URL(read), nil); rep.status != 200 || rep.head.Get("Content-Length") != fmt.Sprint(len(text)) || rep.body != "" {
		t.Errorf("HEAD: got %+v", rep)
	}
	if names := w.names(); len(names) != 1 || names[0] != up.ID {
		t.Errorf("the directory holds %v", names)
	}
}

// TestModes: what is uploaded is for the edge's account alone, or for its group too where that may write to the directory.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o007))
	for _, test := range []struct{ home, dir, file os.FileMode }{
		{0o700, 0o700, 0o600},
		{0o750, 0o700, 0o600},
		{0o770, 0o700, 0o600}, // whatever group that is
		{os.ModeSetgid | 0o770, os.ModeSetgid | 0o770, 0o660},
	} {
		w := start(t, edge.Options{})
		if err := os.Chmod(w.home.Dir, test.home); err != nil {
			t.Fatal(err)
		}
		up := ticket("hello")
		if rep := w.send(up, "hello"); rep.status != 200 {
			t.Fatalf("got %+v", rep)
		}
		for name, want := range map[string]os.FileMode{filepath.Dir(files.Path(up.ID)): os.ModeDir | test.dir, files.Path(up.ID): test.file} {
			if at, err := os.Stat(filepath.Join(w.home.Dir, name)); err != nil || at.Mode() != want {
				t.Errorf("in a directory of mode %v: %s is %v, %v, want %v", test.home, name, at.Mode(), err, want)
			}
		}
	}
}

// What runs in a browser is saved, not shown.
func TestWhatIsShown(t *testing.T) {
	w := start(t, edge.Options{})
	up := ticket("<script>alert(1)</script>")
	w.send(up, "<script>alert(1)</script>")
	for kind, want := range map[string]string{"text/html": "attachment", "image/svg+xml": "attachment", "application/xhtml+xml": "attachment", "text/plain": "attachment",
		"text/javascript": "attachment", "text/css": "attachment", "application/pdf": "attachment", "application/octet-stream": "attachment", "image/jpeg": "inline", "video/mp4": "inline"} {
		rep := w.get(reading(up, kind, `a"b.html`))
		got, _, _ := strings.Cut(rep.head.Get("Content-Disposition"), ";")
		served := kind
		if want == "attachment" {
			served = "application/octet-stream"
		}
		if got != want || rep.head.Get("X-Content-Type-Options") != "nosniff" || rep.head.Get("Content-Type") != served || !strings.HasPrefix(rep.head.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: got %v", kind, rep.head)
		}
	}
}

func TestRanges(t *testing.T) {
	w := start(t, edge.Options{})
	const text = "0123456789"
	up := ticket(text)
	w.send(up, text)
	read, tag := reading(up, "video/mp4", "a.mp4"), `"`+up.SHA256+`"`
	for name, row := range map[string]struct {
		head   []string
		status int
		body   string
	}{
		"a part":            {[]string{"Range", "bytes=2-4"}, 206, "234"},
		"the end":           {[]string{"Range", "bytes=-3"}, 206, "789"},
		"from somewhere":    {[]string{"Range", "bytes=8-"}, 206, "89"},
		"beyond the end":    {[]string{"Range", "bytes=8-99999999999"}, 206, "89"},
		"behind the end":    {[]string{"Range", "bytes=10-"}, 416, ""},
		"turned round":      {[]string{"Range", "bytes=4-2"}, 416, ""},
		"no numbers":        {[]string{"Range", "bytes=a-b"}, 416, ""},
		"overflowing":       {[]string{"Range", "bytes=99999999999999999999-"}, 416, ""},
		"another unit":      {[]string{"Range", "lines=1-2"}, 416, ""},
		"many parts":        {[]string{"Range", "bytes=" + strings.TrimSuffix(strings.Repeat("0-9,", 500), ",")}, 200, text},
		"if it is the same": {[]string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		"if it was another": {[]string{"Range", "bytes=2-4", "If-Range", `"x"`}, 200, text},
		"what is known":     {[]string{"If-None-Match", tag}, 304, ""},
		"what is not known": {[]string{"If-None-Match", `"x"`}, 200, text},
		"if it matches":     {[]string{"If-Match", tag}, 200, text},
		"if it does not":    {[]string{"If-Match", `"x"`}, 412, ""},
	} {
		if rep := w.get(read, row.head...); rep.status != row.status || row.status < 400 && rep.body != row.body {
			t.Errorf("%s: got %d %q", name, rep.status, rep.body)
		}
	}
}

// A ticket that is changed in any part is none.
func TestChangedTickets(t *testing.T) {
	w := start(t, edge.Options{})
	up := ticket("hello")
	right := w.key.URL(up)
	change := func(name, value string) string {
		u, _ := url.Parse(right)
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
		return u.String()
	}
	late := up
	late.Expires = time.Now().Add(-time.Second)
	for name, path := range map[string]string{
		"another ID": strings.Replace(right, up.ID, files.NewID(), 1), "a path": strings.Replace(right, up.ID, "..%2f..%2fetc%2fpasswd", 1),
		"the key": strings.Replace(right, up.ID, "key", 1), "a directory": strings.Replace(right, up.ID, "", 1),
		"below": strings.Replace(right, up.ID, up.ID+"/x", 1),
		"size":  change("s", "6"), "type": change("t", "text/html"), "hash": change("h", hashOf("other")), "expiry": change("e", "99999999999"),
		"a name": change("n", "x"), "another's": change("o", "2"), "nobody's": change("o", "x"), "signature": change("k", strings.Repeat("A", 43)), "no signature": change("k", ""), "no base64": change("k", "%"),
		"no query": files.Prefix + up.ID, "a bad query": files.Prefix + up.ID + "?%zz", "no size": change("s", ""),
		"another key": files.Key(strings.Repeat("x", 32)).URL(up), "expired": w.key.URL(late), "to read": w.key.URL(reading(up, up.Type, "")),
	} {
		if rep := w.do("PUT", path, strings.NewReader("hello")); !rep.says(403, "4", "") {
			t.Errorf("%s: got %+v", name, rep)
		}
	}
	if rep := w.do("GET", right, nil); !rep.says(403, "4", "") {
		t.Errorf("to send, for reading: got %+v", rep)
	}
	if rep := w.do("DELETE", right, nil); !rep.says(405, "10", "") {
		t.Errorf("DELETE: got %+v", rep)
	}
	if names := w.names(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

func TestWrongBodies(t *testing.T) {
	w := start(t, edge.Options{})
	unsized := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) }
	for name, row := range map[string]struct {
		body   io.Reader
		head   []string
		status int
		field  string
	}{
		"too long":                {strings.NewReader("hello!"), nil, 400, "size"},
		"too long, and not said":  {unsized("hello!"), nil, 400, "size"},
		"too short":               {strings.NewReader("hell"), nil, 400, "size"},
		"too short, and not said": {unsized("hell"), nil, 400, "size"},
		"empty":                   {strings.NewReader(""), nil, 400, "size"},
		"other octets":            {strings.NewReader("jello"), nil, 400, "sha256"},
		"another type":            {strings.NewReader("hello"), []string{"Content-Type", "text/html"}, 415, "type"},
		"coded":                   {strings.NewReader("hello"), []string{"Content-Encoding", "gzip"}, 415, ""},
	} {
		up := ticket("hello")
		if rep := w.do("PUT", w.key.URL(up), row.body, row.head...); !rep.says(row.status, "5", row.field) {
			t.Errorf("%s: got %+v", name, rep)
		}
		if rep := w.get(reading(up, "image/png", "")); !rep.says(404, "6", "") {
			t.Errorf("%s: then got %+v", name, rep)
		}
	}
	if names := w.names(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// A full disk is said so, and nothing is left of the upload.
func TestFullDisk(t *testing.T) {
	w := start(t, edge.Options{})
	for err, status := range map[error]int{syscall.ENOSPC: 507, syscall.EDQUOT: 507, syscall.EIO: 503} {
		w.handler.Fill(100_000, &os.PathError{Op: "write", Err: err})
		text := strings.Repeat("x", 300_000)
		up := ticket(text)
		rep := w.send(up, text)
		if !rep.says(status, "2", "") || rep.head.Get("Retry-After") == "" {
			t.Errorf("%v: got %+v", err, rep)
		}
		if names := w.names(); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
		w.handler.Fill(1<<30, nil)
		if rep := w.send(up, text); rep.status != 200 {
			t.Errorf("when there is room: got %+v", rep)
		}
		if err := os.RemoveAll(filepath.Join(w.home.Dir, up.ID[:2])); err != nil {
			t.Fatal(err)
		}
	}
}

// Links are not followed, whatever made them.
func TestLinks(t *testing.T) {
	w := start(t, edge.Options{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := ticket("hello")
	at := filepath.Join(w.home.Dir, files.Path(up.ID))
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.Symlink(secret, at)); err != nil {
		t.Fatal(err)
	}
	if rep := w.get(reading(up, "image/png", "")); rep.status != 503 || strings.Contains(rep.body, "hello") {
		t.Errorf("a link: got %+v", rep)
	}
	if rep := w.send(up, "hello"); rep.status != 200 {
		t.Errorf("over a link: got %+v", rep)
	}
	if info, err := os.Lstat(at); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is still one: %v, %v", info, err)
	}
	out := ticket("hello")
	if err := os.Symlink(filepath.Dir(secret), filepath.Join(w.home.Dir, out.ID[:2])); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	if rep := w.send(out, "hello"); rep.status != 503 && out.ID[:2] != up.ID[:2] {
		t.Errorf("through a directory that leads out: got %+v", rep)
	}
	if names, _ := os.ReadDir(filepath.Dir(secret)); len(names) != 1 {
		t.Errorf("outside there is %v", names)
	}
}

// drip sends a request's head by hand, and a part of its body.
func (w *world) drip(t files.Ticket, body string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", w.key.URL(t), t.Size, body)
	return c
}

func answerOf(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// Who sends too slowly is cut off, with an answer, and leaves nothing.
func TestSlowUploads(t *testing.T) {
	long := func(int64) time.Duration { return time.Hour }
	short := func(int64) time.Duration { return 50 * time.Millisecond }
	for name, row := range map[string]struct {
		stall time.Duration
		time  func(int64) time.Duration
	}{
		"stands still": {50 * time.Millisecond, long},
		"on the whole": {time.Minute, short},
		"octet by octet, of many": {time.Minute, func(octets int64) time.Duration { // the whole may take an hour
			if octets < 5 {
				return short(octets)
			}
			return long(octets)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, edge.Options{Stall: row.stall})
			w.handler.At(row.time)
			if got := answerOf(t, w.drip(ticket("hello"), "he")); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
				t.Errorf("got %q", got)
			}
			if names := w.names(); len(names) > 0 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// A client that goes in the middle leaves nothing.
func TestCutUpload(t *testing.T) {
	w := start(t, edge.Options{})
	up := ticket("hello")
	c := w.drip(up, "hel")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := answerOf(t, c); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("got %q", got)
	}
	if names := w.names(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// awaits waits until so many uploads have begun to write.
func (w *world) awaits(n int) {
	w.t.Helper()
	for until := time.Now().Add(10 * time.Second); len(w.names()) != n; {
		if time.Now().After(until) {
			w.t.Fatalf("there are %v, want %d uploads", w.names(), n)
		}
		<-time.After(time.Millisecond)
	}
}

func TestPlaces(t *testing.T) {
	w := start(t, edge.Options{Uploads: 4})
	first := ticket("hello")
	open := []net.Conn{w.drip(first, "h")}
	w.awaits(1)
	if rep := w.send(first, "hello"); !rep.says(409, "8", "") {
		t.Errorf("the same file twice: got %+v", rep)
	}
	w.visitor.Peer = new(limits.Peer)
	open = append(open, w.drip(ticket("hello"), "h"))
	w.awaits(2)
	if rep := w.send(ticket("hello"), "hello"); !rep.says(429, "9", "") || rep.head.Get("Retry-After") != "2" {
		t.Errorf("a quarter from one address: got %+v", rep)
	}
	for range 2 {
		w.visitor.Peer = new(limits.Peer)
		open = append(open, w.drip(ticket("hello"), "h"))
		w.awaits(len(open))
	}
	w.visitor.Peer = nil
	if rep := w.send(ticket("hello"), "hello"); !rep.says(503, "2", "") {
		t.Errorf("one too many: got %+v", rep)
	}
	for _, c := range open {
		fmt.Fprint(c, "ello")
		if got := answerOf(t, c); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %q", got)
		}
	}
	if rep := w.send(ticket("hello"), "hello"); rep.status != 200 {
		t.Errorf("when there is room: got %+v", rep)
	}
}

// Of all places one person has a sixteenth, from however many addresses, and gets them back.
func TestPlacesOfOnePerson(t *testing.T) {
	w := start(t, edge.Options{Uploads: 32})
	of := func(owner int64) files.Ticket {
		t := ticket("hello")
		t.Owner = owner
		return t
	}
	var open []net.Conn
	for range 2 {
		w.visitor.Peer = new(limits.Peer)
		open = append(open, w.drip(of(1), "h"))
		w.awaits(len(open))
	}
	if rep := w.send(of(1), "hello"); !rep.says(429, "9", "") || rep.head.Get("Retry-After") != "2" {
		t.Errorf("a third: got %+v", rep)
	}
	if rep := w.send(of(2), "hello"); rep.status != 200 {
		t.Errorf("another's: got %+v", rep)
	}
	for _, c := range open {
		fmt.Fprint(c, "ello")
		if got := answerOf(t, c); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %q", got)
		}
	}
	if rep := w.send(of(1), "hello"); rep.status != 200 {
		t.Errorf("when the others have gone: got %+v", rep)
	}
}

// Uploads of one file at once leave one file, as it should be.
func TestSameFileAtOnce(t *testing.T) {
	w := start(t, edge.Options{})
	text := strings.Repeat("x", 200_000)
	up := ticket(text)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if rep := w.send(up, text); rep.status != 200 && rep.status != 409 {
				t.Errorf("got %+v", rep)
			}
		})
	}
	all.Wait()
	if rep := w.get(reading(up, "image/png", "")); rep.body != text || len(w.names()) != 1 {
		t.Errorf("got %d octets, %v", len(rep.body), w.names())
	}
}

func TestOrigins(t *testing.T) {
	w := start(t, edge.Options{Origins: []string{"https://chat.example"}})
	for origin, want := range map[string]string{"https://chat.example": "https://chat.example", "https://evil.example": "", "": ""} {
		rep := w.do("OPTIONS", w.key.URL(ticket("x")), nil, "Origin", origin, "Access-Control-Request-Method", "PUT")
		if got := rep.head.Get("Access-Control-Allow-Origin"); got != want || (want != "") != strings.Contains(rep.head.Get("Access-Control-Allow-Methods"), "PUT") || rep.status != 204 {
			t.Errorf("%q: got %v", origin, rep.head)
		}
	}
	if none := start(t, edge.Options{}).do("OPTIONS", "/files/x", nil, "Origin", "https://chat.example"); none.head.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: got %v", none.head)
	}
}

// A read that the client does not take ends.
func TestSlowRead(t *testing.T) {
	w := start(t, edge.Options{Stall: 100 * time.Millisecond})
	text := strings.Repeat("x", 30<<20)
	up := ticket(text)
	if rep := w.send(up, text); rep.status != 200 {
		t.Fatalf("got %+v", rep)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", w.key.URL(reading(up, "image/png", "")))
	select { // nothing is taken meanwhile
	case <-w.done:
	case <-ctx.Done():
		t.Fatal("the read goes on")
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, c)
	if n >= int64(len(text)) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d octets, %v: want to be cut off", n, err)
	}
}

// An edge that is killed between the rename and its answer has the file: the client commits, or sends it again.
func TestKilledBeforeAnswer(t *testing.T) {
	w := start(t, edge.Options{})
	up := ticket("hello")
	c := w.drip(up, "hello")
	c.Close() // the answer comes to nobody
	until := time.Now().Add(10 * time.Second)
	for w.get(reading(up, "image/png", "")).body != "hello" {
		if time.Now().After(until) {
			t.Fatal("the file is not there")
		}
	}
	for w.send(up, "hello").status != 200 { // 409 until the first has ended
		if time.Now().After(until) {
			t.Fatal("it cannot be sent again")
		}
	}
}
