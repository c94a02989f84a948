package rules

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// checkMigrations finds what follows a gap in the numbers of a plugin's migrations.
func checkMigrations(t *tree) (findings []string) {
	last := map[string]int{} // of each directory: the files come in order
	for _, name := range t.all {
		if ok, err := path.Match("plugins/*/migrations/*.sql", name); err != nil || !ok {
			continue
		}
		digits, _, _ := strings.Cut(path.Base(name), "_")
		n, err := strconv.Atoi(digits)
		if err != nil {
			findings = append(findings, name+": has no number")
			continue
		}
		dir := path.Dir(name)
		if n > last[dir]+1 {
			findings = append(findings, fmt.Sprintf("%s: there is no %d", name, last[dir]+1))
		}
		last[dir] = n
	}
	return findings
}
