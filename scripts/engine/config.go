package engine

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"freeim/scripts/engine/texts"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxSettings = 64       // values of one im.config
	maxSetText  = 64 << 10 // octets of one value
)

// configSymbols are im.config and the sets that it gives.
func configSymbols() []symbol {
	const local = `local limits = im.config{name = "limits", hours = {type = "number", default = 24, min = 0, doc = "how long"}, hosts = {type = "set", default = "a.org b.org"}}`
	return []symbol{
		{name: "im.config", in: inLoad, fn: (*vm).config,
			args: []param{{"declared", "table<string, any>", "name, `[a-z][a-z0-9_]*`, and by its key what each value is: {type = \"number\", default = 24, min = 0, max = 720, doc = \"…\"}. " +
				"Types are boolean, number, integer, duration (\"5m\"; min and max are written so too; read as milliseconds), string (with one_of = {…}, if it is one of several) and set (words, separated by spaces, commas or lines)"}},
			results: []param{{"", "table<string, any>", "read-only; a key that is not declared is an error; pairs and # find nothing in it"}},
			doc: "Declares what operators may set, in the server's configuration below core.rules.config. What is wrong there refuses the scripts. " +
				"Read values in hooks: tests, which see the defaults, can set others for them by t.config, but not for what was read while loading.",
			example: local},
		{name: "Set:has", in: anywhere, fn: (*vm).setHas, args: []param{{"word", "string", ""}}, results: []param{{"", "boolean", ""}},
			doc: "Whether a word is in the set, in upper or lower case.", setup: local, example: `assert(limits.hosts:has("A.org"))`},
	}
}

// section is one im.config of one VM: what is declared and what holds.
type section struct {
	name   string
	place  string // file:line
	values map[string]*setting
	table  *lua.LTable // what holds, by key; scripts have a read-only view of it
}

// setting is one declared value.
type setting struct {
	typ      string
	doc      string
	min, max float64 // milliseconds for durations
	oneOf    []string
	standard lua.LValue // the default
	given    lua.LValue // the operator's, or the default
}

// words are a set: a value of type "set".
type words map[string]struct{}

// Setting is a value that operators may set.
type Setting struct {
	Name, Key      string // core.rules.config.NAME.KEY
	Type, Doc      string
	Default, Value string
	Place          string // where it is declared, file:line
}

// config is im.config{…}.
func (v *vm) config(L *lua.LState) int {
	declared := L.CheckTable(1)
	name, _ := declared.RawGetString("name").(lua.LString)
	if !isSettingName(string(name)) {
		L.RaiseError("im.config: name must be a word of a-z, 0-9 and _")
	}
	if other := v.sections[string(name)]; other != nil {
		L.RaiseError("im.config: %s is declared already, at %s", name, other.place)
	}
	file, line := caller(L)
	s := &section{name: string(name), place: file + ":" + strconv.Itoa(line), values: map[string]*setting{}}
	declared.ForEach(func(key, value lua.LValue) {
		if key.String() == "name" {
			return
		}
		v.spend(L, 20)
		if key.Type() != lua.LTString || !isSettingName(key.String()) || len(s.values) == maxSettings {
			L.RaiseError("im.config: %s: keys are words of a-z, 0-9 and _, %d at most", name, maxSettings)
		}
		s.values[key.String()] = v.declareSetting(L, s.path(key.String()), value)
	})
	if len(s.values) == 0 {
		L.RaiseError("im.config: %s declares nothing", name)
	}
	v.giveSettings(L, s)
	s.table = L.CreateTable(0, len(s.values))
	s.table.Metatable = v.metatable(nil, func(L *lua.LState) int { return v.noSetting(L, s) })
	for key, value := range s.values {
		s.table.RawSetString(key, value.given)
	}
	if v.sections == nil {
		v.sections = map[string]*section{}
	}
	v.sections[s.name] = s
	L.Push(v.readOnly(s.table, "configuration"))
	return 1
}

