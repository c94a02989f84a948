package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxStored  = 20  // bundles on the shelf
	maxJournal = 200 // entries
)

// By is who decided something about the rules, and why.
type By struct {
	Who string
	Why string
}

// Entry is one line of the journal.
type Entry struct {
	At     time.Time
	What   string // "started", "activated", "shadow", "canary", "promoted", "aborted", "rolled_back", "resumed" …
	Bundle string
	From   string // the bundle before
	By
}

// Held says that a bundle stays active although another content is on disk.
type Held struct {
	Bundle string
	Disk   string // hash of that content; empty: it could not be read
	Since  time.Time
	By
}

// Stored is a bundle on the shelf.
type Stored struct {
	Hash      string
	Stored    time.Time // when it was checked first
	Activated time.Time // last; zero: never
	Files     []string
	Hooks     []string
	Rejected  string // why it was taken back; empty: it was not
}

// book is what the shelf knows beside the bundles themselves.
type book struct {
	Active  string
	Held    *Held
	Bundles []Stored
	Journal []Entry // the oldest first
}

// shelf keeps the last bundles, and what was decided about them: so one can go
// back, and a restart goes on with what was decided. Bundles are files named by
// their hash, written all or nothing. Without a directory it keeps the last three,
// for as long as the engine lives. Whoever holds the token of Engine.reloading
// changes it.
type shelf struct {
	dir   string
	log   *slog.Logger
	fatal string // the content with which a process before this one ended in its trial; static

	mu    sync.Mutex // guards the fields below; not held while files are written
	book  book
	trees map[string]tree // without a directory
}

// kept is the form of a bundle on disk: its sources.
type kept struct {
	Hash  string
	Files []file
}

// openShelf reads what is there. What is damaged is left out, with a log line.
func openShelf(dir string, log *slog.Logger) *shelf {
	s := &shelf{dir: dir, log: log, trees: map[string]tree{}}
	if dir == "" {
		return s
	}
	if mark, err := os.ReadFile(s.markPath()); err == nil {
		s.fatal = string(mark)
	}
	data, err := os.ReadFile(s.bookPath())
	if err == nil {
		err = json.Unmarshal(data, &s.book)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("what was decided about the rules cannot be read", "file", s.bookPath(), "err", err)
		s.book = book{}
	}
	listed := map[string]Stored{}
	for _, one := range s.book.Bundles {
		listed[one.Hash] = one
	}
	s.book.Bundles = nil
	entries, _ := os.ReadDir(filepath.Join(dir, "bundles")) // none yet
	for _, entry := range entries {
		hash, ours := strings.CutSuffix(entry.Name(), ".json")
		if !ours {
			_ = os.Remove(filepath.Join(dir, "bundles", entry.Name())) // half of a write that a crash ended
			continue
		}
		t, err := s.read(hash)
		if err != nil {
			log.Warn("a stored bundle is left out", "bundle", hash, "err", err)
			continue
		}
		one, known := listed[hash]
		if info, err := entry.Info(); err == nil && !known {
			one = Stored{Hash: hash, Stored: info.ModTime(), Files: t.paths()}
		}
		s.book.Bundles = append(s.book.Bundles, one)
	}
	s.sort()
	return s
}

func (s *shelf) bookPath() string { return filepath.Join(s.dir, "decisions.json") }
func (s *shelf) markPath() string { return filepath.Join(s.dir, "trying") }

// trying marks a content that has never been active while it is loaded, tested and tried: if the
// process does not outlive that, the next one does not begin with it.
func (s *shelf) trying(hash string) (over func()) {
	if s.dir == "" || s.worked(hash) {
		return func() {}
	}
	if err := writeFile(s.markPath(), []byte(hash)); err != nil {
		s.log.Warn("scripts are tried without a mark for the next start", "bundle", hash, "err", err)
	}
	return func() {
		if err := os.Remove(s.markPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("a mark could not be removed", "file", s.markPath(), "err", err)
		}
	}
}

// isFatal reports whether not to begin with a content: a process ended while it tried it, it has
// never been active, and there is another that was.
func (s *shelf) isFatal(hash string) bool {
	return hash == s.fatal && !s.worked(hash) && slices.ContainsFunc(s.bundles(), func(one Stored) bool {
		return !one.Activated.IsZero() && one.Rejected == ""
	})
}

// worked reports whether a content was active.
func (s *shelf) worked(hash string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(hash)
	return i >= 0 && !s.book.Bundles[i].Activated.IsZero()
}

func (s *shelf) path(hash string) string { return filepath.Join(s.dir, "bundles", hash+".json") }

// used is when the bundle was activated last, or put on the shelf.
func (one Stored) used() time.Time {
	if one.Activated.IsZero() {
		return one.Stored
	}
	return one.Activated
}

