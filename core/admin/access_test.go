package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"freeim/core/admin"
)

const key = "correct horse battery staple"

// ask sends a request and gives the status and the body of the answer.
func ask(t *testing.T, s *admin.Server, method, path string, change func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(req)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func bearer(shown string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+shown) }
}

func TestKey(t *testing.T) {
	s := start(t, admin.Options{Key: key, Checks: map[string]admin.Check{
		"store": func(context.Context) error { return errors.New("10.1.2.3 is away") }}})
	basic := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	for _, row := range []struct {
		name, path string
		change     func(*http.Request)
		status     int
	}{
		{"none", "/metrics", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, profiles", "/debug/pprof/heap", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, the index", "/", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, what is not there", "/nothing", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, a way around", "//metrics", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, another way around", "/healthz/../metrics", func(*http.Request) {}, http.StatusUnauthorized},
		{"none, liveness", "/healthz", func(*http.Request) {}, http.StatusOK},
		{"none, readiness", "/readyz", func(*http.Request) {}, http.StatusServiceUnavailable},
		{"bearer", "/metrics", bearer(key), http.StatusOK},
		{"bearer in lower case", "/metrics", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+key) }, http.StatusOK},
		{"basic", "/metrics", basic("anybody", key), http.StatusOK},
		{"wrong", "/metrics", bearer(key + "r"), http.StatusUnauthorized},
		{"a beginning", "/metrics", bearer(key[:20]), http.StatusUnauthorized},
		{"empty", "/metrics", bearer(""), http.StatusUnauthorized},
		{"as a name", "/metrics", basic(key, ""), http.StatusUnauthorized},
		{"another scheme", "/metrics", func(r *http.Request) { r.Header.Set("Authorization", "Digest "+key) }, http.StatusUnauthorized},
	} {
		t.Run(row.name, func(t *testing.T) {
			if status, body := ask(t, s, "GET", row.path, row.change); status != row.status {
				t.Errorf("got %d, %.100q; want %d", status, body, row.status)
			}
		})
	}
	if _, body := ask(t, s, "GET", "/readyz", func(*http.Request) {}); strings.Contains(body, "10.1.2.3") {
		t.Errorf("readiness tells a stranger the details: %s", body)
	}
	if _, body := ask(t, s, "GET", "/readyz", bearer(key)); !strings.Contains(body, "10.1.2.3") {
		t.Errorf("readiness tells the operator nothing: %s", body)
	}
}

// Whoever guesses is stopped and written down, the key and the guesses are not.
func TestGuesses(t *testing.T) {
	var log bytes.Buffer
	s := start(t, admin.Options{Key: key, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	statuses := map[int]int{}
	for range 15 {
		status, _ := ask(t, s, "GET", "/metrics?x=y", bearer("wrong horse battery staple"))
		statuses[status]++
	}
	if statuses[http.StatusUnauthorized] != 10 || statuses[http.StatusTooManyRequests] != 5 {
		t.Errorf("got %v, want 10 refused and 5 unseen", statuses)
	}
	if status, _ := ask(t, s, "GET", "/metrics", bearer(key)); status != http.StatusTooManyRequests {
		t.Errorf("the right key after it: got %d", status)
	}
	if status, _ := ask(t, s, "GET", "/healthz", func(*http.Request) {}); status != http.StatusOK {
		t.Errorf("liveness: got %d", status)
	}
	if n := strings.Count(log.String(), "a wrong administrative key"); n != 10 {
		t.Errorf("got %d lines of log, want 10", n)
	}
	if strings.Contains(log.String(), "horse") {
		t.Errorf("the log has a key: %s", log.String())
	}
}

// A page on the web must not reach the port through a name of its own, nor make
// a browser post to it.
func TestPagesOfOthers(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") })
	s := start(t, admin.Options{Routes: map[string]admin.Page{"POST /do": {Handler: page}}})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, row := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
	}{
		{"a rebound name", "GET", "/metrics", host("evil.example:9090"), http.StatusMisdirectedRequest},
		{"a rebound name, liveness", "GET", "/healthz", host("evil.example"), http.StatusMisdirectedRequest},
		{"a name that begins like it", "GET", "/metrics", host("localhost.evil.example"), http.StatusMisdirectedRequest},
		{"localhost", "GET", "/metrics", host("localhost:1"), http.StatusOK},
		{"IPv6", "GET", "/metrics", host("[::1]:9090"), http.StatusOK},
		{"IPv6 without a port", "GET", "/metrics", host("[::1]"), http.StatusOK},
		{"a tool", "POST", "/do", func(*http.Request) {}, http.StatusOK},
		{"another site's form", "POST", "/do", header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{"another site's form, old browser", "POST", "/do", header("Origin", "https://evil.example"), http.StatusForbidden},
	} {
		t.Run(row.name, func(t *testing.T) {
			if status, body := ask(t, s, row.method, row.path, row.change); status != row.status {
				t.Errorf("got %d, %.100q; want %d", status, body, row.status)
			}
		})
	}
}

// Whoever has no key cannot hold a connection by a body that does not come.
func TestBodyWithoutKeyEnds(t *testing.T) {
	s := start(t, admin.Options{Key: key})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "POST /bans/lift HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
		t.Fatalf("got %q, %v", answer, err)
	}
}

// Another site's page cannot have a profile or a backup made, but a link works.
func TestPageOfAnotherSite(t *testing.T) {
	s := start(t, admin.Options{})
	for _, row := range []struct {
		site, mode, dest string
		status           int
	}{
		{"cross-site", "no-cors", "image", http.StatusForbidden},
		{"same-site", "no-cors", "script", http.StatusForbidden},
		{"cross-site", "navigate", "iframe", http.StatusForbidden},
		{"cross-site", "navigate", "document", http.StatusOK},
		{"same-origin", "cors", "empty", http.StatusOK},
		{"none", "navigate", "document", http.StatusOK},
		{"", "", "", http.StatusOK},
	} {
		status, _ := ask(t, s, "GET", "/debug/vars", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", row.site)
			r.Header.Set("Sec-Fetch-Mode", row.mode)
			r.Header.Set("Sec-Fetch-Dest", row.dest)
		})
		if status != row.status {
			t.Errorf("%+v: got %d", row, status)
		}
	}
}
