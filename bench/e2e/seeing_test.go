package e2e_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/conf/tracing"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/scripts/engine"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// notebook is where everybody writes at once.
type notebook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// seen is a cluster whose traces and whole log are kept.
type seen struct {
	*cluster.Cluster
	spans   *tracetest.InMemoryExporter
	log     *notebook
	figures *prometheus.Registry // the core's
}

func see(t *testing.T) *seen {
	t.Helper()
	s := &seen{spans: tracetest.NewInMemoryExporter(), log: &notebook{}, figures: prometheus.NewRegistry()}
	log := slog.New(tracing.Handler(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	traces, err := tracing.New(t.Context(), tracing.Options{
		Config: tracing.Config{Service: "freeim", Sample: 1}, Log: log, Exporter: kept{s.spans}})
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster, err = cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Rules: true, Log: log, Tracer: traces.Tracer(),
		Core: func(_ int, o *server.Options) {
			o.Figures = s.figures
			r := &o.Config.Rules
			r.Record.Every, r.Record.Text, r.Watch.Time = 1, engine.TextFull, -1
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		traces.Close(ctx)
	})
	return s
}

// kept keeps its spans over the provider's end.
type kept struct{ *tracetest.InMemoryExporter }

// span waits for a span of the name with that parent; the zero parent is any.
func (s *seen) span(t *testing.T, name string, parent trace.SpanContext) sdk.ReadOnlySpan {
	t.Helper()
	for late := time.Now().Add(patience); time.Now().Before(late); runtime.Gosched() {
		for _, found := range s.spans.GetSpans().Snapshots() {
			if found.Name() == name && (!parent.IsValid() || found.Parent().SpanID() == parent.SpanID()) {
				return found
			}
		}
	}
	t.Fatalf("no span %q below %s: there are %v", name, parent.SpanID(), names(s.spans.GetSpans()))
	return nil
}

func names(stubs tracetest.SpanStubs) (all []string) {
	for _, s := range stubs {
		all = append(all, s.Name)
	}
	return all
}

// One message is one trace: from the edge's frame over the link to the store,
// whatever the client speaks. Nothing in it names people.
func TestTrace(t *testing.T) {
	s := see(t)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			o := f.options(s.Cluster.Edges[0])
			name := "trace-" + f.name
			owner, err := signUp(t.Context(), o, name)
			if err != nil {
				t.Fatal(err)
			}
			d, err := newDevice(t.Context(), o, owner, name, idl.DeviceDesktop)
			if err != nil {
				t.Fatal(err)
			}
			defer d.disconnect()
			s.spans.Reset()
			p, err := d.session.Send(t.Context(), client.Outgoing{To: owner.id, Text: "seen"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.oneTrace(t)
		})
	}
	if err := s.Edges[0].Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if link := s.span(t, "freeim.core.Core/Link", trace.SpanContext{}); link.SpanKind() != trace.SpanKindClient && link.SpanKind() != trace.SpanKindServer {
		t.Errorf("Kitex's span of the link: got the kind %v", link.SpanKind())
	}
	for _, found := range s.spans.GetSpans() {
		for _, a := range found.Attributes {
			if strings.Contains(string(a.Key), "user") || strings.Contains(a.Value.Emit(), "trace-") {
				t.Errorf("span %s names somebody: %v", found.Name, a)
			}
		}
	}
}

// oneTrace holds that the spans of the message hang together.
func (s *seen) oneTrace(t *testing.T) {
	t.Helper()
	root := s.span(t, "chat.send", trace.SpanContext{})
	dispatched := s.span(t, "dispatch chat.send", root.SpanContext())
	committed := s.span(t, "timeline.append", dispatched.SpanContext())
	if root.Parent().IsValid() || root.SpanKind() != trace.SpanKindServer {
		t.Errorf("the edge's span: got the parent %v and the kind %v", root.Parent(), root.SpanKind())
	}
	if !dispatched.Parent().IsRemote() {
		t.Error("the core's span does not know that its parent was elsewhere")
	}
	for _, span := range []sdk.ReadOnlySpan{dispatched, committed} {
		if span.SpanContext().TraceID() != root.SpanContext().TraceID() {
			t.Errorf("%s is of another trace", span.Name())
		}
		if span.StartTime().Before(root.StartTime()) || span.EndTime().After(root.EndTime()) {
			t.Errorf("%s lies outside of the edge's span", span.Name())
		}
	}
	if events := committed.Events(); len(events) != 1 || events[0].Name != "durable" {
		t.Errorf("the commit: got the events %v", events)
	}
}

