package rpc

import (
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

const (
	// page is how many sessions, or rooms, are listed in one message.
	page = 512
	// censusRate is how many of both a census lists in a second, and slowest how
	// many times Options.Census it takes at most for all that. The cores pay for it all
	// the time: a million sessions at 5,000 a second and edge took half a processor.
	censusRate = 1000
	slowest    = 6
)

// live gives all live sessions in pages, until take returns an error, which comes
// back. A session is looked at when its page is filled.
func (l *Links) live(take func([]*corepb.Register) error) (sessions int64, err error) {
	var fill []*corepb.Register
	l.receiver.Live(func(s session.ID, who session.Identity, c idl.Codec) bool {
		identity := toWire(who)
		fill = append(fill, &corepb.Register{Session: uint64(s), Identity: &identity, Codec: uint32(c)})
		sessions++
		if len(fill) < page {
			return true
		}
		err = take(fill)
		fill = nil
		return err == nil
	})
	if err == nil && len(fill) > 0 {
		err = take(fill)
	}
	return sessions, err
}

// takeCensus lists the live sessions on and on, to one core after the other, so
// that a route that the registry has lost for whatever reason is there again by
// the next pass, and a session that should have been kicked is found. When a core
// says that the registry lacks routes, it is done at once and without a pause.
func (l *Links) takeCensus() {
	rest := time.NewTimer(l.options.Census)
	defer rest.Stop()
	size, hurry := int64(0), false // of the last census
	for pass := 0; ; pass++ {
		select {
		case <-rest.C:
		case <-l.asked:
			hurry = true
		case <-l.running.Done():
			return
		}
		up := *l.up.Load()
		if len(up) == 0 { // the next link starts with the list of all sessions
			hurry = false
			rest.Reset(l.options.Census)
			continue
		}
		began := time.Now()
		pause := time.Duration(0)
		if !hurry {
			pause = l.pause(size)
		}
		listed, err := l.census(up[pass%len(up)], pause, hurry)
		switch {
		case err == nil:
			size, hurry = listed, false
			rest.Reset(max(l.passTime(listed)-time.Since(began), 0))
		case hurry:
			rest.Reset(l.options.Census / 50)
		default:
			rest.Reset(l.options.Census / 5)
		}
	}
}

// passTime is how long a census of so many sessions and rooms takes.
func (l *Links) passTime(size int64) time.Duration {
	whole := time.Duration(size) * time.Second / censusRate
	return min(max(whole, l.options.Census), slowest*l.options.Census)
}

// pause is how long to rest after a page when the last census listed so many. An edge that
// had few may have many by now, as one that has just started: no page waits longer than it
// would among many.
func (l *Links) pause(size int64) time.Duration {
	if size <= page {
		return 0
	}
	return min(l.passTime(size)*page/time.Duration(size), page*time.Second/censusRate)
}

// census lists the live sessions and the rooms once, over k, a page in each pause;
// asked says that a core wants it. It gives how many of both there were. Who is late, on a busy
// machine or with more to list than was thought, rests less, and in the end no more: routes that
// were not listed for too long are over.
func (l *Links) census(k *link, pause time.Duration, asked bool) (size int64, err error) {
	l.listing.Store(k)
	defer l.listing.Store(nil)
	due := time.Now()
	late := due.Add(slowest * l.options.Census)
	list := func(p *listing) error {
		if err := k.list(p); err != nil || pause == 0 || time.Now().After(late) {
			return err
		}
		due = due.Add(pause)
		return l.restFor(time.Until(due))
	}
	sessions, err := l.live(func(sessions []*corepb.Register) error { return list(&listing{registers: sessions}) })
	var rooms int64
	if err == nil {
		rooms, err = l.roomPages(func(rooms []*corepb.RoomState) error { return list(&listing{rooms: rooms}) })
	}
	if err == nil {
		err = k.list(&listing{end: &corepb.Census{Sessions: sessions, Asked: asked}})
	}
	l.counts.censuses.Add(1)
	return sessions + rooms, err
}

// restFor waits between two pages, unless a census is wanted from the start, in a hurry.
func (l *Links) restFor(pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-l.asked:
		l.ask()
		return errListing
	case <-l.running.Done():
		return errListing
	}
}

// ask wants a census at once.
func (l *Links) ask() {
	select {
	case l.asked <- struct{}{}:
	default:
	}
}
