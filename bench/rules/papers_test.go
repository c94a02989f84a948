package rules

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"freeim/core/plugin"
	"freeim/idl/openapi"
	"freeim/plugins"
)

// checkPlugins demands that each plugin's README.md lists exactly the actions
// that it registers, as table rows of name, number and "yes" if it is open before
// Auth, and that every plugin's directory is compiled in.
func checkPlugins(t *tree) (found []string) {
	known := map[string]bool{}
	for _, p := range plugins.All() {
		name := p.Info().Name
		known[name] = true
		r := plugin.NewRegistrar(name)
		p.Register(r)
		registered := map[string]bool{}
		for _, spec := range r.Specs() {
			registered[action(spec.Name, fmt.Sprintf("%d", spec.Action), spec.Open)] = true
		}
		found = append(found, comparePlugin(t, name, registered)...)
	}
	for _, name := range t.all {
		parts := strings.Split(name, "/")
		if parts[0] == "plugins" && len(parts) > 2 && !known[parts[1]] {
			known[parts[1]] = true // once
			found = append(found, name+": the plugin is not in plugins.All")
		}
	}
	return found
}

// checkDescription demands that the OpenAPI document can be made of the .proto files, and
// that each action has a line in the enum Action.
func checkDescription(*tree) (found []string) {
	var all []openapi.Action
	for _, p := range plugins.All() {
		r := plugin.NewRegistrar(p.Info().Name)
		p.Register(r)
		for _, spec := range r.Specs() {
			all = append(all, openapi.Action{Number: spec.Action, Name: spec.Name})
		}
	}
	made, err := openapi.Describe(all)
	if err != nil {
		return []string{"idl: " + err.Error()}
	}
	for _, name := range made.Unexplained {
		found = append(found, "idl/wire.proto: write behind the number of "+name+" what it does")
	}
	return found
}

// actionRow is a row of a plugin's table of actions.
var actionRow = regexp.MustCompile("(?m)^\\| *`?([a-z]+\\.[a-z_]+)`? *\\| *([0-9]+) *\\| *(yes)? *\\|")

func comparePlugin(t *tree, name string, registered map[string]bool) (found []string) {
	readme := "plugins/" + name + "/README.md"
	text, err := fs.ReadFile(t.fs, readme)
	if err != nil {
		return []string{readme + ": every plugin has one"}
	}
	written := map[string]bool{}
	for _, row := range actionRow.FindAllStringSubmatch(string(text), -1) {
		written[action(row[1], row[2], row[3] != "")] = true
	}
	for a := range registered {
		if !written[a] {
			found = append(found, readme+": does not list the action "+a)
		}
	}
	for a := range written {
		if !registered[a] {
			found = append(found, readme+": lists "+a+", which the plugin does not register")
		}
	}
	return found
}

// action is how findings call an action: with all that a row must get right.
func action(name, number string, open bool) string {
	if open {
		return name + " (" + number + ", open before Auth)"
	}
	return name + " (" + number + ")"
}

// checkScripts demands a test for every Lua file that is shipped: x_test.lua
// beside it, or its name in a Go test.
func checkScripts(t *tree) (found []string) {
	for _, name := range t.all {
		if path.Ext(name) != ".lua" || strings.HasSuffix(name, "_test.lua") || !under(name, "scripts") ||
			strings.HasSuffix(name, ".d.lua") || strings.Contains(name, "/testdata/") {
			continue
		}
		beside := strings.TrimSuffix(name, ".lua") + "_test.lua"
		if !slices.Contains(t.all, beside) && !t.namedInTest(strings.TrimPrefix(name, "scripts/")) {
			found = append(found, name+": has no case: write "+path.Base(beside))
		}
	}
	return found
}

func (t *tree) namedInTest(name string) bool {
	return slices.ContainsFunc(t.sources, func(s source) bool {
		text, _ := fs.ReadFile(t.fs, s.path)
		return s.test && strings.Contains(string(text), `"`+name+`"`)
	})
}

// checkReadme demands that README.md names the two commands, and has no place
// left to fill in.
func checkReadme(t *tree) (found []string) {
	text, err := fs.ReadFile(t.fs, "README.md")
	if err != nil {
		return []string{"README.md: " + err.Error()}
	}
	for _, want := range []string{"make run", "make test"} {
		if !strings.Contains(string(text), want) {
			found = append(found, "README.md: does not name "+want)
		}
	}
	for _, left := range regexp.MustCompile(`@@[A-Z]+@@`).FindAllString(string(text), -1) {
		found = append(found, "README.md: "+left+" is not filled in")
	}
	return found
}

// machine finds paths of one person's machine. It is put together from pieces
// because this file is searched too.
var machine = regexp.MustCompile(`(^|[^A-Za-z0-9_.~:/-])/(wo` + `rk|ro` + `ot|ho` + `me/[a-z]|Us` + `ers/[A-Za-z]|t` + `mp)/`)

// checkPaths forbids them in every text of the repository.
func checkPaths(t *tree) (found []string) {
	for _, name := range t.all {
		text, err := fs.ReadFile(t.fs, name)
		if err != nil {
			found = append(found, name+": "+err.Error())
			continue
		}
		if !utf8.Valid(text) {
			continue // no text
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			if hit := machine.FindString(line); hit != "" {
				found = append(found, fmt.Sprintf("%s:%d: %q is a path of one machine", name, n, strings.TrimSpace(hit)))
			}
		}
	}
	return found
}

// checkSizes keeps what is not source out: binaries, profiles, recordings.
func checkSizes(t *tree) (found []string) {
	const most = 1 << 20
	for _, name := range t.all {
		if info, err := fs.Stat(t.fs, name); err != nil || info.Size() > most {
			found = append(found, name+": larger than 1 MiB, or unreadable")
		}
	}
	return found
}
