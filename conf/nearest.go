package conf

import (
	"fmt"
	"reflect"
	"strings"
)

// paths lists every key and section below root.
func paths(root reflect.Value) (out []string) {
	walk(root, "", func(path string, _ reflect.Value, _ bool) { out = append(out, path) })
	return out
}

// nearest says which key was likely meant by name in the section at path, whose
// keys are known: one of the same section, unless a key elsewhere is nearer.
func (l *loader) nearest(path, name string, known []child) string {
	var candidates []string
	for _, c := range known {
		candidates = append(candidates, join(path, c.name))
	}
	last := func(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
	return nearestOf(append(candidates, l.paths...), func(path string) int { return distance(name, last(path)) })
}

// nearestOf names the first of candidates with the least distance.
func nearestOf(candidates []string, distance func(string) int) string {
	if len(candidates) == 0 {
		return "there are no keys here"
	}
	best, least := "", 0
	for _, c := range candidates {
		if d := distance(c); best == "" || d < least {
			best, least = c, d
		}
	}
	return fmt.Sprintf("the nearest is %s", best)
}

// distance is how many characters must be put in, taken out, changed or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
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
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
