package account

import (
	"context"
	"errors"
	"sync"

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
	// People who exist: accounts are never deleted, so a yes stays true. When
	// fresh is full it becomes stale, and what was stale is forgotten.
	fresh, stale map[im.UserID]bool
}

func newDirectory(s *store) *directory {
	return &directory{store: s, fresh: map[im.UserID]bool{}, stale: map[im.UserID]bool{}}
}

// Exists reports whether there is an account with the ID u.
func (d *directory) Exists(ctx context.Context, u im.UserID) (bool, error) {
	if d.known(u) {
		return true, nil
	}
	switch _, err := d.store.userByID(ctx, u); {
	case errors.Is(err, errUnknown):
		return false, nil
	case err != nil:
		return false, plugin.Stored(ctx, err)
	}
	d.remember(u)
	return true, nil
}

func (d *directory) known(u im.UserID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh[u] || d.stale[u]
}

func (d *directory) remember(u im.UserID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fresh) >= maxKnown {
		d.fresh, d.stale = map[im.UserID]bool{}, d.fresh
	}
	d.fresh[u] = true
}
