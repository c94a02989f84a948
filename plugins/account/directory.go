package account

import (
	"context"
	"fmt"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

const (
	// maxKnown bounds the people that a directory remembers, in each of two halves.
	maxKnown = 1 << 15
	// knownFor is how long it does: as late as that a core hears of what another
	// core has changed.
	knownFor = time.Minute
	// mostPeople is how many may be asked for at a time.
	mostPeople = 1000
)

// directory is the services "account.directory" and plugin.ServicePeople for other plugins.
// Safe for concurrent use.
type directory struct {
	store *store
	now   func() time.Time

	mu sync.Mutex // guards the fields below
	// People who exist. When fresh is full it becomes stale, and what was stale is
	// forgotten.
	fresh, stale map[im.UserID]person
	forgotten    uint64 // counts the calls of forget
}

// person is what a directory remembers of one.
type person struct {
	plugin.Person
	made time.Time // when the account was; nothing changes that
	read time.Time // when this was true
}

func (p *person) recent(now time.Time) bool { return now.Sub(p.read) < knownFor }

func newDirectory(s *store, now func() time.Time) *directory {
	return &directory{store: s, now: now, fresh: map[im.UserID]person{}, stale: map[im.UserID]person{}}
}

// Exists reports whether there is an account with the ID u.
func (d *directory) Exists(ctx context.Context, u im.UserID) (bool, error) {
	_, exists, err := d.person(ctx, u)
	return exists, err
}

// Nickname gives the nickname of the person with the ID u; exists is false when there
// is none.
func (d *directory) Nickname(ctx context.Context, u im.UserID) (nickname string, exists bool, err error) {
	found, exists, err := d.person(ctx, u)
	return found.Nickname, exists, err
}

// Made gives the time when the account of the person with the ID u was made; exists
// is false when there is none.
func (d *directory) Made(ctx context.Context, u im.UserID) (at time.Time, exists bool, err error) {
	found, exists, err := d.person(ctx, u)
	return found.made, exists, err
}

// MadeOf is Made for several, mostPeople at most: those who exist.
func (d *directory) MadeOf(ctx context.Context, users []im.UserID) (map[im.UserID]time.Time, error) {
	if err := fewPeople(users); err != nil {
		return nil, err
	}
	made, asked := d.madeKnown(users)
	if len(asked) == 0 {
		return made, nil
	}
	found, err := d.people(ctx, asked)
	for u, one := range found {
		made[u] = one.made
	}
	return made, err
}

// madeKnown is MadeKnown for several, and who is not remembered.
func (d *directory) madeKnown(users []im.UserID) (made map[im.UserID]time.Time, missing []im.UserID) {
	made = make(map[im.UserID]time.Time, len(users))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range users {
		if found, known := d.known(u); known {
			made[u] = found.made
		} else {
			missing = append(missing, u)
		}
	}
	return made, missing
}

// MadeKnown is Made for those whom the directory remembers: it asks no store.
func (d *directory) MadeKnown(u im.UserID) (at time.Time, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, known := d.known(u)
	return found.made, known
}

// People implements plugin.People.
func (d *directory) People(ctx context.Context, users []im.UserID) (map[im.UserID]plugin.Person, error) {
	if err := fewPeople(users); err != nil {
		return nil, err
	}
	found, err := d.people(ctx, users)
	if err != nil {
		return nil, err
	}
	people := make(map[im.UserID]plugin.Person, len(found))
	for u, one := range found {
		people[u] = one.Person
	}
	return people, nil
}

func fewPeople(users []im.UserID) error {
	if len(users) > mostPeople {
		return fmt.Errorf("%d people are asked for at once, %d at most", len(users), mostPeople)
	}
	return nil
}

// Absent reports whether u is disabled or has left, for good or for a while, as it is now.
func (d *directory) Absent(ctx context.Context, u im.UserID) (bool, error) {
	st, err := d.store.state(ctx, d.store.db, u)
	if err != nil {
		return false, plugin.Stored(ctx, err)
	}
	return st.leaving != staying || st.disabledUntilMs > d.now().UnixMilli(), nil
}

// person is asked about most messages: whom it remembers it finds without making anything.
func (d *directory) person(ctx context.Context, u im.UserID) (found person, exists bool, err error) {
	if found, exists = d.recent(u, d.now()); exists {
		return found, true, nil
	}
	one, err := d.people(ctx, []im.UserID{u})
	found, exists = one[u]
	return found, exists, err
}

// people gives those who exist: from memory, and the others by one query.
func (d *directory) people(ctx context.Context, users []im.UserID) (map[im.UserID]person, error) {
	now := d.now()
	found, missing, forgotten := d.remembered(users, now)
	if len(missing) == 0 {
		return found, nil
	}
	rows, err := d.store.profiles(ctx, missing)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for u, row := range rows {
		if row.erased() {
			continue
		}
		found[u] = person{
			Person: plugin.Person{User: u, Handle: row.handle, Nickname: row.nickname, Avatar: row.avatar},
			made:   time.UnixMilli(row.madeMs), read: now,
		}
	}
	d.remember(rows, found, forgotten)
	return found, nil
}

func (d *directory) remembered(users []im.UserID, now time.Time) (found map[im.UserID]person, missing []im.UserID, forgotten uint64) {
	found = make(map[im.UserID]person, len(users))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range users {
		if one, known := d.known(u); known && one.recent(now) {
			found[u] = one
		} else {
			missing = append(missing, u)
		}
	}
	return found, missing, d.forgotten
}

// recent is one whom the directory remembers and has read not long ago.
func (d *directory) recent(u im.UserID, now time.Time) (found person, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, known := d.known(u)
	return found, known && found.recent(now)
}

// known is called with mu held.
func (d *directory) known(u im.UserID) (found person, known bool) {
	if found, known = d.fresh[u]; !known {
		found, known = d.stale[u]
	}
	return found, known
}

// remember takes over what was read of rows, unless somebody was forgotten meanwhile.
func (d *directory) remember(rows map[im.UserID]profile, found map[im.UserID]person, forgotten uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.forgotten != forgotten {
		return
	}
	for u := range rows {
		one, exists := found[u]
		if !exists {
			continue
		}
		if len(d.fresh) >= maxKnown {
			d.fresh, d.stale = map[im.UserID]person{}, d.fresh
		}
		d.fresh[u] = one
	}
}

// forget has u read anew: something of him was changed.
func (d *directory) forget(u im.UserID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten++
	delete(d.fresh, u)
	delete(d.stale, u)
}
