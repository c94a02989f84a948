package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"freeim/core/admin"

	"github.com/prometheus/client_golang/prometheus"
)

func start(t *testing.T, o admin.Options) *admin.Server {
	t.Helper()
	o.Listen, o.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
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
	s := start(t, admin.Options{Checks: map[string]admin.Check{
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

func TestAddress(t *testing.T) {
	for _, row := range []struct {
		listen string
		remote bool
		ok     bool
	}{
		{"127.0.0.1:0", false, true},
		{"localhost:0", false, true},
		{"[::1]:0", false, true},
		{":0", false, false},
		{"0.0.0.0:0", false, false},
		{"example.org:80", false, false},
		{"nonsense", false, false},
		{":0", true, true},
	} {
		s, err := admin.New(admin.Options{Listen: row.listen, AllowRemote: row.remote})
		if (err == nil) != row.ok {
			t.Errorf("%s, remote %v: got %v", row.listen, row.remote, err)
		}
		if s != nil {
			s.Close()
		}
	}
}
