package account

import (
	"context"
	"errors"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// maxKnown bounds the people that a directory remembers, in each of two halves.
const maxKnown = 1 << 15

// directory is the service "account.directory" for other plugins. Safe for
// concurrent use.
type directory struct {
	store *store

	mu sync.Mutex // guards the fields below
	// People who exist: nothing of this ever changes. When fresh is full it becomes
	// stale, and what was stale is forgotten.
	fresh, stale map[im.UserID]person
}

// person is what a directory remembers of one.
type person struct {
	nickname string
	made     time.Time // when the account was
}

func newDirectory(s *store) *directory {
	return &directory{store: s, fresh: map[im.UserID]person{}, stale: map[im.UserID]person{}}
}

// Exists reports whether there is an account with the ID u.
func (d *directory) Exists(ctx context.Context, u im.UserID) (bool, error) {
	_, exists, err := d.Nickname(ctx, u)
	return exists, err
}

// Nickname gives the nickname of the person with the ID u; exists is false when there
// is none.
func (d *directory) Nickname(ctx context.Context, u im.UserID) (nickname string, exists bool, err error) {
	found, exists, err := d.person(ctx, u)
	return found.nickname, exists, err
}

// Made gives the time when the account of the person with the ID u was made; exists
// is false when there is none.
func (d *directory) Made(ctx context.Context, u im.UserID) (at time.Time, exists bool, err error) {
	found, exists, err := d.person(ctx, u)
	return found.made, exists, err
}

// MadeKnown is Made for those whom the directory remembers: it asks no store.
func (d *directory) MadeKnown(u im.UserID) (at time.Time, known bool) {
	found, known := d.known(u)
	return found.made, known
}

func (d *directory) person(ctx context.Context, u im.UserID) (found person, exists bool, err error) {
	if found, known := d.known(u); known {
		return found, true, nil
	}
	row, err := d.store.userByID(ctx, u)
	switch {
	case errors.Is(err, errUnknown):
		return person{}, false, nil
	case err != nil:
		return person{}, false, plugin.Stored(ctx, err)
	}
	found = person{row.nickname, time.UnixMilli(row.madeMs)}
	d.remember(u, found)
	return found, true, nil
}

func (d *directory) known(u im.UserID) (found person, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found, known = d.fresh[u]; !known {
		found, known = d.stale[u]
	}
	return found, known
}

func (d *directory) remember(u im.UserID, found person) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fresh) >= maxKnown {
		d.fresh, d.stale = map[im.UserID]person{}, d.fresh
	}
	d.fresh[u] = found
}
