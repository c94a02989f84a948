package conf

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Prefix begins the names of the variables that override keys. What follows is
// the key's path in upper case, with _ for everything that is no letter or digit:
// edge.tcp is FREEIM_EDGE_TCP. No variable beginning so may mean anything else.
//
// The value is the text itself; of a list, "a,b" or YAML ("[a, b]"); of a map or
// a list of sections, YAML.
const Prefix = "FREEIM_"

// variables lists what env finds: the variables of every key, and whatever else
// this process's environment has under Prefix, since env cannot list its names.
func variables(env func(string) (string, bool), into any) (environ []string) {
	names := map[string]bool{}
	for _, k := range Keys(into) {
		names[k.Env] = true
	}
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, Prefix) {
			names[name] = true
		}
	}
	for name := range names {
		if value, ok := env(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// environment applies the variables to root and notes those that are no key's.
func (l *loader) environment(environ []string, root reflect.Value) {
	vars := map[string]string{}
	for _, line := range environ {
		if name, value, _ := strings.Cut(line, "="); strings.HasPrefix(name, Prefix) {
			vars[name] = value
		}
	}
	l.lines = false
	used := map[string]string{}
	l.override(root, "", vars, used)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if used[name] == "" && !(l.part && elsewhere(root, name)) {
			l.errs = append(l.errs, fmt.Errorf("%s is not known; %s", name, nearestVariable(root, name)))
		}
	}
}

// elsewhere reports whether a variable is of a section that root does not have.
func elsewhere(root reflect.Value, name string) bool {
	return !slices.ContainsFunc(children(root), func(c child) bool {
		return name == envName(c.name) || strings.HasPrefix(name, envName(c.name)+"_")
	})
}

func nearestVariable(root reflect.Value, name string) string {
	var known []string
	walk(root, "", func(path string, _ reflect.Value, section bool) {
		if !section {
			known = append(known, envName(path))
		}
	})
	return nearestOf(known, func(candidate string) int { return distance(name, candidate) })
}

// override sets v, which is at path, and what is below it, from vars. It notes
// in used which path took a variable, and reports whether any did.
func (l *loader) override(v reflect.Value, path string, vars, used map[string]string) (touched bool) {
	switch {
	case isScalar(v):
	case v.Kind() == reflect.Pointer:
		return l.overridePointer(v, path, vars, used)
	case isSection(v):
		for _, c := range children(v) {
			touched = l.override(c.value, join(path, c.name), vars, used) || touched
		}
		return touched
	}
	name := envName(path)
	text, ok := vars[name]
	if !ok {
		return false
	}
	l.source = name
	if other := used[name]; other != "" {
		l.errs = append(l.errs, fmt.Errorf("%s could mean %s or %s: give them in the file", name, other, path))
		return false
	}
	used[name] = path
	l.setText(v, path, text)
	return true
}

// overridePointer makes a section that is not there when a variable is below it.
func (l *loader) overridePointer(v reflect.Value, path string, vars, used map[string]string) bool {
	if !v.IsNil() {
		return l.override(v.Elem(), path, vars, used)
	}
	fresh := reflect.New(v.Type().Elem())
	touched := l.override(fresh.Elem(), path, vars, used)
	if touched {
		v.Set(fresh)
	}
	return touched
}

// setText gives v the text of a variable.
func (l *loader) setText(v reflect.Value, path, text string) {
	switch {
	case isScalar(v):
		l.set(v, plain(text), path)
	case v.Kind() == reflect.Slice && !strings.HasPrefix(text, "["):
		l.set(v, split(text), path)
	default:
		if n := l.parse([]byte(text)); n != nil {
			l.set(v, n, path)
		}
	}
}

// plain is a value whose type does not count.
func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// split is the list "a,b"; the empty text is the empty list.
func split(text string) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if text == "" {
		return list
	}
	for item := range strings.SplitSeq(text, ",") {
		list.Content = append(list.Content, plain(strings.TrimSpace(item)))
	}
	return list
}

func envName(path string) string {
	name := []byte(Prefix + strings.ToUpper(path))
	for i, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			name[i] = '_'
		}
	}
	return string(name)
}
