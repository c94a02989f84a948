package strlib

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// Int is argument n as a whole number within ±2^53.
func Int(L *lua.LState, n int) int {
	f := float64(L.CheckNumber(n))
	const bound = 1 << 53
	switch {
	case math.IsNaN(f):
		return 0
	case f > bound:
		return bound
	case f < -bound:
		return -bound
	}
	return int(f)
}

// OptInt is Int, or standard when the argument is nil or absent.
func OptInt(L *lua.LState, n, standard int) int {
	if L.Get(n) == lua.LNil {
		return standard
	}
	return Int(L, n)
}

// Slice turns Lua's from and to, which count from 1 or from the end, into Go's, within length.
func Slice(length, from, to int) (int, int) {
	if from < 0 {
		from = max(length+from+1, 1)
	}
	if to < 0 {
		to = length + to + 1
	}
	from, to = max(from, 1), min(to, length)
	if from > to {
		return 0, 0
	}
	return from - 1, to
}

// Start is argument n as the offset to begin at, within length; the beginning when it is left out.
func Start(L *lua.LState, n, length int) int {
	from := OptInt(L, n, 1)
	if from < 0 {
		from = max(length+from+1, 1)
	}
	return min(max(from, 1)-1, length)
}
