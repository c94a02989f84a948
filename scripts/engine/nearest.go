package engine

import "math"

// maxNearest is how many octets of a name are compared with others.
const maxNearest = 64

// nearest says which of known was likely meant.
func nearest(name string, known []string) string {
	best := closest(name, known, math.MaxInt32)
	if best == "" {
		return "there is nothing to set"
	}
	return "the nearest is " + best
}

// closest is the one of among that is nearest to name, in the order of the alphabet the
// first of those; empty: all are as far as most. Of a long name the beginning is compared.
func closest(name string, among []string, most int) (best string) {
	if len(name) > maxNearest {
		name = name[:maxNearest]
	}
	for _, other := range among {
		if d := distance(name, other, most+1); d < most || d == most && best != "" && other < best {
			best, most = other, d
		}
	}
	return best
}

// distance is how many octets must be put in, taken out, changed or swapped with their
// neighbour to make b of a; most if it is more.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], most)
}
