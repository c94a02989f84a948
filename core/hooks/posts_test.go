package hooks_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/hooks"
	"freeim/scripts/engine"
)

// posting is Posts to one endpoint, "audit", that tries again soon.
func posting(t *testing.T, to hooks.Endpoint, change func(*hooks.PostOptions)) *hooks.Posts {
	t.Helper()
	o := hooks.PostOptions{Endpoints: map[string]hooks.Endpoint{"audit": to}, Log: slog.New(slog.DiscardHandler), Pause: time.Millisecond, Broken: 10 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	p := hooks.NewPosts(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel() // what waits is dropped
		p.Drain(ctx)
	})
	return p
}

// served is a real server, which ends after what posts to it.
func served(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL + "/secret-path"
}

func said(body string) engine.Effect {
	return engine.Effect{Kind: "post", Endpoint: "audit", Data: body, Rule: "h@a.lua:1", Bundle: "b", At: time.UnixMilli(5)}
}

// drained waits for all that was posted.
func drained(t *testing.T, p *hooks.Posts) hooks.PostFigures {
	t.Helper()
	p.Drain(t.Context())
	return p.Figures()["audit"]
}

func TestPostArrives(t *testing.T) {
	got := make(chan string, 1)
	url := served(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		got <- fmt.Sprint(r.Method, r.URL.Path, " ", string(body), h["Content-Type"], h["Authorization"], h["Freeim-Rule"], h["Freeim-Bundle"], h["Freeim-Time"], len(h.Get("Idempotency-Key")))
	})
	p := posting(t, hooks.Endpoint{URL: url, Header: http.Header{"Authorization": {"Bearer x"}}}, nil)
	p.Post(said(`{"a":1}`))
	if got, want := <-got, `POST/secret-path {"a":1}[application/json] [Bearer x] [h@a.lua:1] [b] [1970-01-01T00:00:00.005Z] 32`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if f := drained(t, p); f.Results["sent"] != 1 || f.Waiting != 0 || f.Broken {
		t.Errorf("got %+v", f)
	}
}

// What an endpoint does with a post decides whether it is tried again.
func TestPostTries(t *testing.T) {
	elsewhere := served(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the end of the connection is seen behind the body
		<-r.Context().Done()
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	}
	code := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	for _, row := range []struct {
		name       string
		idempotent bool
		answers    []http.HandlerFunc // the last again and again
		want       string             // the result
		tries      int
	}{
		{"taken", false, []http.HandlerFunc{code(204)}, "sent", 1},
		{"500", false, []http.HandlerFunc{code(500), code(200)}, "failed", 1},
		{"500, with keys", true, []http.HandlerFunc{code(500), code(502), code(200)}, "sent", 3},
		{"500 for ever, with keys", true, []http.HandlerFunc{code(500)}, "failed", 4},
		{"503", false, []http.HandlerFunc{code(503), code(429), code(200)}, "sent", 3},
		{"404", true, []http.HandlerFunc{code(404)}, "refused", 1},
		{"a redirect", true, []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, 307) }}, "refused", 1},
		{"slow", false, []http.HandlerFunc{hang}, "failed", 1},
		{"slow, with keys", true, []http.HandlerFunc{hang, code(200)}, "sent", 2},
		{"cut", false, []http.HandlerFunc{cut}, "failed", 1},
		{"cut, with keys", true, []http.HandlerFunc{cut, code(200)}, "sent", 2},
		{"a large answer", false, []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}}, "sent", 1},
		{"a large header", false, []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }}, "failed", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var mu sync.Mutex
			var keys []string
			url := served(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				answer := row.answers[min(len(keys), len(row.answers))-1]
				mu.Unlock()
				answer(w, r)
			})
			timeout := 30 * time.Second
			if strings.HasPrefix(row.name, "slow") {
				timeout = 200 * time.Millisecond
			}
			p := posting(t, hooks.Endpoint{URL: url, Idempotent: row.idempotent, Timeout: timeout}, nil)
			p.Post(said(`{}`))
			f := drained(t, p)
			mu.Lock()
			defer mu.Unlock()
			if f.Results[row.want] != 1 || f.Repeated != int64(row.tries-1) || len(keys) != row.tries {
				t.Errorf("got %+v and %d tries, want %s after %d", f, len(keys), row.want, row.tries)
			}
			for _, key := range keys {
				if key == "" || key != keys[0] {
					t.Errorf("got the keys %q", keys)
				}
			}
		})
	}
}

