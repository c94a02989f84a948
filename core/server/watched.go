package server

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// watched is the timelines as the plugins have them: it counts what fails, and
// shows the store's work in the trace of the action that asks for it; the same
// for every store.
type watched struct {
	timeline.Store
	errors *prometheus.CounterVec // operation
}

// newErrors is for watched, registered nowhere when r is nil.
func newErrors(r prometheus.Registerer) (*prometheus.CounterVec, error) {
	errs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freeim_timeline_errors_total", Help: "Operations of the timelines that failed or took too long."}, []string{"operation"})
	if r == nil {
		return errs, nil
	}
	return errs, r.Register(errs)
}

// done counts a fault of the store's and ends the span. A client ID used twice
// is the client's fault, and a call that was given up is nobody's.
func (w watched) done(operation string, s trace.Span, err error) {
	fault := err != nil && !errors.Is(err, timeline.ErrConflict) && !errors.Is(err, timeline.ErrMoved) && !errors.Is(err, timeline.ErrStale) && !errors.Is(err, context.Canceled)
	if fault {
		w.errors.WithLabelValues(operation).Inc()
	}
	end(s, fault)
}

// Append implements timeline.Store. The span is the whole wait of the sender:
// for its place in a batch, the flush, and those before it in the batch; the
// event is where the message became durable.
func (w watched) Append(ctx context.Context, d timeline.Draft) (c timeline.Committed, err error) {
	ctx, s := span(ctx, "timeline.append")
	if s != nil {
		d.OnCommit = durable(s, d.OnCommit)
		s.SetAttributes(attribute.Int("freeim.inboxes", len(d.Inboxes)))
	}
	c, err = w.Store.Append(ctx, d)
	w.done("append", s, err)
	return c, err
}

// durable is told, which may be nil, after an event in the span.
func durable(s trace.Span, told func(timeline.Committed)) func(timeline.Committed) {
	return func(c timeline.Committed) {
		s.AddEvent("durable")
		if told != nil {
			told(c)
		}
	}
}

// AppendAll implements timeline.Store.
func (w watched) AppendAll(ctx context.Context, drafts []timeline.Draft) []error {
	ctx, s := span(ctx, "timeline.append_all")
	errs := w.Store.AppendAll(ctx, drafts)
	w.done("append_all", s, errors.Join(errs...))
	return errs
}

// Heads implements timeline.Store.
func (w watched) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) ([]int64, []int64, error) {
	ctx, s := span(ctx, "timeline.heads")
	logSeqs, inboxSeqs, err := w.Store.Heads(ctx, logs, inboxes)
	w.done("heads", s, err)
	return logSeqs, inboxSeqs, err
}

// Find implements timeline.Store.
func (w watched) Find(ctx context.Context, sender im.UserID, clientID string) (timeline.Committed, [32]byte, bool, error) {
	ctx, s := span(ctx, "timeline.find")
	c, digest, ok, err := w.Store.Find(ctx, sender, clientID)
	w.done("find", s, err)
	return c, digest, ok, err
}

// Inbox implements timeline.Store.
func (w watched) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	ctx, s := span(ctx, "timeline.inbox")
	page, err := w.Store.Inbox(ctx, user, after, limit)
	w.done("inbox", s, err)
	return page, err
}

// InboxAt implements timeline.Store.
func (w watched) InboxAt(ctx context.Context, user im.UserID, seqs []int64) ([]timeline.Entry, error) {
	ctx, s := span(ctx, "timeline.inbox")
	entries, err := w.Store.InboxAt(ctx, user, seqs)
	w.done("inbox", s, err)
	return entries, err
}

// Messages implements timeline.Store.
func (w watched) Messages(ctx context.Context, places []timeline.Ref) ([]im.Message, error) {
	ctx, s := span(ctx, "timeline.log")
	messages, err := w.Store.Messages(ctx, places)
	w.done("log", s, err)
	return messages, err
}

// Locate implements timeline.Store.
func (w watched) Locate(ctx context.Context, user im.UserID, id im.MessageID) (int64, error) {
	ctx, s := span(ctx, "timeline.locate")
	seq, err := w.Store.Locate(ctx, user, id)
	w.done("locate", s, err)
	return seq, err
}

// Log implements timeline.Store.
func (w watched) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	ctx, s := span(ctx, "timeline.log")
	page, err := w.Store.Log(ctx, c, after, limit)
	w.done("log", s, err)
	return page, err
}

// LogBefore implements timeline.Store.
func (w watched) LogBefore(ctx context.Context, c im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	ctx, s := span(ctx, "timeline.log")
	page, err := w.Store.LogBefore(ctx, c, before, limit)
	w.done("log", s, err)
	return page, err
}

// Erase implements timeline.Store.
func (w watched) Erase(ctx context.Context, gone []timeline.Erasure) error {
	ctx, s := span(ctx, "timeline.erase")
	err := w.Store.Erase(ctx, gone)
	w.done("erase", s, err)
	return err
}

// Acknowledge implements timeline.Store.
func (w watched) Acknowledge(ctx context.Context, r timeline.Receipt, audience []im.UserID) (bool, error) {
	ctx, s := span(ctx, "timeline.acknowledge")
	moved, err := w.Store.Acknowledge(ctx, r, audience)
	w.done("acknowledge", s, err)
	return moved, err
}

// Positions implements timeline.Store.
func (w watched) Positions(ctx context.Context, c im.ConversationID, people []im.UserID) ([]int64, error) {
	ctx, s := span(ctx, "timeline.positions")
	held, err := w.Store.Positions(ctx, c, people)
	w.done("positions", s, err)
	return held, err
}

// Receipts implements timeline.Store.
func (w watched) Receipts(ctx context.Context, user im.UserID, since int64, limit int) ([]timeline.Receipt, int64, bool, error) {
	ctx, s := span(ctx, "timeline.receipts")
	rs, next, more, err := w.Store.Receipts(ctx, user, since, limit)
	w.done("receipts", s, err)
	return rs, next, more, err
}
