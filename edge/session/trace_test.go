package session_test

import (
	"testing"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// tracedWorld is a world whose spans are kept.
func tracedWorld(t *testing.T, sample float64) (*world, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	return newWorld(t, session.Options{Tracer: provider.Tracer("test"), Sample: sample}), spans
}

// Every way in which an action can end, ends its span, once.
func TestSpanEnds(t *testing.T) {
	for _, row := range []struct {
		name    string
		end     func(c *client, call session.Call)
		status  codes.Code
		refused bool
	}{
		{"answered", func(c *client, call session.Call) { c.hub.Reply(answer(call)) }, codes.Unset, false},
		{"answered twice", func(c *client, call session.Call) { c.hub.Reply(answer(call)); c.hub.Reply(answer(call)) }, codes.Unset, false},
		{"refused", func(c *client, call session.Call) {
			c.hub.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Sequence: call.Sequence})
		}, codes.Unset, true},
		{"the client goes", func(c *client, call session.Call) { c.Closed(); c.hub.Reply(answer(call)) }, codes.Error, false},
		{"kicked", func(c *client, _ session.Call) {
			c.hub.Kick([]session.ID{c.id}, idl.CloseReplaced, "", 0)
			c.Closed()
		}, codes.Error, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, spans := tracedWorld(t, 1)
			c := w.live(idl.CodecJSON, false)
			spans.Reset()
			c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
			call := c.oneCall(idl.ActionMessage)
			if n := len(spans.GetSpans()); n != 0 {
				t.Fatalf("got %d ended spans before the answer", n)
			}
			row.end(c, call)
			got := spans.GetSpans()
			if len(got) != 1 || got[0].Status.Code != row.status {
				t.Fatalf("got %+v, want one span with the status %v", got, row.status)
			}
			sc := got[0].SpanContext
			if want := "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01"; call.Trace != want {
				t.Errorf("the core gets %q, want %q", call.Trace, want)
			}
			refused := false
			for _, a := range got[0].Attributes {
				refused = refused || a.Key == "freeim.refused"
			}
			if refused != row.refused {
				t.Errorf("refused: got %v", refused)
			}
		})
	}
}

// What is not sampled costs nothing and tells the core nothing.
func TestNotSampled(t *testing.T) {
	w, spans := tracedWorld(t, 0)
	c := w.live(idl.CodecJSON, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	call := c.oneCall(idl.ActionMessage)
	c.hub.Reply(answer(call))
	if call.Trace != "" || len(spans.GetSpans()) != 0 {
		t.Errorf("got the trace %q and %d spans", call.Trace, len(spans.GetSpans()))
	}
}

// TestTracingCostsNoAllocation compares an action's way through a hub without
// traces with that through one that samples none of them.
func TestTracingCostsNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: under the race detector pools drop buffers")
	}
	cost := func(w *world) float64 {
		c := w.live(idl.CodecJSON, false)
		return testing.AllocsPerRun(1000, func() {
			c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
			c.hub.Reply(answer(c.core.take()[0]))
			c.line.take()
		})
	}
	traced, _ := tracedWorld(t, 0)
	without, with := cost(newWorld(t, session.Options{})), cost(traced)
	if with > without {
		t.Errorf("got %v allocations with traces, %v without", with, without)
	}
}
