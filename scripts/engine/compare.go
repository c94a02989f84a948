package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Scripts is what a bundle is made of, from a directory or from a file in which an
// engine keeps one.
type Scripts struct{ t tree }

// ReadScripts reads the scripts at path.
func ReadScripts(path string) (Scripts, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Scripts{}, err
	}
	if info.IsDir() {
		t, err := readTree(path)
		return Scripts{t}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Scripts{}, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil || len(k.Files) == 0 {
		return Scripts{}, fmt.Errorf("%s is neither a directory of scripts nor a kept bundle", path)
	}
	return Scripts{newTree(k.Files)}, nil
}

// Bundle is the hash that the scripts have as a bundle.
func (s Scripts) Bundle() string { return s.t.hash }

// Draft builds the scripts, as NewDraft does those of a directory.
func (s Scripts) Draft(ctx context.Context, o Options) (*Draft, []Finding, error) {
	o.setDefaults()
	lowerMaxIndex()
	return newDraft(ctx, o, s.t, false)
}

// Change is a file that differs, with how many lines came and went.
type Change struct {
	Path           string
	Kind           string // "added", "removed", "changed"
	Added, Removed int
}

// Compare lists the files in which now differs from old.
func Compare(old, now Scripts) []Change {
	before, after := byPath(old.t), byPath(now.t)
	var out []Change
	for _, mark := range now.t.changes(old.t) {
		c := Change{Path: mark[1:], Kind: map[byte]string{'+': "added", '-': "removed", '~': "changed"}[mark[0]]}
		c.Added, c.Removed = lineChanges(linesOf(before[c.Path]), linesOf(after[c.Path]))
		out = append(out, c)
	}
	return out
}

func byPath(t tree) map[string]string {
	out := map[string]string{}
	for _, f := range t.files {
		out[f.Path] = f.Text
	}
	return out
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// lineChanges counts the lines that came and went, whatever their order: good
// enough to say how large a change is.
func lineChanges(old, now []string) (added, removed int) {
	seen := map[string]int{}
	for _, line := range old {
		seen[line]++
	}
	for _, line := range now {
		if seen[line] > 0 {
			seen[line]--
		} else {
			added++
		}
	}
	for _, n := range seen {
		removed += n
	}
	return added, removed
}

// Moved lists the hooks that are in both chains and run in another order: those
// that must be moved, as few as can be.
func Moved(old, now []string) []string {
	var both []string
	for _, name := range now {
		if slices.Contains(old, name) {
			both = append(both, name)
		}
	}
	// The longest run of hooks that kept their order, by its end.
	best, from := make([]int, len(both)), make([]int, len(both))
	last := -1
	for i, name := range both {
		best[i], from[i] = 1, -1
		for k := range i {
			if slices.Index(old, both[k]) < slices.Index(old, name) && best[k]+1 > best[i] {
				best[i], from[i] = best[k]+1, k
			}
		}
		if last < 0 || best[i] > best[last] {
			last = i
		}
	}
	kept := map[string]bool{}
	for i := last; i >= 0; i = from[i] {
		kept[both[i]] = true
	}
	return slices.DeleteFunc(both, func(name string) bool { return kept[name] })
}
