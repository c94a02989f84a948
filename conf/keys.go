package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Key is one value of a configuration.
type Key struct {
	Path    string // "edge.tcp"
	Env     string // the variable that overrides it, "FREEIM_EDGE_TCP"
	Default string // as YAML on one line
}

// Keys lists every key of the struct that from points to, in its order, with the
// present value as the default. Sections that are nil are listed with zero values.
func Keys(from any) (keys []Key) {
	walk(reflect.ValueOf(from).Elem(), "", func(path string, v reflect.Value, section bool) {
		if !section {
			keys = append(keys, Key{path, envName(path), inline(v)})
		}
	})
	return keys
}

// Absent lists the keys that the YAML document data does not give, in the order
// of the struct that from points to: so a test can hold a committed file to
// every key.
func Absent(data []byte, from any) ([]Key, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	given := func(k Key) bool { return gives(&doc, strings.Split(k.Path, ".")) }
	return slices.DeleteFunc(Keys(from), given), nil
}

// gives reports whether n has something at path.
func gives(n *yaml.Node, path []string) bool {
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	if len(path) == 0 {
		return true
	}
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == path[0] {
			return gives(n.Content[i+1], path[1:])
		}
	}
	return false
}

// inline writes a value as YAML on one line.
func inline(v reflect.Value) string {
	var n yaml.Node
	if err := n.Encode(v.Interface()); err != nil {
		return fmt.Sprint(v.Interface()) // of no type that can be loaded either
	}
	if n.Kind == yaml.ScalarNode && v.Kind() != reflect.String {
		return n.Value // a Size of 512 needs no quotes
	}
	n.Style |= yaml.FlowStyle
	text, err := yaml.Marshal(&n)
	if err != nil {
		return fmt.Sprint(v.Interface())
	}
	return strings.TrimSuffix(string(text), "\n")
}

// child is a key right below a section.
type child struct {
	name  string
	value reflect.Value
}

// isSection reports whether v has keys of its own: a struct, or the sections
// that plugins bring. A section is not a value with a text form.
func isSection(v reflect.Value) bool {
	return v.Kind() == reflect.Struct || v.Type() == reflect.TypeFor[map[string]any]()
}

// children lists what is right below the section v.
func children(v reflect.Value) (out []child) {
	if v.Kind() == reflect.Map {
		for _, key := range v.MapKeys() {
			if at := v.MapIndex(key).Elem(); at.Kind() == reflect.Pointer && !at.IsNil() {
				out = append(out, child{key.String(), at.Elem()})
			}
		}
		slices.SortFunc(out, func(a, b child) int { return strings.Compare(a.name, b.name) })
		return out
	}
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case option == "inline": // its keys are this section's
			out = append(out, children(v.Field(i))...)
		case name != "" && name != "-" && v.Field(i).CanSet():
			out = append(out, child{name, v.Field(i)})
		}
	}
	return out
}

// walk visits v, which is at path, and everything below it.
func walk(v reflect.Value, path string, visit func(path string, v reflect.Value, section bool)) {
	if v.Kind() == reflect.Pointer && !isScalar(v) {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	section := isSection(v) && !isScalar(v)
	if path != "" {
		visit(path, v, section)
	}
	if section {
		for _, c := range children(v) {
			walk(c.value, join(path, c.name), visit)
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func indexOf(known []child, name string) int {
	return slices.IndexFunc(known, func(c child) bool { return c.name == name })
}
