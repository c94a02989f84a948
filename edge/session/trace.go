package session

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"

	"freeim/idl"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traces begins the trace of an action that goes to a core, and ends its first
// span with the answer. Few actions are traced, so their spans are kept aside
// and cost the other sessions nothing.
type traces struct {
	// Static.
	tracer trace.Tracer // nil: nothing is traced
	sample float64

	mu   sync.Mutex // guards open; taken with a session's mu held
	open map[ID]trace.Span
}

// sampled decides whether an action is traced: here, once, for every process.
func (t *traces) sampled() bool { return t.tracer != nil && rand.Float64() < t.sample }

// begin starts the span of the frame that s hands to the core, and gives what
// the core needs to go on with it. Called with the session's mu held.
func (t *traces) begin(s *Session, in inbound) (traceparent string) {
	info, _ := s.hub.core.Action(in.action)
	return t.start(s.id, spanned{in.action, info.Name, in.form.codec, s.transport.Kind(), ""})
}

// spanned is what a span says of its action.
type spanned struct {
	action    idl.Action
	name      string // empty: no core has named it
	codec     idl.Codec
	transport string
	parent    string // the client's traceparent; empty, or none at all: the span begins a trace
}

func (t *traces) start(id ID, s spanned) (traceparent string) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.Int("freeim.action", int(s.action)), attribute.String("freeim.transport", s.transport),
			attribute.String("freeim.codec", s.codec.String()))}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": s.parent})
	if from := trace.SpanContextFromContext(ctx); from.IsValid() { // whether it is traced is decided here
		ctx = trace.ContextWithRemoteSpanContext(ctx, from.WithTraceFlags(from.TraceFlags().WithSampled(true)))
	} else {
		options = append(options, trace.WithNewRoot())
	}
	ctx, span := t.tracer.Start(ctx, cmp.Or(s.name, s.action.String()), options...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[ID]trace.Span)
	}
	t.open[id] = span
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// end ends the span of the session's action. unanswered says why there was no
// reply; empty: there was one, under the action given.
func (t *traces) end(id ID, action idl.Action, unanswered string) {
	t.mu.Lock()
	span := t.open[id]
	delete(t.open, id)
	t.mu.Unlock()
	switch {
	case span == nil:
		return
	case unanswered != "":
		span.SetStatus(codes.Error, unanswered)
	case action == idl.ActionError:
		span.SetAttributes(attribute.Bool("freeim.refused", true))
	}
	span.End()
}
