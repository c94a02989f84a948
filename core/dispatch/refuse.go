package dispatch

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// refuse turns an error into the answer that the client sees: the only place in
// the core where that is done. The text of an error without a code stays in the
// log.
func (d *Dispatcher) refuse(call *plugin.Call, err error) Reply {
	refusal := known(err)
	d.record(call, refusal, err)
	body, encodeErr := idl.Append(nil, call.Codec, &wirepb.Error{
		Code:         refusal.Code,
		Message:      refusal.Reason,
		Field:        refusal.Field,
		RetryAfterMs: refusal.RetryAfter.Milliseconds(),
	})
	if encodeErr != nil {
		d.log.Error("refusal could not be encoded", "action", call.Name, "err", encodeErr)
	}
	return Reply{Action: idl.ActionError, Body: body}
}

// known gives the refusal in err, or the one that stands for it.
func known(err error) *im.Error {
	if refusal, ok := errors.AsType[*im.Error](err); ok {
		return refusal
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return im.Errorf(idl.CodeDeadlineExceeded, "no answer in time")
	}
	return im.Errorf(idl.CodeInternal, "internal error")
}

// record counts a refusal and logs the ones that are the server's fault; what a
// stranger can cause stays at debug.
func (d *Dispatcher) record(call *plugin.Call, refusal *im.Error, err error) {
	name := call.Name
	if name == "" {
		name = "unknown"
	}
	d.results.WithLabelValues(name, refusal.Code.String()).Inc()
	switch {
	case refusal.Code == idl.CodeInternal:
		d.log.Error("action broke", "action", name, "user", call.User, "err", err)
	case refusal.Code == idl.CodeUnavailable && refusal.Err != nil:
		d.log.Warn("action unavailable", "action", name, "err", refusal.Err)
	default:
		d.log.Debug("action refused", "action", name, "user", call.User, "code", refusal.Code, "reason", refusal.Reason)
	}
}
