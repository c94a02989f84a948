package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"

	"go.opentelemetry.io/otel/trace"
)

// refuse turns an error into the answer that the client sees: the only place in
// the core where that is done. The text of an error without a code stays in the
// log. It ends the call's span, if there is one.
func (d *Dispatcher) refuse(ctx context.Context, call *plugin.Call, span trace.Span, err error) Reply {
	refusal := known(err)
	d.record(ctx, call, refusal, err)
	d.answered(call, idl.CodeName(refusal.Code))
	d.finish(span, call, refusal.Code.String(), ours(refusal))
	body, encodeErr := idl.Append(nil, call.Codec, &wirepb.Error{
		Code:         refusal.Code,
		Message:      refusal.Reason,
		Field:        refusal.Field,
		RetryAfterMs: retryAfter(refusal).Milliseconds(),
	})
	if encodeErr != nil {
		d.log.ErrorContext(ctx, "refusal could not be encoded", "action", call.Name, "err", encodeErr)
	}
	return Reply{Action: idl.ActionError, Body: body}
}

// answered tells the rules of a call whose request was read.
func (d *Dispatcher) answered(call *plugin.Call, code string) {
	if d.hooks != nil && call.Request != nil {
		d.hooks.Answered(call, code)
	}
}

// ours reports whether a refusal is the server's fault, not the client's.
func ours(refusal *im.Error) bool {
	switch refusal.Code {
	case idl.CodeInternal, idl.CodeUnavailable, idl.CodeDeadlineExceeded:
		return true
	}
	return false
}

// retryLate is the advice for an action whose time ended, since what it waited for,
// a database most likely, is slow or away, and for one that was refused without any.
const retryLate = time.Second

// retryAfter is when to try again, in whole milliseconds, rounded up. "Not now"
// always says when, whoever refused: a client that is not told comes back at once.
func retryAfter(refusal *im.Error) time.Duration {
	if refusal.Code == idl.CodeUnavailable && refusal.RetryAfter <= 0 {
		return retryLate
	}
	return (refusal.RetryAfter + time.Millisecond - 1).Truncate(time.Millisecond)
}

// known gives the refusal in err, or the one that stands for it.
func known(err error) *im.Error {
	if refusal, ok := errors.AsType[*im.Error](err); ok {
		return refusal
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &im.Error{Code: idl.CodeDeadlineExceeded, Reason: "no answer in time", RetryAfter: retryLate}
	}
	return im.Errorf(idl.CodeInternal, "internal error")
}

// done logs an answer, at debug.
func (d *Dispatcher) done(ctx context.Context, call *plugin.Call) {
	if d.log.Enabled(ctx, slog.LevelDebug) {
		d.judged(ctx, call).DebugContext(ctx, "action done", "action", call.Name, "user", call.User)
	}
}

// judged is the log with the rule that decided about a call, and the bundle that it keeps
// to: at debug every line has it.
func (d *Dispatcher) judged(ctx context.Context, call *plugin.Call) *slog.Logger {
	log := d.log
	if call.Rule != "" {
		log = log.With("rule", call.Rule)
	}
	if d.hooks != nil && (call.Rule != "" || log.Enabled(ctx, slog.LevelDebug)) {
		log = log.With("bundle", d.hooks.Bundle(call))
	}
	return log
}

// record counts a refusal and logs the ones that are the server's fault; what a
// stranger can cause stays at debug.
func (d *Dispatcher) record(ctx context.Context, call *plugin.Call, refusal *im.Error, err error) {
	name, label := call.Name, d.scripts.label(call)
	if name == "" {
		name, label = "unknown", "unknown"
	}
	log := d.judged(ctx, call)
	d.results.WithLabelValues(label, refusal.Code.String()).Inc()
	switch {
	case refusal.Code == idl.CodeInternal:
		log.ErrorContext(ctx, "action broke", "action", name, "user", call.User, "err", err)
	case refusal.Code == idl.CodeUnavailable && refusal.Err != nil:
		log.WarnContext(ctx, "action unavailable", "action", name, "err", refusal.Err)
	default:
		log.DebugContext(ctx, "action refused", "action", name, "user", call.User, "code", refusal.Code, "reason", refusal.Reason)
	}
}
