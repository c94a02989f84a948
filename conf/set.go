package conf

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// set gives v the value of n.
func (l *loader) set(v reflect.Value, n *yaml.Node, path string) {
	switch {
	case n.Kind == yaml.AliasNode:
		l.fault(n, path, "is an alias: write the value out, in quotes if it begins with *")
	case isScalar(v):
		l.setScalar(v, n, path)
	case v.Kind() == reflect.Pointer:
		l.setPointer(v, n, path)
	case isSection(v):
		l.setSection(v, n, path)
	case v.Kind() == reflect.Slice:
		l.setList(v, n, path)
	case v.Kind() == reflect.Map:
		l.setMap(v, n, path)
	default:
		l.fault(n, path, "cannot be read into a %s", v.Type())
	}
}

// setPointer makes the section that was not there by default. A key with nothing
// below it leaves it away.
func (l *loader) setPointer(v reflect.Value, n *yaml.Node, path string) {
	if v.IsNil() && isNull(n) {
		return
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	l.set(v.Elem(), n, path)
}

func (l *loader) setSection(v reflect.Value, n *yaml.Node, path string) {
	if isNull(n) {
		return // a key with everything below it commented out
	}
	known := children(v)
	for _, p := range l.pairs(n, path, "section") {
		i := indexOf(known, p.name)
		if i < 0 && l.part && path == "" {
			continue
		}
		if i < 0 {
			l.fault(p.key, join(path, p.name), "is not known; %s", l.nearest(path, p.name, known))
			continue
		}
		l.set(known[i].value, p.value, join(path, p.name))
	}
}

// pair is a key of a mapping and what is below it.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs are the keys of n, each once. kind is what n should be, for the fault
// when it is no mapping.
func (l *loader) pairs(n *yaml.Node, path, kind string) (out []pair) {
	if n.Kind != yaml.MappingNode {
		l.fault(n, path, "is %s, not a %s", unseen(n), kind)
		return nil
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			l.fault(key, path, "has a key that is %s, not a word", describe(key))
			continue
		}
		if line, twice := first[key.Value]; twice {
			l.fault(key, join(path, key.Value), "is given twice, first in line %d", line)
			continue
		}
		first[key.Value] = key.Line
		out = append(out, pair{key.Value, key, value})
	}
	return out
}

// setList replaces the default list.
func (l *loader) setList(v reflect.Value, n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		l.fault(n, path, "is %s, not a list", unseen(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		l.set(list.Index(i), item, fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(list)
}

// setMap replaces the default map, whose keys are free.
func (l *loader) setMap(v reflect.Value, n *yaml.Node, path string) {
	if v.Type().Key().Kind() != reflect.String {
		l.fault(n, path, "cannot be read into a %s", v.Type())
		return
	}
	fresh := reflect.MakeMap(v.Type())
	for _, p := range l.pairs(n, path, "map") {
		value := reflect.New(v.Type().Elem()).Elem()
		l.set(value, p.value, join(path, p.name))
		fresh.SetMapIndex(reflect.ValueOf(p.name).Convert(v.Type().Key()), value)
	}
	v.Set(fresh)
}

// setScalar reads one value; n without a tag comes from a variable, where
// everything is text.
func (l *loader) setScalar(v reflect.Value, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		l.fault(n, path, "is %s, not %s", describe(n), kindOf(v))
		return
	}
	if wanted := tagOf(v); n.Tag != "" && wanted != "" && n.ShortTag() != wanted {
		is := describe(n)
		if wanted == "!!str" {
			is = unseen(n) + " without quotes"
		}
		l.fault(n, path, "is %s, not %s", is, kindOf(v))
		return
	}
	if err := parseScalar(v, n.Value); err != nil {
		l.fault(n, path, "is %s: %v", describe(n), err)
	}
}

// isScalar reports whether v is written as one value.
func isScalar(v reflect.Value) bool {
	if _, ok := textOf(v); ok {
		return true
	}
	switch v.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// textOf is v as something that reads itself from text.
func textOf(v reflect.Value) (encoding.TextUnmarshaler, bool) {
	if !v.CanAddr() {
		return nil, false
	}
	u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return u, ok
}

// parseScalar reads text into v.
func parseScalar(v reflect.Value, text string) error {
	if u, ok := textOf(v); ok {
		return u.UnmarshalText([]byte(text))
	}
	err := parseBasic(v, text)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("out of range")
	case err != nil:
		return fmt.Errorf("not %s", kindOf(v))
	}
	return nil
}

// parseBasic reads text into a v of a type of Go's own, or a duration.
func parseBasic(v reflect.Value, text string) (err error) {
	bits := v.Type().Size() * 8
	switch {
	case isDuration(v):
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case v.CanFloat():
		var f float64
		f, err = strconv.ParseFloat(text, int(bits))
		v.SetFloat(f)
	case v.CanUint():
		var u uint64
		u, err = strconv.ParseUint(text, 0, int(bits))
		v.SetUint(u)
	default:
		var i int64
		i, err = strconv.ParseInt(text, 0, int(bits))
		v.SetInt(i)
	}
	return err
}

func isDuration(v reflect.Value) bool { return v.Type() == reflect.TypeFor[time.Duration]() }

// kindOf names what v holds.
func kindOf(v reflect.Value) string {
	switch _, custom := textOf(v); {
	case custom:
		return "one value"
	case isDuration(v):
		return "a duration such as 10s, 5m or 2h30m"
	case v.Kind() == reflect.String:
		return "text"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanFloat():
		return "a number"
	case v.CanUint():
		return "a whole number from 0"
	}
	return "a whole number"
}

// tagOf is the YAML type that v takes, empty when its parser decides.
func tagOf(v reflect.Value) string {
	switch _, custom := textOf(v); {
	case custom, isDuration(v), v.CanFloat():
		return ""
	case v.Kind() == reflect.String:
		return "!!str"
	case v.Kind() == reflect.Bool:
		return "!!bool"
	}
	return "!!int"
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag != "" && n.ShortTag() == "!!null"
}

// unseen names what stands in the file without the value, which may be a password
// or have one in it.
func unseen(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n):
		return describe(n)
	case n.Tag == "" || n.ShortTag() == "!!str":
		return "text"
	case n.ShortTag() == "!!bool":
		return "true or false"
	case n.ShortTag() == "!!timestamp":
		return "a date"
	}
	return "a number"
}

// describe names what stands in the file, with its value.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "empty"
	case n.Tag == "" || n.ShortTag() == "!!str":
		return strconv.Quote(n.Value)
	}
	return n.Value
}
