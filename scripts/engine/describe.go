package engine

import (
	"fmt"
	"slices"
	"strings"
)

// otherClasses are the types in the table that have no symbols of their own.
const otherClasses = `---What a hook may return.
---@class im.Verdict

---The fields of the request, as the proto files name them.
---@class im.Request
---@field [string] any

---What the hooks said in a test.
---@class im.Told
---@field denied boolean
---@field shadowed boolean
---@field target string?
---@field held string?
---@field code string
---@field reason string
---@field retry_after number
---@field rule string
---@field text string
---@field rewritten boolean
---@field rewrites table<string, string>
---@field tags table<string, boolean>
---@field scores table<string, number>
---@field score number
---@field reply table?
---@field field string?
`

// Stubs is im.d.lua: what lua-language-server has to know of the API.
func Stubs() string {
	var out strings.Builder
	out.WriteString("---@meta im\n-- Made by \"make gen\" from the table in scripts/engine: do not edit.\n\n---@class im\nlocal im = {}\n\n" + otherClasses)
	all := symbols()
	declared := map[string]bool{"im": true}
	for _, s := range all {
		owner, _ := s.place()
		if owner == "" || declared[owner] {
			continue
		}
		declared[owner] = true
		if _, ok := s.class(); !ok {
			fmt.Fprintf(&out, "\n---@class %s\n%s = {}\n", owner, owner)
			continue
		}
		fmt.Fprintf(&out, "\n---@class im.%s\n", owner)
		for _, s := range all {
			if of, name := s.place(); of == owner && s.fn == nil {
				fmt.Fprintf(&out, "---@field %s %s %s\n", name, s.results[0].typ, s.doc)
			}
		}
		fmt.Fprintf(&out, "local %s = {}\n", owner)
	}
	for _, s := range all {
		if s.fn != nil {
			s.stub(&out)
		}
	}
	out.WriteString("\nreturn im\n")
	return out.String()
}

// stub writes one function.
func (s *symbol) stub(out *strings.Builder) {
	fmt.Fprintf(out, "\n---%s\n", s.doc)
	if s.in != anywhere {
		fmt.Fprintf(out, "---\n---For %s.\n", s.in)
	}
	var names []string
	for _, p := range s.args {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("---@param %s %s %s", p.name, p.typ, p.doc), " "))
		names = append(names, strings.TrimSuffix(p.name, "?"))
	}
	for _, p := range s.results {
		line := "---@return " + p.typ
		if p.name != "" {
			line += " " + p.name
		}
		if p.doc != "" {
			line += " # " + p.doc
		}
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "function %s(%s) end\n", s.name, strings.Join(names, ", "))
}

// Reference is the part of scripts/README.md that lists the functions.
func Reference() string {
	var out strings.Builder
	var owners []string
	for _, s := range symbols() {
		if owner, _ := s.place(); s.fn != nil && !s.tests && !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	slices.SortStableFunc(owners, func(a, b string) int { return strings.Compare(heading(a), heading(b)) })
	for _, owner := range owners {
		fmt.Fprintf(&out, "\n**%s**\n\n| | |\n|---|---|\n", heading(owner))
		for _, s := range symbols() {
			if of, _ := s.place(); of == owner && s.fn != nil && !s.tests {
				fmt.Fprintf(&out, "| %s | %s |\n", s.call(), s.described())
			}
		}
	}
	return out.String()
}

// heading is the title of a library or class.
func heading(owner string) string {
	switch {
	case owner == "":
		return "print"
	case owner[0] >= 'A' && owner[0] <= 'Z':
		return "objects of im." + owner
	}
	return owner
}

// call is how a function is called.
func (s *symbol) call() string {
	var args strings.Builder
	for i, p := range s.args {
		name, optional := strings.CutSuffix(p.name, "?")
		switch {
		case optional && i > 0:
			name = " [, " + name + "]"
		case optional:
			name = "[" + name + "]"
		case i > 0:
			name = ", " + name
		}
		args.WriteString(name)
	}
	return "`" + strings.ToLower(s.name[:1]) + s.name[1:] + "(" + args.String() + ")`"
}

// described is what it does, with all that the table says of its arguments and
// results.
func (s *symbol) described() string {
	var text strings.Builder
	text.WriteString(s.doc)
	if s.in != anywhere {
		text.WriteString(" For " + s.in.String() + ".")
	}
	for _, p := range s.args {
		if p.doc != "" {
			text.WriteString(" `" + strings.TrimSuffix(p.name, "?") + "`: " + p.doc + ".")
		}
	}
	var results []string
	for _, p := range s.results {
		what := p.name
		if what == "" {
			what = p.typ
		}
		if p.doc != "" {
			what += " (" + p.doc + ")"
		}
		results = append(results, what)
	}
	if len(results) > 0 {
		text.WriteString(" Gives " + strings.Join(results, ", ") + ".")
	}
	return strings.ReplaceAll(text.String(), "|", "\\|")
}

// LuaRC is .luarc.json: how lua-language-server is to read the scripts.
func LuaRC() string {
	return `{
  "runtime.version": "Lua 5.1",
  "runtime.path": ["?.lua"],
  "runtime.builtin": {
    "coroutine": "disable", "debug": "disable", "io": "disable", "os": "disable", "package": "disable",
    "bit": "disable", "bit32": "disable", "ffi": "disable", "jit": "disable", "utf8": "disable"
  },
  "workspace.ignoreDir": ["engine", "stubs"],
  "diagnostics.disable": ["lowercase-global"]
}
`
}
