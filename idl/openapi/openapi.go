// Package openapi describes the actions as an OpenAPI document: what a core says of them,
// and what the .proto files say of their bodies. It serves nothing and knows no plugin;
// edge/api makes a document of the actions that its cores have, so none can drift from them.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"freeim/idl"
)

// Action is one that can be called over HTTP.
type Action struct {
	Number  idl.Action
	Name    string // as in "chat.send"
	Open    bool   // needs no token
	MaxBody int    // octets; 0: the edge's limit
	Rate    int    // how often one user may call it per Per; 0: no limit of its own
	Per     time.Duration
	// Request and Reply are messages of the .proto files, as in "chat.SendRequest";
	// empty, or not known here: an object.
	Request, Reply string
}

// Document is a description, for programs and for people.
type Document struct {
	JSON, Page  []byte
	Unexplained []string // actions of which the .proto files do not say what they do
}

type object = map[string]any

const mediaJSON, mediaProtobuf = "application/json", "application/x-protobuf"

// Describe describes the actions.
func Describe(actions []Action) (Document, error) {
	types, err := load(idl.Protos())
	if err != nil {
		return Document{}, err
	}
	d := describer{types: types, schemas: object{}}
	paths, rows := object{}, []row{}
	for _, a := range actions {
		paths["/v1/"+a.Name] = object{"post": d.operation(a)}
		rows = append(rows, row{a.Name, types.about[a.Number], a.Request, a.Reply, a.Open})
	}
	d.schema("wire.Error")
	document := object{
		"openapi": "3.0.3",
		"info":    object{"title": "freeim", "version": "2", "description": intro()},
		"paths":   paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "SignInReply.token"}},
			"responses":       object{"Refused": refused()},
		},
		"security": []any{object{"token": []any{}}},
	}
	text, err := json.Marshal(document)
	if err != nil {
		return Document{}, fmt.Errorf("describe the actions: %w", err)
	}
	var page bytes.Buffer
	if err := pages.Execute(&page, rows); err != nil {
		return Document{}, fmt.Errorf("describe the actions: %w", err)
	}
	made := Document{JSON: text, Page: page.Bytes()}
	for _, r := range rows {
		if r.About == "" {
			made.Unexplained = append(made.Unexplained, r.Name)
		}
	}
	return made, nil
}

// intro is what holds for all operations, with the table of statuses.
func intro() string {
	byStatus := map[int][]string{}
	for _, name := range idl.CodeNames() {
		status := idl.HTTPStatus(idl.CodeNamed(name))
		byStatus[status] = append(byStatus[status], strings.ToUpper(name))
	}
	var text strings.Builder
	text.WriteString("Every action that needs no session, with the body that it has in a frame. " +
		"A refusal is an Error, with the status of its code:\n\n")
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		slices.Sort(byStatus[status])
		fmt.Fprintf(&text, "- %d: %s\n", status, strings.Join(byStatus[status], ", "))
	}
	text.WriteString("\n429 and 503 say in Retry-After when to try again.")
	return text.String()
}

func refused() object {
	return object{
		"description": "It was refused: " + http.StatusText(http.StatusBadRequest) + " and others, see the introduction.",
		"headers": object{"Retry-After": object{"description": "Seconds to wait before another try.",
			"schema": object{"type": "integer"}}},
		"content": bodies(object{"$ref": "#/components/schemas/wire.Error"}),
	}
}

// bodies is a body in both codecs.
func bodies(schema object) object {
	return object{mediaJSON: object{"schema": schema},
		mediaProtobuf: object{"schema": object{"type": "string", "format": "binary"}}}
}

// describer gathers the schemas that are referred to.
type describer struct {
	types   *types
	schemas object
}

func (d *describer) operation(a Action) object {
	plugin, _, _ := strings.Cut(a.Name, ".")
	about := []string{}
	if a.MaxBody > 0 {
		about = append(about, fmt.Sprintf("The body has %d octets at most.", a.MaxBody))
	}
	if a.Rate > 0 {
		about = append(about, fmt.Sprintf("One user may call it %d times in %s.", a.Rate, a.Per))
	}
	if a.Request == "" {
		about = append(about, "It is defined by a script: its fields are the script's.")
	}
	op := object{
		"operationId":     a.Name,
		"tags":            []any{plugin},
		"summary":         d.types.about[a.Number],
		"description":     strings.Join(about, " "),
		"x-freeim-action": int(a.Number),
		"requestBody":     object{"content": bodies(d.body(a.Request))},
		"responses":       object{"200": object{"description": "It is done.", "content": bodies(d.body(a.Reply))}, "default": object{"$ref": "#/components/responses/Refused"}},
	}
	if a.Open {
		op["security"] = []any{object{}, object{"token": []any{}}}
	}
	return op
}

// body is the schema of a body: one that is not known here is any object.
func (d *describer) body(name string) object {
	if name == "" || d.types.messages[name] == nil {
		return object{"type": "object"}
	}
	return d.schema(name)
}

// schema refers to a type, which it describes if it is new.
func (d *describer) schema(name string) object {
	ref := object{"$ref": "#/components/schemas/" + name}
	if d.schemas[name] != nil {
		return ref
	}
	if e := d.types.enums[name]; e != nil {
		d.schemas[name] = e.schema()
		return ref
	}
	m := d.types.messages[name]
	described := object{"type": "object"}
	d.schemas[name] = described // before its fields: a message may hold its own kind
	if m.about != "" {
		described["description"] = m.about
	}
	properties := object{}
	for _, f := range m.fields {
		properties[f.name] = d.field(f)
	}
	if len(properties) > 0 {
		described["properties"] = properties
	}
	return ref
}

// field is the schema of a field.
func (d *describer) field(f field) object {
	s := d.value(f.kind)
	switch {
	case f.repeated:
		s = object{"type": "array", "items": s}
	case f.key != "":
		s = object{"type": "object", "additionalProperties": s}
	case f.about != "" && s["$ref"] != nil: // what stands beside a $ref is ignored
		s = object{"allOf": []any{s}}
	}
	if f.about != "" {
		s["description"] = f.about
	}
	return s
}

// value is the schema of a kind of field, in the codec JSON. Integers stay within ±(2^53−1).
func (d *describer) value(kind string) object {
	switch kind {
	case "string":
		return object{"type": "string"}
	case "bytes":
		return object{"type": "string", "format": "byte"}
	case "bool":
		return object{"type": "boolean"}
	case "double", "float":
		return object{"type": "number", "format": kind}
	case "int64", "sint64", "uint64":
		return object{"type": "integer", "format": "int64", "minimum": -idl.MaxSafeInteger, "maximum": idl.MaxSafeInteger}
	case "int32", "sint32", "uint32":
		return object{"type": "integer", "format": "int32"}
	}
	return d.schema(kind)
}

// row is a line of the page.
type row struct {
	Name, About, Request, Reply string
	Open                        bool
}

var pages = template.Must(template.New("page").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>freeim: HTTP</title>
<style>body{font:1rem/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}</style>
<h1>Actions over HTTP</h1>
<p><code>POST /v1/NAME</code> with <code>Authorization: Bearer TOKEN</code> and JSON. All fields: <a href="openapi.json">openapi.json</a>, for OpenAPI tools.
° needs no token.</p>
<table><tr><th>Name<th>What it does<th>Body<th>Answer</tr>
{{range .}}<tr><td><code>{{.Name}}</code>{{if .Open}} °{{end}}<td>{{.About}}<td>{{.Request}}<td>{{.Reply}}</tr>
{{end}}</table></html>
`))
