// Package hooks joins the rule engine, which knows nothing of the core, to
// dispatch and the plugins: it shows calls to the operators' hooks and turns
// their verdicts into refusals. It judges nothing itself. core/server and
// plugintest make one Rules and hand it to dispatch.
package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/scripts/engine"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Rules asks the operators' hooks about calls. Its methods but Open are safe for
// concurrent use.
type Rules struct {
	// Set before Open. Limiter counts the calls of scripted actions that have a rate, each
	// key at its own; nil: only the edges do. Offer is told which actions scripts define,
	// at Open and when that changes, and must not block; nil: nobody is told.
	Limiter plugin.Limiter
	Offer   func(specs []plugin.Spec)

	opened chan struct{} // closed by Open

	// Static after Open.
	engine  *engine.Engine
	targets map[string]*plugin.Target
	log     *slog.Logger

	watch watch
}

// New makes rules that are to be opened before the first call.
func New() *Rules { return &Rules{opened: make(chan struct{})} }

// Open loads the scripts. specs are all actions that plugins have; o needs neither
// Codes, nor Actions, CheckText or Offer.
func (r *Rules) Open(specs []plugin.Spec, o engine.Options) (err error) {
	if r.log = o.Log; r.log == nil {
		r.log = slog.Default()
	}
	o = Known(specs, o)
	o.Offer = r.offer
	r.targets = targets(o.Targets)
	if r.engine, err = engine.New(o); err != nil {
		return fmt.Errorf("load the rules: %w", err)
	}
	close(r.opened)
	return nil
}

// Opened is closed when the rules can be asked, for who does so besides dispatch.
func (r *Rules) Opened() <-chan struct{} { return r.opened }

// checkText holds rules to what people may write.
func checkText(text string) error {
	if no, refused := errors.AsType[*im.Error](im.CheckText("text", text, 0, math.MaxInt)); refused {
		return errors.New(no.Reason)
	}
	return nil
}

// Known is o with what rules can name: the actions and the codes. The operators'
// tool checks scripts with it, beside any server.
func Known(specs []plugin.Spec, o engine.Options) engine.Options {
	o.Codes, o.Actions, o.CheckText = idl.CodeNames(), actions(specs), checkText
	if o.Targets == nil {
		o.Targets = map[string]engine.Target{} // none, rather than any
	}
	return o
}

// Engine is the rule engine, nil before Open.
func (r *Rules) Engine() *engine.Engine { return r.engine }

// Close ends the engine, if there is one.
func (r *Rules) Close() error {
	if r.engine == nil {
		return nil
	}
	return r.engine.Close()
}

// actions is what the engine must know of the actions.
func actions(specs []plugin.Spec) (all []engine.Action) {
	for _, s := range specs {
		a := engine.Action{Name: s.Name, Number: int(s.Action), Message: s.Message, Shadows: s.Shadows, Holds: s.Holds, Reroutes: string(s.Reroutes), Request: s.Request, Reply: s.Reply}
		for _, f := range s.Rewritable {
			a.Rewritable = append(a.Rewritable, engine.Field(f))
		}
		all = append(all, a)
	}
	return all
}

func targets(declared map[string]engine.Target) map[string]*plugin.Target {
	all := map[string]*plugin.Target{}
	for name, t := range declared {
		all[name] = &plugin.Target{Name: name, User: im.UserID(t.User), Room: t.Room}
	}
	return all
}

// pin gives the bundle that the call keeps from the first question about it to
// the last.
func (r *Rules) pin(call *plugin.Call) engine.Pin {
	if pinned, ok := call.Pin.(engine.Pin); ok {
		return pinned
	}
	pinned := r.engine.PinFor((*facts)(call))
	call.Pin = pinned
	return pinned
}

// Wants implements plugin.Rules.
func (r *Rules) Wants(call *plugin.Call, message bool) bool {
	return r.pin(call).Has(engine.Before, call.Name, message)
}

