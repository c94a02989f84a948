package engine

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Performed is what became of a scripted action.
type Performed struct {
	// Verdict denies it when the script did, or could not be run: Code, Reason,
	// RetryAfter, and Err for a fault of the script's.
	Verdict Verdict
	Reply   any    // a pointer to a struct, for after hooks; nil when it was denied
	JSON    []byte // the reply
}

// BrokenCode is the code of a scripted action that failed.
const BrokenCode = "internal"

// Perform runs the function of a scripted action, of the bundle that c is pinned to,
// when its before hooks have allowed it; c.Request is what Decode gave. What its script
// does with im.kv, im.rate and im.count happens at once; effects happen if it was not
// denied and did not fail.
func (e *Engine) Perform(ctx context.Context, s *Scripted, c *Call) Performed {
	return c.Pin.b.perform(ctx, s, c, e.opts.Now)
}

func (b *bundle) perform(ctx context.Context, s *Scripted, c *Call, clock func() time.Time) Performed {
	now := time.Now()
	j := judgement{b: b, c: c, clock: clock, began: now, marked: now, verdict: Verdict{Bundle: b.tree.hash}}
	p := Performed{}
	switch h := s.hook; {
	case b.off.Load() || h.off.Load():
		j.settle(h, ruling{Decision: Deny, Code: FaultCode, Reason: "switched off", RetryAfter: faultRetry})
	case !h.breaker.allows(time.Now):
		j.unable(h, FaultCode, &Fault{Kind: FaultBreaker, Rule: h.rule, Msg: "not called for a while, it failed too often"})
	default:
		p.Reply, p.JSON = j.perform(ctx, s)
	}
	j.release()
	if j.verdict.Denied() {
		p.Reply, p.JSON = nil, nil
	}
	j.act()
	j.verdict.Took = time.Since(j.began)
	if f, ok := j.verdict.Err.(*Fault); ok {
		b.tally.add(&Verdict{Err: f}) // what a script refuses is no rule's denial, and its time is its own
	}
	p.Verdict = j.verdict
	return p
}

// perform calls the function, and reads what it gives.
func (j *judgement) perform(ctx context.Context, s *Scripted) (reply any, text []byte) {
	h := s.hook
	if err := j.acquire(ctx); err != nil {
		j.unable(h, FaultCode, &Fault{Kind: FaultStarved, Rule: h.rule, Msg: err.Error()})
		return nil, nil
	}
	h.calls.Add(1)
	result, err := j.call(h, j.v.hooks[h.number].fn, h.point.work(j.b.opts.Instructions), j.b.opts.ActionWall)
	if err == nil {
		reply, text, err = j.replied(s, result)
	}
	if err == nil {
		j.worked(h)
		return reply, text
	}
	f := &Fault{Kind: j.kind(err), Rule: h.rule, Msg: faultText(err)}
	j.effects = nil
	j.release()
	if h.breaker.failed(time.Now(), h.calls.Load()) {
		j.b.opts.Log.Error("scripted action fails too often and is not called for a while",
			"rule", h.rule, "bundle", j.b.tree.hash, "pause", breakerPause, "err", f.Msg)
	}
	j.unable(h, BrokenCode, f)
	return nil, nil
}

// unable denies the action since its script could not be run, or failed.
func (j *judgement) unable(h *hook, code string, f *Fault) {
	j.note(h, f)
	j.verdict.Err = f
	r := ruling{Decision: Deny, Code: code, Reason: "the script failed: " + f.Kind}
	if code == FaultCode {
		r.RetryAfter = faultRetry
	}
	j.settle(h, r)
}

// replied reads what the function of a scripted action returned.
func (j *judgement) replied(s *Scripted, result lua.LValue) (reply any, text []byte, err error) {
	if handle, ok := result.(*lua.LUserData); ok {
		if a, ok := handle.Value.(*answer); ok && a.turn == j.turn && a.Decision == Deny {
			s.hook.denied.Add(1)
			j.settle(s.hook, a.ruling)
			return nil, nil, nil
		}
	}
	table, ok := result.(*lua.LTable)
	if result == lua.LNil {
		table, ok = j.v.L.NewTable(), true
	}
	if !ok {
		j.v.broken = true
		return nil, nil, errVerdict{fmt.Sprintf("returned a %s: a table, im.deny(…) or nothing is a reply", result.Type())}
	}
	reply, wrong := s.reply.fromLua(table)
	if wrong == nil {
		wrong = s.reply.check(reply, nil)
	}
	if wrong != nil {
		return nil, nil, errVerdict{"the reply breaks its schema: " + wrong.Error()}
	}
	if text, err = s.encode(reply); err != nil {
		return nil, nil, errVerdict{err.Error()}
	}
	return reply, text, nil
}
