package admin_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/admin"

	"github.com/prometheus/client_golang/prometheus"
)

func start(t *testing.T, o admin.Options) *admin.Server {
	t.Helper()
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *admin.Server, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + s.Addr().String() + path)
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

func TestPages(t *testing.T) {
	figures := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "freeim_test_total", Help: "x"})
	figures.MustRegister(counter)
	counter.Add(3)
	s := start(t, admin.Options{Figures: figures})
	for path, want := range map[string]string{
		"/":                         "/readyz",
		"/healthz":                  `"alive":true`,
		"/readyz":                   `"ready":true`,
		"/metrics":                  "freeim_test_total 3",
		"/debug/vars":               "memstats",
		"/debug/pprof/":             "goroutine",
		"/debug/pprof/heap?debug=1": "heap profile",
	} {
		if status, body := get(t, s, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d, %.200q; want %q in it", path, status, body, want)
		}
	}
	if status, _ := get(t, s, "/nothing"); status != http.StatusNotFound {
		t.Errorf("/nothing: got %d", status)
	}
	if _, body := get(t, s, "/metrics"); !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_open_fds") {
		t.Error("/metrics lacks the figures of Go or of the process")
	}
}

func TestReadyNamesWhatIsNot(t *testing.T) {
	s := start(t, admin.Options{
		Alive: map[string]admin.Check{"loop": func(context.Context) error { return nil }},
		Checks: map[string]admin.Check{
			"store": func(context.Context) error { return nil },
			"links": func(context.Context) error { return errors.New("no core is reached") },
		}})
	status, body := get(t, s, "/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"links":"no core is reached"`) || !strings.Contains(body, `"store":"ok"`) {
		t.Errorf("got %d, %s", status, body)
	}
	if status, _ := get(t, s, "/healthz"); status != http.StatusOK {
		t.Errorf("liveness: got %d", status)
	}
}

func TestLivenessTellsWhatStands(t *testing.T) {
	s := start(t, admin.Options{Alive: map[string]admin.Check{
		"loop": func(context.Context) error { return errors.New("stands still") }}})
	if status, body := get(t, s, "/healthz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"loop":"stands still"`) {
		t.Errorf("got %d, %s", status, body)
	}
	if status, _ := get(t, s, "/readyz"); status != http.StatusOK {
		t.Errorf("readiness: got %d", status)
	}
}

// What only degrades is shown, and the process stays in service.
func TestLesserChecksAreShown(t *testing.T) {
	s := start(t, admin.Options{Lesser: map[string]admin.Check{
		"registry": func(context.Context) error { return errors.New("redis is away") }}})
	if status, body := get(t, s, "/readyz"); status != http.StatusOK || !strings.Contains(body, `"registry":"degraded: redis is away"`) {
		t.Errorf("got %d, %s", status, body)
	}
}

// However many ask, a check runs once at a time and its answer holds a while.
func TestProbesDoNotHammer(t *testing.T) {
	var runs atomic.Int64
	hold := make(chan struct{})
	s := start(t, admin.Options{Checks: map[string]admin.Check{"store": func(context.Context) error {
		runs.Add(1)
		<-hold
		return nil
	}}})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { get(t, s, "/readyz") })
	}
	for late := time.Now().Add(10 * time.Second); runs.Load() == 0 && time.Now().Before(late); {
		runtime.Gosched()
	}
	close(hold)
	all.Wait()
	if n := runs.Load(); n > 2 { // two on a machine so slow that the first answer got old
		t.Errorf("got %d runs for 20 questions", n)
	}
}

// A check that hangs is a fault of its own, and the page comes nevertheless.
func TestCheckThatHangs(t *testing.T) {
	s := start(t, admin.Options{Checks: map[string]admin.Check{"store": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}})
	if status, body := get(t, s, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"store":`) {
		t.Errorf("got %d, %s", status, body)
	}
}

func TestRoutes(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "lifted") })
	s := start(t, admin.Options{Routes: map[string]admin.Page{"POST /bans/lift": {page, "lifts a ban"}, "/bans": {Handler: page}}})
	if _, body := get(t, s, "/bans"); body != "lifted" {
		t.Errorf("got %q", body)
	}
	if _, body := get(t, s, "/"); !strings.Contains(body, "\nPOST /bans/lift              lifts a ban\n") {
		t.Errorf("the index does not list the pages: %q", body)
	}
	for _, pattern := range []string{"no pattern at all", "GET /metrics"} {
		if _, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Routes: map[string]admin.Page{pattern: {Handler: page}}}); err == nil {
			t.Errorf("%q: got no error", pattern)
		}
	}
}

// The index is for people: what can be opened, on this machine.
func TestURL(t *testing.T) {
	s := start(t, admin.Options{Listen: "[::]:0", Key: "0123456789abcdef"})
	if got := s.URL(); !regexp.MustCompile(`^http://localhost:\d+/$`).MatchString(got) {
		t.Errorf("got %s", got)
	}
	s = start(t, admin.Options{})
	if got, want := s.URL(), "http://"+s.Addr().String()+"/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAddress(t *testing.T) {
	for _, row := range []struct {
		listen, key string
		ok          bool
	}{
		{"127.0.0.1:0", "", true},
		{"localhost:0", "", true},
		{"[::1]:0", "", true},
		{":0", "", false},
		{"0.0.0.0:0", "", false},
		{"example.org:80", "", false},
		{"nonsense", "", false},
		{":0", key, true},
		{":0", "too short", false},
		{"127.0.0.1:0", "too short", false},
		{"nonsense", key, false},
	} {
		s, err := admin.New(admin.Options{Listen: row.listen, Key: row.key})
		if (err == nil) != row.ok {
			t.Errorf("%s, key %q: got %v", row.listen, row.key, err)
		}
		if err != nil && row.key != "" && strings.Contains(err.Error(), row.key) {
			t.Errorf("the error tells the key: %v", err)
		}
		if s != nil {
			s.Close()
		}
	}
}
