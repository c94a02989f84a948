package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// figure writes a number with three significant digits, and none of an exponent.
func figure(f float64) string {
	switch a := math.Abs(f); {
	case f == 0:
		return "0"
	case a >= 100:
		return grouped(f)
	case a >= 10:
		return trimmed(f, 1)
	case a >= 1:
		return trimmed(f, 2)
	case a >= .001:
		return trimmed(f, 2-int(math.Floor(math.Log10(a))))
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

func trimmed(f float64, decimals int) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(f, 'f', decimals, 64), "0"), ".")
}

// grouped writes a whole number with a comma every three digits.
func grouped(f float64) string {
	text := strconv.FormatFloat(math.Round(f), 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// octets writes a size in the unit that fits.
func octets(f float64) string {
	unit := 0
	for f >= 10_000 && unit < 3 {
		f, unit = f/1000, unit+1
	}
	return figure(f) + []string{" B", " kB", " MB", " GB"}[unit]
}

// median of some figures; they are put in order. There must be one at least.
func median(f []float64) float64 {
	slices.Sort(f)
	middle := len(f) / 2
	if len(f)%2 == 1 {
		return f[middle]
	}
	return (f[middle-1] + f[middle]) / 2
}

// cut shortens a text to so many characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