// A refusal's span has the code, and the log's line the trace.
func TestRefusalIsTracedWithItsCode(t *testing.T) {
	s := see(t)
	o := client.Options{Address: s.Edges[0].TCP()}
	if _, err := signUp(t.Context(), o, "somebody"); err != nil { // from then on the edge knows the actions' names
		t.Fatal(err)
	}
	s.spans.Reset()
	if _, err := signUp(t.Context(), o, "a b"); err == nil {
		t.Fatal("a name with a space was taken")
	}
	root := s.span(t, "account.sign_up", trace.SpanContext{})
	span := s.span(t, "dispatch account.sign_up", root.SpanContext())
	code := ""
	for _, a := range span.Attributes() {
		if a.Key == "freeim.code" {
			code = a.Value.AsString()
		}
	}
	if code != "CODE_INVALID_ARGUMENT" {
		t.Errorf("got the code %q", code)
	}
	line := ""
	for l := range strings.Lines(s.log.String()) {
		if strings.Contains(l, "action refused") {
			line = l
		}
	}
	if !strings.Contains(line, "trace_id="+span.SpanContext().TraceID().String()) ||
		!strings.Contains(line, "span_id="+span.SpanContext().SpanID().String()) {
		t.Errorf("the log's line does not name the trace: %q", line)
	}
}

// Whatever tells of a message's ack tells of the bundle that judged it: its spans, its line in the
// log, the metric and the recording. So does what tells of the next one, of another bundle.
func TestAcksTellTheirBundle(t *testing.T) {
	s := see(t)
	rules := s.Cores[0].Server().Rules()
	o := client.Options{Address: s.Edges[0].TCP()}
	owner, err := signUp(t.Context(), o, "judged")
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDevice(t.Context(), o, owner, "laptop", idl.DeviceDesktop)
	if err != nil {
		t.Fatal(err)
	}
	defer d.disconnect()
	told := map[string]bool{}
	for _, mark := range []string{"one", "two"} {
		report, err := rules.Prepare(t.Context(), map[string]string{"mark.lua": `local im = require("im")
im.on_message(function(c) c.text = c.text .. " ` + mark + `" end, {name = "mark", on_error = "closed"})`}, engine.By{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Activate(t.Context(), report.Prepared, engine.Policy{}, engine.By{}); err != nil {
			t.Fatal(err)
		}
		bundle := report.Prepared
		s.spans.Reset()
		p, err := d.session.Send(t.Context(), client.Outgoing{To: owner.id, Text: "seen"})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := p.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		root := s.span(t, "chat.send", trace.SpanContext{})
		dispatched := s.span(t, "dispatch chat.send", root.SpanContext())
		for _, span := range []sdk.ReadOnlySpan{dispatched, s.span(t, "rules", dispatched.SpanContext())} {
			if got := attributeOf(span, "freeim.bundle"); got != bundle {
				t.Errorf("%s: the span %s says %q, want %s", mark, span.Name(), got, bundle)
			}
		}
		line := s.lineWith("action done", "action=chat.send", "trace_id="+root.SpanContext().TraceID().String())
		if !strings.Contains(line, "bundle="+bundle) {
			t.Errorf("%s: the log says %q of the ack, want %s", mark, line, bundle)
		}
		if got := s.activeBundles(t); len(got) != 1 || got[0] != bundle {
			t.Errorf("%s: the metric says %v, want %s", mark, got, bundle)
		}
		all := rules.Recording()
		last := all[len(all)-1]
		if last.Action != "chat.send" || last.Bundle != bundle || !strings.Contains(string(last.Request), p.ClientID()) {
			t.Errorf("%s: recorded is %+v, want message %s by %s", mark, last, ack.MessageId, bundle)
		}
		told[bundle] = true
	}
	if len(told) != 2 {
		t.Errorf("got the bundles %v, want two", told)
	}
}

func attributeOf(span sdk.ReadOnlySpan, key string) string {
	for _, a := range span.Attributes() {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}

// lineWith is the last line of the log that has all of these; empty: none has.
func (s *seen) lineWith(parts ...string) (line string) {
	for l := range strings.Lines(s.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(l, part) }) {
			line = l
		}
	}
	return line
}

// activeBundles are the hashes that the core's metric shows in the slot active.
func (s *seen) activeBundles(t *testing.T) (all []string) {
	t.Helper()
	families, err := s.figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "freeim_rules_bundle_info" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["slot"] == "active" && m.GetGauge().GetValue() == 1 {
				all = append(all, labels["hash"])
			}
		}
	}
	return all
}

// However much is logged, no password and no token is in it.
func TestNoSecretInTheLog(t *testing.T) {
	s := see(t)
	o := client.Options{Address: s.Edges[0].TCP()}
	owner, err := signUp(t.Context(), o, "secretive")
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDevice(t.Context(), o, owner, "laptop", idl.DeviceDesktop)
	if err != nil {
		t.Fatal(err)
	}
	d.disconnect()
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const guess = "a wrong guess at it"
	if _, err := c.SignIn(t.Context(), "secretive", guess, nil); err == nil {
		t.Error("a wrong password was taken")
	}
	if _, err := c.SignUp(t.Context(), "secretive", guess, ""); err == nil {
		t.Error("a name was given twice")
	}
	log := s.log.String()
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "action refused") {
		t.Fatalf("the log does not have what this test looks at: %s", log)
	}
	for what, secret := range map[string]string{"password": password, "token": d.options.Token, "guess": guess} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log tells the %s %q", what, secret)
		}
	}
	for _, span := range s.spans.GetSpans() {
		for _, a := range span.Attributes {
			if v := a.Value.Emit(); v == password || v == guess || v == d.options.Token {
				t.Errorf("span %s tells a secret in %s", span.Name, a.Key)
			}
		}
	}
}
