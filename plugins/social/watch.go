package social

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
)

const (
	maxWatches = 1_000_000 // pairs of a session and a friend, of one core
	askAtOnce  = 256       // users whose routes are asked for at once
	tellAtOnce = 200       // users who came or went that one round tells; the others are told by the next
)

// watches is who watches whom at this core. The registry of sessions tells nobody of changes, so
// a round (Social.watch) asks for the routes of all who are watched. Safe for concurrent use.
type watches struct {
	// Static.
	lease, grace time.Duration

	mu       sync.Mutex // guards the fields below
	sessions map[presence.SessionRef]*watching
	people   map[im.UserID]*watched
	pairs    int // the lengths of all watching.of
}

// watching is what one session has asked for.
type watching struct {
	user  im.UserID
	of    []im.UserID
	until time.Time
	away  time.Time // since when the registry does not have the session; zero: it does
}

// watched is a person whom sessions watch, or who has one that watches: of him is noted
// when he was seen.
type watched struct {
	online   bool                              // as it was told
	away     time.Time                         // since when he has no session, though online; zero: he has
	sessions map[presence.SessionRef]im.UserID // that watch him, with their users
	own      int                               // sessions of his that watch
}

func newWatches(lease, grace time.Duration) *watches {
	return &watches{lease: lease, grace: grace, sessions: map[presence.SessionRef]*watching{}, people: map[im.UserID]*watched{}}
}

// set has a session watch people, instead of whom it did. online says who of them is now; he who was
// watched before stays as he was told. The user of the session is online.
func (w *watches) set(ref presence.SessionRef, user im.UserID, of []im.UserID, online map[im.UserID]bool, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(ref)
	if w.pairs+len(of) > maxWatches {
		return &im.Error{Code: idl.CodeUnavailable, Reason: "too many people are watched", RetryAfter: w.lease}
	}
	for _, u := range of {
		one := w.person(u, online[u])
		one.sessions[ref] = user
		if one.online {
			online[u] = true // he may be away for a moment
		}
	}
	w.person(user, true).own++
	w.sessions[ref] = &watching{user: user, of: of, until: now.Add(w.lease)}
	w.pairs += len(of)
	return nil
}

// person gives one who is watched; w.mu must be held.
func (w *watches) person(u im.UserID, online bool) *watched {
	one := w.people[u]
	if one == nil {
		one = &watched{online: online, sessions: map[presence.SessionRef]im.UserID{}}
		w.people[u] = one
	}
	return one
}

// drop ends what a session watches; w.mu must be held. People whom nobody watches then go with
// the next round.
func (w *watches) drop(ref presence.SessionRef) {
	had := w.sessions[ref]
	if had == nil {
		return
	}
	delete(w.sessions, ref)
	w.pairs -= len(had.of)
	for _, u := range had.of {
		delete(w.people[u].sessions, ref)
	}
	w.people[had.user].own--
}

// change is a person who came or went.
type change struct {
	user     im.UserID
	online   bool
	seenMs   int64   // when he went
	watchers []int64 // the users who are to be told
}

// due drops what has lapsed, and gives whose routes a round asks for.
func (w *watches) due(now time.Time) (ask []im.UserID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ref, one := range w.sessions {
		if !one.until.After(now) {
			w.drop(ref)
		}
	}
	for u := range w.people {
		ask = append(ask, u)
	}
	slices.Sort(ask)
	return ask
}

// forget ends what sessions watch that have been away for the grace: who comes back again and
// again would hold a place for each until its lease ends. there are the people of whom live
// has all sessions; w.mu must be held.
func (w *watches) forget(there map[im.UserID]bool, live map[presence.SessionRef]bool, now time.Time) {
	for ref, one := range w.sessions {
		_, known := there[one.user]
		switch {
		case !known:
		case live[ref]:
			one.away = time.Time{}
		case one.away.IsZero():
			one.away = now
		case now.Sub(one.away) >= w.grace:
			w.drop(ref)
		}
	}
}

// take notes whether people have sessions, and which, and gives who came and who went; seen is
// when those were online last who went, and those whom nobody watches any more.
func (w *watches) take(there map[im.UserID]bool, live map[presence.SessionRef]bool, now time.Time) (changes []change, seen map[im.UserID]int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(there, live, now)
	seen = map[im.UserID]int64{}
	for u, is := range there {
		one := w.people[u]
		if one == nil || len(changes) == tellAtOnce {
			continue
		}
		switch {
		case is && one.online:
			one.away = time.Time{}
		case is:
			one.online, one.away = true, time.Time{}
			changes = append(changes, change{user: u, online: true, watchers: one.watchers()})
		case one.online && one.away.IsZero():
			one.away = now
		}
		if !is && one.online && now.Sub(one.away) >= w.grace {
			one.online = false
			seen[u] = one.away.UnixMilli()
			changes = append(changes, change{user: u, seenMs: seen[u], watchers: one.watchers()})
		}
		if len(one.sessions) == 0 && one.own == 0 {
			if is {
				seen[u] = now.UnixMilli()
			}
			if is || !one.online {
				delete(w.people, u)
			}
		}
	}
	changes = slices.DeleteFunc(changes, func(c change) bool { return len(c.watchers) == 0 })
	return changes, seen
}

// watchers are the users who watch, each once.
func (o *watched) watchers() (all []int64) {
	for _, u := range o.sessions {
		all = append(all, int64(u))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// runWatches goes round until ctx ends.
func (p *Social) runWatches(ctx context.Context) {
	tick := time.NewTicker(p.config.PresencePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := p.watch(ctx); err != nil && ctx.Err() == nil {
			p.host.Log().Warn("the presence of friends is not told", "err", err)
		}
	}
}

// watch is one round: it asks for the routes of all who are watched, some at a time, and tells
// what changed. Of whom the registry cannot say nothing changes.
func (p *Social) watch(ctx context.Context) error {
	ask := p.watches.due(p.host.Now())
	there := make(map[im.UserID]bool, len(ask))
	live := map[presence.SessionRef]bool{}
	var errs []error
	for part := range slices.Chunk(ask, askAtOnce) {
		routes, err := p.host.Presence().Routes(ctx, part...)
		if err != nil {
			errs = append(errs, err)
		}
		for i, u := range part {
			if i < len(routes) && (err == nil || len(routes[i]) > 0) {
				there[u] = len(routes[i]) > 0
				for _, r := range routes[i] {
					live[r.SessionRef] = true
				}
			}
		}
	}
	changes, seen := p.watches.take(there, live, p.host.Now())
	if len(seen) > 0 {
		errs = append(errs, p.store.noteSeen(ctx, seen))
	}
	return errors.Join(append(errs, p.tell(ctx, changes))...)
}
