package dispatch

import (
	"context"

	"freeim/core/plugin"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// begin starts the span of a call that the edge traces; otherwise, and without a
// Tracer, span is nil and ctx as it was. A traceparent that is none is ignored.
func (d *Dispatcher) begin(ctx context.Context, call *plugin.Call) (_ context.Context, span trace.Span) {
	if call.Trace == "" || d.tracer == nil {
		return ctx, nil
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": call.Trace})
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	return d.tracer.Start(ctx, "dispatch "+call.Name, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("freeim.action", call.Name)))
}

// finish ends a span with the code that the action was answered with, and the
// version of the rules that judged it; fault says that it is the server's.
func (d *Dispatcher) finish(span trace.Span, call *plugin.Call, code string, fault bool) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.String("freeim.code", code))
	if d.hooks != nil {
		span.SetAttributes(attribute.String("freeim.bundle", d.hooks.Bundle(call)))
	}
	if call.Rule != "" {
		span.SetAttributes(attribute.String("freeim.rule", call.Rule))
	}
	if fault {
		span.SetStatus(codes.Error, code)
	}
	span.End()
}
