package file_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// s3 is a store that speaks enough of S3: it reckons every signature anew, by the rules of Signature
// Version 4, refuses what is not signed so or too late, and looks at checksums.
type s3 struct {
	*httptest.Server
	t           *testing.T
	virtualHost bool

	mu      sync.Mutex // guards the fields below
	objects map[string]*object
	mute    bool          // gives no checksums
	broken  bool          // answers 503
	late    time.Duration // how far its clock is ahead
	refused []string
}

type object struct {
	body, kind, sum string
	at              time.Time
}

const (
	s3Bucket = "freeim-files"
	s3Key    = "AKIDEXAMPLE"
	s3Secret = "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY"
	s3Region = "eu-test-1"
)

func newS3(t *testing.T, start func(http.Handler) *httptest.Server) *s3 {
	s := &s3{t: t, objects: map[string]*object{}}
	s.Server = start(s)
	t.Cleanup(s.Close)
	return s
}

func (s *s3) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		out.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if why := s.verify(in); why != "" {
		s.refused = append(s.refused, why)
		http.Error(out, "<Error><Code>SignatureDoesNotMatch</Code></Error>", http.StatusForbidden)
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(in.URL.Path, "/"), "/")
	if s.virtualHost {
		bucket, _, _ = strings.Cut(in.Host, ".")
		key = strings.TrimPrefix(in.URL.Path, "/")
	}
	if bucket != s3Bucket {
		http.Error(out, "<Error><Code>NoSuchBucket</Code></Error>", http.StatusNotFound)
		return
	}
	if in.Method == http.MethodPut {
		s.put(out, in, key)
		return
	}
	if in.URL.Query().Get("list-type") == "2" {
		s.list(out, in.URL.Query().Get("prefix"))
		return
	}
	o := s.objects[key]
	switch {
	case in.Method == http.MethodDelete:
		delete(s.objects, key)
		out.WriteHeader(http.StatusNoContent)
	case o == nil:
		out.WriteHeader(http.StatusNotFound)
	default:
		for name, values := range in.URL.Query() {
			if head, is := strings.CutPrefix(name, "response-"); is {
				out.Header().Set(head, values[0])
			}
		}
		if in.Header.Get("x-amz-checksum-mode") == "ENABLED" && !s.mute {
			out.Header().Set("x-amz-checksum-sha256", o.sum)
		}
		out.Header().Set("ETag", `"x"`)
		http.ServeContent(out, in, "", o.at, strings.NewReader(o.body))
	}
}

func (s *s3) put(out http.ResponseWriter, in *http.Request, key string) {
	body, err := io.ReadAll(in.Body)
	sum := sha256.Sum256(body)
	is := base64.StdEncoding.EncodeToString(sum[:])
	if err != nil || is != in.Header.Get("x-amz-checksum-sha256") {
		http.Error(out, "<Error><Code>BadDigest</Code></Error>", http.StatusBadRequest)
		return
	}
	s.objects[key] = &object{string(body), in.Header.Get("Content-Type"), is, time.Now()}
}

func (s *s3) list(out http.ResponseWriter, prefix string) {
	type contents struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
	}
	var page struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		Name        string
		IsTruncated bool
		Contents    []contents
	}
	page.Name = s3Bucket
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			page.Contents = append(page.Contents, contents{key, o.at.UTC().Format("2006-01-02T15:04:05.000Z"), `"x"`, len(o.body)})
		}
	}
	slices.SortFunc(page.Contents, func(a, b contents) int { return strings.Compare(a.Key, b.Key) })
	out.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(out).Encode(page); err != nil {
		s.t.Error(err)
	}
}

