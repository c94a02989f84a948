// Package e2e runs scenarios written as text ("alice@phone sends bob "hi" as m1")
// against a real edge, a real core and real stores, over every transport and
// codec. The files are in testdata; README.md lists the verbs. It is only tests
// and what they need; nothing imports it.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Step is one line of a scenario.
type Step struct {
	Line  int
	Words []string // split at blanks; a quoted piece is one word, without its quotes
	Block string   // the indented lines that follow, for verbs that take a text
}

// ReadScript reads a scenario: one step a line; '#' begins a comment line; lines
// that begin with a blank belong to the step before them.
func ReadScript(path string) ([]Step, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "  "):
			if len(steps) == 0 {
				return nil, fmt.Errorf("%s:%d: a block belongs to a step, and there is none before it", filepath.Base(path), i+1)
			}
			steps[len(steps)-1].Block += strings.TrimPrefix(line, "\t") + "\n"
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		default:
			words, err := split(line)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", filepath.Base(path), i+1, err)
			}
			steps = append(steps, Step{Line: i + 1, Words: words})
		}
	}
	return steps, nil
}

// split cuts a line into words; "…" is one word.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			quoted, rest, closed := strings.Cut(line[1:], `"`)
			if !closed {
				return nil, fmt.Errorf("a quote is not closed")
			}
			words, line = append(words, quoted), rest
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		words, line = append(words, word), rest
	}
	return words, nil
}