// What never left is tried again, whatever the endpoint does with keys, and no line
// in the log has the URL.
func TestPostToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var log strings.Builder
	p := posting(t, hooks.Endpoint{URL: "http://" + l.Addr().String() + "/secret-path"}, func(o *hooks.PostOptions) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	p.Post(said(`{}`))
	if f := drained(t, p); f.Results["failed"] != 1 || f.Repeated != 3 {
		t.Errorf("got %+v", f)
	}
	if text := log.String(); !strings.Contains(text, "a rule's post was given up") || strings.Contains(text, "secret-path") {
		t.Errorf("got the log %s", text)
	}
}

// An endpoint that fails is left alone, and is asked again; what waits then is not lost.
func TestPostsBreaker(t *testing.T) {
	var asked atomic.Int64
	var good atomic.Bool
	url := served(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1); !good.Load() {
			w.WriteHeader(500)
		}
	})
	p := posting(t, hooks.Endpoint{URL: url}, func(o *hooks.PostOptions) { o.Broken = 200 * time.Millisecond })
	for range 50 {
		p.Post(said(`{}`))
	}
	until(t, func() bool { return p.Figures()["audit"].Broken })
	good.Store(true)
	until(t, func() bool { return !p.Figures()["audit"].Broken })
	f := drained(t, p)
	if failed := f.Results["failed"]; failed < 5 || failed > 20 || f.Results["sent"] != 50-failed || asked.Load() != 50 {
		t.Errorf("got %+v after %d tries", f, asked.Load())
	}
}

// At the end nobody waits for an endpoint that is broken.
func TestPostsBrokenAtTheEnd(t *testing.T) {
	var asked atomic.Int64
	url := served(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(500) })
	p := posting(t, hooks.Endpoint{URL: url}, func(o *hooks.PostOptions) { o.Broken = time.Hour })
	for range 50 {
		p.Post(said(`{}`))
	}
	until(t, func() bool { return p.Figures()["audit"].Broken })
	if f := drained(t, p); f.Results["failed"] != asked.Load() || f.Results["dropped"] != 50-asked.Load() || asked.Load() > 8 {
		t.Errorf("got %+v after %d tries", f, asked.Load())
	}
}

// What waits is bounded, in number and in octets: the newest are dropped. At the end
// there is a deadline.
func TestPostsBounds(t *testing.T) {
	for _, row := range []struct {
		name       string
		body       string
		kept, most int64
	}{
		{"number", `{}`, 1024, 1028}, // four are in hand
		{"octets", `"` + strings.Repeat("x", 16<<10-2) + `"`, 256, 256},
	} {
		t.Run(row.name, func(t *testing.T) {
			url := served(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			})
			p := posting(t, hooks.Endpoint{URL: url, Timeout: time.Minute}, nil)
			const all = 1500
			for range all {
				p.Post(said(row.body))
			}
			if dropped := p.Figures()["audit"].Results["dropped"]; dropped > all-row.kept || dropped < all-row.most {
				t.Errorf("got %d dropped, want %d kept", dropped, row.kept)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			p.Drain(ctx)
			p.Post(said(row.body))
			if f := p.Figures()["audit"]; f.Results["dropped"] != all+1 || f.Waiting != 0 {
				t.Errorf("after the end: %+v", f)
			}
		})
	}
}

// until waits for what comes by itself.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !holds() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-late:
			t.Fatal("it never comes")
		}
	}
}
