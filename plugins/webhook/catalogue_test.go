package webhook

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What plugins tell, as their sources have it, is what an operator can name; and nothing that nobody tells.
func TestCatalogueIsWhatPluginsTell(t *testing.T) {
	known, err := newCatalogue(nil)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{"message": true, "user": true} // of no plugin's name
	dirs, err := filepath.Glob("../*/README.md")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%v, %v", dirs, err)
	}
	for _, dir := range dirs {
		family := filepath.Base(filepath.Dir(dir))
		if family == "webhook" {
			continue
		}
		literals, told := source(t, filepath.Dir(dir), family)
		for name := range told {
			if !slices.Contains(known[family], name) {
				t.Errorf("%s.%s is told, and no pattern but \"*\" can name it: add it to newCatalogue", family, name)
			}
		}
		for _, name := range known[family] {
			if !literals[name] && !literals[family+"."+name] {
				t.Errorf("%s.%s is in the catalogue, and nobody tells it", family, name)
			}
		}
		own[family] = true
	}
	for family := range known {
		if !own[family] {
			t.Errorf("there is no plugin %s", family)
		}
	}
}

// source gives the texts in a plugin's files, and which of them it tells as events, without its name.
func source(t *testing.T, dir, family string) (literals, told map[string]bool) {
	t.Helper()
	literals, told = map[string]bool{}, map[string]bool{}
	word, full := regexp.MustCompile(`^[a-z][a-z0-9_]*$`), regexp.MustCompile(`^`+family+`\.([a-z][a-z0-9_]*)$`)
	text := func(n ast.Node) string {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				return s
			}
		}
		return ""
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				literals[text(n)] = true
			case *ast.KeyValueExpr: // Name: "chat.settings"
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Name" && full.MatchString(text(n.Value)) {
					told[full.FindStringSubmatch(text(n.Value))[1]] = true
				}
			case *ast.ValueSpec: // eventEdited = "chat.edited"
				for i, value := range n.Values {
					if strings.HasPrefix(n.Names[i].Name, "event") && full.MatchString(text(value)) {
						told[full.FindStringSubmatch(text(value))[1]] = true
					}
				}
			case *ast.CallExpr: // c.event(user, "joined", …)
				if slices.Contains([]string{"event", "notice", "tell"}, callee(n)) {
					for _, arg := range n.Args {
						if s := text(arg); word.MatchString(s) {
							told[s] = true
							break
						}
					}
				}
			}
			return true
		})
	}
	return literals, told
}

// callee is the last name of what is called.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
