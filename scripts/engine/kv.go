package engine

import (
	"math"
	"strconv"
	"strings"
	"time"

	"freeim/scripts/engine/strlib"
	"freeim/scripts/engine/texts"

	lua "github.com/yuin/gopher-lua"
)

// maxTokens is how many tokens a bucket holds at most.
const maxTokens = 1_000_000

// maxOps is how often one call may ask im.kv, im.rate and im.count together.
const maxOps = 16

// stateSymbols are im.kv, im.rate and im.count: memory between calls.
func stateSymbols() []symbol {
	key := param{"key", "string", "at most 128 octets"}
	ttl := param{"ttl", "string|number", `how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds`}
	span := param{"span", "string|number", `"10s", "5m", "1h" or milliseconds`}
	return []symbol{
		{name: "im.kv.get", in: inCore, fn: (*vm).kvGet, args: []param{key}, results: []param{{"value", "string?", ""}},
			doc: "The value of a key; nil when there is none. Values are shared by all hooks and survive a reload, not a restart; when 32 MiB are full, rarely used ones are forgotten. " +
				"A call may ask im.kv, im.rate and im.count 16 times together.",
			example: `im.kv.set("k", "v", "1m") assert(im.kv.get("k") == "v")`},
		{name: "im.kv.set", in: inCore, fn: (*vm).kvSet, args: []param{key, {"value", "string|number", "at most 64 KiB; a number is kept as its text"}, ttl},
			doc: "Sets a key.", example: `im.kv.set("seen:1", 1, "10m")`},
		{name: "im.kv.incr", in: inCore, fn: (*vm).kvIncr, args: []param{key, ttl, {"by?", "integer", "1 if left out"}}, results: []param{{"sum", "integer", ""}},
			doc: "Adds to a whole number and gives the sum. A new key begins at 0 and lives for ttl; adding does not prolong it.", example: `assert(im.kv.incr("n", "1m", 5) == 5)`},
		{name: "im.kv.del", in: inCore, fn: (*vm).kvDel, args: []param{key}, results: []param{{"existed", "boolean", ""}},
			doc: "Removes a key.", example: `assert(not im.kv.del("nothing"))`},
		{name: "im.kv.cas", in: inCore, fn: (*vm).kvCAS, args: []param{key, {"old", "string|number|nil", "nil: the key must not be there"}, {"value", "string|number", ""}, ttl},
			results: []param{{"set", "boolean", ""}},
			doc:     "Sets a key if it holds old. Whoever gets true was the only one.", example: `assert(im.kv.cas("lock", nil, "me", "5s"))`},
		{name: "im.rate", in: inCalls, fn: (*vm).rate, args: []param{key, {"n", "integer", "from 1 to 1,000,000"}, {"per", "string|number", span.doc}},
			results: []param{{"ok", "boolean", ""}, {"retry_ms", "integer", "0 when ok"}},
			doc:     "Takes one of n tokens, which come back evenly over per. A refused call takes nothing. 100,000 buckets are kept, each by key, n and per.",
			example: `local ok, retry = im.rate("send:1", 5, "10s") assert(ok and retry == 0)`},
		{name: "im.count.window", in: inCalls, fn: (*vm).countWindow, args: []param{key, span, {"add?", "number", "1 if left out, 0 to look"}}, results: []param{{"n", "integer", ""}},
			doc: "Counts, and gives how many were counted within the last span; what is older than its beginning weighs in by its share. 100,000 counters are kept.", example: `assert(im.count.window("hits", "1m") == 1)`},
		{name: "im.count.uniq", in: inCalls, fn: (*vm).countUniq, args: []param{key, {"member", "string|number", ""}, span}, results: []param{{"n", "integer", "256 means 256 or more"}},
			doc: "Adds a member, and gives how many different ones were added within the last span. 32 MiB of sets are kept.", example: `assert(im.count.uniq("rooms:1", "r_7", "1h") == 1)`},
		{name: "im.count.alike", in: inCalls, fn: (*vm).countAlike, args: []param{key, {"text", "string", ""}, span, {"least?", "number", "from which similarity on it is the same; 0.85 if left out"}}, results: []param{{"n", "integer", "0 when it is another text"}},
			doc:     "Holds a text against the last one of the key, and gives how often nearly the same was said again within the last span. Of another text it remembers how its first 300 characters look (im.text.skeleton), for span. 32 MiB are kept.",
			example: `im.count.alike("said:1", "Buy cheap watches here", "1m") assert(im.count.alike("said:1", "buy cheap wаtches here!", "1m") == 1)`},
	}
}

// operation counts one use of the state, and pays for it.
func (v *vm) operation(L *lua.LState, units int) ops {
	if v.ops++; v.ops > maxOps && v.phase != phaseTesting {
		L.RaiseError("more than %d operations of im.kv, im.rate and im.count in one call", maxOps)
	}
	v.spend(L, 10+units)
	return v.memory()
}

// stored is operation of values, whose store may keep a hook waiting.
func (v *vm) stored(L *lua.LState, units int) KV {
	store := v.operation(L, units)
	if v.budget.look() != nil {
		L.RaiseError("%s", v.budget.Err())
	}
	return store
}

// argKey is argument n as a key.
func argKey(L *lua.LState, n int) string {
	key := L.CheckString(n)
	if key == "" || len(key) > maxKey {
		L.ArgError(n, "a key has 1 to 128 octets")
	}
	return key
}

// argValue is argument n as a value, number or string.
func argValue(L *lua.LState, n int) string {
	value := L.CheckString(n)
	if len(value) > maxValue {
		L.ArgError(n, "a value has at most 64 KiB")
	}
	return value
}