// sort puts the bundle first that was used last.
func (s *shelf) sort() {
	slices.SortStableFunc(s.book.Bundles, func(a, b Stored) int {
		return cmp.Or(b.used().Compare(a.used()), strings.Compare(a.Hash, b.Hash))
	})
}

// read gives the sources of a bundle, if they are what its name says.
func (s *shelf) read(hash string) (tree, error) {
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t, ok := s.trees[hash]; ok {
			return t, nil
		}
		return tree{}, fmt.Errorf("no bundle %s is kept", hash)
	}
	data, err := os.ReadFile(s.path(hash))
	if err != nil {
		return tree{}, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return tree{}, fmt.Errorf("%s: damaged: %w", s.path(hash), err)
	}
	if t := newTree(k.Files); t.hash == hash {
		return t, nil
	}
	return tree{}, fmt.Errorf("%s: damaged, or of another version", s.path(hash))
}

// keep puts a bundle on the shelf, and takes the one off that was not used for
// longest when there are too many.
func (s *shelf) keep(b *bundle, now time.Time) error {
	if err := s.writeBundle(b.tree); err != nil {
		return err
	}
	s.mu.Lock()
	if i := s.index(b.tree.hash); i < 0 {
		s.book.Bundles = append(s.book.Bundles, Stored{Hash: b.tree.hash, Stored: now, Files: b.tree.paths(), Hooks: b.rules()})
	} else {
		s.book.Bundles[i].Hooks = b.rules() // not known if the book was lost
	}
	s.mu.Unlock()
	return nil
}

func (s *shelf) writeBundle(t tree) error {
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trees[t.hash] = t
		return nil
	}
	if _, err := s.read(t.hash); err == nil {
		return nil
	}
	data, err := json.Marshal(kept{t.hash, t.files})
	if err != nil {
		return err
	}
	return writeFile(s.path(t.hash), data)
}

// update changes the book, and writes it.
func (s *shelf) update(change func(*book)) error {
	s.mu.Lock()
	change(&s.book)
	s.sort()
	gone := s.prune()
	if n := len(s.book.Journal) - maxJournal; n > 0 {
		s.book.Journal = slices.Delete(s.book.Journal, 0, n)
	}
	data, err := json.Marshal(s.book)
	s.mu.Unlock()
	if s.dir == "" || err != nil {
		return err
	}
	err = writeFile(s.bookPath(), data)
	for _, hash := range gone {
		err = errors.Join(err, os.Remove(s.path(hash)))
	}
	return err
}

// before reports whether the bundle is one to go back to.
func (s *shelf) before(one Stored) bool {
	return one.Hash != s.book.Active && !one.Activated.IsZero() && one.Rejected == ""
}

// prune takes what is too much off the book, but never what is active or held, nor
// what one would go back to: many may be pushed that never become active.
func (s *shelf) prune() (gone []string) {
	most := maxStored
	if s.dir == "" {
		most = 3
	}
	last := slices.IndexFunc(s.book.Bundles, s.before)
	for i := len(s.book.Bundles) - 1; i >= 0 && len(s.book.Bundles) > most; i-- {
		hash := s.book.Bundles[i].Hash
		if i == last || hash == s.book.Active || s.book.Held != nil && hash == s.book.Held.Bundle {
			continue
		}
		s.book.Bundles = slices.Delete(s.book.Bundles, i, i+1)
		delete(s.trees, hash)
		gone = append(gone, hash)
	}
	return gone
}

func (s *shelf) index(hash string) int {
	return slices.IndexFunc(s.book.Bundles, func(one Stored) bool { return one.Hash == hash })
}

// bundles lists what is on the shelf, the one that was used last first.
func (s *shelf) bundles() []Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.book.Bundles)
}

func (s *shelf) journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.book.Journal)
}

func (s *shelf) held() *Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book.Held == nil {
		return nil
	}
	copied := *s.book.Held
	return &copied
}

// find completes a hash of at least four digits. Empty: the bundle that was active
// before the one that is.
func (s *shelf) find(hash string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hash == "" {
		for _, one := range s.book.Bundles {
			if s.before(one) {
				return one.Hash, nil
			}
		}
		return "", errors.New("no bundle was active before this one")
	}
	var found []string
	for _, one := range s.book.Bundles {
		if strings.HasPrefix(one.Hash, hash) {
			found = append(found, one.Hash)
		}
	}
	switch {
	case len(hash) < 4:
		return "", fmt.Errorf("%q: give at least four digits of a hash", clip(hash, 64))
	case len(found) == 0:
		return "", fmt.Errorf("no bundle %s is kept: push its files, or name one that is", clip(hash, 64))
	case len(found) == 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s may be %s: give more of it", hash, strings.Join(found, " or "))
}

// writeFile writes a file, all or nothing, and lasting.
func writeFile(name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".scripts-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