func isSettingName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || i > 0 && (c == '_' || isDigit(c))) {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

func (s *section) path(key string) string { return "core.rules.config." + s.name + "." + key }

// declareSetting reads {type = …, default = …}.
func (v *vm) declareSetting(L *lua.LState, path string, declared lua.LValue) *setting {
	table, ok := declared.(*lua.LTable)
	if !ok {
		L.RaiseError("im.config: %s must be a table: {type = …, default = …}", path)
	}
	s := &setting{min: math.Inf(-1), max: math.Inf(1)}
	s.typ = lua.LVAsString(table.RawGetString("type"))
	if !slices.Contains([]string{"boolean", "number", "integer", "duration", "string", "set"}, s.typ) {
		L.RaiseError("im.config: %s has the type %q: must be boolean, number, integer, duration, string or set", path, clip(s.typ, 64))
	}
	var standard lua.LValue = lua.LNil
	bound := func(n *float64) func(lua.LValue) error {
		return func(value lua.LValue) (err error) {
			if !s.numeric() {
				return fmt.Errorf("bounds are for numbers and durations")
			}
			*n, err = s.number(value)
			return err
		}
	}
	known := map[string]func(lua.LValue) error{
		"type": func(lua.LValue) error { return nil }, "default": func(value lua.LValue) error { standard = value; return nil },
		"doc": func(value lua.LValue) error { s.doc = clip(lua.LVAsString(value), 256); return nil },
		"min": bound(&s.min), "max": bound(&s.max),
		"one_of": func(value lua.LValue) error {
			if s.oneOf, ok = names(value); !ok || s.typ != "string" {
				return fmt.Errorf("one_of is a list of strings, for strings")
			}
			return nil
		},
	}
	table.ForEach(func(key, value lua.LValue) {
		set := known[key.String()]
		if set == nil {
			L.RaiseError("im.config: %s has no option '%s'", path, clip(key.String(), 64))
		}
		if err := set(value); err != nil {
			L.RaiseError("im.config: %s: %s", path, err)
		}
	})
	var err error
	if s.standard, err = s.read(v, standard); err != nil {
		L.RaiseError("im.config: the default of %s %s", path, err)
	}
	s.given = s.standard
	return s
}

// giveSettings puts in what the operator gave.
func (v *vm) giveSettings(L *lua.LState, s *section) {
	for key, text := range v.b.opts.Config[s.name] {
		value := s.values[key]
		if value == nil {
			L.RaiseError("%s is not known; %s", s.path(key), nearest(key, slices.Collect(maps.Keys(s.values))))
		}
		var err error
		if value.given, err = value.read(v, lua.LString(text)); err != nil {
			L.RaiseError("%s %s", s.path(key), err)
		}
	}
}

// noSetting is config.key for a key that is not declared.
func (v *vm) noSetting(L *lua.LState, s *section) int {
	key := L.Get(2).String()
	v.spend(L, len(s.values)*min(len(key), texts.MaxName)/4+1) // of what nearest does
	L.RaiseError("%s is not declared; %s", s.path(clip(key, 64)), nearest(key, slices.Collect(maps.Keys(s.values))))
	return 0
}

// configure has a VM that comes from a test, or goes to one, see the values that hold there.
func (v *vm) configure(t *trying) {
	now := tried{t, 0}
	if t != nil {
		now.version = t.version
	}
	if v.tried == now {
		return
	}
	v.tried = now
	for name, s := range v.sections {
		for key, value := range s.values {
			s.table.RawSetString(key, value.holds(v, t, name, key))
		}
	}
}

// holds is a setting's value: the operator's, or in a test the test's or the default.
func (s *setting) holds(v *vm, t *trying, name, key string) lua.LValue {
	if t == nil {
		return s.given
	}
	if chosen := t.values[name][key]; chosen != nil {
		if value, err := s.read(v, chosen); err == nil { // t.config has checked it
			return value
		}
	}
	return s.standard
}

// tried says which values a VM has: those of a test, as they were after so many changes.
// The zero value: the operator's.
type tried struct {
	of      *trying
	version int
}

func (s *setting) numeric() bool {
	return s.typ == "number" || s.typ == "integer" || s.typ == "duration"
}

// read makes a value of one that a script or, as a text, the operator wrote. The
// error says what is wrong, behind the path.
func (s *setting) read(v *vm, from lua.LValue) (lua.LValue, error) {
	text, isText := from.(lua.LString)
	if len(text) > maxSetText {
		return nil, fmt.Errorf("has more than %d octets", maxSetText)
	}
	switch {
	case s.numeric():
		n, err := s.number(from)
		if err == nil && (n < s.min || n > s.max) {
			err = fmt.Errorf("is %s: must be from %s to %s", plain(from), s.shown(s.min), s.shown(s.max))
		}
		return lua.LNumber(n), err
	case s.typ == "boolean" && (from.Type() == lua.LTBool || text == "true" || text == "false"):
		return lua.LBool(from == lua.LTrue || text == "true"), nil
	case s.typ == "string" && isText:
		if len(s.oneOf) > 0 && !slices.Contains(s.oneOf, string(text)) {
			return nil, fmt.Errorf("is %q: must be %s", clip(string(text), 64), strings.Join(s.oneOf, " or "))
		}
		return text, nil
	case s.typ == "set" && isText:
		return v.handle(wordsOf(string(text)), v.classes["Set"]), nil
	}
	kind := map[string]string{"boolean": "true or false", "string": "a text", "set": "a text of words"}[s.typ]
	return nil, fmt.Errorf("is %s, not %s", described(from), kind)
}

// wordsOf reads a set.
func wordsOf(text string) words {
	set := words{}
	for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' }) {
		set[word] = struct{}{}
	}
	return set
}

// described is a value in an error.
func described(value lua.LValue) string {
	if text, ok := value.(lua.LString); ok {
		return strconv.Quote(clip(string(text), 64))
	}
	return plain(value)
}

