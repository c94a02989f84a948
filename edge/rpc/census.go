package rpc

import (
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

const (
	// page is how many sessions are listed in one message.
	page = 512
	// censusRate is how many sessions a census lists in a second, and slowest how
	// many times Options.Census it takes at most for all that.
	censusRate = 5000
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
	sessions, hurry := int64(0), false
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
		whole := l.passTime(sessions)
		pause := time.Duration(0)
		if !hurry && sessions > page {
			pause = whole * page / time.Duration(sessions)
		}
		listed, err := l.census(up[pass%len(up)], pause, hurry)
		switch {
		case err == nil:
			sessions, hurry = listed, false
			rest.Reset(max(l.passTime(listed)-time.Since(began), 0))
		case hurry:
			rest.Reset(l.options.Census / 50)
		default:
			rest.Reset(l.options.Census / 5)
		}
	}
}

// passTime is how long a census of so many sessions takes.
func (l *Links) passTime(sessions int64) time.Duration {
	whole := time.Duration(sessions) * time.Second / censusRate
	return min(max(whole, l.options.Census), slowest*l.options.Census)
}

// census lists the live sessions and the rooms once, over k; asked says that a core wants it.
func (l *Links) census(k *link, pause time.Duration, asked bool) (sessions int64, err error) {
	l.listing.Store(k)
	defer l.listing.Store(nil)
	sessions, err = l.live(func(sessions []*corepb.Register) error {
		if err := k.list(&listing{registers: sessions}); err != nil || pause == 0 {
			return err
		}
		select {
		case <-time.After(pause):
			return nil
		case <-l.asked: // from the start, and in a hurry
			l.ask()
			return errListing
		case <-l.running.Done():
			return errListing
		}
	})
	if err == nil {
		err = l.roomPages(func(rooms []*corepb.RoomState) error { return k.list(&listing{rooms: rooms}) })
	}
	if err == nil {
		err = k.list(&listing{end: &corepb.Census{Sessions: sessions, Asked: asked}})
	}
	l.counts.censuses.Add(1)
	return sessions, err
}

// ask wants a census at once.
func (l *Links) ask() {
	select {
	case l.asked <- struct{}{}:
	default:
	}
}
