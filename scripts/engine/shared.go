package engine

import (
	"context"
	"errors"
	"time"

	"freeim/scripts/engine/strlib"

	lua "github.com/yuin/gopher-lua"
)

// sharedSymbols are im.shared: memory that all cores have in common.
func sharedSymbols() []symbol {
	key := param{"key", "string", "at most 128 octets"}
	ttl := param{"ttl", "string|number", `how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds`}
	problem := param{"problem", "string?", "why there is no answer: then the first is nil, and it may have happened or not"}
	return []symbol{
		{name: "im.shared.get", in: inCore, fn: (*vm).sharedGet, args: []param{key}, results: []param{{"value", "string?", ""}, problem},
			doc: "As im.kv.get, of keys that all cores of the system share, where they have something to share them by (core.redis); one core alone keeps them in its memory. " +
				"Each takes a way to a server and back, 10 ms at most, and may fail: then it gives nil and the reason, and raises nothing. Nothing here is durable: a server that loses its memory loses it. " +
				"Counts among the 16 operations of im.kv.",
			example: `assert(im.shared.get("nothing") == nil)`},
		{name: "im.shared.set", in: inCore, fn: (*vm).sharedSet, args: []param{key, {"value", "string|number", "at most 64 KiB"}, ttl}, results: []param{{"ok", "boolean?", ""}, problem},
			doc: "Sets a key.", example: `assert(im.shared.set("k", "v", "1m"))`},
		{name: "im.shared.incr", in: inCore, fn: (*vm).sharedIncr, args: []param{key, ttl, {"by?", "integer", "1 if left out"}}, results: []param{{"sum", "integer?", ""}, problem},
			doc: "As im.kv.incr. It may count twice when an answer was lost.", example: `assert(im.shared.incr("n", "1m") == 1)`},
		{name: "im.shared.del", in: inCore, fn: (*vm).sharedDel, args: []param{key}, results: []param{{"existed", "boolean?", ""}, problem},
			doc: "Removes a key, with its marks.", example: `assert(im.shared.del("nothing") == false)`},
		{name: "im.shared.cas", in: inCore, fn: (*vm).sharedCAS, args: []param{key, {"old", "string|number|nil", "nil: the key must not be there"}, {"value", "string|number", ""}, ttl},
			results: []param{{"set", "boolean?", ""}, problem},
			doc:     "Sets a key if it holds old: of all cores, whoever gets true was the only one.", example: `assert(im.shared.cas("lock", nil, "me", "5s"))`},
		{name: "im.shared.mark", in: inCore, fn: (*vm).sharedMark,
			args:    []param{key, {"member", "string|number", "at most 128 octets"}, {"value", "string|number", "at most 64 octets, 32 different ones of a key"}, {"ttl", "string|number", "from the first mark of the key"}},
			results: []param{{"value", "string?", "what the member is marked with, by this call or an earlier one"}, {"fresh", "boolean|string", "whether it was this call; the problem when there is no value"}},
			doc: "Marks a member of a key with a value, once: a member that is marked stays so, and the same call again gives the same. Exact over all cores, also when answers are lost: for votes, and who takes part. " +
				"100,000 members of a key, \"full\" beyond. Keys of marks are others than those of values.",
			example: `local value, fresh = im.shared.mark("poll", "17", "yes", "1h") assert(value == "yes" and fresh)`},
		{name: "im.shared.marks", in: inCore, fn: (*vm).sharedMarks, args: []param{key, {"member?", "string|number", ""}},
			results: []param{{"counts", "table<string, integer>?", "how many members have each value"}, {"value", "string?", "the member's, or the problem when there are no counts"}},
			doc:     "Counts the marks of a key.", example: `local counts = im.shared.marks("none") assert(next(counts) == nil)`},
	}
}

const (
	maxMark   = 64      // octets of a mark's value
	maxValues = 32      // different ones of one key
	maxMarked = 100_000 // of one key
)

