// Package dispatch chooses and runs the handler for an action. Everything that
// every action needs is here once: the access rule, the size limit, the
// deadline, the operator's rules, the panic barrier, and the one place where an
// error becomes a code on the wire. It knows no plugin and no transport; core/rpc
// calls Do, core/server and plugintest build it.
package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// defaultTimeout bounds a handler that names no deadline of its own.
const defaultTimeout = 10 * time.Second

// usualReply is the room for the body of a reply, in octets; a longer one takes more.
const usualReply = 64

// Hooks is the operators' say; core/hooks implements it with scripts/engine.
type Hooks interface {
	plugin.Rules
	// Bundle names the version of the rules that the call keeps to.
	Bundle(call *plugin.Call) string
	// Answered hears of a call that is answered, with its code in lower case, "ok" if
	// it was not refused. It must not block.
	Answered(call *plugin.Call, code string)
}

// Tokens says whose tokens are, for calls without a session; the account plugin provides
// it as the service "account.tokens". Its errors are refusals.
type Tokens interface {
	Identify(ctx context.Context, token string) (plugin.Identity, error)
	// Arrive is asked when an edge sees a token for the first time, or again after a
	// while: what Auth is to a session.
	Arrive(ctx context.Context, call *plugin.Call, who plugin.Identity) error
}

// Options configures a Dispatcher.
type Options struct {
	Specs  []plugin.Spec // of all plugins; names and numbers must be unique
	Hooks  Hooks         // nil: no rules
	Tokens Tokens        // nil: no call has an identity by a token
	// Scripted gives the action that scripts define under a number, 200 to 254, for the
	// call; ok is false when they do not. nil: scripts define none.
	Scripted func(call *plugin.Call) (spec plugin.Spec, ok bool)
	Log      *slog.Logger          // nil: slog.Default
	Timeout  time.Duration         // of actions that set none; 0: 10 s
	Figures  prometheus.Registerer // nil: figures are kept nowhere
	Tracer   trace.Tracer          // makes the spans of calls that the edge traces; nil: none
}

// Dispatcher is safe for concurrent use.
type Dispatcher struct {
	// Static after New.
	specs   []plugin.Spec
	actions [256]*action // by number; nil: no handler
	hooks   Hooks        // nil: no rules
	tokens  Tokens       // nil: none is known
	scripts scripts
	log     *slog.Logger
	tracer  trace.Tracer           // nil: no traces
	results *prometheus.CounterVec // action, code
}

// action is a registered action with what dispatch adds to it.
type action struct {
	plugin.Spec
	done    prometheus.Counter // answered without a refusal
	seconds prometheus.Observer

	deadlines *deadlines
}

// Reply is the answer to one call.
type Reply struct {
	Action idl.Action // the call's, or idl.ActionError with a wirepb.Error as body
	Body   []byte     // in the call's codec; the caller's to keep
	Bound  *plugin.Identity
	// Entered and Left are the room that the session goes into, and that it leaves.
	Entered *plugin.Entrance
	Left    im.ConversationID
	// Follows are the logs that the session follows now, nil: as before.
	Follows []plugin.Followed
}

