package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/discovery"
	registryetcd "github.com/kitex-contrib/registry-etcd"

	"freeim/conf/etcd"
)

const (
	// lookup bounds one search of one source.
	lookup = 3 * time.Second
	// defaultLookup is how often each source is asked.
	defaultLookup = 5 * time.Second
)

// source is an entry of Options.Cores whose cores come and go.
type source struct {
	entry string
	find  func(context.Context) ([]string, error)

	failing bool // owned by update: it did not answer last

	found []string // guarded by Links.mu: what it said last
}

// sourceOf makes a source of "dns:NAME:PORT" or "etcd:SERVICE"; nil for any other
// entry, which is the address of one core.
func (o *Options) sourceOf(entry string) (*source, error) {
	if name, ok := strings.CutPrefix(entry, "dns:"); ok {
		host, port, err := net.SplitHostPort(name)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("%q is not dns:NAME:PORT", entry)
		}
		return &source{entry: entry, find: func(ctx context.Context) ([]string, error) {
			addresses, err := o.LookupHost(ctx, host)
			for i, a := range addresses {
				addresses[i] = net.JoinHostPort(a, port)
			}
			return addresses, err
		}}, nil
	}
	if service, ok := strings.CutPrefix(entry, "etcd:"); ok {
		if service == "" || strings.Contains(service, "/") {
			return nil, fmt.Errorf("%q needs a service without a slash", entry)
		}
		if err := o.Etcd.Validate(); err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		found := &inEtcd{etcd: o.Etcd, service: service}
		return &source{entry: entry, find: found.find}, nil
	}
	return nil, nil
}

// inEtcd finds the cores of one service.
type inEtcd struct {
	etcd     etcd.Config
	service  string
	resolver discovery.Resolver // owned by find's caller; nil before etcd let this edge in
}

func (e *inEtcd) find(ctx context.Context) (addresses []string, err error) {
	if e.resolver == nil {
		options, err := e.etcd.Options(lookup)
		if err != nil {
			return nil, err
		}
		if e.resolver, err = registryetcd.NewEtcdResolver(e.etcd.Endpoints, options...); err != nil {
			e.resolver = nil // not an interface around nothing
			return nil, fmt.Errorf("reach etcd: %w", err)
		}
	}
	found, err := e.resolver.Resolve(ctx, e.service)
	if err != nil {
		return nil, err
	}
	for _, i := range found.Instances {
		address := i.Address().String()
		if i.Address().Network() == "unix" {
			address = "unix:" + address
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// seek asks the sources again and again. What one said last holds while it does
// not answer, and also when it knows of no core: that is more likely its own
// trouble than the end of all cores, and a core that is gone costs only attempts.
func (l *Links) seek() {
	tick := time.NewTicker(l.options.Lookup)
	defer tick.Stop()
	for {
		var all sync.WaitGroup
		for _, p := range l.pools {
			for _, s := range p.sources {
				all.Go(func() { l.update(s) })
			}
		}
		all.Wait()
		select {
		case <-tick.C:
		case <-l.running.Done():
			return
		}
	}
}

func (l *Links) update(s *source) {
	ctx, cancel := context.WithTimeout(l.running, lookup)
	defer cancel()
	found, err := s.find(ctx)
	if err == nil && len(found) == 0 {
		err = errors.New("no core is named")
	}
	failing := s.failing
	s.failing = err != nil
	switch {
	case err != nil && !failing && l.running.Err() == nil: // once, until it answers
		l.log.Warn("cores cannot be looked up: those known stay", "source", s.entry, "err", err)
	case err == nil && failing:
		l.log.Info("cores are looked up again", "source", s.entry, "cores", len(found))
	}
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.found = found
	l.adopt()
}

// adopt links to the cores that are named, and lets go of those that are not: a
// link that still stands is kept until its core ends it. The caller holds mu.
func (l *Links) adopt() {
	wanted := make(map[string]*pool)
	for _, p := range l.pools {
		for _, address := range p.named() {
			if wanted[address] == nil { // the first pool that names a core has it
				wanted[address] = p
			}
		}
	}
	for _, k := range *l.known.Load() {
		p := wanted[k.address]
		k.want(p != nil)
		if p != nil && p != k.pool.Load() {
			l.move(k, p)
		}
		delete(wanted, k.address)
	}
	for address, p := range wanted {
		if err := l.add(p, address); err != nil {
			l.log.Warn("a core cannot be linked", "core", address, "err", err)
		}
	}
}

// named are the addresses of its cores. The caller holds Links.mu.
func (p *pool) named() []string {
	all := slices.Clone(p.fixed)
	for _, s := range p.sources {
		all = append(all, s.found...)
	}
	return all
}

// want says whether the core is named. One that is not is dialled no more.
func (k *link) want(wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unwanted == !wanted {
		return
	}
	k.unwanted = !wanted
	k.links.log.Info("cores have changed", "core", k.address, "named", wanted)
	select {
	case k.gave <- struct{}{}:
	default:
	}
}

// forget takes a link away that is not named any more, and that has no stream;
// false for any other.
func (l *Links) forget(k *link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.unwanted {
		return false
	}
	known := slices.DeleteFunc(slices.Clone(*l.known.Load()), func(other *link) bool { return other == k })
	l.known.Store(&known)
	l.log.Info("core is forgotten", "core", k.address)
	return true
}
