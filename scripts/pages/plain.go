package pages

import (
	"maps"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// plain turns the engine's structs into what JSON shows them as: fields by_name, times
// as they are, durations as text, lists that are empty rather than null.
func plain(value any) any {
	return plainValue(reflect.ValueOf(value))
}

func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plainValue(v.Elem())
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return at
		}
		out := map[string]any{}
		for field, item := range v.Fields() {
			if field.Anonymous && item.Kind() == reflect.Struct {
				maps.Copy(out, plainValue(item).(map[string]any))
			} else if field.IsExported() {
				out[byName(field.Name)] = plainValue(item)
			}
		}
		return out
	case reflect.Slice:
		out := []any{}
		for _, item := range v.Seq2() {
			out = append(out, plainValue(item))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for key, item := range v.Seq2() {
			out[key.String()] = plainValue(item)
		}
		return out
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	return v.Interface()
}

// byName is a Go name as JSON's usually are: LastFault is last_fault, VMs is vms.
func byName(name string) string {
	var out strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
