// Package web holds what a browser needs: the SDK as one ES module without
// dependencies (freeim.js) and a demo chat built on it, embedded in the binary.
// It serves files and nothing else: the WebSocket beside them is the gateway's.
// The edge's HTTP port mounts it at "/".
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

//go:embed index.html icon.svg chat.css chat.js model.js view.js inspector.js words.js files.js freeim.js freeim.d.ts
var files embed.FS

// policy is the Content-Security-Policy of the demo: its own files and what people uploaded
// here, or to a store whose origin is given; a WebSocket to its own origin, and no way to turn text into markup.
func policy(stores []string) string {
	from := strings.Join(append([]string{"'self'"}, stores...), " ")
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src " + from + "; media-src " + from + "; " +
		"connect-src " + from + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'"
}

// page is one file as it is served.
type page struct {
	name        string // in files
	contentType string
	shared      bool // other origins may load it
}

// pages are all paths that exist.
func pages() map[string]page {
	const script = "text/javascript; charset=utf-8"
	return map[string]page{
		"/":             {"index.html", "text/html; charset=utf-8", false},
		"/icon.svg":     {"icon.svg", "image/svg+xml", false},
		"/chat.css":     {"chat.css", "text/css; charset=utf-8", false},
		"/chat.js":      {"chat.js", script, false},
		"/model.js":     {"model.js", script, false},
		"/view.js":      {"view.js", script, false},
		"/inspector.js": {"inspector.js", script, false},
		"/words.js":     {"words.js", script, false},
		"/files.js":     {"files.js", script, false},
		"/freeim.js":    {"freeim.js", script, true},
		"/freeim.d.ts":  {"freeim.d.ts", "text/plain; charset=utf-8", true},
	}
}

// Handler serves the demo chat at "/", the SDK at "/freeim.js", its types at
// "/freeim.d.ts" and what the demo needs; 404 for every other path, 405 for
// methods other than GET and HEAD. Everything carries an ETag and is revalidated,
// so a browser sees a new build at once. Stores are the origins, as "https://s3.example", to which clients upload and
// from which they read what is uploaded, beside the page's own. Safe for concurrent use.
func Handler(stores ...string) http.Handler {
	may := policy(stores)
	mux := http.NewServeMux()
	for path, p := range pages() {
		if path == "/" {
			path = "/{$}"
		}
		mux.Handle("GET "+path, serve(p, may))
	}
	return mux
}

func serve(p page, may string) http.Handler {
	body, err := files.ReadFile(p.name)
	if err != nil {
		panic("web: not embedded: " + p.name)
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header(), p, may)
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

func setHeaders(h http.Header, p page, may string) {
	h.Set("Content-Type", p.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", may)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if p.shared {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		return
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
