package plugin

import "strings"

// Marks are n placeholders of a query, as the list behind IN: "(?, ?)". Of none it is a list
// that nothing is in.
func Marks(n int) string {
	if n < 1 {
		return "(NULL)"
	}
	return "(?" + strings.Repeat(", ?", n-1) + ")"
}
