package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// maxPrefixes is how many entries a list of addresses may have.
const maxPrefixes = 10_000

// factSymbols are im.cidr, im.hash, im.today and im.file.
func factSymbols() []symbol {
	const local = `local inside = im.cidr({"10.0.0.0/8", "2001:db8::/32"})`
	return []symbol{
		{name: "im.cidr", in: inLoad, fn: (*vm).cidr, args: []param{{"list", "string|string[]", "prefixes or addresses, or a text with one per line, where # begins a comment; 10,000 at most"}}, results: []param{{"", "im.Cidr", ""}},
			doc: "A set of networks.", example: local},
		{name: "Cidr:has", in: anywhere, fn: (*vm).cidrHas, args: []param{{"addr", "string", "an address, or address and port"}}, results: []param{{"", "boolean", "false for what is no address"}},
			doc: "Whether an address is in one of the networks.", setup: local, example: `assert(inside:has("10.1.2.3:443") and not inside:has(c.client_addr))`},
		{name: "im.hash", in: anywhere, fn: (*vm).hash, args: []param{{"text", "string", ""}}, results: []param{{"hex", "string", "64 digits"}},
			doc: "SHA-256: a short name for a long text, the same on every server.", example: `assert(im.hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")`},
		{name: "im.today", in: inCalls, fn: (*vm).today, args: []param{{"zone?", "string", `a name, as "Europe/Berlin", or an offset to the east of UTC, as "+08:00"; UTC if left out`}, {"at?", "number", "another time, as im.now gives it"}},
			results: []param{{"", "{date: string, year: integer, month: integer, day: integer, hour: integer, minute: integer, weekday: integer}", ""}},
			doc:     "The time of im.now as date and clock; weekday is 1 on Monday.", example: `local t = im.today("+08:00", im.now()) assert(#t.date == 10 and t.weekday <= 7)`},
		{name: "im.file", in: inLoad, fn: (*vm).dataFile, args: []param{{"path", "string", `of a *.txt or *.json file of the bundle, from its root: "moderation/words.txt"`}}, results: []param{{"text", "string", ""}},
			doc: "The content of a data file. It belongs to the bundle: a change is a new bundle.", example: `assert(not pcall(im.file, "nothing.txt"))`},
	}
}

// networks is a set of prefixes, looked up once per length that occurs. Immutable.
type networks struct {
	prefixes map[netip.Prefix]struct{}
	lengths  [2][]int // of IPv4 and IPv6
}

// lines are the entries of a list: a table of strings, or a text with one per
// line where # begins a comment line.
func lines(L *lua.LState, n int, function string) []string {
	var out []string
	switch list := L.Get(n).(type) {
	case lua.LString:
		for line := range strings.Lines(string(list)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, line)
			}
		}
	case *lua.LTable:
		for i := 1; i <= list.Len(); i++ {
			entry, ok := element(list, i).(lua.LString)
			if !ok {
				L.RaiseError("%s: entry %d is a %s, not a string", function, i, element(list, i).Type())
			}
			out = append(out, strings.TrimSpace(string(entry)))
		}
	default:
		L.RaiseError("%s needs a table of strings or a text with one per line", function)
	}
	return out
}

func (v *vm) cidr(L *lua.LState) int {
	entries := lines(L, 1, "im.cidr")
	if len(entries) > maxPrefixes {
		L.RaiseError("im.cidr: %d entries, the limit is %d", len(entries), maxPrefixes)
	}
	v.spend(L, 4*len(entries))
	n := &networks{prefixes: map[netip.Prefix]struct{}{}}
	var seen [2][129]bool
	for _, entry := range entries {
		prefix, err := netip.ParsePrefix(entry)
		if err != nil {
			addr, err := netip.ParseAddr(entry)
			if err != nil || addr.Zone() != "" {
				L.RaiseError("im.cidr: %q is no network and no address", clip(entry, 64))
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Addr().Is4In6() {
			L.RaiseError("im.cidr: write %q as IPv4", clip(entry, 64))
		}
		n.prefixes[prefix.Masked()] = struct{}{}
		family := family(prefix.Addr())
		if !seen[family][prefix.Bits()] {
			seen[family][prefix.Bits()] = true
			n.lengths[family] = append(n.lengths[family], prefix.Bits())
		}
	}
	L.Push(v.handle(n, v.classes["Cidr"]))
	return 1
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

func (n *networks) has(text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		port, err := netip.ParseAddrPort(text)
		if err != nil {
			return false
		}
		addr = port.Addr()
	}
	addr = addr.Unmap().WithZone("")
	for _, bits := range n.lengths[family(addr)] {
		if prefix, err := addr.Prefix(bits); err == nil {
			if _, ok := n.prefixes[prefix]; ok {
				return true
			}
		}
	}
	return false
}

func (v *vm) cidrHas(L *lua.LState) int {
	n, text := receiver[*networks](L, "set of networks"), L.CheckString(2)
	v.spend(L, 2+len(n.lengths[0])+len(n.lengths[1])+len(text)/16)
	L.Push(lua.LBool(n.has(text)))
	return 1
}

func (v *vm) hash(L *lua.LState) int {
	text := L.CheckString(1)
	v.spend(L, 10+len(text)/16)
	sum := sha256.Sum256([]byte(text))
	L.Push(lua.LString(hex.EncodeToString(sum[:])))
	return 1
}

func (v *vm) today(L *lua.LState) int {
	zone := time.UTC
	if where := L.OptString(1, ""); where != "" {
		zone = v.b.zones.find(v, L, where)
	}
	v.spend(L, 20)
	now := v.frozen().In(zone)
	if L.Get(2) != lua.LNil {
		const most = 1e14 // milliseconds: some 3,000 years
		at := L.CheckNumber(2)
		if !(at >= -most && at <= most) {
			L.ArgError(2, "must be milliseconds since 1970")
		}
		now = time.UnixMilli(int64(at)).In(zone)
	}
	t := L.CreateTable(0, 8)
	for name, n := range map[string]int{"year": now.Year(), "month": int(now.Month()), "day": now.Day(),
		"hour": now.Hour(), "minute": now.Minute(), "weekday": (int(now.Weekday())+6)%7 + 1} {
		t.RawSetString(name, lua.LNumber(n))
	}
	t.RawSetString("date", lua.LString(now.Format(time.DateOnly)))
	L.Push(t)
	return 1
}

func (v *vm) dataFile(L *lua.LState) int {
	name := L.CheckString(1)
	for _, f := range v.b.tree.files {
		if f.Path == name && isData(name) {
			v.spend(L, len(f.Text)/64+1)
			L.Push(lua.LString(f.Text))
			return 1
		}
	}
	L.RaiseError("im.file: the scripts have no data file %q; those are *.txt and *.json", clip(name, 128))
	return 0
}