// Shared is where im.shared keeps what all cores share. Methods are called while a script
// runs: each must answer within about 10 ms. An error is no answer: it may have happened.
// Implementations are safe for concurrent use.
type Shared interface {
	KV
	// Mark marks a member of key with value, unless it is marked: what it is marked with
	// then, and whether it was this call. The key lives for ttl from its first mark.
	// ErrFull: the key has 100,000 members, or 32 values.
	Mark(ctx context.Context, key, member, value string, ttl time.Duration) (marked string, fresh bool, err error)
	// Marks counts the members by value; mine is the value of member, empty for none.
	Marks(ctx context.Context, key, member string) (counts map[string]int64, mine string, err error)
}

// ErrFull is what Shared.Mark answers when a key takes no more.
var ErrFull = errors.New("full")

// shared counts one use of what the cores share, and pays for it.
func (v *vm) shared(L *lua.LState, units int) Shared {
	memory := v.operation(L, 100+units).common()
	v.asked = time.Now()
	return memory
}

// unanswered pushes nil and the reason, if there was no answer; what a script did wrong
// is raised.
func (v *vm) unanswered(L *lua.LState, err error) bool {
	v.waited += time.Since(v.asked)
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrNotANumber):
		L.RaiseError("im.shared: %s", err)
	}
	L.Push(lua.LNil)
	L.Push(lua.LString(clip(err.Error(), 256)))
	return true
}

func (v *vm) sharedGet(L *lua.LState) int {
	key := argKey(L, 1)
	value, ok, err := v.shared(L, 0).Get(context.Background(), key)
	if v.unanswered(L, err) {
		return 2
	}
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	v.spend(L, len(value)/64)
	L.Push(lua.LString(value))
	return 1
}

func (v *vm) sharedSet(L *lua.LState) int {
	key, value, ttl := argKey(L, 1), argValue(L, 2), argSpan(L, 3)
	if v.unanswered(L, v.shared(L, len(value)/64).Set(context.Background(), key, value, ttl)) {
		return 2
	}
	L.Push(lua.LTrue)
	return 1
}

func (v *vm) sharedIncr(L *lua.LState) int {
	key, ttl, by := argKey(L, 1), argSpan(L, 2), strlib.OptInt(L, 3, 1)
	sum, err := v.shared(L, 0).Incr(context.Background(), key, int64(by), ttl)
	if v.unanswered(L, err) {
		return 2
	}
	L.Push(lua.LNumber(sum))
	return 1
}

func (v *vm) sharedDel(L *lua.LState) int {
	key := argKey(L, 1)
	existed, err := v.shared(L, 0).Del(context.Background(), key)
	if v.unanswered(L, err) {
		return 2
	}
	L.Push(lua.LBool(existed))
	return 1
}

func (v *vm) sharedCAS(L *lua.LState) int {
	key, value, ttl := argKey(L, 1), argValue(L, 3), argSpan(L, 4)
	var old *string
	if L.Get(2) != lua.LNil {
		text := argValue(L, 2)
		old = &text
	}
	set, err := v.shared(L, len(value)/64).CAS(context.Background(), key, old, value, ttl)
	if v.unanswered(L, err) {
		return 2
	}
	L.Push(lua.LBool(set))
	return 1
}

func (v *vm) sharedMark(L *lua.LState) int {
	key, member, value, ttl := argKey(L, 1), argKey(L, 2), L.CheckString(3), argSpan(L, 4)
	if value == "" || len(value) > maxMark {
		L.ArgError(3, "a mark has 1 to 64 octets")
	}
	marked, fresh, err := v.shared(L, 0).Mark(context.Background(), key, member, value, ttl)
	if v.unanswered(L, err) {
		return 2
	}
	L.Push(lua.LString(marked))
	L.Push(lua.LBool(fresh))
	return 2
}

func (v *vm) sharedMarks(L *lua.LState) int {
	key, member := argKey(L, 1), ""
	if L.Get(2) != lua.LNil {
		member = argKey(L, 2)
	}
	counts, mine, err := v.shared(L, 0).Marks(context.Background(), key, member)
	if v.unanswered(L, err) {
		return 2
	}
	table := L.CreateTable(0, len(counts))
	for value, n := range counts {
		v.spend(L, 4)
		table.RawSetString(value, lua.LNumber(n))
	}
	L.Push(table)
	if mine == "" {
		return 1
	}
	L.Push(lua.LString(mine))
	return 2
}
