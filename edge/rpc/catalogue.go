package rpc

import (
	"maps"
	"slices"
	"strings"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// catalogue is what cores said of the actions.
type catalogue struct {
	actions map[idl.Action]session.ActionInfo
	numbers map[string]idl.Action
}

func newCatalogue(actions []*corepb.ActionInfo) *catalogue {
	c := &catalogue{make(map[idl.Action]session.ActionInfo), make(map[string]idl.Action)}
	for _, a := range actions {
		name := strings.Clone(a.Name)
		c.actions[idl.Action(a.Action)] = session.ActionInfo{Action: idl.Action(a.Action), Name: name, Open: a.Open, MaxBody: int(a.MaxBody), Rooms: a.Rooms, Joins: a.Joins,
			Rate: int(a.Rate), Per: time.Duration(a.PerMs) * time.Millisecond,
			NeedsSession: a.NeedsSession, Request: strings.Clone(a.Request), Reply: strings.Clone(a.Reply)}
		c.numbers[name] = idl.Action(a.Action)
	}
	return c
}

// learn takes what the core of a link says when that comes up, and when its scripts
// define other actions. Of an action that several linked
// cores have, what was said last holds, but its calls say the rooms for any that asks:
// while versions are mixed no core gets less than it needs.
func (l *Links) learn(k *link, said *catalogue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.catalogue = said
	l.merge(k)
}

// merge makes one catalogue of what the linked cores said, k last. The caller holds mu.
func (l *Links) merge(k *link) {
	all := &catalogue{maps.Clone(k.catalogue.actions), maps.Clone(k.catalogue.numbers)}
	for _, other := range *l.up.Load() {
		if other != k {
			all.add(other.catalogue)
		}
	}
	l.catalogue.Store(all)
}

// add takes what another core said that was linked before.
func (c *catalogue) add(older *catalogue) {
	for a, info := range older.actions {
		if newer, known := c.actions[a]; known {
			newer.Rooms = newer.Rooms || info.Rooms
			info = newer
		} else if _, named := c.numbers[info.Name]; !named {
			c.numbers[info.Name] = a
		}
		c.actions[a] = info
	}
}

// Action implements session.Core.
func (l *Links) Action(a idl.Action) (info session.ActionInfo, ok bool) {
	c := l.catalogue.Load()
	if c == nil {
		return session.ActionInfo{Open: true}, true
	}
	info, ok = c.actions[a]
	return info, ok
}

// ActionNamed implements session.Core; before a core was reached no name is known.
func (l *Links) ActionNamed(name string) (a idl.Action, ok bool) {
	c := l.catalogue.Load()
	if c == nil {
		return 0, false
	}
	a, ok = c.numbers[name]
	return a, ok
}

// Actions are all that the cores have, by number; none before a core was reached.
func (l *Links) Actions() []session.ActionInfo {
	c := l.catalogue.Load()
	if c == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(c.actions), func(a, b session.ActionInfo) int { return int(a.Action - b.Action) })
}
