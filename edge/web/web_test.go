package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"freeim/edge/web"
)

func TestHandler(t *testing.T) {
	tests := []struct {
		name, method, path string
		status             int
		contentType        string
		file               string // the body
		shared             bool   // for other origins
	}{
		{"the demo", "GET", "/", 200, "text/html; charset=utf-8", "index.html", false},
		{"its script", "GET", "/chat.js", 200, "text/javascript; charset=utf-8", "chat.js", false},
		{"its model", "GET", "/model.js", 200, "text/javascript; charset=utf-8", "model.js", false},
		{"its view", "GET", "/view.js", 200, "text/javascript; charset=utf-8", "view.js", false},
		{"its inspector", "GET", "/inspector.js", 200, "text/javascript; charset=utf-8", "inspector.js", false},
		{"its words", "GET", "/words.js", 200, "text/javascript; charset=utf-8", "words.js", false},
		{"its files", "GET", "/files.js", 200, "text/javascript; charset=utf-8", "files.js", false},
		{"its style", "GET", "/chat.css", 200, "text/css; charset=utf-8", "chat.css", false},
		{"its icon", "GET", "/icon.svg", 200, "image/svg+xml", "icon.svg", false},
		{"the SDK", "GET", "/freeim.js", 200, "text/javascript; charset=utf-8", "freeim.js", true},
		{"its types", "GET", "/freeim.d.ts", 200, "text/plain; charset=utf-8", "freeim.d.ts", true},
		{"HEAD", "HEAD", "/freeim.js", 200, "text/javascript; charset=utf-8", "", true},
		{"a file by its own name", "GET", "/index.html", 404, "text/plain; charset=utf-8", "", false},
		{"no such path", "GET", "/favicon.ico", 404, "text/plain; charset=utf-8", "", false},
		{"a test", "GET", "/test/fake.mjs", 404, "text/plain; charset=utf-8", "", false},
		{"POST", "POST", "/", 405, "text/plain; charset=utf-8", "", false},
	}
	h := web.Handler()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.status || w.Header().Get("Content-Type") != tt.contentType {
				t.Fatalf("got %d %s, want %d %s", w.Code, w.Header().Get("Content-Type"), tt.status, tt.contentType)
			}
			if shared := w.Header().Get("Access-Control-Allow-Origin") == "*"; shared != tt.shared {
				t.Errorf("shared with other origins: got %v, want %v", shared, tt.shared)
			}
			if tt.file == "" {
				return
			}
			want, err := os.ReadFile(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if w.Body.String() != string(want) {
				t.Errorf("the body is not %s", tt.file)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	want := map[string]string{
		"Cache-Control":                "no-cache",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
	}
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("Content-Security-Policy: got %q, want %q in it", policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy allows something unsafe: %q", policy)
	}
}

func TestRevalidation(t *testing.T) {
	h := web.Handler()
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest("GET", "/freeim.js", nil))
	etag := first.Header().Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	for _, tt := range []struct {
		name, path, match string
		status            int
	}{
		{"unchanged", "/freeim.js", etag, http.StatusNotModified},
		{"changed", "/freeim.js", `"other"`, http.StatusOK},
		{"another file", "/chat.js", etag, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", tt.path, nil)
			r.Header.Set("If-None-Match", tt.match)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.status || (tt.status == http.StatusNotModified) != (len(body) == 0) {
				t.Errorf("got %d with %d octets, want %d", w.Code, len(body), tt.status)
			}
		})
	}
}

// TestNoMarkup holds the two rules that keep messages from becoming markup.
func TestNoMarkup(t *testing.T) {
	html, err := os.ReadFile("index.html")
	if err != nil {
		t.Fatal(err)
	}
	if inline := regexp.MustCompile(`<script(?:\s[^>]*)?>[^<]|<style|\sstyle=|\son[a-z]+=|https?://`).Find(html); inline != nil {
		t.Errorf("index.html has something inline, or from elsewhere: %q", inline)
	}
	scripts, err := filepath.Glob("*.js")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("got %v %v, want the scripts", scripts, err)
	}
	for _, name := range scripts {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if sink := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`).Find(code); sink != nil {
			t.Errorf("%s uses %s", name, sink)
		}
	}
}

// TestSDK runs the SDK's own tests, which are written for node.
func TestSDK(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node on this machine: apt-get install -y nodejs; the browser tests exercise the SDK too")
	}
	tests, err := filepath.Glob("test/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatalf("got %v %v, want the SDK's tests", tests, err)
	}
	out, err := exec.Command(node, append([]string{"--test"}, tests...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStores: the page may send files to a store that is named, and show what is there; scripts come from nowhere else.
func TestStores(t *testing.T) {
	w := httptest.NewRecorder()
	web.Handler("https://s3.example").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	said := map[string]string{}
	for part := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), "; ") {
		name, from, _ := strings.Cut(part, " ")
		said[name] = from
	}
	for name, want := range map[string]string{"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' https://s3.example",
		"media-src": "'self' https://s3.example", "connect-src": "'self' https://s3.example"} {
		if said[name] != want {
			t.Errorf("%s: got %q, want %q", name, said[name], want)
		}
	}
}
