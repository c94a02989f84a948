package chat

import (
	"context"
	"maps"
	"sync"
	"time"

	"freeim/core/im"
)

const (
	// lookEvery is how often a core looks for lines that others began; a look may take a
	// tenth of the time.
	lookEvery = 200 * time.Millisecond
	// trusted is how long what it saw is good for, from when it began to look.
	trusted = 800 * time.Millisecond
	// spreading is how long a line must be known before an answer tells of it: who sends
	// after that, to whichever core, finds it known there. It is more than trusted.
	spreading = time.Second
)

// lines knows which lines of held messages there are, so that messages in others ask no
// database. Where several cores share the directory (one of MySQL), a core that did not
// look for a while looks again before it says that there is none. Safe for concurrent use.
type lines struct {
	// Static after newLines.
	store    *heldStore
	shared   bool          // other cores begin lines too
	renewing chan struct{} // of length 1: who renews what is known

	looking sync.Mutex // held while what was seen is put in the place of what is known

	mu     sync.RWMutex // guards the fields below
	seen   time.Time    // when the look began that all comes from; zero: none did
	all    map[line]knownLine
	people map[im.UserID]int  // lines of each
	fresh  map[line]time.Time // that this core began since, or perhaps did not, and when
}

// knownLine is since when a core knows of a line.
type knownLine struct {
	begun string // as lined.begun; empty: not known yet
	since time.Time
	idle  bool // as lined.idle
}

func newLines(store *heldStore, shared bool) *lines {
	return &lines{store: store, shared: shared, renewing: make(chan struct{}, 1)}
}

// look reads all lines, and gives those that move. However many there are, those who ask
// what is known wait for no more than the exchange of two maps: others write rarely.
func (l *lines) look(ctx context.Context) (moving []line, err error) {
	began := time.Now()
	found, err := l.store.lines(ctx)
	if err != nil {
		return nil, err
	}
	l.looking.Lock()
	defer l.looking.Unlock()
	all, people := make(map[line]knownLine, len(found)), make(map[im.UserID]int, len(found))
	now := time.Now()
	l.mu.RLock() // beside those who ask
	late := began.Before(l.seen)
	for _, one := range found {
		k := l.all[one.line]
		if k.begun != one.begun {
			k = knownLine{begun: one.begun, since: now}
		}
		k.idle = one.idle
		all[one.line] = k
	}
	l.mu.RUnlock()
	if late {
		return nil, nil
	}
	for one := range all {
		people[one.sender]++
	}
	for _, one := range found {
		if one.moving {
			moving = append(moving, one.line)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.all, l.people = began, all, people
	maps.DeleteFunc(l.fresh, func(_ line, at time.Time) bool { return began.Sub(at) > time.Minute })
	for one := range l.fresh {
		l.open(one)
	}
	return moving, nil
}

// open has a line known in which something waits, or will.
func (l *lines) open(one line) {
	k := l.all[one]
	k.idle = false
	l.put(one, k)
}

func (l *lines) put(one line, k knownLine) {
	if _, there := l.all[one]; !there {
		l.people[one.sender]++
	}
	l.all[one] = k
}

// note has a line known from now on: called before it begins. It is the first if there
// was none.
func (l *lines) note(one line) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = len(l.all) == 0
	if l.fresh == nil {
		l.fresh = map[line]time.Time{}
	}
	if l.all == nil {
		l.all, l.people = map[line]knownLine{}, map[im.UserID]int{}
	}
	l.fresh[one] = time.Now()
	l.open(one)
	return first
}

// any reports whether there is one.
func (l *lines) any() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.all) > 0
}

// may reports whether something may wait in a line: false is certain.
func (l *lines) may(ctx context.Context, one line) (bool, error) {
	return l.known(ctx, func() bool {
		k, there := l.all[one]
		return there && !k.idle
	})
}

// mayOf reports whether a person may have any line, also an idle one.
func (l *lines) mayOf(ctx context.Context, u im.UserID) (bool, error) {
	return l.known(ctx, func() bool { return l.people[u] > 0 })
}

// known asks what is known, which is looked up first if it is not current. is is called
// with mu held.
func (l *lines) known(ctx context.Context, is func() bool) (bool, error) {
	l.mu.RLock()
	there, current := is(), l.current()
	l.mu.RUnlock()
	if there || current {
		return there, nil
	}
	if err := l.renew(ctx, time.Now()); err != nil {
		return false, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return is(), nil
}

// renew looks, for one who came just now, unless somebody else began to since: of those who
// come at once two ask the database, however slow it is. What a look does not see was begun
// after he came, so it needs not stand before him.
func (l *lines) renew(ctx context.Context, came time.Time) error {
	select {
	case l.renewing <- struct{}{}:
		defer func() { <-l.renewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.RLock()
	enough := l.current() || l.seen.After(came)
	l.mu.RUnlock()
	if enough {
		return nil
	}
	_, err := l.look(ctx)
	return err
}

// current reports whether what is not in all is not there. The caller holds mu.
func (l *lines) current() bool {
	return !l.seen.IsZero() && (!l.shared || time.Since(l.seen) < trusted)
}

// spread waits until no core trusts what it saw before a line was begun by the message
// begun, which is in the directory.
func (l *lines) spread(ctx context.Context, one line, begun string) error {
	if !l.shared {
		return nil
	}
	l.mu.Lock()
	k := l.all[one]
	if k.begun != begun {
		k = knownLine{begun: begun, since: time.Now()}
		if _, there := l.all[one]; there {
			l.all[one] = k
		}
	}
	l.mu.Unlock()
	wait := spreading - time.Since(k.since)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
