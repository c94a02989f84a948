package rpc

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/corepb"
)

// catalogue is what edges are told of the actions that there are.
type catalogue struct {
	mu       sync.Mutex // guards the fields below, whose elements never change
	compiled []*corepb.ActionInfo
	scripted []*corepb.ActionInfo
}

func infos(specs []plugin.Spec) (all []*corepb.ActionInfo) {
	for _, spec := range specs {
		all = append(all, &corepb.ActionInfo{
			Action: uint32(spec.Action), Name: spec.Name, Open: spec.Open, MaxBody: int64(spec.MaxBody), Rooms: spec.Rooms, Joins: spec.Joins,
			Rate: int64(spec.Rate), PerMs: spec.Per.Milliseconds(), NeedsSession: spec.NeedsSession, Request: body(spec.Request), Reply: body(spec.Reply)})
	}
	return all
}

// body is what the .proto files call a message that make makes, without "freeim.";
// empty for one of scripts.
func body(make func() any) string {
	if make == nil {
		return ""
	}
	t := reflect.TypeOf(make())
	if t == nil || t.Kind() != reflect.Pointer {
		return ""
	}
	dir, generated := strings.CutPrefix(t.Elem().PkgPath(), "freeim/idl/kitex_gen/")
	if !generated {
		return ""
	}
	return strings.TrimSuffix(dir, "pb") + "." + t.Elem().Name()
}

func (c *catalogue) setCompiled(specs []plugin.Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compiled = infos(specs)
}

func (c *catalogue) setScripted(specs []plugin.Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scripted = infos(specs)
}

func (c *catalogue) all() *corepb.Catalogue {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &corepb.Catalogue{Actions: slices.Concat(c.compiled, c.scripted)}
}

// Offer says which actions scripts define from now on, besides those of the Dispatcher:
// edges that are linked hear of it behind what is queued for them, others when they link.
// It never blocks, and may be called before Start.
func (s *Server) Offer(specs []plugin.Spec) {
	s.catalogue.setScripted(specs)
	s.edges.tell()
}

// tell sends the catalogue to every edge. An edge that links meanwhile is either among
// them, or reads the new one for its Welcome.
func (t *edges) tell() {
	all := t.server.catalogue.all()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.byID {
		if e.link != nil {
			e.link.deliver(item{catalogue: all})
		}
	}
}
