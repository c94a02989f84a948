// Package tracing makes a process's OpenTelemetry traces: the section of the
// configuration, the provider that sends finished spans to a collector, and the
// log handler that writes trace ids. It makes no spans: edge/session begins a
// trace, core/dispatch and core/server go on with it. The mains call it, and hand
// the Tracer on. conf/README.md says what operators see.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sending bounds one attempt to send spans, and the last one at the end.
const sending = 5 * time.Second

// Config is the section of a process's traces, the same in edge and core.
type Config struct {
	// Endpoint is where spans are sent, by OTLP over HTTP: "http://HOST:4318", or
	// with a path, if it is not /v1/traces. Empty: there are no traces, and they
	// cost nothing.
	Endpoint string `yaml:"endpoint"`
	// Sample is which part of the actions an edge traces, 0 to 1. A core traces
	// what the edge does.
	Sample float64 `yaml:"sample"`
	// Service names the process's kind in traces; empty: as the main says.
	Service string `yaml:"service"`
}

// Default has no endpoint, and a sample that a busy edge can afford.
func Default() Config { return Config{Sample: 0.01} }

// For is the configuration with the service's name, if it has none.
func (c Config) For(service string) Config {
	if c.Service == "" {
		c.Service = service
	}
	return c
}

func (c *Config) validate() error {
	if !(c.Sample >= 0 && c.Sample <= 1) {
		return fmt.Errorf("tracing.sample is %v: it is a part, 0 to 1", c.Sample)
	}
	at, err := url.Parse(c.Endpoint)
	if err != nil || (at.Scheme != "http" && at.Scheme != "https") || at.Host == "" {
		return errors.New("tracing.endpoint is not of the form http://HOST:PORT")
	}
	return nil
}

// Options says how spans are made and where they go.
type Options struct {
	Config
	Instance string           // names this process among those of its service
	Log      *slog.Logger     // nil: slog.Default
	Exporter sdk.SpanExporter // instead of one to Endpoint: for tests, which get each span as it ends
}

// Tracing is a process's traces. nil and the zero value are none.
type Tracing struct {
	provider *sdk.TracerProvider
	sample   float64
}

// New starts the sending; nil, without an error, when there is nowhere to send
// to. A collector that is away is no error: spans are dropped past a bounded
// queue, and the log says so.
//
// It makes the provider, and who is told of faults, the process's own
// (otel.SetTracerProvider): Kitex's suite knows no other. One Tracing is to be
// alive at a time.
func New(ctx context.Context, o Options) (*Tracing, error) {
	if o.Endpoint == "" && o.Exporter == nil {
		return nil, nil
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	send, err := o.processor(ctx)
	if err != nil {
		return nil, err
	}
	about := resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.instance.id", o.Instance))
	t := &Tracing{sample: o.Sample, provider: sdk.NewTracerProvider(
		sdk.WithSpanProcessor(send), sdk.WithResource(about),
		// The edge has decided before there is a span. Kitex's own, which have no
		// parent, are one for each link.
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())),
	)}
	otel.SetTracerProvider(t.provider)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("spans were lost", "err", err) }))
	return t, nil
}

// processor brings finished spans to where they go: batched, in a goroutine of
// its own, or at once to an exporter that was given.
func (o *Options) processor(ctx context.Context) (sdk.SpanProcessor, error) {
	if o.Exporter != nil {
		return sdk.NewSimpleSpanProcessor(o.Exporter), nil
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	at := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithTimeout(sending)}
	if u, err := url.Parse(o.Endpoint); err == nil && (u.Path == "" || u.Path == "/") {
		at = append(at, otlptracehttp.WithURLPath("/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, at...)
	if err != nil {
		return nil, fmt.Errorf("prepare to send traces: %w", err)
	}
	return sdk.NewBatchSpanProcessor(exporter), nil
}

// Tracer makes spans; nil when there are no traces.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("freeim")
}

// Sample is which part of the actions to trace, 0 to 1.
func (t *Tracing) Sample() float64 {
	if t == nil {
		return 0
	}
	return t.sample
}

// Close sends what is left, for a few seconds at most. A collector that is away
// is logged, not returned: it is no fault of the process that ends.
func (t *Tracing) Close(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sending)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}
