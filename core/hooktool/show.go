package hooktool

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"freeim/core/hooks"
)

// writeSteps shows a chain, a line for each hook and more for what it changed.
func writeSteps(out io.Writer, steps []hooks.Step, indent string) {
	var rows []string
	for _, s := range steps {
		said := s.Said
		if s.Code != "" {
			said += " " + s.Code
		}
		if s.Reason != "" {
			said += fmt.Sprintf(" (%s)", s.Reason)
		}
		parts := []string{said}
		for _, more := range []struct {
			what string
			list []string
		}{{"rewrote ", s.Rewrote}, {"tags ", s.Tags}, {"scores ", s.Scores}} {
			if len(more.list) > 0 {
				parts = append(parts, more.what+strings.Join(more.list, ", "))
			}
		}
		if s.Fault != "" {
			parts = append(parts, s.Fault)
		}
		rows = append(rows, fmt.Sprintf("%s%s\t%s\t%d units\t%d us\t%s", indent, s.Rule, s.Hook, s.Units, s.Us, strings.Join(parts, "; ")))
	}
	table(out, rows...)
}

// clean is text as a terminal can show it: people's and scripts' words hold anything.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, text)
}
