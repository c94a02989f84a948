package strlib

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// format is Lua's string.format: %c %d %i %o %u %x %X %e %E %f %g %G %q %s %%
// with the flags "-+ #0", and at most two digits of width and of precision.
func (l *library) format(L *lua.LState) int {
	format := L.CheckString(1)
	l.host.Claim(L, len(format))
	var out strings.Builder
	arg := 1
	for {
		plain, rest, found := strings.Cut(format, "%")
		out.WriteString(plain)
		if !found {
			break
		}
		if strings.HasPrefix(rest, "%") {
			out.WriteByte('%')
			format = rest[1:]
			continue
		}
		spec, verb, tail := directive(L, rest)
		arg++
		part := l.formatted(L, spec, verb, arg)
		l.host.Claim(L, out.Len()+len(part))
		out.WriteString(part)
		format = tail
	}
	L.Push(lua.LString(out.String()))
	return 1
}

// directive splits what follows a %: flags, width and precision; the verb; the rest.
func directive(L *lua.LState, text string) (spec string, verb byte, rest string) {
	at := span(text, 0, "-+ #0", 5)
	at = span(text, at, "0123456789", 2)
	if at < len(text) && text[at] == '.' {
		at = span(text, at+1, "0123456789", 2)
	}
	if at == len(text) || strings.IndexByte("0123456789-+ #.", text[at]) >= 0 {
		L.RaiseError("invalid format (width or precision too long, or no conversion)")
	}
	return text[:at], text[at], text[at+1:]
}

// span skips at most n octets that are in set.
func span(text string, at int, set string, n int) int {
	for ; n > 0 && at < len(text) && strings.IndexByte(set, text[at]) >= 0; n-- {
		at++
	}
	return at
}

func (l *library) formatted(L *lua.LState, spec string, verb byte, arg int) string {
	switch verb {
	case 'd', 'i':
		return fmt.Sprintf("%"+spec+"d", int64(L.CheckNumber(arg)))
	case 'u':
		return fmt.Sprintf("%"+spec+"d", uint64(int64(L.CheckNumber(arg))))
	case 'o', 'x', 'X':
		return fmt.Sprintf("%"+spec+string(verb), uint64(int64(L.CheckNumber(arg))))
	case 'e', 'E', 'f', 'g', 'G':
		if !strings.Contains(spec, ".") {
			spec += ".6"
		}
		return fmt.Sprintf("%"+spec+string(verb), float64(L.CheckNumber(arg)))
	case 'c':
		return string([]byte{byte(Int(L, arg))})
	case 'q':
		return quoted(L.CheckString(arg))
	case 's':
		text := l.host.Text(L, L.CheckAny(arg))
		l.host.Claim(L, len(text))
		return fmt.Sprintf("%"+strings.Map(textFlag, spec)+"s", text)
	}
	L.RaiseError("invalid conversion '%%%c' to format", verb)
	return ""
}

// textFlag keeps the flags that mean something for a text.
func textFlag(r rune) rune {
	if strings.ContainsRune("+ #", r) {
		return -1
	}
	return r
}

// quoted is text as a Lua literal.
func quoted(text string) string {
	return `"` + strings.NewReplacer("\\", `\\`, `"`, `\"`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`).Replace(text) + `"`
}