// verify says what is wrong with a request's signature, "" for nothing. Source: AWS, Signature Version 4.
func (s *s3) verify(in *http.Request) string {
	q := in.URL.Query()
	at, signed, sign, credential, payload := q.Get("X-Amz-Date"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"), q.Get("X-Amz-Credential"), "UNSIGNED-PAYLOAD"
	life := 15 * time.Minute
	if sign != "" {
		seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
		if err != nil {
			return "no expiry"
		}
		life = time.Duration(seconds) * time.Second
		q.Del("X-Amz-Signature")
	} else {
		at, payload = in.Header.Get("X-Amz-Date"), in.Header.Get("X-Amz-Content-Sha256")
		for part := range strings.SplitSeq(strings.TrimPrefix(in.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				signed = value
			case "Signature":
				sign = value
			}
		}
	}
	made, err := time.Parse("20060102T150405Z", at)
	if err != nil {
		return "no date"
	}
	if now := time.Now().Add(s.late); now.After(made.Add(life)) {
		return "expired"
	} else if now.Add(15 * time.Minute).Before(made) {
		return "not yet valid"
	}
	scope := made.Format("20060102") + "/" + s3Region + "/s3/aws4_request"
	if credential != s3Key+"/"+scope {
		return "credential " + credential
	}
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", in.Method, strings.ReplaceAll(quoted(in.URL.Path), "%2F", "/"), canonicalQuery(q))
	names := strings.Split(signed, ";")
	if !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return "signed headers " + signed
	}
	for _, name := range names {
		value := strings.Join(in.Header.Values(name), ",")
		switch name {
		case "host":
			value = in.Host
		case "content-length":
			value = strconv.FormatInt(in.ContentLength, 10)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", signed, payload)
	sum := sha256.Sum256([]byte(canonical.String()))
	text := "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + s3Secret)
	for _, part := range []string{made.Format("20060102"), s3Region, "s3", "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if sign != hex.EncodeToString(key) {
		return "signature"
	}
	return ""
}

func canonicalQuery(q url.Values) string {
	var all []string
	for name, values := range q {
		for _, value := range values {
			all = append(all, quoted(name)+"="+quoted(value))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "&")
}

// quoted is a text with all but the unreserved characters of RFC 3986 as %XY.
func quoted(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), "%7E", "~")
}

func (s *s3) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *s3) key(id string) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects["up/"+id]
}

// onS3 is start with the store, as a client sees it at endpoint.
func onS3(t *testing.T, s *s3, changes ...func(*file.S3)) *world {
	t.Helper()
	return startAt(t, time.Now(), func(c *file.Config) { // the client signs by that clock
		c.Store = "s3"
		c.S3 = file.S3{Endpoint: s.URL, Region: s3Region, Bucket: s3Bucket, Prefix: "up/", AccessKey: s3Key, SecretKey: s3Secret}
		for _, change := range changes {
			change(&c.S3)
		}
	})
}

