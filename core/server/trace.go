package server

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/timeline"

	"go.opentelemetry.io/otel/attribute"
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
func end(s trace.Span, err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.SetStatus(codes.Error, "see the log") // what it says names people
	}
	s.End()
}

// traced shows the store's work in the trace of the action that asks for it, the
// same for every store. What is not traced goes straight through.
type traced struct{ timeline.Store }

// Append implements timeline.Store. The span is the whole wait of the sender:
// for its place in a batch, the flush, and those before it in the batch; the
// event is where the message became durable.
func (t traced) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	ctx, s := span(ctx, "timeline.append")
	if s == nil {
		return t.Store.Append(ctx, d)
	}
	told := d.OnCommit
	d.OnCommit = func(c timeline.Committed) {
		s.AddEvent("durable")
		if told != nil {
			told(c)
		}
	}
	c, err := t.Store.Append(ctx, d)
	s.SetAttributes(attribute.Int("freeim.inboxes", len(d.Inboxes)), attribute.Bool("freeim.duplicate", c.Duplicate))
	if errors.Is(err, timeline.ErrConflict) { // the client's fault
		end(s, nil)
	} else {
		end(s, err)
	}
	return c, err
}

// Find implements timeline.Store.
func (t traced) Find(ctx context.Context, sender im.UserID, clientID string) (timeline.Committed, [32]byte, bool, error) {
	ctx, s := span(ctx, "timeline.find")
	c, digest, ok, err := t.Store.Find(ctx, sender, clientID)
	end(s, err)
	return c, digest, ok, err
}

// Inbox implements timeline.Store.
func (t traced) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	ctx, s := span(ctx, "timeline.inbox")
	page, err := t.Store.Inbox(ctx, user, after, limit)
	end(s, err)
	return page, err
}

// Log implements timeline.Store.
func (t traced) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	ctx, s := span(ctx, "timeline.log")
	page, err := t.Store.Log(ctx, c, after, limit)
	end(s, err)
	return page, err
}

// LogBefore implements timeline.Store.
func (t traced) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	ctx, s := span(ctx, "timeline.log")
	page, err := t.Store.LogBefore(ctx, c, before, limit)
	end(s, err)
	return page, err
}

// Acknowledge implements timeline.Store.
func (t traced) Acknowledge(ctx context.Context, r timeline.Receipt, audience []im.UserID) (bool, error) {
	ctx, s := span(ctx, "timeline.acknowledge")
	moved, err := t.Store.Acknowledge(ctx, r, audience)
	end(s, err)
	return moved, err
}
