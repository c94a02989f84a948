package idl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// Message is a generated body: every message of the *.proto files.
type Message interface {
	Marshal(in []byte) ([]byte, error) // appends the protobuf encoding to in
	Unmarshal(in []byte) error
}

// BodyError says what is wrong with a body that could not be decoded.
type BodyError struct {
	Field  string // the proto field's name; empty when the body as a whole is wrong
	Reason string
}

func (e *BodyError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Append appends the body m in codec c to dst.
func Append(dst []byte, c Codec, m Message) ([]byte, error) {
	switch c {
	case CodecProtobuf:
		return m.Marshal(dst)
	case CodecJSON:
		b, err := json.Marshal(m)
		if err != nil {
			return dst, err
		}
		return append(dst, b...), nil
	}
	return dst, fmt.Errorf("codec %d is not known", c)
}

// Decode reads body in codec c into m, which must be empty. It copies what it
// keeps. An empty body is the empty message in both codecs. Unknown fields are
// ignored. Every error is a *BodyError: not the codec's syntax, a string that is
// not UTF-8, an integer beyond MaxSafeInteger, or a null in a list.
func Decode(body []byte, c Codec, m Message) error {
	if len(body) == 0 {
		return nil
	}
	switch c {
	case CodecProtobuf:
		if err := m.Unmarshal(body); err != nil {
			return &BodyError{Reason: "not valid protobuf: " + err.Error()}
		}
	case CodecJSON:
		if err := decodeJSON(body, m); err != nil {
			return err
		}
	default:
		return &BodyError{Reason: fmt.Sprintf("codec %d is not known", c)}
	}
	if fault := check(reflect.ValueOf(m).Elem()); fault != nil {
		return fault
	}
	return nil
}

func decodeJSON(body []byte, m Message) error {
	if !utf8.Valid(body) {
		return &BodyError{Reason: "not valid JSON: not UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(m); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			kind, _, _ := strings.Cut(wrong.Value, " ") // a number comes with all its digits
			return &BodyError{Field: wrong.Field, Reason: "a JSON " + kind + " does not fit this field"}
		}
		return &BodyError{Reason: "not valid JSON: " + err.Error()}
	}
	if _, err := dec.Token(); err != io.EOF {
		return &BodyError{Reason: "not valid JSON: something follows the object"}
	}
	return nil
}

// check walks a decoded body for what neither codec refuses by itself. The field of what it gives is named from v on.
func check(v reflect.Value) *BodyError {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return &BodyError{Reason: "not UTF-8"}
		}
	case reflect.Int64, reflect.Int32:
		if n := v.Int(); n > MaxSafeInteger || n < -MaxSafeInteger {
			return &BodyError{Reason: "beyond 2^53-1"}
		}
	case reflect.Uint64:
		if v.Uint() > MaxSafeInteger {
			return &BodyError{Reason: "beyond 2^53-1"}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return check(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if item := v.Index(i); item.Kind() == reflect.Pointer && item.IsNil() {
				return &BodyError{Reason: "null in a list"}
			}
			if fault := check(v.Index(i)); fault != nil {
				return fault
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if fault := cmp.Or(check(it.Key()), check(it.Value())); fault != nil {
				return fault
			}
		}
	case reflect.Struct:
		for i, name := range fieldNames(v.Type()) {
			if fault := check(v.Field(i)); fault != nil {
				fault.Field = join(name, fault.Field)
				return fault
			}
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// names caches fieldNames by type: the types are the generated bodies, so it
// stays small.
var names sync.Map // reflect.Type -> []string

// fieldNames gives the JSON names of a struct's fields, which are the proto names.
func fieldNames(t reflect.Type) []string {
	if known, ok := names.Load(t); ok {
		return known.([]string)
	}
	out := make([]string, t.NumField())
	for i := range out {
		out[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	names.Store(t, out)
	return out
}
