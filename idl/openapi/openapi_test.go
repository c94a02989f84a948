package openapi_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/idl/openapi"
	"freeim/plugins"

	"github.com/getkin/kin-openapi/openapi3"
)

// specs are those of all plugins.
func specs() (all []plugin.Spec) {
	for _, p := range plugins.All() {
		r := plugin.NewRegistrar(p.Info().Name)
		p.Register(r)
		all = append(all, r.Specs()...)
	}
	return all
}

func typeName(of any) string {
	t := reflect.TypeOf(of).Elem()
	pack := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]
	return strings.TrimSuffix(pack, "pb") + "." + t.Name()
}

func describeAll(t *testing.T) (openapi.Document, []plugin.Spec) {
	t.Helper()
	var actions []openapi.Action
	all := specs()
	for _, s := range all {
		actions = append(actions, openapi.Action{Number: s.Action, Name: s.Name, Open: s.Open, MaxBody: s.MaxBody, Rate: 3, Per: 1e9,
			Request: typeName(s.Request()), Reply: typeName(s.Reply())})
	}
	actions = append(actions, openapi.Action{Number: 201, Name: "lua.poll.vote"}, openapi.Action{Number: 150, Name: "later.thing", Request: "later.ThingRequest", Reply: "later.ThingReply"})
	made, err := openapi.Describe(actions)
	if err != nil {
		t.Fatal(err)
	}
	return made, all
}

// The document is valid, and has every action, also one whose bodies are not known here.
func TestDocumentIsValid(t *testing.T) {
	made, all := describeAll(t)
	doc, err := openapi3.NewLoader().LoadFromData(made.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		path := doc.Paths.Value("/v1/" + s.Name)
		if path == nil || path.Post == nil {
			t.Fatalf("%s is not described", s.Name)
		}
		if path.Post.Summary == "" {
			t.Errorf("%s has no summary: write what it does behind its number in wire.proto", s.Name)
		}
		if open := path.Post.Security != nil; open != s.Open {
			t.Errorf("%s: got open %v, want %v", s.Name, open, s.Open)
		}
	}
	if doc.Paths.Value("/v1/lua.poll.vote") == nil || doc.Paths.Value("/v1/later.thing") == nil {
		t.Error("an action without known bodies is not described")
	}
	if !strings.Contains(string(made.Page), "<code>chat.send</code>") {
		t.Error("the page does not list chat.send")
	}
}

// schema is what of a schema the test looks at.
type schema struct {
	Type       string            `json:"type"`
	Ref        string            `json:"$ref"`
	AllOf      []schema          `json:"allOf"`
	Items      *schema           `json:"items"`
	Additional *schema           `json:"additionalProperties"`
	Properties map[string]schema `json:"properties"`
}

// Schemas have the fields of the generated messages, by the names that encoding/json gives
// them, and their kinds.
func TestSchemasAreTheGeneratedMessages(t *testing.T) {
	made, all := describeAll(t)
	var doc struct {
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(made.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var compare func(of reflect.Type)
	compare = func(of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		name := typeName(reflect.New(of).Interface())
		is, ok := doc.Components.Schemas[name]
		if !ok {
			t.Errorf("%s is not described", name)
			return
		}
		var fields []string
		for f := range of.Fields() {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, field)
			p, ok := is.Properties[field]
			if !ok {
				t.Errorf("%s.%s is not described", name, field)
				continue
			}
			if got, want := p.kind(), kind(f.Type); got != want {
				t.Errorf("%s.%s: got %s, want %s", name, field, got, want)
			}
			for inner := f.Type; ; inner = inner.Elem() {
				if inner.Kind() == reflect.Struct {
					compare(inner)
				}
				if inner.Kind() != reflect.Pointer && inner.Kind() != reflect.Slice && inner.Kind() != reflect.Map {
					break
				}
			}
		}
		for field := range is.Properties {
			if !slices.Contains(fields, field) {
				t.Errorf("%s.%s is described, and is not there", name, field)
			}
		}
	}
	for _, s := range all {
		compare(reflect.TypeOf(s.Request()).Elem())
		compare(reflect.TypeOf(s.Reply()).Elem())
	}
}

func (s schema) kind() string {
	switch {
	case len(s.AllOf) == 1:
		return s.AllOf[0].kind()
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == "array":
		return "array of " + s.Items.kind()
	case s.Additional != nil:
		return "map of " + s.Additional.kind()
	}
	return s.Type
}

func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Struct:
		return typeName(reflect.New(t).Interface())
	case reflect.Map:
		return "map of " + kind(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string"
		}
		return "array of " + kind(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	if t.PkgPath() != "" {
		return typeName(reflect.New(t).Interface())
	}
	return "integer"
}
