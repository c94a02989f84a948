package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the path that imports inside the repository begin with.
const module = "freeim"

// tree is the repository as the rules see it.
type tree struct {
	fs      fs.FS
	all     []string // every file, by path, in order
	sources []source // the Go files that people wrote
	fset    *token.FileSet
}

// source is a parsed Go file.
type source struct {
	*ast.File
	path, dir string
	test      bool
}

// load reads the repository at root, but for what git ignores. What is no Go is
// an error.
func load(root fs.FS) (*tree, error) {
	t := &tree{fs: root, fset: token.NewFileSet()}
	ignored := ignores(root)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if ignored(d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		t.all = append(t.all, name)
		if path.Ext(name) == ".go" && !generated(name) {
			return t.parse(name)
		}
		return nil
	})
	return t, err
}

// generated reports whether a file is the work of make gen.
func generated(name string) bool { return strings.HasPrefix(name, "idl/kitex_gen/") }

// ignores knows the simple patterns of git's ignore files, and .git itself.
func ignores(root fs.FS) func(base string) bool {
	patterns := []string{".git"}
	for _, name := range []string{".gitignore", ".git/info/exclude"} {
		text, _ := fs.ReadFile(root, name) // they may be missing
		for line := range strings.Lines(string(text)) {
			if line = strings.Trim(line, "/ \r\n"); line != "" && line[0] != '#' {
				patterns = append(patterns, line)
			}
		}
	}
	return func(base string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			matches, _ := path.Match(p, base)
			return matches
		})
	}
}

func (t *tree) parse(name string) error {
	text, err := fs.ReadFile(t.fs, name)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.sources = append(t.sources, source{file, name, path.Dir(name), strings.HasSuffix(name, "_test.go")})
	return nil
}

// at writes a finding as file:line: text.
func (t *tree) at(pos token.Pos, format string, args ...any) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d: ", p.Filename, p.Line) + fmt.Sprintf(format, args...)
}

// imported is one import of a source: inside is its directory if it is of this
// module, outside its path if it is of another; both are empty for Go's own.
type imported struct {
	pos             token.Pos
	inside, outside string
}

func (s source) imports() (out []imported) {
	for _, spec := range s.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		first, rest, _ := strings.Cut(p, "/")
		switch {
		case first == module:
			out = append(out, imported{pos: spec.Pos(), inside: rest})
		case strings.Contains(first, "."):
			out = append(out, imported{pos: spec.Pos(), outside: p})
		}
	}
	return out
}

// calls reports every use of name in package pkg, as in pkg.name.
func (s source) uses(pkg, name string) (at []token.Pos) {
	ast.Inspect(s.File, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg {
				at = append(at, sel.Pos())
			}
		}
		return true
	})
	return at
}

// under reports whether p is prefix or below it.
func under(p, prefix string) bool { return p == prefix || strings.HasPrefix(p, prefix+"/") }

// in reports whether p is one of the words of list.
func in(p, list string) bool { return slices.Contains(strings.Fields(list), p) }
