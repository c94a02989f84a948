package engine

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // for machines and containers that have no time zones of their own

	lua "github.com/yuin/gopher-lua"
)

// zones are time zones by name, read once: only names that there are.
type zones struct{ known sync.Map }

// find gives a zone by an offset such as "+08:00", or by a name such as
// "Europe/Berlin".
func (z *zones) find(v *vm, L *lua.LState, where string) *time.Location {
	if at, err := time.Parse("-07:00", where); err == nil {
		return at.Location()
	}
	if known, ok := z.known.Load(where); ok {
		return known.(*time.Location)
	}
	v.spend(L, 1000) // files are read
	zone, err := time.LoadLocation(where)
	if err != nil || len(where) > 64 || strings.EqualFold(where, "local") {
		L.ArgError(1, `a zone is written as "Europe/Berlin", or as an offset, "+08:00"`)
	}
	z.known.Store(where, zone)
	return zone
}
