package engine

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// judgement is one question on its way through a chain of one bundle.
type judgement struct {
	b       *bundle
	c       *Call
	v       *vm // nil: none yet, or the last one failed
	verdict Verdict
	passed  bool // a hook said that no other is to be asked
	clock   func() time.Time
	world   *world // nil: the engine's
	effects []Effect
	turn    uint64 // of the hook that was called last
	began   time.Time
	marked  time.Time     // when the last hook had ended
	spent   time.Duration // of the chain's time

	aged bool    // age was looked up
	age  float64 // of the sender's account, in seconds; NaN: not known
	at   int64   // the time that gates count by, unix ns; 0: none asked

	runes   *[]rune // of spelled; nil: no gate asked for them
	spelled string
}

// judge runs the chain. The caller has seen that there is one.
func (b *bundle) judge(ctx context.Context, chain []*hook, c *Call, clock func() time.Time) Verdict {
	return b.judgeIn(ctx, chain, c, clock, nil)
}

// judgeIn is judge in a world of its own; nil: in the engine's.
func (b *bundle) judgeIn(ctx context.Context, chain []*hook, c *Call, clock func() time.Time, w *world) Verdict {
	now := time.Now()
	j := judgement{b: b, c: c, clock: clock, world: w, began: now, marked: now, verdict: Verdict{Bundle: b.tree.hash}}
	for i, h := range chain {
		if h.off.Load() || !j.wanted(h) {
			j.leftOut(h)
			continue
		}
		var stop bool
		if c.Explain == nil {
			stop = j.ask(ctx, i, h)
		} else {
			stop = j.explain(ctx, i, h)
		}
		if stop {
			break
		}
	}
	j.release()
	if j.runes != nil {
		j.b.spelling.Put(j.runes)
	}
	if j.verdict.Decision == Allow && !j.passed {
		j.weigh()
	}
	if j.verdict.Denied() {
		undo(j.verdict.Rewrites)
		j.verdict.Rewrites = nil
	}
	j.act()
	j.verdict.Took = time.Since(j.began)
	if len(chain) > 0 && !j.trial() && chain[0].point.deciding() {
		if routed := j.verdict; chain[0].point == Route {
			routed.Decision = Allow // where an action goes is no denial
			b.tally.add(&routed)
		} else {
			b.tally.add(&j.verdict)
		}
	}
	return j.verdict
}

// wanted reports whether a hook's gate is open for the call.
func (j *judgement) wanted(h *hook) bool {
	g, trying := &h.gate, j.b.opts.trying
	if trying != nil && !g.open(trying) || !g.takes(j.c.ConversationType) {
		return false
	}
	if g.younger.path != "" {
		if !j.aged {
			j.aged, j.age = true, j.accountAge()
		}
		if !(j.age*1000 < g.younger.in(trying)) { // never of one that is not known
			return false
		}
	}
	if g.words != nil && (j.c.Text == nil || !g.tells(j.spelt(*j.c.Text))) {
		return false
	}
	return (g.faster.than.path == "" || j.hastens(h)) && (g.again.more.path == "" || j.repeats(h)) // these count, so they are last
}

// spelt is a text as characters, for the gates of a chain.
func (j *judgement) spelt(text string) []rune {
	if j.runes == nil {
		if j.runes, _ = j.b.spelling.Get().(*[]rune); j.runes == nil {
			j.runes = new([]rune)
		}
		*j.runes = (*j.runes)[:0] // of another message
	}
	if j.spelled != text {
		j.spelled, *j.runes = text, (*j.runes)[:0]
		for _, r := range text {
			*j.runes = append(*j.runes, r)
		}
	}
	return *j.runes
}