// number reads a number, or a duration as milliseconds.
func (s *setting) number(from lua.LValue) (n float64, err error) {
	switch from := from.(type) {
	case lua.LNumber:
		n = float64(from)
	case lua.LString:
		if s.typ == "duration" {
			d, isSpan := spanOrNone(string(from))
			if !isSpan {
				return 0, fmt.Errorf(`is %q, not a time: "500ms", "90s", "5m", "1h" or "7d"`, clip(string(from), 64))
			}
			return float64(d.Milliseconds()), nil
		}
		if n, err = strconv.ParseFloat(string(from), 64); err != nil {
			return 0, fmt.Errorf("is %q, not a number", clip(string(from), 64))
		}
	default:
		return 0, fmt.Errorf("is %s, not a number", plain(from))
	}
	if math.IsNaN(n) || s.typ == "integer" && n != math.Trunc(n) {
		return 0, fmt.Errorf("is %s, not a whole number", plain(from))
	}
	return n, nil
}

// spanOrNone is parseSpan, for which 0 is no time.
func spanOrNone(text string) (time.Duration, bool) {
	if strings.TrimLeft(text, "0") == "" && text != "" || text == "0s" || text == "0ms" {
		return 0, true
	}
	d := parseSpan(text)
	return d, d > 0
}

// shown is a bound as it is written.
func (s *setting) shown(n float64) string {
	if s.typ == "duration" && !math.IsInf(n, 0) {
		return (time.Duration(n) * time.Millisecond).String()
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

func (v *vm) setHas(L *lua.LState) int {
	set, word := receiver[words](L, "set"), L.CheckString(2)
	v.spend(L, 1+len(word)/16)
	_, has := set[strings.ToLower(word)]
	L.Push(lua.LBool(has))
	return 1
}

// settingsOf lists what a VM's scripts declare.
func settingsOf(declared map[string]*section) (all []Setting) {
	for name, s := range declared {
		for key, value := range s.values {
			all = append(all, Setting{Name: name, Key: key, Type: value.typ, Doc: value.doc, Place: s.place,
				Default: value.text(value.standard), Value: value.text(value.given)})
		}
	}
	slices.SortFunc(all, func(x, y Setting) int { return strings.Compare(x.Name+"."+x.Key, y.Name+"."+y.Key) })
	return all
}

// unclaimed is an error when something is configured that no script declares.
func (b *bundle) unclaimed() error {
	var declared []string
	for _, s := range b.settings {
		declared = append(declared, s.Name)
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(b.opts.Config)) {
		if !slices.Contains(declared, name) {
			faults = append(faults, fmt.Errorf("core.rules.config.%s is set, but no script declares it by im.config; %s", name, nearest(name, declared)))
		}
	}
	return errors.Join(faults...)
}

// text is a value as an operator writes it.
func (s *setting) text(value lua.LValue) string {
	switch value := value.(type) {
	case lua.LNumber:
		return s.shown(float64(value))
	case *lua.LUserData:
		return strings.Join(slices.Sorted(maps.Keys(value.Value.(words))), " ")
	}
	return value.String()
}

// Settings are what operators may set for the active bundle, and what holds.
func (e *Engine) Settings() []Setting { return slices.Clone(e.active.Load().settings) }

// trying is what one test has set, and what came of it.
type trying struct {
	random  *rand.Rand // math.random of the test and of the hooks that it asks; nil: each VM's own
	values  map[string]map[string]lua.LValue
	version int      // how often values were set
	effects []Effect // of its calls
}

// config is t.config{name = {key = value}}.
func (t *tester) config(L *lua.LState) int {
	L.CheckTable(1).ForEach(func(name, values lua.LValue) {
		declared, table := t.v.sections[name.String()], (*lua.LTable)(nil)
		if table, _ = values.(*lua.LTable); declared == nil || table == nil {
			L.RaiseError("t.config: %s is not declared by im.config, or not given as a table", clip(name.String(), 64))
		}
		into := t.b.opts.trying.values[declared.name]
		if into == nil {
			into = map[string]lua.LValue{}
			t.b.opts.trying.values[declared.name] = into
		}
		table.ForEach(func(key, value lua.LValue) {
			known := declared.values[key.String()]
			if known == nil {
				L.RaiseError("t.config: %s is not known; %s", declared.path(clip(key.String(), 64)), nearest(key.String(), slices.Collect(maps.Keys(declared.values))))
			}
			if _, err := known.read(t.v, value); err != nil {
				L.RaiseError("t.config: %s %s", declared.path(key.String()), err)
			}
			into[key.String()] = value
		})
	})
	t.b.opts.trying.version++
	t.v.configure(t.b.opts.trying)
	return 0
}

// nearest says which of known was likely meant.
func nearest(name string, known []string) string {
	best := texts.Closest(name, known, math.MaxInt32)
	if best == "" {
		return "there is nothing to set"
	}
	return "the nearest is " + best
}