// argSpan is argument n as a duration of at least 1 ms: milliseconds, or a whole
// number with its unit.
func argSpan(L *lua.LState, n int) time.Duration {
	d := spanOf(L.Get(n))
	if d == 0 {
		L.ArgError(n, `a time is "500ms", "90s", "5m", "1h", "7d" or milliseconds, 30 days at most`)
	}
	return d
}

// spanOf is such a duration, 0 for what is none.
func spanOf(value lua.LValue) (d time.Duration) {
	switch value := value.(type) {
	case lua.LNumber:
		if value >= 1 && value <= lua.LNumber(maxTTL/time.Millisecond) {
			d = time.Duration(float64(value) * float64(time.Millisecond))
		}
	case lua.LString:
		d = parseSpan(string(value))
	}
	if d < time.Millisecond || d > maxTTL {
		return 0
	}
	return d
}

// parseSpan reads "90s"; 0: it is none.
func parseSpan(text string) time.Duration {
	end := 0
	for end < len(text) && isDigit(text[end]) {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	if err != nil || end > 10 {
		return 0
	}
	unit := time.Duration(0)
	switch text[end:] {
	case "ms":
		unit = time.Millisecond
	case "s":
		unit = time.Second
	case "m":
		unit = time.Minute
	case "h":
		unit = time.Hour
	case "d":
		unit = 24 * time.Hour
	}
	if unit > 0 && n > int(math.MaxInt64/unit) {
		return 0
	}
	return time.Duration(n) * unit
}

// failed raises an error of the store.
func (v *vm) failed(L *lua.LState, err error) {
	if err != nil {
		L.RaiseError("im.kv: %s", err)
	}
}

func (v *vm) kvGet(L *lua.LState) int {
	key := argKey(L, 1)
	value, ok, err := v.stored(L, 0).Get(L.Context(), key)
	v.failed(L, err)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	v.spend(L, len(value)/64)
	L.Push(lua.LString(value))
	return 1
}

func (v *vm) kvSet(L *lua.LState) int {
	key, value, ttl := argKey(L, 1), argValue(L, 2), argSpan(L, 3)
	v.failed(L, v.stored(L, len(value)/64).Set(L.Context(), key, value, ttl))
	return 0
}

func (v *vm) kvIncr(L *lua.LState) int {
	key, ttl, by := argKey(L, 1), argSpan(L, 2), strlib.OptInt(L, 3, 1)
	sum, err := v.stored(L, 0).Incr(L.Context(), key, int64(by), ttl)
	v.failed(L, err)
	L.Push(lua.LNumber(sum))
	return 1
}

func (v *vm) kvDel(L *lua.LState) int {
	key := argKey(L, 1)
	existed, err := v.stored(L, 0).Del(L.Context(), key)
	v.failed(L, err)
	L.Push(lua.LBool(existed))
	return 1
}

func (v *vm) kvCAS(L *lua.LState) int {
	key, value, ttl := argKey(L, 1), argValue(L, 3), argSpan(L, 4)
	var old *string
	if L.Get(2) != lua.LNil {
		text := argValue(L, 2)
		old = &text
	}
	set, err := v.stored(L, len(value)/64).CAS(L.Context(), key, old, value, ttl)
	v.failed(L, err)
	L.Push(lua.LBool(set))
	return 1
}

func (v *vm) rate(L *lua.LState) int {
	k := rateKey{argKey(L, 1), strlib.Int(L, 2), argSpan(L, 3)}
	if k.n < 1 || k.n > maxTokens {
		L.ArgError(2, "must be from 1 to 1,000,000")
	}
	ok, retry := v.operation(L, 0).rate(k, v.frozen().UnixNano())
	L.Push(lua.LBool(ok))
	L.Push(lua.LNumber((retry + time.Millisecond - 1) / time.Millisecond))
	return 2
}

func (v *vm) countWindow(L *lua.LState) int {
	k, add := windowKey{argKey(L, 1), argSpan(L, 2)}, float64(L.OptNumber(3, 1))
	if !(add >= 0 && add <= 1<<32) {
		L.ArgError(3, "must be from 0 to 2^32")
	}
	L.Push(lua.LNumber(math.Floor(v.operation(L, 0).count(k, add, v.frozen().UnixNano()))))
	return 1
}

func (v *vm) countUniq(L *lua.LState) int {
	k, member := windowKey{argKey(L, 1), argSpan(L, 3)}, argValue(L, 2)
	L.Push(lua.LNumber(v.operation(L, len(member)/64+maxUniq/8).uniq(k, member, v.frozen().UnixNano())))
	return 1
}

func (v *vm) countAlike(L *lua.LState) int {
	k, text, least := windowKey{argKey(L, 1), argSpan(L, 3)}, v.searched(L, 2), float64(L.OptNumber(4, 0.85))
	if !(least >= 0 && least <= 1) {
		L.ArgError(4, "must be from 0 to 1")
	}
	looks := compared(text)
	v.spend(L, 2*len(looks)) // of the comparison
	L.Push(lua.LNumber(math.Floor(v.operation(L, 0).alike(k, looks, least, &v.comparer, v.frozen().UnixNano()))))
	return 1
}

// compared is what is compared of a text: how its beginning looks. However long a text is, and however much of it shows
// nothing, no more of it is looked at.
func compared(text string) string {
	return firstLetters(texts.Skeleton(firstLetters(text, saidLooked)), saidLetters)
}

// firstLetters is the beginning of a text, at most so many characters.
func firstLetters(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for at := range text {
		if most--; most < 0 {
			return strings.Clone(text[:at]) // the rest is not kept
		}
	}
	return text
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
