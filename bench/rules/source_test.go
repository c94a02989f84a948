package rules

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// checkPackageComments demands exactly one comment that says what a package is
// for.
func checkPackageComments(t *tree) (found []string) {
	first := map[string]source{} // of each package, and then the one with the comment
	for _, s := range t.sources {
		if s.test {
			continue
		}
		known, seen := first[s.dir]
		switch {
		case !seen || known.Doc == nil && s.Doc != nil:
			first[s.dir] = s
		case known.Doc != nil && s.Doc != nil:
			found = append(found, t.at(s.Doc.Pos(), "a second package comment; the first is in %s", known.path))
		}
	}
	for _, s := range first {
		if s.Doc == nil {
			found = append(found, t.at(s.Package, "package %s has no package comment", s.Name.Name))
		}
	}
	return found
}

// sleepers are test files that may call time.Sleep, and why. In a file with
// testing/synctest the clock is the test's, and sleeping costs nothing.
var sleepers = map[string]string{
	"edge/gateway/core_test.go":     "polls, up to a deadline, for what the kernel does to real sockets",
	"edge/gateway/outbound_test.go": "polls, up to a deadline, for what the kernel does to real sockets",
	"edge/processes_test.go":        "polls, up to a deadline, what other processes show",
}

// checkWords forbids what is never written.
func checkWords(t *tree) (found []string) {
	for _, s := range t.sources {
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				found = append(found, t.at(f.Pos(), "func init: nothing works at import time"))
			}
		}
		for _, pos := range s.uses("context", "TODO") {
			found = append(found, t.at(pos, "context.TODO: pass the caller's context"))
		}
		if !s.test || sleepers[s.path] != "" || s.importsPath("testing/synctest") {
			continue
		}
		for _, pos := range s.uses("time", "Sleep") {
			found = append(found, t.at(pos, "time.Sleep in a test: use testing/synctest, a channel, or list it with its reason"))
		}
	}
	for name := range sleepers {
		if !slices.Contains(t.all, name) && slices.Contains(t.all, "go.mod") {
			found = append(found, name+": listed as a sleeper, but gone")
		}
	}
	return found
}

func (s source) importsPath(p string) bool {
	return slices.ContainsFunc(s.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+p+`"` })
}

// bags are names of directories that say nothing of what is in them.
const bags = "util utils common helper helpers base misc internal pkg cmd"

// checkDirectories forbids grab-bags, and a top level that the owner did not fix.
func checkDirectories(t *tree) (found []string) {
	const top = "edge core plugins scripts idl conf bench go.mod go.sum Makefile README.md"
	seen := map[string]bool{}
	for _, name := range t.all {
		first, _, _ := strings.Cut(name, "/")
		if first[0] != '.' && !in(first, top) && !seen[first] {
			seen[first] = true
			found = append(found, first+": the top level holds only "+top)
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if in(path.Base(dir), bags) && !seen[dir+"/"] {
				seen[dir+"/"] = true
				found = append(found, dir+": name a directory after what is in it")
			}
		}
	}
	return found
}
