package engine

import (
	"fmt"
	"slices"
	"strings"

	"freeim/scripts/engine/wordlist"

	lua "github.com/yuin/gopher-lua"
)

// gate is what a hook's options say about when it is asked at all. Closed, the hook
// costs nothing: no VM is taken for it.
type gate struct {
	when  string   // NAME.KEY of im.config, a boolean or a set; empty: always
	given bool     // the operator's value: true, or a set that is not empty
	usual bool     // the default, which tests see
	set   bool     // it is a set
	kinds []string // of conversations; nil: all

	younger bound          // about accounts that are younger only
	words   *wordlist.List // about texts with one of these words only; nil: all
	faster  pace           // about messages of those who send faster only
	again   habit          // about messages that their sender said before only
}

// conversationTypes are what the option conversations may name.
func conversationTypes() []string { return []string{"chat", "group", "room"} }

// settingNamed is a setting by NAME.KEY; nil: none is declared so far.
func (v *vm) settingNamed(path string) *setting {
	name, key, _ := strings.Cut(path, ".")
	if s := v.sections[name]; s != nil {
		return s.values[key]
	}
	return nil
}

// gateWhen reads the option when.
func (v *vm) gateWhen(g *gate, value lua.LValue) bool {
	g.when = lua.LVAsString(value)
	s := v.settingNamed(g.when)
	if s == nil {
		return false
	}
	g.given, g.usual = on(s.given), on(s.standard)
	g.set = s.typ == "set"
	return s.typ == "boolean" || g.set
}

// gateWords reads the option words.
func gateWords(g *gate, value lua.LValue) (ok bool) {
	if handle, isHandle := value.(*lua.LUserData); isHandle {
		g.words, ok = handle.Value.(*wordlist.List)
	}
	return ok
}

// gateKinds reads the option conversations.
func gateKinds(g *gate, value lua.LValue) (ok bool) {
	g.kinds, ok = names(value)
	return ok && !slices.ContainsFunc(g.kinds, func(kind string) bool { return !slices.Contains(conversationTypes(), kind) })
}

// on reports whether a setting opens a gate.
func on(value lua.LValue) bool {
	if handle, ok := value.(*lua.LUserData); ok {
		set, _ := handle.Value.(words)
		return len(set) > 0
	}
	return value == lua.LTrue
}

// open reports whether the settings want the hook to be asked. In a test they are the
// test's: trying.
func (g *gate) open(trying *trying) bool {
	switch {
	case g.when == "":
		return true
	case trying == nil:
		return g.given
	}
	name, key, _ := strings.Cut(g.when, ".")
	chosen := trying.values[name][key]
	switch text, isText := chosen.(lua.LString); {
	case chosen == nil:
		return g.usual
	case g.set && isText:
		return len(wordsOf(string(text))) > 0
	case isText:
		return text == "true"
	}
	return on(chosen)
}

// takes reports whether the hook is for a call's type of conversation.
func (g *gate) takes(conversation string) bool {
	return g.kinds == nil || slices.Contains(g.kinds, conversation)
}

// mostGateVisits is how many words that end somewhere in a text the gate looks at. A text with more, of
// words that lie in one another, goes to the hook, which pays for what it finds.
const mostGateVisits = 4096

// tells reports whether a text has one of the gate's words.
func (g *gate) tells(text []rune) (found bool) {
	m := wordlist.Meter{Most: mostGateVisits}
	g.words.Scan(text, &m, func(wordlist.Match) bool {
		found = true
		return false
	})
	return found || m.Refused()
}

func (g *gate) same(other *gate) bool {
	return g.words.Same(other.words) && g.when == other.when && g.given == other.given && g.usual == other.usual && g.younger == other.younger && g.faster == other.faster && g.again == other.again && slices.Equal(g.kinds, other.kinds)
}

// String is how operators read it; empty: the hook is always asked.
func (g *gate) String() string {
	var parts []string
	if g.when != "" {
		parts = append(parts, "when "+g.when)
	}
	if g.kinds != nil {
		parts = append(parts, "in "+strings.Join(g.kinds, ", "))
	}
	if g.younger.path != "" {
		parts = append(parts, "younger than "+g.younger.path)
	}
	if g.words != nil {
		parts = append(parts, fmt.Sprintf("with one of %d words", g.words.Len()))
	}
	if g.faster.than.path != "" {
		parts = append(parts, "faster than "+g.faster.than.path+" per "+g.faster.per.path)
	}
	if g.again.more.path != "" {
		parts = append(parts, "said again more often than "+g.again.more.path+" within "+g.again.within.path)
	}
	return strings.Join(parts, " ")
}
