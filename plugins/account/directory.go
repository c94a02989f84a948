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
	// The nicknames of people who exist: neither an account nor its nickname ever
	// changes. When fresh is full it becomes stale, and what was stale is forgotten.
	fresh, stale map[im.UserID]string
}

func newDirectory(s *store) *directory {
	return &directory{store: s, fresh: map[im.UserID]string{}, stale: map[im.UserID]string{}}
}

// Exists reports whether there is an account with the ID u.
func (d *directory) Exists(ctx context.Context, u im.UserID) (bool, error) {
	_, exists, err := d.Nickname(ctx, u)
	return exists, err
}

// Nickname gives the nickname of the person with the ID u; exists is false when there
// is none.
func (d *directory) Nickname(ctx context.Context, u im.UserID) (nickname string, exists bool, err error) {
	if nickname, known := d.known(u); known {
		return nickname, true, nil
	}
	found, err := d.store.userByID(ctx, u)
	switch {
	case errors.Is(err, errUnknown):
		return "", false, nil
	case err != nil:
		return "", false, plugin.Stored(ctx, err)
	}
	d.remember(u, found.nickname)
	return found.nickname, true, nil
}

func (d *directory) known(u im.UserID) (nickname string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if nickname, known = d.fresh[u]; !known {
		nickname, known = d.stale[u]
	}
	return nickname, known
}

func (d *directory) remember(u im.UserID, nickname string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fresh) >= maxKnown {
		d.fresh, d.stale = map[im.UserID]string{}, d.fresh
	}
	d.fresh[u] = nickname
}
