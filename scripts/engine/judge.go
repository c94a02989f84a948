package engine

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// judgement is one message on its way through the chain of one bundle.
type judgement struct {
	b       *bundle
	m       *Message
	v       *vm // nil: none yet, or the last one failed
	text    string
	verdict Verdict
	clock   func() time.Time
	began   time.Time // zero when there is one hook only
}

// judge runs the chain. The caller has seen that there is one.
func (b *bundle) judge(ctx context.Context, m *Message, clock func() time.Time) Verdict {
	j := judgement{b: b, m: m, text: m.Text, clock: clock, verdict: Verdict{Bundle: b.tree.hash}}
	if len(b.hooks) > 1 {
		j.began = time.Now()
	}
	for i, h := range b.hooks {
		if stop := j.ask(ctx, i, h); stop {
			break
		}
	}
	j.release()
	if !j.verdict.Denied && j.text != m.Text {
		m.Text, m.Rewritten = j.text, true
	}
	return j.verdict
}

// ask asks one hook; true ends the chain.
func (j *judgement) ask(ctx context.Context, i int, h *hook) (stop bool) {
	if !h.breaker.allows(time.Now) {
		return j.failed(h, FaultBreaker, "not called for a while, it failed too often")
	}
	wall := j.b.opts.Wall
	if i > 0 {
		if wall = min(wall, j.left()); wall <= 0 {
			return j.failed(h, FaultBudget, "the hooks before it used up the time for the chain")
		}
	}
	if err := j.acquire(ctx); err != nil {
		return j.failed(h, FaultStarved, err.Error())
	}
	result, err := j.call(i, h, wall)
	if err != nil {
		return j.faulty(h, err)
	}
	return j.decide(h, result)
}

// left is what remains of the chain's time.
func (j *judgement) left() time.Duration { return j.b.opts.ChainWall - time.Since(j.began) }

func (j *judgement) acquire(ctx context.Context) error {
	if j.v != nil {
		return nil
	}
	v, err := j.b.pool.get(ctx)
	if err != nil {
		return err
	}
	v.calls++
	v.now, v.clock = time.Time{}, j.clock
	j.v = v
	return nil
}

func (j *judgement) release() {
	if j.v != nil {
		j.v.rule = ""
		j.b.pool.put(j.v)
		j.v = nil
	}
}

func (j *judgement) call(i int, h *hook, wall time.Duration) (lua.LValue, error) {
	h.calls.Add(1)
	v := j.v
	v.rule = h.rule
	v.proxy.open(j.m, j.text)
	result, err := v.run(v.hooks[j.b.order[i]].fn, v.message, j.b.opts.Instructions, wall, phaseRunning)
	if text := v.proxy.text; err == nil && text != j.text {
		h.rewritten.Add(1)
		j.text = text
	}
	v.proxy.close()
	return result, err
}

// decide reads what a hook returned.
func (j *judgement) decide(h *hook, result lua.LValue) (stop bool) {
	if handle, ok := result.(*lua.LUserData); ok {
		switch d, isDenial := handle.Value.(*denial); {
		case isDenial && d.call == j.v.calls:
			h.denied.Add(1)
			j.worked(h)
			j.verdict.Denied, j.verdict.Rule = true, h.rule
			j.verdict.Code, j.verdict.Reason, j.verdict.RetryAfter = d.code, d.reason, d.retry
			return true
		case handle == j.v.pass:
			j.worked(h)
			return true
		case handle == j.v.allow:
			j.worked(h)
			return false
		}
	}
	if result == lua.LNil {
		j.worked(h)
		return false
	}
	j.v.broken = true
	return j.fault(h, FaultVerdict, fmt.Sprintf("returned a %s, which is no verdict of this call", result.Type()))
}

func (j *judgement) worked(h *hook) {
	if h.breaker.succeeded() {
		j.b.opts.Log.Info("hook works again", "rule", h.rule, "bundle", j.b.tree.hash)
	}
}

// faulty sorts a run-time error.
func (j *judgement) faulty(h *hook, err error) (stop bool) {
	kind := FaultScript
	if fault, ok := err.(*lua.ApiError); j.v.dead || ok && fault.Type == lua.ApiErrorPanic {
		kind = FaultPanic
	} else if j.v.budget.Err() != nil {
		kind = FaultBudget
	}
	return j.fault(h, kind, faultText(err))
}

// fault counts a fault of the hook's own, gives its VM back and applies on_error.
func (j *judgement) fault(h *hook, kind, msg string) (stop bool) {
	j.release()
	opened := h.breaker.failed(time.Now(), h.calls.Load())
	if opened {
		j.b.opts.Log.Error("hook fails too often and is not called for a while",
			"rule", h.rule, "bundle", j.b.tree.hash, "pause", breakerPause, "err", msg)
	}
	return j.failed(h, kind, msg)
}

// failed applies the hook's on_error: open goes on as if it had said nothing,
// closed denies.
func (j *judgement) failed(h *hook, kind, msg string) (stop bool) {
	f := &Fault{Kind: kind, Rule: h.rule, Msg: msg}
	j.b.note(h, f)
	if j.verdict.Err == nil {
		j.verdict.Err = f
	}
	if h.open {
		return false
	}
	j.verdict.Denied, j.verdict.Rule, j.verdict.Code = true, h.rule, FaultCode
	j.verdict.Reason, j.verdict.RetryAfter = "a rule failed: "+kind, faultRetry
	return true
}

// noteEvery is how often one hook's faults are logged: a stranger's messages
// must not fill the log.
const noteEvery = time.Minute

// note keeps a fault for Status, and logs it if none was for a while.
func (b *bundle) note(h *hook, f *Fault) {
	count := h.faults.Add(1)
	h.last.Store(f)
	now, before := time.Now().UnixNano(), h.noted.Load()
	if now-before >= int64(noteEvery) && h.noted.CompareAndSwap(before, now) {
		b.opts.Log.Warn("hook failed", "rule", f.Rule, "kind", f.Kind, "err", f.Msg, "bundle", b.tree.hash, "faults", count)
	}
}
