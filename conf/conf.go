// Package conf fills configuration structs from a YAML file and the environment,
// strictly: a key that is not known, given twice or of the wrong type is an error
// that names file, line and the nearest key. What a value means and whether it is
// sensible is its owner's business. The mains of edge and core call it.
//
// A struct's keys are its yaml tags; a field without one is not configuration, and
// the keys of one that says ",inline" are the section's own. Its values before Load
// are the defaults. Fields are strings, numbers, bools,
// time.Duration ("10s"), Size ("64KiB") and other encoding.TextUnmarshalers,
// slices and maps of those or of structs, structs, and pointers to structs,
// which stay nil while nothing is set below them. A map[string]any is a section
// per name: its values are pointers to structs, so plugins bring their own.
package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads the file at path into the struct that into points to, then the
// variables that env, which is os.LookupEnv, finds. All that is wrong is in the
// error, a line for each fault; into is half filled then.
func Load(path string, env func(name string) (value string, ok bool), into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, data, variables(env, into), into)
}

// Parse is Load of data, which name stands for in errors, and of environ, which
// is of the form of os.Environ.
func Parse(name string, data []byte, environ []string, into any) error {
	return parse(name, data, environ, into, false)
}

func parse(name string, data []byte, environ []string, into any, part bool) error {
	root := reflect.ValueOf(into).Elem()
	l := loader{part: part, source: name, lines: true, paths: paths(root)}
	if n := l.parse(data); n != nil {
		l.set(root, n, "")
	}
	l.environment(environ, root)
	return errors.Join(l.errs...)
}

// LoadPart is Load for a program that needs some sections of another one's file:
// sections that into does not have, and variables of theirs, are left alone.
// Within its own sections it is as strict.
func LoadPart(path string, env func(name string) (value string, ok bool), into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return parse(path, data, variables(env, into), into, true)
}

// loader is the state of one Load.
type loader struct {
	part   bool     // other sections are left alone
	source string   // the file or the variable that is being read
	lines  bool     // whether lines of the source mean something
	paths  []string // every key and section that is known, for nearest
	errs   []error
}

// fault notes what is wrong with the value n of path.
func (l *loader) fault(n *yaml.Node, path, format string, args ...any) {
	at := l.source
	if l.lines {
		at = fmt.Sprintf("%s:%d", l.source, n.Line)
	}
	if path == "" {
		path = "the configuration"
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s %s", at, path, fmt.Sprintf(format, args...)))
}

// parse gives the document's root, nil when the document is empty or broken.
func (l *loader) parse(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return nil
	case err != nil:
		l.syntax(err)
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		l.fault(&second, "", "ends where a second document begins")
	} else if err != io.EOF {
		l.syntax(err)
	}
	return doc.Content[0]
}

// syntax notes an error of the YAML parser, which names its line itself.
func (l *loader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") { // its name may be a password that begins with *
		text = "an alias, *, of nothing: put a value that begins with * in quotes"
	}
	l.errs = append(l.errs, fmt.Errorf("%s: not valid YAML: %s", l.source, text))
}
