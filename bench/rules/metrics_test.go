package rules

import (
	"go/ast"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

const metricsPage = "conf/METRICS.md"

// metricName is a whole name, as opposed to the beginning of some.
var metricName = regexp.MustCompile(`^freeim_[a-z0-9_]*[a-z0-9]$`)

// metricRow is a row of the page's tables.
var metricRow = regexp.MustCompile("(?m)^\\| `(freeim_[a-z0-9_]+)` \\|")

// checkMetrics demands that conf/METRICS.md lists exactly the metrics that the
// code makes.
func checkMetrics(t *tree) (found []string) {
	page, err := fs.ReadFile(t.fs, metricsPage)
	if err != nil {
		return []string{metricsPage + ": there is none"}
	}
	listed := map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		if listed[row[1]] {
			found = append(found, metricsPage+": lists "+row[1]+" twice")
		}
		listed[row[1]] = true
	}
	made := map[string]bool{}
	for _, s := range t.sources {
		if s.test || !s.importsPath("github.com/prometheus/client_golang/prometheus") {
			continue
		}
		for name, pos := range s.metrics() {
			made[name] = true
			if !listed[name] {
				found = append(found, t.at(pos, "the metric %s is not in %s", name, metricsPage))
			}
		}
	}
	for name := range listed {
		if !made[name] {
			found = append(found, metricsPage+": lists "+name+", which nothing makes")
		}
	}
	return found
}

// metrics are the names of the metrics that a file makes: those that it spells
// out, and those that it gives to a function literal of its own whose first
// parameter is called name, behind the beginning that the literal puts before it.
func (s source) metrics() map[string]token.Pos {
	made, makers := map[string]token.Pos{}, map[string]string{}
	ast.Inspect(s.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text := unquoted(n); metricName.MatchString(text) {
				made[text] = n.Pos()
			}
		case *ast.AssignStmt:
			maker, isMaker := n.Rhs[0].(*ast.FuncLit)
			if to, isNamed := n.Lhs[0].(*ast.Ident); isMaker && isNamed && takesName(maker) {
				makers[to.Name] = beginning(maker)
			}
		case *ast.CallExpr:
			called, isNamed := n.Fun.(*ast.Ident)
			if !isNamed || len(n.Args) == 0 {
				return true
			}
			prefix, isMaker := makers[called.Name]
			if text := unquoted(n.Args[0]); isMaker && text != "" && metricName.MatchString(prefix+text) {
				made[prefix+text] = n.Pos()
			}
		}
		return true
	})
	return made
}

// unquoted is a string literal's text; empty for anything else.
func unquoted(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(literal.Value) // it was parsed
	return text
}

func takesName(f *ast.FuncLit) bool {
	params := f.Type.Params.List
	return len(params) > 0 && len(params[0].Names) > 0 && params[0].Names[0].Name == "name"
}

// beginning is the literal that f puts before a name.
func beginning(f *ast.FuncLit) (prefix string) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if sum, ok := n.(*ast.BinaryExpr); ok && strings.HasPrefix(unquoted(sum.X), "freeim_") {
			prefix = unquoted(sum.X)
		}
		return true
	})
	return prefix
}
