package engine

import (
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// ruling is what a hook, or a threshold, wants to happen.
type ruling struct {
	Decision   Decision
	Target     string
	Holding    *Holding
	Code       string
	Reason     string
	RetryAfter time.Duration
}

// answer is a ruling that a script made and may return. It is good for the hook that
// made it, in its turn.
type answer struct {
	ruling
	turn uint64
}

// answerSymbols are what a hook may return.
func answerSymbols() []symbol {
	verdict := []param{{"", "im.Verdict", ""}}
	return []symbol{
		{name: "im.allow", in: anywhere, fn: (*vm).allowed, results: verdict,
			doc: "The verdict to go on with the next hook; returning nothing is the same.", example: `return im.allow()`},
		{name: "im.pass", in: anywhere, fn: (*vm).passed, results: verdict,
			doc: "The verdict to allow, and ask no further hook.", example: `return im.pass()`},
		{name: "im.deny", in: inCalls, fn: (*vm).deny, results: verdict,
			args: []param{{"code", "string", `lower-case name of a wire code that rules may use, mostly "rejected" or "rate_limited"`},
				{"reason?", "string", "for operators and the client's developer"},
				{"options?", "{retry_after?: number}", "retry_after: advice in milliseconds"}},
			doc: "The verdict to refuse. The first denial ends the chain.", example: `return im.deny("rejected", "no links here")`},
		{name: "im.throttle", in: inCalls, fn: (*vm).throttle, results: verdict,
			args: []param{{"ms", "number", "when to come again"}, {"reason?", "string", ""}},
			doc:  "The verdict to refuse for now, as rate_limited.", example: `return im.throttle(2000)`},
	}
}

func (v *vm) allowed(L *lua.LState) int {
	L.Push(v.allow)
	return 1
}

func (v *vm) passed(L *lua.LState) int {
	L.Push(v.pass)
	return 1
}

// deny is im.deny(code, reason [, {retry_after = ms}]).
func (v *vm) deny(L *lua.LState) int {
	a := &answer{ruling{Decision: Deny, Code: L.CheckString(1), Reason: reason(L, "")}, v.proxy.turn}
	if !v.b.opts.knows(a.Code) {
		L.RaiseError("im.deny: unknown code %q", clip(a.Code, 64))
	}
	if L.GetTop() >= 3 {
		eachOption(L, 3, "im.deny", map[string]func(lua.LValue) bool{
			"retry_after": func(value lua.LValue) (ok bool) {
				a.RetryAfter, ok = advice(value)
				return ok
			},
		})
	}
	L.Push(v.handle(a, v.opaque))
	return 1
}

// ThrottleCode is the code of a denial by im.throttle.
const ThrottleCode = "rate_limited"

// throttle is im.throttle(ms [, reason]): not now, but in so many milliseconds.
func (v *vm) throttle(L *lua.LState) int {
	retry, ok := advice(L.CheckNumber(1))
	if !ok {
		L.ArgError(1, "must be milliseconds, at most a day")
	}
	L.Push(v.handle(&answer{ruling{Decision: Deny, Code: ThrottleCode,
		Reason: reason(L, "too often"), RetryAfter: retry}, v.proxy.turn}, v.opaque))
	return 1
}

// reason is argument 2 as UTF-8, which it must be on the wire: a script may have cut a
// character of a text in two.
func reason(L *lua.LState, standard string) string {
	return clip(strings.ToValidUTF8(L.OptString(2, standard), "\ufffd"), maxReason)
}

// advice is a number of milliseconds to wait, at most a day.
func advice(value lua.LValue) (time.Duration, bool) {
	ms, ok := value.(lua.LNumber)
	return time.Duration(float64(ms) * float64(time.Millisecond)), ok && ms >= 0 && ms <= 86_400_000
}

// knows reports whether scripts may deny with code.
func (o *Options) knows(code string) bool {
	if len(o.Codes) > 0 {
		return slices.Contains(o.Codes, code)
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return false
		}
	}
	return code != ""
}

// Threshold is what happens to an action whose scores add up to Score or more, and
// about which no hook has decided. Of several, the highest that is reached holds.
type Threshold struct {
	Score      float64
	Code       string // of the denial
	Reason     string
	RetryAfter time.Duration
}

// rule is what Verdict.Rule says of a decision by threshold.
const thresholdRule = "threshold"

// weigh applies the thresholds to what the hooks have scored.
func (j *judgement) weigh() {
	if len(j.verdict.Scores) == 0 {
		return
	}
	sum := 0.0
	for _, s := range j.verdict.Scores {
		sum += s.Points
	}
	var reached *Threshold
	for i := range j.b.opts.Thresholds {
		if t := &j.b.opts.Thresholds[i]; sum >= t.Score && (reached == nil || t.Score > reached.Score) {
			reached = t
		}
	}
	if reached != nil {
		v := &j.verdict
		v.Decision, v.Code, v.Reason, v.RetryAfter = Deny, reached.Code, reached.Reason, reached.RetryAfter
		v.Rule = thresholdRule
	}
}