// Review implements plugin.Rules.
func (r *Rules) Review(ctx context.Context, call *plugin.Call, m plugin.Reviewed) error {
	asked := engine.Call{Action: call.Name, Facts: (*facts)(call), Request: call.Request, Pin: r.pin(call), Text: m.Text}
	for _, room := range call.Rooms {
		asked.Rooms = append(asked.Rooms, string(room))
	}
	if m.Text != nil {
		asked.Conversation, asked.ConversationType, asked.Kind = string(m.Conversation), conversationType(m.Conversation.Type()), m.Kind
	}
	return r.ask(ctx, call, engine.Before, &asked)
}

// Bundle implements dispatch.Hooks.
func (r *Rules) Bundle(call *plugin.Call) string { return r.pin(call).Bundle() }

// Answered implements dispatch.Hooks.
func (r *Rules) Answered(call *plugin.Call, code string) {
	if pinned := r.pin(call); pinned.Has(engine.After, call.Name, false) {
		r.engine.Answered(&engine.Call{Action: call.Name, Facts: (*facts)(call), Request: call.Request, Reply: call.Reply, Code: code, Pin: pinned})
	}
}

// OnLogin implements the account plugin's Rules: somebody's credentials are right.
func (r *Rules) OnLogin(ctx context.Context, call *plugin.Call, who plugin.Identity) error {
	pinned := r.pin(call)
	if !pinned.Has(engine.Login, call.Name, false) {
		return nil
	}
	as := plugin.Call{Address: call.Address, Trace: call.Trace, User: who.User, Device: who.Device, DeviceType: who.DeviceType}
	return r.ask(ctx, call, engine.Login, &engine.Call{Action: call.Name, Facts: (*facts)(&as), Request: call.Request, Pin: pinned})
}

// OnJoin implements the room plugin's Rules: somebody comes into a room, and may.
func (r *Rules) OnJoin(ctx context.Context, call *plugin.Call, room im.ConversationID) error {
	pinned := r.pin(call)
	if !pinned.Has(engine.Join, call.Name, false) {
		return nil
	}
	return r.ask(ctx, call, engine.Join, &engine.Call{Action: call.Name, Facts: (*facts)(call), Request: call.Request, Pin: pinned,
		Conversation: string(room), ConversationType: conversationType(room.Type())})
}

// OnRoomPolicy implements the room plugin's Rules: what the room's settings say holds.
func (r *Rules) OnRoomPolicy(_ context.Context, _ im.ConversationID, p plugin.RoomPolicy) plugin.RoomPolicy {
	return p
}

// ask puts one question, gives the refusal that the verdict means, and leaves in call
// what else it does. The engine gives no verdict that the action cannot have.
func (r *Rules) ask(ctx context.Context, call *plugin.Call, p engine.Point, asked *engine.Call) error {
	ctx, span := begin(ctx)
	steps := r.watch.explained(asked)
	verdict := r.engine.Ask(ctx, p, asked)
	r.watch.tell(asked, verdict, steps)
	finish(span, verdict)
	switch verdict.Decision {
	case engine.Deny:
	case engine.Shadow:
		call.Shadowed = true
		return nil
	case engine.Reroute:
		call.Target = r.targets[verdict.Target]
		return nil
	case engine.Hold:
		h := verdict.Holding
		call.Hold = &plugin.Hold{Queue: h.Queue, Rule: verdict.Rule, Deadline: h.Deadline, Allow: h.Otherwise == engine.Allow}
		return nil
	default:
		return nil
	}
	call.Rule = verdict.Rule
	return &im.Error{Code: cmp.Or(idl.CodeNamed(verdict.Code), idl.CodeRejected), Reason: verdict.Reason, RetryAfter: verdict.RetryAfter}
}

// begin starts a span below the one in ctx; nil, with ctx as it was, when the
// action is not traced.
func begin(ctx context.Context) (context.Context, trace.Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, nil
	}
	return above.TracerProvider().Tracer("freeim").Start(ctx, "rules")
}

func finish(span trace.Span, v engine.Verdict) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.String("freeim.bundle", v.Bundle), attribute.String("freeim.verdict", v.Decision.String()),
		attribute.Int("freeim.rewrites", len(v.Rewrites)), attribute.Int("freeim.units", v.Units))
	if to := v.To(); to != "" {
		span.SetAttributes(attribute.String("freeim.target", to))
	}
	if v.Rule != "" {
		span.SetAttributes(attribute.String("freeim.rule", v.Rule))
	}
	span.End()
}
