package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Member is one field of what a scripted action takes or gives.
type Member struct {
	Name     string
	Type     string // "string", "integer", "number", "boolean", "id" or "list"
	Optional bool
	// Min and Max bound the characters of a string, the value of a number, the length
	// of a list.
	Min, Max float64
	OneOf    []string // of a string: the values that it may have; none: any
	Of       *Member  // of a list: its elements
}

// The limits of schemas.
const (
	maxMembers  = 32
	maxElements = 1000      // of a list
	maxShort    = 1000      // characters of a string whose schema does not say
	maxLong     = 16_000    // and of any
	maxOneOf    = 100       // values
	mostExact   = exact - 1 // whole numbers that every JSON client reads
)

// FieldError says which field of a request breaks its schema.
type FieldError struct {
	Field     string
	Reason    string
	Malformed bool // the body is not of this form at all
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// object is a schema with the struct type that is made of it. Its fields are pointers,
// nil for what is not there, and have the tags of generated ones: so whatever reads,
// copies, records or fills in generated requests does it with these. A type is made
// once for each form, and stays: that is how package reflect makes them.
type object struct {
	members []Member // in the order of their names
	typ     reflect.Type
}

func newObject(members []Member) *object {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	o := &object{members: members}
	fields := make([]reflect.StructField, len(members))
	for i := range members {
		m := &members[i]
		tag, typ := fmt.Sprintf(`protobuf:"name=%s" json:"%s,omitempty"`, m.Name, m.Name), reflect.PointerTo(m.element())
		if m.Type == "list" {
			typ = reflect.SliceOf(m.Of.element())
		}
		if !m.Optional { // an empty list is there
			tag = strings.Replace(tag, ",omitempty", "", 1)
		}
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: typ, Tag: reflect.StructTag(tag)}
	}
	o.typ = reflect.StructOf(fields)
	return o
}

// element is the Go type of a value.
func (m *Member) element() reflect.Type {
	switch m.Type {
	case "string":
		return reflect.TypeFor[string]()
	case "boolean":
		return reflect.TypeFor[bool]()
	case "id":
		return reflect.TypeFor[int64]()
	}
	return reflect.TypeFor[float64]()
}

// empty makes a struct with nothing in it.
func (o *object) empty() any { return reflect.New(o.typ).Interface() }

// decode reads a JSON object. Fields that the schema does not have are ignored, as in
// every body of the protocol.
func (o *object) decode(text []byte, checkText func(string) error) (any, *FieldError) {
	into := o.empty()
	if err := o.noNulls(text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			kind, _, _ := strings.Cut(wrong.Value, " ") // a number comes with all its digits
			return nil, &FieldError{Field: wrong.Field, Reason: "a JSON " + kind + " does not fit this field", Malformed: true}
		}
		return nil, &FieldError{Reason: "not valid JSON: " + err.Error(), Malformed: true}
	}
	return into, o.check(into, checkText)
}

// noNulls refuses a null in a list of the schema's: package json would take it for an
// empty value.
func (o *object) noNulls(text []byte) *FieldError {
	if !bytes.Contains(text, []byte("null")) {
		return nil
	}
	tokens := json.NewDecoder(bytes.NewReader(text))
	field, depth, list := "", 0, false
	for {
		switch token, err := tokens.Token(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return &FieldError{Reason: "not valid JSON: " + err.Error(), Malformed: true}
		case token == json.Delim('['), token == json.Delim('{'):
			depth++
			list = list || depth == 2 && token == json.Delim('[')
		case token == json.Delim(']'), token == json.Delim('}'):
			depth--
			list = list && depth >= 2
		case depth == 1:
			if name, ok := token.(string); ok {
				field = name
			}
		case depth == 2 && list && token == nil && o.reads(field):
			return &FieldError{Field: field, Reason: "null in a list", Malformed: true}
		}
	}
}

func (o *object) has(field string) bool {
	return slices.ContainsFunc(o.members, func(m Member) bool { return m.Name == field })
}

// reads reports whether package json takes what is under that name: it minds no case.
func (o *object) reads(name string) bool {
	return slices.ContainsFunc(o.members, func(m Member) bool { return strings.EqualFold(m.Name, name) })
}

// check holds a struct to the schema.
func (o *object) check(value any, checkText func(string) error) *FieldError {
	v := reflect.ValueOf(value).Elem()
	for i := range o.members {
		m := &o.members[i]
		if reason := m.check(v.Field(i), checkText); reason != "" {
			return &FieldError{Field: m.Name, Reason: clip(reason, maxReason)} // it goes to the client
		}
	}
	return nil
}

func (m *Member) check(v reflect.Value, checkText func(string) error) (reason string) {
	switch {
	case v.IsNil() && m.Optional:
		return ""
	case v.IsNil():
		return "is missing"
	case m.Type != "list":
		return m.checkValue(v.Elem(), checkText)
	}
	if n := float64(v.Len()); n < m.Min || n > m.Max {
		return fmt.Sprintf("has %d entries: from %v to %v are allowed", v.Len(), m.Min, m.Max)
	}
	for i := range v.Len() {
		if reason := m.Of.checkValue(v.Index(i), checkText); reason != "" {
			return fmt.Sprintf("entry %d: %s", i+1, reason)
		}
	}
	return ""
}

func (m *Member) checkValue(v reflect.Value, checkText func(string) error) (reason string) {
	switch m.Type {
	case "string":
		return m.checkString(v.String(), checkText)
	case "id":
		if n := v.Int(); n < 1 || n > mostExact {
			return "is no ID"
		}
	case "integer", "number":
		n := v.Float()
		switch {
		case m.Type == "integer" && n != math.Trunc(n):
			return "is no whole number"
		case n < m.Min || n > m.Max:
			return fmt.Sprintf("must be from %s to %s", figure(m.Min), figure(m.Max))
		}
	}
	return ""
}

func figure(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func (m *Member) checkString(text string, checkText func(string) error) (reason string) {
	n := float64(utf8.RuneCountInString(text))
	switch {
	case n < m.Min || n > m.Max:
		return fmt.Sprintf("has %v characters: from %v to %v are allowed", n, m.Min, m.Max)
	case len(m.OneOf) > 0 && !slices.Contains(m.OneOf, text):
		return "must be one of: " + strings.Join(m.OneOf, ", ")
	case checkText != nil:
		if err := checkText(text); err != nil {
			return err.Error()
		}
	}
	return ""
}
