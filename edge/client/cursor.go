package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// Cursor is how far an application has taken one person's inbox on one device:
// all that a program must keep to go on after a restart. The zero value is the
// beginning.
type Cursor struct {
	User         int64  `json:"user"`          // whose inbox; 0: not known yet
	Epoch        string `json:"epoch"`         // the timelines that the positions belong to
	InboxSeq     int64  `json:"inbox_seq"`     // the handler has taken everything up to it
	ReceiptsHead int64  `json:"receipts_head"` // and these receipts
	// Unacked is what this device holds, by conversation, where the server has
	// not confirmed the MessageAck yet. Nil is none.
	Unacked map[string]int64 `json:"unacked,omitempty"`
}

// clone copies c, so that it can be stored while the session goes on.
func (c Cursor) clone() Cursor {
	c.Unacked = maps.Clone(c.Unacked)
	return c
}

// CursorStore keeps a Cursor. A Session loads once, in Open, and saves from one
// goroutine, between events; a message is acknowledged only after the Save that
// covers it. An application that stores its messages in a database can make
// Save part of that.
type CursorStore interface {
	// Load gives what was saved last, or the zero Cursor.
	Load(ctx context.Context) (Cursor, error)
	// Save replaces the cursor. When it returns nil, c must survive whatever the
	// application wants to survive. c.Unacked may be kept.
	Save(ctx context.Context, c Cursor) error
}

// MemoryStore keeps the cursor while the program runs. The zero value is ready.
// Safe for concurrent use.
type MemoryStore struct {
	mu     sync.Mutex // guards cursor
	cursor Cursor
}

// Load implements CursorStore.
func (m *MemoryStore) Load(context.Context) (Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor.clone(), nil
}

// Save implements CursorStore.
func (m *MemoryStore) Save(_ context.Context, c Cursor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor = c
	return nil
}

// FileStore keeps the cursor as JSON in the file Path, readable by its owner
// only. Save writes a new file beside it, flushes it and renames it over the
// old one, so that a crash leaves the old or the new cursor. One Session at a
// time may use a file.
type FileStore struct {
	Path string
}

// Load implements CursorStore. A file that is not there is the zero Cursor; one
// that is no cursor is an error, since guessing would repeat or lose messages.
func (f FileStore) Load(context.Context) (Cursor, error) {
	b, err := os.ReadFile(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Cursor{}, nil
	}
	if err != nil {
		return Cursor{}, err
	}
	var c Cursor
	if err := json.Unmarshal(b, &c); err != nil {
		return Cursor{}, fmt.Errorf("cursor file %s: %w", f.Path, err)
	}
	return c, nil
}

// Save implements CursorStore.
func (f FileStore) Save(_ context.Context, c Cursor) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return replaceFile(f.Path, b)
}

// replaceFile makes path hold b, all or nothing, and waits until it is on disk.
func replaceFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	if err := writeAndClose(tmp, b); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDirectory(dir)
}

func writeAndClose(f *os.File, b []byte) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDirectory makes a rename in dir survive a power cut.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
