package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
)

// This file is user.online and user.offline. What sessions come and go says only of whom to look: whether somebody is
// online is the registry's to say, and what was told is in the directory. README.md has the states, and what is promised.

const (
	onlineEvent  = "user.online"
	offlineEvent = "user.offline"

	mostWaiting = 65_536      // people who came or went whom a core is to look at
	lookedAt    = 256         // people at once
	lookPause   = time.Second // after a fault

	mostListed = 16_384  // people whom a census named and a core is to look at
	listedRate = 1000    // of them in a second
	mostRecent = 1 << 20 // more than listedRate lets through in recentFor; about 16 octets each
	recentFor  = 10 * time.Minute
)

// queue is people who are to be looked at, each by his last session that was heard of.
type queue map[im.UserID]presence.Route

// put takes somebody in who is there already, or if fewer than most are.
func (q queue) put(r presence.Route, most int) bool {
	if _, waits := q[r.User]; !waits && len(q) >= most {
		return false
	}
	q[r.User] = r
	return true
}

// take gives some.
func (q queue) take() queue {
	some := make(queue, min(lookedAt, len(q)))
	for u, r := range q {
		if len(some) == lookedAt {
			break
		}
		some[u] = r
		delete(q, u)
	}
	return some
}

// lookouts is who came and went at this core, and waits to be looked at; and, behind them, who was listed: every core hears
// everybody listed in turns, and nearly all are told as they are. Safe for concurrent use.
type lookouts struct {
	wake chan struct{} // of length 1
	// dropped counts people who came or went whom there was no room for, came and went the events that were told.
	dropped, came, went atomic.Int64

	mu              sync.Mutex             // guards the fields below
	waiting, listed queue                  // nobody is in both
	nextListed      time.Time              // when some of listed are taken, at the earliest
	recent, older   map[im.UserID]struct{} // who was found to be told as it is: a census need not have him looked at
	rotated         time.Time
}

func newLookouts() *lookouts {
	return &lookouts{wake: make(chan struct{}, 1), waiting: queue{}, listed: queue{}, recent: map[im.UserID]struct{}{}}
}

// hear is for presence.Observed.
func (l *lookouts) hear(c presence.Change, routes ...presence.Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range routes {
		if c == presence.Listed {
			l.list(r)
		} else {
			l.put(r)
		}
	}
}

// put has somebody be looked at who came or went. l.mu must be held.
func (l *lookouts) put(r presence.Route) {
	if !l.waiting.put(r, mostWaiting) {
		l.dropped.Add(1) // a census or the sweep finds him
		return
	}
	delete(l.listed, r.User)
	l.awake()
}

// list has somebody be looked at whom a census named, if there is room and nothing is known of him: the next census
// names him again. l.mu must be held.
func (l *lookouts) list(r presence.Route) {
	if _, waits := l.waiting[r.User]; !waits && !l.known(r.User) && l.listed.put(r, mostListed) {
		l.awake()
	}
}

func (l *lookouts) awake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// known reports whether somebody was looked at lately. l.mu must be held.
func (l *lookouts) known(u im.UserID) bool {
	_, recent := l.recent[u]
	_, older := l.older[u]
	return recent || older
}

// found notes who was found to be told as it is.
func (l *lookouts) found(users []im.UserID, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent)+len(users) > mostRecent || now.Sub(l.rotated).Abs() > recentFor/2 {
		l.recent, l.older, l.rotated = make(map[im.UserID]struct{}, len(users)), l.recent, now
	}
	for _, u := range users {
		l.recent[u] = struct{}{}
	}
}

// take gives some who wait. Those who were only listed come when nobody else waits, and not too many in a second: rest is
// how long that takes.
func (l *lookouts) take(now time.Time) (some queue, listed bool, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 || len(l.listed) == 0 {
		return l.waiting.take(), false, 0
	}
	if rest = l.nextListed.Sub(now); rest > 0 {
		return nil, false, rest
	}
	some = l.listed.take()
	l.nextListed = now.Add(time.Duration(len(some)) * time.Second / listedRate)
	return some, true, 0
}

// back has people be looked at again, but for whom there is newer word.
func (l *lookouts) back(some queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for u, r := range some {
		if _, waits := l.waiting[u]; !waits {
			l.put(r)
		}
	}
}

// runLookouts looks at people until ctx ends.
func (p *Webhook) runLookouts(ctx context.Context) {
	var looking faults
	for ctx.Err() == nil {
		some, listed, rest := p.lookouts.take(time.Now())
		if len(some) == 0 {
			p.lookouts.rest(ctx, rest)
			continue
		}
		err := p.look(ctx, some, false)
		if err != nil {
			if !listed { // the next census names those again
				p.lookouts.back(some)
			}
		}
		if looking.first(ctx, err) {
			p.host.Log().Warn("who comes online waits to be told", "err", err)
		}
		if err != nil {
			pause(ctx, lookPause)
		}
	}
}

