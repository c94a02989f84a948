package tracing_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freeim/conf/tracing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// A collector gets the spans, on the usual path if none is named.
func TestSpansAreSent(t *testing.T) {
	for _, path := range []string{"", "/", "/elsewhere"} {
		t.Run(path, func(t *testing.T) {
			got := make(chan string, 1)
			collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- r.URL.Path + " " + string(body)
			}))
			defer collector.Close()
			traces, err := tracing.New(t.Context(), tracing.Options{Config: tracing.Config{Endpoint: collector.URL + path}.For("edges"), Instance: "edge-1"})
			if err != nil {
				t.Fatal(err)
			}
			_, span := traces.Tracer().Start(t.Context(), "an action")
			span.End()
			traces.Close(t.Context())
			want := path
			if len(path) < 2 {
				want = "/v1/traces"
			}
			text := <-got
			if !strings.HasPrefix(text, want+" ") {
				t.Errorf("got the path of %q, want %q", text, want)
			}
			for _, part := range []string{"an action", "service.name", "edges", "service.instance.id", "edge-1"} {
				if !strings.Contains(text, part) {
					t.Errorf("what was sent has no %q", part)
				}
			}
		})
	}
}

// A collector that is away costs nothing but its spans.
func TestCollectorIsAway(t *testing.T) {
	collector := httptest.NewServer(nil)
	collector.Close()
	var log bytes.Buffer
	traces, err := tracing.New(t.Context(), tracing.Options{
		Config: tracing.Config{Endpoint: collector.URL}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Tracer().Start(t.Context(), "an action")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the process has no time to try again
	traces.Close(ctx)
	if !strings.Contains(log.String(), "spans were lost") {
		t.Errorf("the log does not say so: %q", log.String())
	}
}

func TestNoEndpoint(t *testing.T) {
	traces, err := tracing.New(t.Context(), tracing.Options{Config: tracing.Default()})
	if traces != nil || err != nil {
		t.Fatalf("got %v, %v; want nothing", traces, err)
	}
	if traces.Tracer() != nil || traces.Sample() != 0 {
		t.Error("no traces have a tracer or a sample")
	}
	traces.Close(t.Context())
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]tracing.Config{
		"no scheme":     {Endpoint: "127.0.0.1:4318"},
		"other scheme":  {Endpoint: "grpc://127.0.0.1:4317"},
		"no host":       {Endpoint: "http:///v1/traces"},
		"no URL":        {Endpoint: "http://[::1"},
		"below nothing": {Endpoint: "http://localhost", Sample: -0.1},
		"above all":     {Endpoint: "http://localhost", Sample: 1.1},
		"no number":     {Endpoint: "http://localhost", Sample: math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tracing.New(t.Context(), tracing.Options{Config: c}); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestHandler(t *testing.T) {
	traces, err := tracing.New(t.Context(), tracing.Options{Exporter: discard{}})
	if err != nil {
		t.Fatal(err)
	}
	defer traces.Close(t.Context())
	ctx, span := traces.Tracer().Start(t.Context(), "an action")
	defer span.End()
	var out bytes.Buffer
	log := slog.New(tracing.Handler(slog.NewTextHandler(&out, nil)))
	ids := " trace_id=" + span.SpanContext().TraceID().String() + " span_id=" + span.SpanContext().SpanID().String() + "\n"
	for _, row := range []struct {
		name string
		log  func()
		want string
	}{
		{"traced", func() { log.InfoContext(ctx, "hi", "n", 1) }, "msg=hi n=1" + ids},
		{"with attributes", func() { log.With("plugin", "chat").InfoContext(ctx, "hi") }, "msg=hi plugin=chat" + ids},
		{"not traced", func() { log.InfoContext(t.Context(), "hi", "n", 1) }, "msg=hi n=1\n"},
		{"no context", func() { log.Info("hi") }, "msg=hi\n"},
		{"not written", func() { log.DebugContext(ctx, "hi") }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			out.Reset()
			row.log()
			if !strings.HasSuffix(out.String(), row.want) || (row.want == "") != (out.Len() == 0) {
				t.Errorf("got %q, want %q at its end", out.String(), row.want)
			}
		})
	}
}

// discard is an exporter that keeps nothing.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                        { return nil }
