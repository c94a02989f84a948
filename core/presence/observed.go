package presence

import "context"

// Change is what became of a route.
type Change int

// The changes.
const (
	Came   Change = iota // it was made
	Went                 // its session is over
	Listed               // its edge said again that the session lives
)

// Observed is a Registry that says what it is asked to change: of the sessions of all cores that is the part which
// came and went through this one. What lapses, with an edge or a core, nobody says. Make it with Observe.
type Observed struct {
	Registry
	heard []func(Change, ...Route) // static once edges are served
}

// Observe makes a registry that can be listened to.
func Observe(r Registry) *Observed { return &Observed{Registry: r} }

// Listen has fn hear of changes, after each. It must not block, and not keep the routes. Before edges are served only.
func (o *Observed) Listen(fn func(Change, ...Route)) { o.heard = append(o.heard, fn) }

func (o *Observed) tell(c Change, routes ...Route) {
	for _, fn := range o.heard {
		fn(c, routes...)
	}
}

// Register implements Registry.
func (o *Observed) Register(ctx context.Context, r Route) (displaced []Route, registered bool, err error) {
	displaced, registered, err = o.Registry.Register(ctx, r)
	if registered || err != nil { // then it may have been
		o.tell(Came, r)
	}
	return displaced, registered, err
}

// Restore implements Registry.
func (o *Observed) Restore(ctx context.Context, routes []Route) ([]Restored, error) {
	all, err := o.Registry.Restore(ctx, routes)
	for i, r := range all {
		switch {
		case !r.Registered:
		case r.Known:
			o.tell(Listed, routes[i])
		default:
			o.tell(Came, routes[i])
		}
	}
	return all, err
}

// Unregister implements Registry.
func (o *Observed) Unregister(ctx context.Context, routes ...Route) (removed []Route, err error) {
	removed, err = o.Registry.Unregister(ctx, routes...)
	switch {
	case err != nil: // then they may have been
		o.tell(Went, routes...)
	case len(removed) > 0:
		o.tell(Went, removed...)
	}
	return removed, err
}
