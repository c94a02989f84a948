package strlib_test

import (
	"strings"
	"testing"

	"freeim/scripts/engine/strlib"

	lua "github.com/yuin/gopher-lua"
)

// host has so many units, and allows strings of 1,000 octets, 100 results and texts of 2,000
// octets to search.
type host struct{ units int }

func (*host) refuse(L *lua.LState, is bool, why string) {
	if is {
		L.RaiseError("%s", why)
	}
}

func (h *host) Spend(L *lua.LState, units int) {
	h.units -= units
	h.refuse(L, h.units < 0, "spent")
}

func (h *host) Claim(L *lua.LState, octets int) {
	h.refuse(L, octets > 1000, "too long")
	h.Spend(L, octets/64+1)
}

func (h *host) Results(L *lua.LState, n int)              { h.refuse(L, n > 100, "too many") }
func (h *host) Search(L *lua.LState, text string)         { h.refuse(L, len(text) > 2000, "not searched") }
func (*host) Text(_ *lua.LState, value lua.LValue) string { return "<" + value.String() + ">" }

// ran runs a source with the library under a host that has so many units.
func ran(t *testing.T, units int, source string) (result string, left int, err error) {
	t.Helper()
	L := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer L.Close()
	h := &host{units}
	library := L.NewTable()
	for name, fn := range strlib.Functions(h, 1000) {
		library.RawSetString(name, L.NewFunction(fn))
	}
	L.SetGlobal("string", library)
	L.SetGlobal("some", lua.LString(strings.Repeat("a", 900)))
	L.SetGlobal("long", lua.LString(strings.Repeat("a", 5000)))
	if err := L.DoString("return " + source); err != nil {
		return "", h.units, err
	}
	return L.Get(1).String(), h.units, nil
}

// What was compiled for gmatch is not taken for another pattern.
func TestPatternsAreToldApart(t *testing.T) {
	const source = `(function() for _ in string.gmatch("a spoiler", "spoiler") do end return string.find("a spoiler", "gmatch spoiler") end)()`
	if got, _, err := ran(t, 1000, source); err != nil || got != "nil" {
		t.Errorf("got %q, %v, want nil", got, err)
	}
}

// What is too much is refused before it is made, and what is no work of the VM's is paid.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		`string.rep("ab", 501)`:  "longer than 1000",
		`string.rep("ab", 2^53)`: "longer than 1000",
		`string.upper(long)`:     "too long",
		`string.reverse(long)`:   "too long",
		`string.format(long)`:    "too long",
		`string.format("%s %s", string.rep("a", 600), string.rep("a", 600))`: "too long",
		`string.format("%100d", 1)`:                                   "invalid format",
		`string.byte(long, 1, 101)`:                                   "too many",
		`string.find(long, "a")`:                                      "not searched",
		`string.gmatch(long, "a")`:                                    "not searched",
		`string.gsub(string.rep("a", 100), "a", string.rep("b", 50))`: "longer than 1000",
		`string.gsub("a", "a", "%2")`:                                 "invalid capture index",
		`string.match(string.rep("a", 900), "(.-)(.-)(.-)(.-)x")`:     "gave up",
	} {
		if _, _, err := ran(t, 1<<20, source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
	for source, least := range map[string]int{ // which have no other work than that of the function
		`string.rep("a", 1000)`: 15, `string.lower(some)`: 28, `string.gsub(some, "b", "c")`: 14, `string.find(some, "(a)(b)")`: 300, `string.find(some, "b", 1, true)`: 7,
		`string.format("%s%d", some, 1)`: 28, `string.match(some, "a-b", 800)`: 600, `string.char(1)`: 1,
	} {
		_, left, err := ran(t, 1<<20, source)
		if paid := 1<<20 - left; err != nil || paid < least {
			t.Errorf("%s: %v, and it paid %d units, want %d at least", source, err, paid, least)
		} else if _, _, err := ran(t, paid-1, source); err == nil || !strings.Contains(err.Error(), "spent") {
			t.Errorf("%s: got %v with a unit less than its %d", source, err, paid)
		}
	}
}

func TestHostsText(t *testing.T) {
	if got, _, err := ran(t, 100, `string.format("%-6s|%d", true, 3)`); got != "<true>|3" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Positions count from 1, or from the end, as the manual says.
func TestSlice(t *testing.T) {
	for _, row := range []struct{ from, to, first, last int }{
		{1, -1, 0, 5}, {2, 3, 1, 3}, {-2, -1, 3, 5}, {0, 2, 0, 2}, {-9, 9, 0, 5}, {4, 3, 0, 0}, {6, 9, 0, 0},
	} {
		if first, last := strlib.Slice(5, row.from, row.to); first != row.first || last != row.last {
			t.Errorf("%d to %d: got [%d, %d), want [%d, %d)", row.from, row.to, first, last, row.first, row.last)
		}
	}
}
