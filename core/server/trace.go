package server

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// span starts a span below the one in ctx; nil, with ctx as it was, when the
// action is not traced.
func span(ctx context.Context, name string) (context.Context, trace.Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, nil
	}
	return above.TracerProvider().Tracer("freeim").Start(ctx, name)
}

// end ends what span started; it may be nil.
func end(s trace.Span, fault bool) {
	if s == nil {
		return
	}
	if fault {
		s.SetStatus(codes.Error, "see the log") // what it says names people
	}
	s.End()
}
