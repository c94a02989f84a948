package openapi

import (
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"freeim/idl"
)

// This file reads .proto files as they are written here: what the generated code does not
// keep, the comments, and with it the fields. A test holds it to the generated messages.

// types is what the .proto files hold. Names are as in "chat.SendRequest".
type types struct {
	messages map[string]*message
	enums    map[string]*enum
	about    map[idl.Action]string // what an action's request does
}

type message struct {
	about  string
	fields []field
}

type field struct {
	name, kind string // kind: a scalar, or a type's name
	key        string // of a map; empty: it is none
	repeated   bool
	about      string
}

type enum struct {
	about  string
	values []value
}

type value struct {
	number      int
	name, about string
}

func (e *enum) schema() object {
	numbers, names, lines := []any{}, []any{}, []string{}
	for _, v := range e.values {
		numbers, names = append(numbers, v.number), append(names, v.name)
		line := fmt.Sprintf("- %d: %s", v.number, v.name)
		if v.about != "" {
			line += ", " + v.about
		}
		lines = append(lines, line)
	}
	return object{"type": "integer", "enum": numbers, "x-enum-varnames": names,
		"description": strings.TrimSpace(e.about + "\n\n" + strings.Join(lines, "\n"))}
}

// reader reads one file after the other.
type reader struct {
	types
	pack  string // "chat" of "freeim.chat"
	notes []string
	open  []any // *message, *enum, or nil for what is not described
	names []string
}

var (
	packageLine = regexp.MustCompile(`^package freeim\.(\w+);`)
	openLine    = regexp.MustCompile(`^(message|enum|service|oneof) (\w+) \{(.*)$`)
	fieldLine   = regexp.MustCompile(`^(repeated |optional )?(map<(\w+), *([\w.]+)>|[\w.]+) (\w+) = \d+( \[[^\]]*\])?;\s*(.*)$`)
	valueLine   = regexp.MustCompile(`^(\w+) = (-?\d+)( \[[^\]]*\])?;\s*(.*)$`)
)

