package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
)

// LeastKey is how many octets a key that is given must have.
const LeastKey = 32

// keyFile is where the key is that nobody has given: the name is no file's ID.
const keyFile = "key"

// Home is a directory of files that an edge and a core have in common. It is made, and with it a
// key, when it is first needed, by who needs it first. Safe for concurrent use.
type Home struct {
	// Static: Dir, and the key if it was given.
	Dir   string
	Given string // empty: the one in Dir

	mu   sync.Mutex // guards the fields below; held while they are opened
	root *os.Root
	key  Key
}

// Modes are those of the directories and the files that are made in root, and of the key: for the process's account alone,
// unless root is one whose group may write to it and has all that is in it (mode 2770). Then edge and core are of two accounts that have the group in common, and
// all may be changed by both but the key, which is read. The process's umask applies.
func Modes(root *os.Root) (dir, file, key fs.FileMode) {
	if at, err := root.Stat("."); err == nil && at.Mode()&fs.ModeSetgid != 0 && at.Mode().Perm()&0o020 != 0 {
		return 0o770, 0o660, 0o640
	}
	return 0o700, 0o600, 0o600
}

// Open gives the directory, out of which nothing leads, and the key. What failed is tried again with
// the next call. The root is Close's to close.
func (h *Home) Open() (root *os.Root, key Key, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root == nil {
		if err := os.MkdirAll(h.Dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("make the directory of files: %w", err)
		}
		if h.root, err = os.OpenRoot(h.Dir); err != nil {
			return nil, nil, fmt.Errorf("open the directory of files: %w", err)
		}
	}
	if h.key == nil {
		if h.Given != "" {
			h.key = Key(h.Given)
		} else if h.key, err = keyIn(h.root); err != nil {
			return nil, nil, fmt.Errorf("the key of files: %w", err)
		}
	}
	return h.root, h.key, nil
}

// Flush has the name of a file be on the disk, and that of the directory it is in. Who answers for a file
// does it, whoever gave the name.
func Flush(root *os.Root, name string) error {
	for _, dir := range []string{path.Dir(name), "."} {
		d, err := root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Close ends it; Open begins it anew.
func (h *Home) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root == nil {
		return nil
	}
	err := h.root.Close()
	h.root = nil
	return err
}

// keyIn reads the key in a directory, and makes one if there is none. Of several who do so at once the
// first one's is all of theirs: a file gets the name with the key in it, or not at all.
func keyIn(root *os.Root) (Key, error) {
	for {
		text, err := root.ReadFile(keyFile)
		if err == nil {
			key := Key(strings.TrimSpace(string(text)))
			if len(key) < LeastKey {
				return nil, fmt.Errorf("%s has %d octets, want %d: delete it, and all URLs end", keyFile, len(key), LeastKey)
			}
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		name := "." + keyFile + "." + rand.Text() + Part
		err = write(root, name, rand.Text()+rand.Text())
		if err == nil {
			err = root.Link(name, keyFile)
		}
		if gone := root.Remove(name); err == nil {
			err = gone
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

// write makes a file for the key that is on the disk when it returns.
func write(root *os.Root, name, text string) error {
	_, _, mode := Modes(root)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Part ends the names of what is on its way: a file that is being uploaded is ".ID.RANDOM.part" beside
// where it is to be. What a crash left of such may be deleted after a day.
const Part = ".part"