// New builds a dispatcher. It returns an error when two specs share a number or
// a name, or take one that is the edge's.
func New(o Options) (*Dispatcher, error) {
	d := &Dispatcher{specs: o.Specs, hooks: o.Hooks, tokens: o.Tokens, log: o.Log, tracer: o.Tracer}
	if d.log == nil {
		d.log = slog.Default()
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	d.results = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freeim_actions_total", Help: "Actions handled, by name and the code of the answer."}, []string{"action", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "freeim_action_seconds", Help: "Time from dispatch to answer.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}, []string{"action"})
	if o.Figures != nil {
		o.Figures.MustRegister(d.results, seconds)
	}
	names := map[string]bool{}
	for _, spec := range o.Specs {
		if spec.Action < 0 || spec.Action > 254 || edgeOwned(spec.Action) {
			return nil, fmt.Errorf("action %s has the number %d, which is not for plugins", spec.Name, spec.Action)
		}
		if other := d.actions[spec.Action]; other != nil {
			return nil, fmt.Errorf("actions %s and %s share the number %d", other.Name, spec.Name, spec.Action)
		}
		if names[spec.Name] {
			return nil, fmt.Errorf("two actions are named %s", spec.Name)
		}
		names[spec.Name] = true
		if spec.Timeout == 0 {
			spec.Timeout = o.Timeout
		}
		d.actions[spec.Action] = &action{
			Spec: spec, done: d.results.WithLabelValues(spec.Name, "OK"), seconds: seconds.WithLabelValues(spec.Name),
			deadlines: &deadlines{timeout: spec.Timeout},
		}
	}
	d.scripts = scripts{find: o.Scripted, results: d.results, seconds: seconds, timeout: o.Timeout, known: map[string]*action{}}
	return d, nil
}

// edgeOwned reports whether the edge answers a itself.
func edgeOwned(a idl.Action) bool {
	return a == idl.ActionQuit || a == idl.ActionHeartbeat || a == idl.ActionError
}

// Actions are the specs of all actions, as given to New.
func (d *Dispatcher) Actions() []plugin.Spec { return d.specs }

// Do runs one call to its end and always gives a reply. body is only read, and
// not after Do returns.
func (d *Dispatcher) Do(ctx context.Context, call *plugin.Call, body []byte) Reply {
	a, err := d.admit(call, body)
	work := ctx
	ctx, span := d.begin(ctx, call)
	if err != nil {
		return d.refuse(ctx, call, span, err)
	}
	started := time.Now()
	ctx, ended := a.deadlines.from(ctx, started, ctx != work)
	defer ended()
	answer, err := d.invoke(ctx, a, call, body)
	a.seconds.Observe(time.Since(started).Seconds())
	if err != nil {
		return d.refuse(ctx, call, span, err)
	}
	a.done.Inc()
	d.answered(call, "ok")
	d.done(ctx, call)
	d.finish(span, call, "OK", false)
	return Reply{Action: call.Action, Body: answer, Bound: call.Bound(), Entered: call.Entered(), Left: call.Left(), Follows: call.Follows()}
}

// admit finds the handler and refuses what must not reach it.
func (d *Dispatcher) admit(call *plugin.Call, body []byte) (*action, error) {
	var a *action
	if call.Action >= 0 && int(call.Action) < len(d.actions) {
		a = d.actions[call.Action]
	}
	if a == nil {
		a = d.scripts.action(call)
	}
	if a == nil {
		return nil, im.Errorf(idl.CodeUnknownAction, "no handler for action %d", call.Action)
	}
	call.Name = a.Name
	if call.Alone && a.NeedsSession && !asksWho(call) {
		return nil, im.Errorf(idl.CodeUnknownAction, "%s needs a session", a.Name)
	}
	if call.User == 0 && call.Bearer == "" && !a.Open {
		return nil, im.Errorf(idl.CodeUnauthenticated, "%s needs Auth first", a.Name)
	}
	if a.MaxBody > 0 && len(body) > a.MaxBody {
		return nil, im.Errorf(idl.CodeTooLarge, "%s takes %d octets, got %d", a.Name, a.MaxBody, len(body))
	}
	return a, nil
}

// invoke is the panic barrier: a handler's panic is this call's INTERNAL and
// nothing else's.
func (d *Dispatcher) invoke(ctx context.Context, a *action, call *plugin.Call, body []byte) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			d.log.ErrorContext(ctx, "handler panicked", "action", a.Name, "cause", cause, "stack", string(debug.Stack()))
			err = im.Errorf(idl.CodeInternal, "internal error")
		}
	}()
	if call.Bearer != "" {
		if who, err := d.identify(ctx, call); err != nil || who {
			return nil, err
		}
	}
	return a.Invoke(ctx, call, body, d.hooks, make([]byte, 0, usualReply))
}