// load reads all files but those of the services between edges and cores.
func load(files fs.FS) (*types, error) {
	names, err := fs.Glob(files, "*.proto")
	if err != nil {
		return nil, err
	}
	r := reader{types: types{map[string]*message{}, map[string]*enum{}, map[idl.Action]string{}}}
	for _, name := range names {
		if name == "core.proto" {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if err := r.read(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return &r.types, r.resolve()
}

func (r *reader) read(text string) error {
	r.notes, r.open, r.names = nil, nil, nil
	n := 0
	for line := range strings.Lines(text) {
		n++
		if err := r.line(strings.TrimSpace(line)); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(r.open) > 0 {
		return fmt.Errorf("%s does not end", strings.Join(r.names, "."))
	}
	return nil
}

// line reads one, which has no blanks around.
func (r *reader) line(line string) error {
	switch {
	case line == "":
		r.notes = nil
		return nil
	case strings.HasPrefix(line, "//"):
		r.notes = append(r.notes, strings.TrimSpace(strings.TrimPrefix(line, "//")))
		return nil
	case strings.HasPrefix(line, "}"):
		return r.end()
	}
	if found := packageLine.FindStringSubmatch(line); found != nil {
		r.pack = found[1]
	}
	if found := openLine.FindStringSubmatch(line); found != nil {
		return r.begin(found[1], found[2], strings.TrimSpace(found[3]))
	}
	about := strings.Join(r.notes, " ")
	r.notes = nil
	if len(r.open) == 0 {
		return nil
	}
	switch in := r.open[len(r.open)-1].(type) {
	case *message:
		return in.add(line, about)
	case *enum:
		return r.value(in, line, about)
	}
	return nil
}

// begin opens a type; rest is what stands behind its brace.
func (r *reader) begin(what, name, rest string) error {
	about := strings.Join(r.notes, " ")
	r.notes = nil
	r.names = append(r.names, name)
	full := r.pack + "." + strings.Join(r.names, ".")
	switch what {
	case "message":
		m := &message{about: about}
		r.messages[full], r.open = m, append(r.open, m)
	case "enum":
		e := &enum{about: about}
		r.enums[full], r.open = e, append(r.open, e)
	case "oneof": // its fields are the message's
		if len(r.open) == 0 {
			return fmt.Errorf("a oneof of no message")
		}
		r.open = append(r.open, r.open[len(r.open)-1])
	default:
		r.open = append(r.open, nil)
	}
	inner, note, ends := strings.Cut(rest, "}")
	if !ends || strings.HasPrefix(rest, "//") {
		return nil // what stands behind the brace alone is a comment
	}
	if note = strings.TrimSpace(note); note != "" { // it is about the field that stands before it
		inner += " " + note
	}
	if inner = strings.TrimSpace(inner); inner != "" && !strings.HasPrefix(inner, "//") {
		if err := r.line(inner); err != nil {
			return err
		}
	}
	return r.end()
}

func (r *reader) end() error {
	if len(r.open) == 0 {
		return fmt.Errorf("nothing to end")
	}
	r.open, r.names, r.notes = r.open[:len(r.open)-1], r.names[:len(r.names)-1], nil
	return nil
}

func (m *message) add(line, about string) error {
	if strings.HasPrefix(line, "reserved ") {
		return nil
	}
	found := fieldLine.FindStringSubmatch(line)
	if found == nil {
		return fmt.Errorf("%q is no field", line)
	}
	f := field{name: found[5], kind: found[2], repeated: found[1] == "repeated ", about: behind(found[7], about)}
	if found[3] != "" {
		f.key, f.kind = found[3], found[4]
	}
	m.fields = append(m.fields, f)
	return nil
}

func (r *reader) value(e *enum, line, about string) error {
	found := valueLine.FindStringSubmatch(line)
	if found == nil {
		return fmt.Errorf("%q is no value", line)
	}
	number, err := strconv.Atoi(found[2])
	if err != nil {
		return err
	}
	v := value{number, found[1], behind(found[4], about)}
	e.values = append(e.values, v)
	if e == r.enums["wire.Action"] {
		request, _, _ := strings.Cut(strings.TrimPrefix(v.about, "request: "), ". Push:")
		r.about[idl.Action(number)] = request
	}
	return nil
}

// behind is the comment on a line, or else that above it.
func behind(rest, above string) string {
	if note, ok := strings.CutPrefix(rest, "//"); ok {
		return strings.TrimSpace(strings.TrimSpace(note) + " " + above)
	}
	return above
}

// resolve gives the kinds of fields their full names.
func (r *reader) resolve() error {
	for name, m := range r.messages {
		for i := range m.fields {
			f := &m.fields[i]
			if scalar(f.kind) {
				continue
			}
			full, ok := r.find(name, f.kind)
			if !ok {
				return fmt.Errorf("%s.%s: no type %s", name, f.name, f.kind)
			}
			f.kind = full
		}
	}
	return nil
}

func scalar(kind string) bool {
	switch kind {
	case "string", "bytes", "bool", "double", "float", "int64", "sint64", "uint64", "int32", "sint32", "uint32":
		return true
	}
	return false
}

// find looks for a type as protobuf does: in the message itself, in what it is in, outward.
func (r *reader) find(from, kind string) (full string, ok bool) {
	if full, ok = strings.CutPrefix(kind, "freeim."); ok {
		return full, r.messages[full] != nil || r.enums[full] != nil
	}
	for in := from; in != ""; {
		if full = in + "." + kind; r.messages[full] != nil || r.enums[full] != nil {
			return full, true
		}
		cut := strings.LastIndexByte(in, '.')
		in = in[:max(cut, 0)]
	}
	return kind, r.messages[kind] != nil || r.enums[kind] != nil
}
