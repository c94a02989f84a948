package rpc

import (
	"strings"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// catalogue is what the core that linked last said of the actions.
type catalogue struct {
	actions map[idl.Action]session.ActionInfo
	numbers map[string]idl.Action
}

func newCatalogue(w *corepb.Welcome) *catalogue {
	c := &catalogue{make(map[idl.Action]session.ActionInfo), make(map[string]idl.Action)}
	for _, a := range w.Actions {
		name := strings.Clone(a.Name)
		c.actions[idl.Action(a.Action)] = session.ActionInfo{Name: name, Open: a.Open, MaxBody: int(a.MaxBody), Rooms: a.Rooms}
		c.numbers[name] = idl.Action(a.Action)
	}
	return c
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