// rest waits until there is something to take: d, if it is not 0, until somebody else waits, or until ctx ends.
func (l *lookouts) rest(ctx context.Context, d time.Duration) {
	var over <-chan time.Time // nil: never
	if d > 0 {
		over = time.After(d)
	}
	select {
	case <-l.wake:
	case <-over:
	case <-ctx.Done():
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// mostLooks is how often one look goes round before the sweep has to go on.
const mostLooks = 4

// look has other programs be told of people as the registry has them. some are their sessions that were last heard of,
// if any. late is for those who are away for so long that they are gone.
func (p *Webhook) look(ctx context.Context, some queue, late bool) error {
	users := make([]im.UserID, 0, len(some))
	for u := range some {
		users = append(users, u)
	}
	slices.Sort(users) // so two cores lock rows in one order
	for range mostLooks {
		again, err := p.lookOnce(ctx, users, some, late)
		if err != nil || len(again) == 0 {
			return err
		}
		users = again
	}
	return errors.New("people come and go too fast")
}

// lookOnce does a step for each, and gives those who need another.
func (p *Webhook) lookOnce(ctx context.Context, users []im.UserID, heard queue, late bool) (again []im.UserID, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	rows, err := p.online.people(ctx, users)
	if err != nil {
		return nil, err
	}
	routes, err := p.host.Presence().Routes(ctx, users...)
	if err != nil { // of whom it knows nothing now, nothing changes
		return nil, err
	}
	var moves []*move
	var told []person // who are coming or going
	var settled []im.UserID
	for i, u := range users {
		was := rows[u]
		is, tell := p.next(was, routes[i], heard[u], late)
		switch {
		case tell:
			told = append(told, was)
		case is.state != was.state:
			is.user, was.user = u, u
			moves = append(moves, &move{was: was, is: is})
		case is.state == stateOnline:
			settled = append(settled, u)
		}
	}
	if err := p.online.apply(ctx, moves); err != nil {
		return nil, err
	}
	for _, m := range moves {
		switch {
		case !m.done:
			again = append(again, m.is.user)
		case m.is.state == stateComing, m.is.state == stateGoing:
			told = append(told, m.is)
		}
	}
	more, err := p.tellOnline(ctx, told)
	p.lookouts.found(settled, p.host.Now())
	again = append(again, more...)
	slices.Sort(again)
	return again, err
}

const lookTime = 10 * time.Second

// next is what comes of somebody whose sessions are routes: another state, or tell: first other programs must be told of
// the present one.
func (p *Webhook) next(was person, routes []presence.Route, heard presence.Route, late bool) (is person, tell bool) {
	is, now := was, p.host.Now().UnixMilli()
	switch there := len(routes) > 0; {
	case was.state == stateComing, was.state == stateGoing:
		return is, true
	case was.state == stateOffline && there:
		return came(routes[0], now), false
	case was.state == stateOnline && !there:
		is.state, is.atMs = stateAway, now
		if heard.Device != "" {
			is.device, is.kind = heard.Device, heard.DeviceType
		}
	case was.state == stateAway && there:
		is.state, is.atMs = stateOnline, now
	case was.state == stateAway && late && now-was.atMs >= p.config.PresenceGrace.Milliseconds():
		is.state, is.tag = stateGoing, newTag()
	}
	return is, false
}

// tellOnline commits the events of people who are coming or going, and notes that. Done again, by this core or another
// one, it commits nothing. Who went may have come back: again are those to be looked at.
func (p *Webhook) tellOnline(ctx context.Context, told []person) (again []im.UserID, err error) {
	if len(told) == 0 {
		return nil, nil
	}
	notices := make([]plugin.Notice, len(told))
	for i, one := range told {
		if notices[i], err = one.notice(); err != nil {
			return nil, err
		}
	}
	var moves, events []*move // events are those of whom something was told
	var faults []error
	for i, fault := range p.outbox.Tell(ctx, notices...) {
		is := told[i]
		switch {
		case errors.Is(fault, timeline.ErrConflict): // a core of another version told it in its own words
		case errors.Is(fault, timeline.ErrCorrupt): // it is not to be had again: whoever waits behind it must not wait for ever
			p.host.Log().Error("an event of who is online is told no more", "user", is.user, "err", fault)
		case fault != nil:
			faults = append(faults, fault)
			continue
		}
		switch {
		case is.state == stateComing:
			is.state = stateOnline
		default:
			is.state = stateOffline
		}
		m := &move{was: told[i], is: is}
		if moves = append(moves, m); !errors.Is(fault, timeline.ErrCorrupt) {
			events = append(events, m)
		}
		again = append(again, is.user)
	}
	if err := p.online.apply(ctx, moves); err != nil {
		return again, errors.Join(append(faults, err)...)
	}
	p.lookouts.count(events)
	return again, errors.Join(faults...)
}

// count counts events that were told: of those who told the same one, only who noted that counts it.
func (l *lookouts) count(told []*move) {
	for _, m := range told {
		switch {
		case !m.done:
		case m.is.state == stateOnline:
			l.came.Add(1)
		default:
			l.went.Add(1)
		}
	}
}

// Counts implements plugin.Counter.
func (p *Webhook) Counts() map[string]int64 {
	l := p.lookouts
	if l == nil {
		return nil
	}
	return map[string]int64{"online": l.came.Load(), "offline": l.went.Load(), "presence_dropped": l.dropped.Load()}
}
