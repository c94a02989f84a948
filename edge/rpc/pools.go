package rpc

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// This file is pools: the cores of an edge in named parts, of which a call names one
// (session.Call.Pool). All share stores and registry; what is not a call goes by any
// link. Of one session the hub has one call under way, or several of one pool: so calls
// do not overtake each other when the pool changes.

// Pool is a part of the cores.
type Pool struct {
	Name  string   // not empty, and not "default", which is Options.Cores
	Cores []string // as Options.Cores; a core is in one pool
	// Refuse answers its calls UNAVAILABLE while none of its cores takes calls; else they
	// go to the default pool then.
	Refuse bool
}

// DefaultPool is the name of Options.Cores in figures and logs.
const DefaultPool = "default"

// pool is one of Links's.
type pool struct {
	// Static.
	name    string
	refuse  bool
	fixed   []string // addresses of cores that are always named
	sources []*source

	up     atomic.Pointer[[]*link] // those of Links.up that are its; written under Links.mu
	calls  atomic.Int64            // that its cores were given
	astray atomic.Int64            // that none of its cores could be given
}

func (o *Options) validatePools() error {
	seen := map[string]bool{"": true, DefaultPool: true}
	for _, p := range o.Pools {
		if seen[p.Name] {
			return fmt.Errorf("pool %q: the name is taken, or empty", p.Name)
		}
		seen[p.Name] = true
		if len(p.Cores) == 0 || slices.Contains(p.Cores, "") {
			return fmt.Errorf("pool %q needs the address of at least one core", p.Name)
		}
	}
	return nil
}

// makePools makes them, and links that do not run yet to all cores that are named.
func (l *Links) makePools() error {
	o := &l.options
	for _, p := range append([]Pool{{Name: DefaultPool, Cores: o.Cores}}, o.Pools...) {
		made := &pool{name: p.Name, refuse: p.Refuse}
		made.up.Store(&[]*link{})
		l.pools = append(l.pools, made)
		for _, core := range p.Cores {
			place, err := o.sourceOf(core)
			switch {
			case err != nil:
				return err
			case place != nil:
				made.sources = append(made.sources, place)
				continue
			}
			for _, k := range *l.known.Load() {
				if of := k.pool.Load(); k.address == core && of != made {
					return fmt.Errorf("core %s is in pool %q and in pool %q: it can be in one", core, of.name, made.name)
				}
			}
			made.fixed = append(made.fixed, core)
			if err := l.add(made, core); err != nil {
				return err
			}
		}
	}
	return nil
}

// pool gives a pool by the name that calls have.
func (l *Links) pool(name string) *pool {
	if name != "" {
		for _, p := range l.pools[1:] {
			if p.name == name {
				return p
			}
		}
	}
	return l.pools[0]
}

var errNoPool = errors.New("no core of the pool takes calls")

// reach gives the links that take calls of a pool, perhaps none; errNoPool when such
// calls are refused now.
func (l *Links) reach(p *pool) (up []*link, err error) {
	up = *p.up.Load()
	switch main := l.pools[0]; {
	case len(up) > 0 || p == main:
		return up, nil
	case p.refuse:
		return nil, errNoPool
	default:
		return *main.up.Load(), nil
	}
}

// went counts n calls that a link has taken.
func (p *pool) went(by *link, n int) {
	if of := by.pool.Load(); of == p {
		p.calls.Add(int64(n))
	} else {
		of.calls.Add(int64(n))
		p.astray.Add(int64(n))
	}
}

// with adds a link to those that take calls, without removes it; added is false when
// it was there. The caller holds mu.
func with(up *atomic.Pointer[[]*link], k *link) (added bool) {
	all := *up.Load()
	if slices.Contains(all, k) {
		return false
	}
	all = append(slices.Clone(all), k)
	slices.SortFunc(all, func(a, b *link) int { return a.index - b.index })
	up.Store(&all)
	return true
}

func without(up *atomic.Pointer[[]*link], k *link) {
	all := slices.DeleteFunc(slices.Clone(*up.Load()), func(other *link) bool { return other == k })
	up.Store(&all)
}

// move puts a link into another pool: discovery names its core there now. What it was
// given stays with it. The caller holds mu.
func (l *Links) move(k *link, to *pool) {
	from := k.pool.Swap(to)
	l.log.Info("core is in another pool", "core", k.address, "from", from.name, "to", to.name)
	if slices.Contains(*from.up.Load(), k) {
		without(&from.up, k)
		with(&to.up, k)
	}
}
