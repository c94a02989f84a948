package hooks

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/scripts/engine"
)

// Scripted is dispatch's Options.Scripted: the action that scripts define under the
// call's number, in the bundle that the call keeps to.
func (r *Rules) Scripted(call *plugin.Call) (plugin.Spec, bool) {
	s := r.pin(call).Scripted(int(call.Action))
	if s == nil {
		return plugin.Spec{}, false
	}
	return r.spec(s), true
}

// offer tells Offer which actions scripts define.
func (r *Rules) offer(all []*engine.Scripted) {
	if r.Offer == nil {
		return
	}
	var specs []plugin.Spec
	for _, s := range all {
		specs = append(specs, r.spec(s))
	}
	r.Offer(specs)
}

// bodyRoom is what a request may have beside its JSON, in the codec protobuf.
const bodyRoom = 8

func (r *Rules) spec(s *engine.Scripted) plugin.Spec {
	return plugin.Spec{
		Action: idl.Action(s.Number), Name: s.Name, Open: s.Open, Rooms: s.Rooms, MaxBody: s.MaxBody + bodyRoom, Rate: s.Rate, Per: s.Per,
		Request: s.NewRequest, Reply: s.NewReply,
		Invoke: func(ctx context.Context, call *plugin.Call, body []byte, rules plugin.Rules, dst []byte) ([]byte, error) {
			return r.invoke(ctx, s, call, body, rules, dst)
		},
	}
}

// invoke is what plugin.Handle makes for compiled actions: the rate, the schema, the
// rules, the function.
func (r *Rules) invoke(ctx context.Context, s *engine.Scripted, call *plugin.Call, body []byte, rules plugin.Rules, dst []byte) ([]byte, error) {
	if r.Limiter != nil && s.Rate > 0 {
		if wait := r.Limiter.TakeAt(ctx, s.Rate, s.Per, limitKey(s, call)); wait > 0 {
			return dst, &im.Error{Code: idl.CodeRateLimited, Reason: s.Name + " was called too often", RetryAfter: wait}
		}
	}
	var in idl.Scripted
	if err := idl.Decode(body, call.Codec, &in); err != nil {
		return dst, &im.Error{Code: idl.CodeMalformedBody, Reason: err.Error()}
	}
	switch {
	case len(in.JSON) == 0:
		in.JSON = []byte("{}")
	case len(in.JSON) > s.MaxBody:
		return dst, im.Errorf(idl.CodeTooLarge, "%s takes %d octets, got %d", s.Name, s.MaxBody, len(in.JSON))
	}
	req, err := s.Decode(in.JSON)
	if err != nil {
		return dst, badRequest(err)
	}
	call.Request = req
	if rules != nil && rules.Wants(call, false) {
		if err := rules.Review(ctx, call, plugin.Reviewed{}); err != nil {
			return dst, err
		}
	}
	reply, err := r.perform(ctx, s, call)
	if err != nil {
		return dst, err
	}
	return idl.Append(dst, call.Codec, &idl.Scripted{JSON: reply})
}

// limitKey is who calls, and what. A stranger is his address, or of IPv6 the network of
// 64 bits that one customer usually has.
func limitKey(s *engine.Scripted, call *plugin.Call) string {
	if call.User != 0 {
		return s.Name + "/" + call.User.String()
	}
	host, _, err := net.SplitHostPort(call.Address)
	if err != nil {
		host = call.Address
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.Unmap().WithZone(""); ip.Is6() {
			network, _ := ip.Prefix(64) // 64 fits every IPv6 address
			return s.Name + "/" + network.String()
		}
		host = ip.String()
	}
	return s.Name + "/" + host
}

func badRequest(err error) error {
	refusal := &im.Error{Code: idl.CodeMalformedBody, Reason: err.Error()}
	if wrong, ok := errors.AsType[*engine.FieldError](err); ok {
		refusal.Field, refusal.Reason = wrong.Field, wrong.Reason
		if !wrong.Malformed {
			refusal.Code = idl.CodeInvalidArgument
		}
	}
	return refusal
}

// perform runs the script's function.
func (r *Rules) perform(ctx context.Context, s *engine.Scripted, call *plugin.Call) ([]byte, error) {
	asked := engine.Call{Action: call.Name, Facts: (*facts)(call), Request: call.Request, Pin: r.pin(call)}
	for _, room := range call.Rooms {
		asked.Rooms = append(asked.Rooms, string(room))
	}
	ctx, span := begin(ctx)
	done := r.engine.Perform(ctx, s, &asked)
	verdict := done.Verdict
	finish(span, verdict)
	if verdict.Denied() {
		call.Rule = verdict.Rule
		no := &im.Error{Code: cmp.Or(idl.CodeNamed(verdict.Code), idl.CodeRejected), Reason: verdict.Reason, RetryAfter: verdict.RetryAfter}
		if no.Code == idl.CodeInternal {
			no.Err = verdict.Err
		}
		return nil, no
	}
	call.Reply = done.Reply
	return done.JSON, nil
}