// accountAge is what c.account_age is, in whole seconds; NaN: it is not known.
func (j *judgement) accountAge() float64 {
	text := ""
	if j.c.Facts != nil {
		text = j.c.Facts.Fact(FactAccountAge)
	}
	if text == "" {
		if made, known := j.b.made(j.c, j.world); known {
			return float64(age(made, j.clock()))
		}
		return math.NaN()
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(seconds, 0) {
		return math.NaN()
	}
	return seconds
}

// ask asks one hook; true ends the chain.
func (j *judgement) ask(ctx context.Context, i int, h *hook) (stop bool) {
	if plays := j.world != nil && j.world.plays; !plays && !h.breaker.allows(time.Now) {
		return j.failed(ctx, h, FaultBreaker, "not called for a while, it failed too often")
	}
	units, wall := h.point.work(j.b.opts.Instructions), h.point.time(j.b.opts.Wall)
	if !h.point.deciding() {
		wall = j.b.opts.AsideWall
	} else if i > 0 {
		if wall = min(wall, j.left(h)); wall < leastWall {
			return j.failed(ctx, h, FaultBudget, "the hooks before it used up the time for the chain")
		}
		if j.unitsLeft(h) < min(units, leastUnits) {
			return j.failed(ctx, h, FaultBudget, "the hooks before it used up the work for the chain")
		}
		units = min(units, j.unitsLeft(h))
	}
	if err := j.acquire(ctx); err != nil {
		return j.failed(ctx, h, FaultStarved, err.Error())
	}
	h.calls.Add(1)
	result, err := j.call(h, j.v.hooks[h.number].fn, units, wall)
	if err == nil {
		stop, err = j.decide(h, result)
	}
	if err != nil {
		return j.faulty(ctx, h, err)
	}
	j.worked(h)
	return stop
}

// The least time, and work, that are worth calling a hook.
const (
	leastWall  = time.Millisecond
	leastUnits = 1000
)

// left is what remains of the chain's time.
func (j *judgement) left(h *hook) time.Duration { return h.point.time(j.b.opts.ChainWall) - j.spent }

// unitsLeft is what remains of its work.
func (j *judgement) unitsLeft(h *hook) int {
	return h.point.work(j.b.opts.ChainInstructions) - j.verdict.Units
}

// spend charges a hook that had that wall time to the chain. For one that ended by itself a
// wait counts as for its own budget: a busy machine that had the hook wait does not fail those behind it.
func (j *judgement) spend(wall time.Duration, stopped bool) {
	if !stopped {
		wall = min(wall, j.v.budget.charge())
	}
	now := time.Now()
	j.spent += min(now.Sub(j.marked), wall)
	j.v.busy += min(max(min(now.Sub(j.marked), now.Sub(j.v.taken))-j.v.waited, 0), mostBusy)
	j.marked = now
}

func (j *judgement) acquire(ctx context.Context) error {
	if j.v != nil {
		return nil
	}
	v, err := j.b.pool.get(ctx)
	if err != nil {
		return err
	}
	v.calls++
	v.taken = time.Now()
	v.configure(j.b.opts.trying)
	v.now, v.clock = time.Time{}, j.clock
	v.enter(j.world)
	j.v = v
	return nil
}

func (j *judgement) release() {
	if j.v != nil {
		j.v.rule = ""
		j.v.spelt, j.v.runes = "", j.v.runes[:0] // no text stays behind
		j.v.leave()
		j.b.pool.put(j.v)
		j.v = nil
	}
}

// asideWork is how many times the work of others a hook may do that no action
// waits for.
const asideWork = 10

// call calls one function of a hook's. What it left behind counts only if it does
// not fail, and what it wrote is undone if it does.
func (j *judgement) call(h *hook, fn *lua.LFunction, units int, wall time.Duration) (lua.LValue, error) {
	v := j.v
	v.rule = h.rule
	v.proxy.open(j.c, !h.point.deciding())
	j.turn = v.proxy.turn
	argument := lua.LValue(v.message)
	if h.point == Tick {
		argument = lua.LNil
	}
	v.proxy.asked = len(j.effects)
	result, err := v.run(fn, argument, units, wall, h.point.phase())
	j.verdict.Units += v.used
	j.spend(wall, err != nil && j.kind(err) == FaultBudget)
	if err != nil {
		undo(v.proxy.writes)
	} else if len(v.proxy.writes)+len(v.proxy.tags)+len(v.proxy.scores)+len(v.proxy.effects) > 0 {
		j.collect(h, &v.proxy)
	}
	v.proxy.close()
	return result, err
}

func (j *judgement) collect(h *hook, p *proxy) {
	changed := false
	for _, w := range p.writes {
		if w.Before != w.After {
			w.Rule = h.rule
			j.verdict.Rewrites = append(j.verdict.Rewrites, w)
			changed = true
		}
	}
	if changed {
		h.rewritten.Add(1)
	}
	for _, e := range p.effects {
		e.Rule = h.rule
		j.effects = append(j.effects, e)
	}
	j.verdict.Tags = append(j.verdict.Tags, p.tags...)
	j.verdict.Scores = append(j.verdict.Scores, p.scores...)
}

// undo takes assignments back, the last first.
func undo(writes []Rewrite) {
	for i := len(writes) - 1; i >= 0; i-- {
		*writes[i].target = writes[i].Before
	}
}

// errVerdict is a hook's answer that is none.
type errVerdict struct{ what string }

func (e errVerdict) Error() string { return e.what }

// decide reads what a hook returned; true ends the chain.
func (j *judgement) decide(h *hook, result lua.LValue) (stop bool, err error) {
	if result == lua.LNil {
		return false, nil
	}
	if handle, ok := result.(*lua.LUserData); ok && h.point.deciding() {
		switch a, isAnswer := handle.Value.(*answer); {
		case isAnswer && a.turn == j.turn && !h.point.takes(a.Decision):
			j.v.broken = true
			return false, errVerdict{fmt.Sprintf("returned %s, which %s cannot do", a.Decision, h.point.function())}
		case isAnswer && a.turn == j.turn:
			switch a.Decision {
			case Deny:
				h.denied.Add(1)
			case Shadow:
				h.shadowed.Add(1)
			case Reroute:
				h.rerouted.Add(1)
			case Hold:
				h.held.Add(1)
			}
			j.settle(h, a.ruling)
			return true, nil
		case handle == j.v.pass:
			j.passed = true
			return true, nil
		case handle == j.v.allow:
			return false, nil
		}
	}
	j.v.broken = true
	if !h.point.deciding() {
		return false, errVerdict{fmt.Sprintf("returned a %s: %s decides nothing", result.Type(), h.point.function())}
	}
	return false, errVerdict{fmt.Sprintf("returned a %s, which is no verdict of this call", result.Type())}
}

// settle makes a ruling the verdict.
func (j *judgement) settle(h *hook, r ruling) {
	v := &j.verdict
	v.Decision, v.Target, v.Holding, v.Code, v.Reason, v.RetryAfter = r.Decision, r.Target, r.Holding, r.Code, r.Reason, r.RetryAfter
	v.Rule = h.rule
}

func (j *judgement) worked(h *hook) {
	if h.breaker.succeeded() && !j.trial() {
		j.b.opts.Log.Info("hook works again", "rule", h.rule, "bundle", j.b.tree.hash)
	}
}

// faulty sorts and counts a fault of the hook's own, gives its VM back and applies
// on_error.
func (j *judgement) faulty(ctx context.Context, h *hook, err error) (stop bool) {
	kind, msg, cut := j.kind(err), faultText(err), j.cut(h)
	j.release()
	if cut { // the hooks before it are to blame: its breaker is not told
		return j.failed(ctx, h, kind, "the hooks before it used up most of the work for the chain: "+msg)
	}
	if plays := j.world != nil && j.world.plays; !plays && h.breaker.failed(time.Now(), h.calls.Load()) && !j.trial() {
		j.b.opts.Log.Error("hook fails too often and is not called for a while",
			"rule", h.rule, "bundle", j.b.tree.hash, "pause", breakerPause, "err", msg)
	}
	return j.failed(ctx, h, kind, msg)
}

// cut reports whether the hook used up its work, which was less than a hook's since others had done so much.
func (j *judgement) cut(h *hook) bool {
	b := &j.v.budget
	return b.Err() == errWork && b.given < int64(h.point.work(j.b.opts.Instructions))
}

// kind is what went wrong in the VM that is still held.
func (j *judgement) kind(err error) string {
	if _, ok := err.(errVerdict); ok {
		return FaultVerdict
	}
	if fault, ok := err.(*lua.ApiError); j.v.dead || ok && fault.Type == lua.ApiErrorPanic {
		return FaultPanic
	}
	if j.v.budget.Err() != nil {
		return FaultBudget
	}
	return FaultScript
}

// failed applies the hook's on_error: open goes on as if it had said nothing, a
// fallback is asked in its place, and otherwise the action is denied.
func (j *judgement) failed(ctx context.Context, h *hook, kind, msg string) (stop bool) {
	f := &Fault{Kind: kind, Rule: h.rule, Msg: msg}
	j.note(h, f)
	if j.verdict.Err == nil {
		j.verdict.Err = f
	}
	if h.onError.open {
		return false
	}
	if h.onError.fallback {
		if stop, err := j.fallBack(ctx, h); err == nil {
			return stop
		}
	}
	j.settle(h, ruling{Decision: Deny, Code: h.onError.code, Reason: "a rule failed: " + kind, RetryAfter: faultRetry})
	return true
}

// fallBack asks the function that a hook has for when it fails.
func (j *judgement) fallBack(ctx context.Context, h *hook) (stop bool, err error) {
	units, wall := h.point.work(j.b.opts.Instructions), min(h.point.time(j.b.opts.Wall), j.left(h))
	switch left := j.unitsLeft(h); {
	case wall < leastWall:
		return false, errWall
	case left < min(units, leastUnits):
		return false, errWork
	default:
		units = min(units, left)
	}
	if err := j.acquire(ctx); err != nil {
		return false, err
	}
	result, err := j.call(h, j.v.hooks[h.number].fallback, units, wall)
	if err == nil {
		stop, err = j.decide(h, result)
	}
	if err != nil {
		f := &Fault{Kind: j.kind(err), Rule: h.rule, Msg: "its fallback failed too: " + faultText(err)}
		j.release()
		j.note(h, f)
	}
	return stop, err
}

// noteEvery is how often one hook's faults are logged: a stranger's messages
// must not fill the log.
const noteEvery = time.Minute

// trial reports whether what happens has no effect, so the log is not told: Status
// is, and who compares.
func (j *judgement) trial() bool { return j.world != nil && j.world.trial }

// note keeps a fault for Status and Faults, and logs it if none was for a while.
func (j *judgement) note(h *hook, f *Fault) {
	j.b.faults.add(h, f, j.c, j.b.tree.hash)
	h.last.Store(f) // first: who sees the count sees a fault
	count := h.faults.Add(1)
	if j.trial() {
		return
	}
	now, before := time.Now().UnixNano(), h.noted.Load()
	if now-before >= int64(noteEvery) && h.noted.CompareAndSwap(before, now) {
		j.b.opts.Log.Warn("hook failed", "rule", f.Rule, "kind", f.Kind, "err", f.Msg, "bundle", j.b.tree.hash, "faults", count)
	}
}
