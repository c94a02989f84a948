package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// apiVersion is part of every bundle's hash: the same files under another API
// are another bundle.
const apiVersion = "1"

// file is one script, or data for scripts.
type file struct {
	Path string // below the root, with slashes
	Text string
}

// tree is the content of the scripts directory, sorted by path.
type tree struct {
	files []file
	hash  string // 12 hexadecimal digits
}

func newTree(files []file) tree {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	sum := sha256.New()
	fmt.Fprintf(sum, "api %s\n", apiVersion)
	for _, f := range files {
		fmt.Fprintf(sum, "%d %s %d\n%s", len(f.Path), f.Path, len(f.Text), f.Text)
	}
	return tree{files: files, hash: hex.EncodeToString(sum.Sum(nil))[:12]}
}

// paths lists the files.
func (t tree) paths() []string {
	var out []string
	for _, f := range t.files {
		out = append(out, f.Path)
	}
	return out
}

// changes lists what differs from an older tree: "+added", "-removed", "~changed".
func (t tree) changes(old tree) []string {
	before := map[string]string{}
	for _, f := range old.files {
		before[f.Path] = f.Text
	}
	var out []string
	for _, f := range t.files {
		text, known := before[f.Path]
		delete(before, f.Path)
		switch {
		case !known:
			out = append(out, "+"+f.Path)
		case text != f.Text:
			out = append(out, "~"+f.Path)
		}
	}
	for gone := range before {
		out = append(out, "-"+gone)
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(a[1:], b[1:]) })
	return out
}

// errMoving means that the files changed while they were read.
var errMoving = errors.New("files are still changing")

// stableTree reads the directory twice, a pause apart, and gives errMoving
// unless both readings are equal. A single reading may catch a file half
// written, and half a file may well be valid Lua.
func stableTree(ctx context.Context, dir string, pause time.Duration) (tree, error) {
	first, firstErr := readTree(dir)
	wait := time.NewTimer(pause)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return tree{}, ctx.Err()
	case <-wait.C:
	}
	second, err := readTree(dir)
	if (firstErr == nil) != (err == nil) || first.hash != second.hash {
		return tree{}, errMoving
	}
	return second, err
}

// readTree reads all scripts below dir. It reports every file it had to refuse.
func readTree(dir string) (tree, error) {
	var files []file
	var faults []error
	total := 0
	err := walk(dir, nil, func(rel, full string) error {
		text, err := readFile(rel, full)
		if err != nil {
			faults = append(faults, err)
			return nil
		}
		if total += len(text); total > maxBundle {
			return fmt.Errorf("%s: all scripts together exceed %d KiB", rel, maxBundle>>10)
		}
		if len(files) == maxFiles {
			return fmt.Errorf("%s: more than %d files", rel, maxFiles)
		}
		files = append(files, file{rel, text})
		return nil
	})
	if err = errors.Join(append(faults, err)...); err != nil {
		return tree{}, err
	}
	return newTree(files), nil
}

// readFile reads one script and refuses what cannot be one. Opening does not
// block on a pipe.
func readFile(rel, full string) (string, error) {
	f, err := os.OpenFile(full, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", rel, errors.Unwrap(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w", rel, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", rel)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", rel, err)
	}
	return checkText(rel, text)
}

// checkText refuses what cannot be a file of a bundle.
func checkText(rel string, text []byte) (string, error) {
	switch {
	case len(text) > maxFile:
		return "", fmt.Errorf("%s: larger than %d KiB", rel, maxFile>>10)
	case len(bytes.TrimSpace(text)) == 0:
		return "", fmt.Errorf("%s:1: file is empty; delete it to remove its rules", rel)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s:%d: not UTF-8", rel, 1+bytes.Count(validPrefix(text), []byte("\n")))
	}
	return strings.TrimPrefix(string(text), "\ufeff"), nil
}

// pushedTree is readTree of files that somebody handed over.
func pushedTree(pushed map[string]string) (tree, error) {
	var files []file
	var faults []error
	total := 0
	for name, text := range pushed {
		text, err := checkText(name, []byte(text))
		if base := path.Base(name); !filepath.IsLocal(name) || path.Clean(name) != name || !isScript(base) && !isData(base) ||
			strings.HasPrefix(name, ".") || strings.Contains(name, "/.") || strings.Count(name, "/") > maxDepth {
			err = fmt.Errorf("%s: no name of a script or of data", clip(name, 200))
		}
		faults = append(faults, err)
		files = append(files, file{name, text})
		total += len(text)
	}
	switch {
	case total > maxBundle:
		return tree{}, fmt.Errorf("all scripts together exceed %d KiB", maxBundle>>10)
	case len(files) > maxFiles:
		return tree{}, fmt.Errorf("more than %d files", maxFiles)
	}
	t := newTree(files)
	if !t.scripts() {
		faults = append(faults, errors.New("no script among the files; to have no rules, send one with a comment"))
	}
	return t, errors.Join(faults...)
}

func validPrefix(text []byte) []byte {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return text[:i]
		}
		i += n
	}
	return text
}

// isScript reports code, isData what im.file reads. *.d.lua are stubs for editors.
func isScript(name string) bool {
	return strings.HasSuffix(name, ".lua") && !strings.HasSuffix(name, ".d.lua")
}

func isData(name string) bool {
	return strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".json")
}

// scripts reports whether the tree holds any.
func (t tree) scripts() bool {
	return slices.ContainsFunc(t.files, func(f file) bool { return isScript(f.Path) })
}

// walk visits the directories (dir may be nil), scripts and data files below root,
// through symbolic links. Names that begin with a dot or end with ~ are not looked
// at.
func walk(root string, dir func(full string), script func(rel, full string) error) error {
	seen := map[string]bool{} // real paths of directories, against loops of links
	var visit func(rel string, depth int) error
	visit = func(rel string, depth int) error {
		real, err := filepath.EvalSymlinks(filepath.Join(root, rel))
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(filepath.ToSlash(root), rel), errors.Unwrap(err))
		}
		if seen[real] {
			return nil
		}
		seen[real] = true
		if dir != nil {
			dir(real)
		}
		entries, err := os.ReadDir(real)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := entry.Name()
			if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
				continue
			}
			full := filepath.Join(real, name)
			info, err := os.Stat(full)
			switch {
			case err == nil && info.IsDir():
				if depth == maxDepth {
					return fmt.Errorf("%s: more than %d directories deep", path.Join(rel, name), maxDepth)
				}
				err = visit(path.Join(rel, name), depth+1)
			case isScript(name) || isData(name):
				err = script(path.Join(rel, name), full)
			default:
				err = nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return visit("", 0)
}