// upload does what a client does with a ticket, but for what change does.
func (s *s3) upload(t *testing.T, rep *filepb.FileUploadReply, body string, change func(*http.Request)) int {
	t.Helper()
	in, err := http.NewRequestWithContext(t.Context(), rep.Method, rep.Url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range rep.Headers {
		in.Header.Set(h.Name, h.Value)
	}
	if change != nil {
		change(in)
	}
	return s.do(t, in).StatusCode
}

// do sends a request to the store, whatever host it names.
func (s *s3) do(t *testing.T, in *http.Request) *http.Response {
	t.Helper()
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	defer transport.CloseIdleConnections()
	rep, err := (&http.Client{Transport: transport}).Do(in)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(rep.Body)
	rep.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	rep.Body = io.NopCloser(strings.NewReader(string(body)))
	return rep
}

func TestS3(t *testing.T) {
	s := newS3(t, httptest.NewServer)
	w := onS3(t, s)
	rep := w.ticket(alice, "hello")
	if err := w.commit(alice, rep.FileId); !refused(err, idl.CodeNotFound, "file_id") {
		t.Errorf("nothing came: got %v", err)
	}
	if status := s.upload(t, rep, "hello", nil); status != 200 {
		t.Fatalf("got %d, refused for %v", status, s.refused)
	}
	if err := w.commit(alice, rep.FileId); err != nil {
		t.Fatal(err)
	}
	urls := new(filepb.FileURLReply)
	if err := w.as(alice).Call(idl.ActionFileURL, &filepb.FileURLRequest{FileIds: []string{rep.FileId}}, urls); err != nil || len(urls.Files) != 1 {
		t.Fatalf("got %v, %v", urls, err)
	}
	in, err := http.NewRequestWithContext(t.Context(), "GET", urls.Files[0].Url, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Range", "bytes=1-3")
	got := s.do(t, in)
	body, _ := io.ReadAll(got.Body)
	if got.StatusCode != 206 || string(body) != "ell" || got.Header.Get("Content-Type") != "image/png" || got.Header.Get("Content-Disposition") != "inline; filename=a.png" {
		t.Errorf("got %d %q, %v", got.StatusCode, body, got.Header)
	}
	again := new(filepb.FileURLReply)
	w.Advance(time.UnixMilli(urls.Files[0].ExpiresMs).Sub(w.Now()) - time.Hour - time.Second) // of two it holds
	if err := w.as(alice).Call(idl.ActionFileURL, &filepb.FileURLRequest{FileIds: []string{rep.FileId}}, again); err != nil || again.Files[0].Url != urls.Files[0].Url {
		t.Errorf("half an URL's time has not gone: got %v, %v, want the same", again, err)
	}
	w.Advance(2 * time.Second)
	again = new(filepb.FileURLReply)
	if err := w.as(alice).Call(idl.ActionFileURL, &filepb.FileURLRequest{FileIds: []string{rep.FileId}}, again); err != nil || again.Files[0].Url == urls.Files[0].Url {
		t.Errorf("half an URL's time has gone: got %v, %v, want another", again, err)
	}
	w.Advance(25 * time.Hour)
	s.set(func() { s.broken = true })
	w.collect()
	s.set(func() { s.broken = false })
	if s.key(rep.FileId) == nil || w.plugin.Counts()["failed"] != 1 {
		t.Errorf("got %v", w.plugin.Counts())
	}
	w.Advance(11 * time.Minute)
	w.collect()
	if s.key(rep.FileId) != nil || w.rows("file_files") != 0 {
		t.Error("the file is there still")
	}
	for _, secret := range []string{s3Secret, "X-Amz-Signature"} {
		if strings.Contains(w.Logs(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// The store takes nothing but what the ticket is for.
func TestS3TicketsHold(t *testing.T) {
	s := newS3(t, httptest.NewServer)
	w := onS3(t, s)
	query := func(name, value string) func(*http.Request) {
		return func(in *http.Request) {
			q := in.URL.Query()
			q.Set(name, value)
			in.URL.RawQuery = q.Encode()
		}
	}
	for name, row := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
	}{
		"other octets":      {"jello", nil, 400},
		"too long":          {"hello!", nil, 403},
		"too short":         {"hell", nil, 403},
		"another type":      {"hello", func(in *http.Request) { in.Header.Set("Content-Type", "text/html") }, 403},
		"another hash":      {"jello", func(in *http.Request) { in.Header.Set("X-Amz-Checksum-Sha256", "AAAA") }, 403},
		"no hash":           {"jello", func(in *http.Request) { in.Header.Del("X-Amz-Checksum-Sha256") }, 403},
		"encoded":           {"hello", func(in *http.Request) { in.Header.Set("Content-Encoding", "gzip") }, 403},
		"encoding not said": {"hello", func(in *http.Request) { in.Header.Del("Content-Encoding") }, 403},
		"another name":      {"hello", func(in *http.Request) { in.URL.Path = "/" + s3Bucket + "/up/" + files.NewID() }, 403},
		"longer":            {"hello", query("X-Amz-Expires", "604800"), 403},
		"fewer headers":     {"jello", query("X-Amz-SignedHeaders", "host"), 403},
		"another signature": {"hello", query("X-Amz-Signature", strings.Repeat("0", 64)), 403},
		"another action":    {"hello", func(in *http.Request) { in.Method = "DELETE" }, 403},
		"as it should be":   {"hello", nil, 200},
		"when it has ended": {"hello", func(*http.Request) { s.set(func() { s.late = 61 * time.Minute }) }, 403},
	} {
		rep := w.ticket(alice, "hello")
		if status := s.upload(t, rep, row.body, row.change); status != row.status {
			t.Errorf("%s: got %d, want %d", name, status, row.status)
		}
		s.set(func() { s.late = 0 })
		if err := w.commit(alice, rep.FileId); (err == nil) != (row.status == 200) {
			t.Errorf("%s: the commit gets %v", name, err)
		}
	}
}

// What another wrote under the name is no upload; a store that keeps no hashes cannot be used.
func TestS3Commit(t *testing.T) {
	s := newS3(t, httptest.NewServer)
	w := onS3(t, s)
	id := w.ticket(alice, "hello").FileId
	right := base64.StdEncoding.EncodeToString(func() []byte { sum := sha256.Sum256([]byte("hello")); return sum[:] }())
	for name, row := range map[string]struct {
		o    object
		mute bool
		code idl.Code
	}{
		"another hash": {object{"jello", "image/png", "AAAA", time.Now()}, false, idl.CodeNotFound},
		"longer":       {object{"hello!", "image/png", right, time.Now()}, false, idl.CodeNotFound},
		"no hashes":    {object{"hello", "image/png", right, time.Now()}, true, idl.CodeUnavailable},
	} {
		s.set(func() { s.objects["up/"+id], s.mute = &row.o, row.mute })
		if err := w.commit(alice, id); im.CodeOf(err) != row.code {
			t.Errorf("%s: got %v, want %v", name, err, row.code)
		}
	}
	s.set(func() { s.mute, s.broken = false, true })
	if err := w.commit(alice, id); im.CodeOf(err) != idl.CodeUnavailable {
		t.Errorf("the store is away: got %v", err)
	}
}

// The core reaches a private endpoint, with a certificate of its own, and clients a public one.
func TestS3Endpoints(t *testing.T) {
	for name, virtual := range map[string]bool{"path": false, "virtual host": true} {
		t.Run(name, func(t *testing.T) {
			s := newS3(t, httptest.NewTLSServer)
			s.virtualHost = virtual
			dir := t.TempDir()
			ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
			for path, text := range map[string][]byte{
				ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), secret: []byte(s3Secret + "\n")} {
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w := onS3(t, s, func(c *file.S3) {
				c.PublicEndpoint, c.CAFile, c.SecretKey, c.SecretFile, c.VirtualHost = "https://example.com", ca, "", secret, virtual // the test server's certificate is for that name
				if virtual {
					c.Endpoint = "https://example.com" // its bucket is a host below it
				}
			})
			w.plugin.DialS3(s.Listener.Addr().String())
			rep := w.ticket(alice, "hello")
			want := "https://example.com/" + s3Bucket + "/up/"
			if virtual {
				want = "https://" + s3Bucket + ".example.com/up/"
			}
			if !strings.HasPrefix(rep.Url, want+rep.FileId) {
				t.Errorf("got %s, want %s…", rep.Url, want)
			}
			if status := s.upload(t, rep, "hello", nil); status != 200 {
				t.Fatalf("got %d, refused for %v", status, s.refused)
			}
			if err := w.commit(alice, rep.FileId); err != nil {
				t.Errorf("got %v, refused for %v", err, s.refused)
			}
			urls := new(filepb.FileURLReply)
			if err := w.as(alice).Call(idl.ActionFileURL, &filepb.FileURLRequest{FileIds: []string{rep.FileId}}, urls); err != nil || len(urls.Files) != 1 {
				t.Fatalf("got %v, %v", urls, err)
			}
			in, err := http.NewRequestWithContext(t.Context(), "GET", urls.Files[0].Url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.do(t, in); got.StatusCode != 200 || in.URL.Host != strings.Split(strings.TrimPrefix(want, "https://"), "/")[0] {
				t.Errorf("%s: got %d, refused for %v", in.URL.Host, got.StatusCode, s.refused)
			}
		})
	}
}

func TestS3Sweep(t *testing.T) {
	s := newS3(t, httptest.NewServer)
	w := onS3(t, s)
	rep, stray, fresh := w.ticket(alice, "hello"), files.NewID(), files.NewID()
	if status := s.upload(t, rep, "hello", nil); status != 200 {
		t.Fatalf("got %d", status)
	}
	old := w.Now().Add(-8 * 24 * time.Hour)
	s.set(func() {
		s.objects["up/"+rep.FileId].at = old
		s.objects["up/"+stray] = &object{"x", "image/png", "", old}
		s.objects["up/"+fresh] = &object{"x", "image/png", "", w.Now()}
		s.objects["up/not-ours"] = &object{"x", "image/png", "", old}
		s.objects["else/"+stray] = &object{"x", "image/png", "", old}
	})
	if err := w.plugin.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.objects) != 4 || s.objects["up/"+stray] != nil {
		t.Errorf("left: %v", s.objects)
	}
}

func TestS3Configuration(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*file.S3)
		key    string
	}{
		"no endpoint":      {func(c *file.S3) { c.Endpoint = "" }, "endpoint"},
		"a path":           {func(c *file.S3) { c.Endpoint = "https://s3.example/x" }, "endpoint"},
		"a password":       {func(c *file.S3) { c.PublicEndpoint = "https://a:b@s3.example" }, "public_endpoint"},
		"no bucket":        {func(c *file.S3) { c.Bucket = "" }, "bucket"},
		"no region":        {func(c *file.S3) { c.Region = "" }, "region"},
		"no key":           {func(c *file.S3) { c.AccessKey = "" }, "access_key"},
		"no secret":        {func(c *file.S3) { c.SecretKey = "" }, "secret_key"},
		"two secrets":      {func(c *file.S3) { c.SecretFile = "x" }, "secret_key"},
		"out of the way":   {func(c *file.S3) { c.Prefix = "../" }, "prefix"},
		"no secret's file": {func(c *file.S3) { c.SecretKey, c.SecretFile = "", "/nowhere" }, "secret_file"},
		"no certificates":  {func(c *file.S3) { c.CAFile = "/dev/null" }, "ca_file"},
	} {
		c := file.S3{Endpoint: "https://s3.example", Region: "x", Bucket: "bucket", AccessKey: "a", SecretKey: s3Secret}
		row.change(&c)
		p := file.With(t.TempDir(), func(all *file.Config) { all.Store, all.S3 = "s3", c })
		_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: plugintest.NewPeople().Stubs()})
		if err == nil || !strings.Contains(err.Error(), "file.s3."+row.key) || strings.Contains(err.Error(), s3Secret) {
			t.Errorf("%s: got %v, want %s", name, err, row.key)
		}
	}
}
