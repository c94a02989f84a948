package rpc

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/utils"
	registryetcd "github.com/kitex-contrib/registry-etcd"
	"github.com/kitex-contrib/registry-etcd/retry"

	"freeim/conf/etcd"
)

const (
	// registering is how long etcd may take to let this core in, and the pause
	// after it did not.
	registering = 3 * time.Second
	// observing is how often it is looked whether etcd still has the entry: one
	// that was restarted empty has not.
	observing = 5 * time.Second
	// never is when Kitex's registry looks by itself: what it does then races with
	// taking the entry back.
	never = 10 * 365 * 24 * time.Hour
)

// instanceTag is the tag of an entry that says which run of a core it is.
const instanceTag = "instance"

// Register says where this core makes itself known to edges that look for cores
// in etcd. The zero value is nowhere.
type Register struct {
	Service string      `yaml:"service"` // the name that edges look for; empty: not registered
	Address string      `yaml:"address"` // what edges dial; empty: where it listens
	Etcd    etcd.Config `yaml:",inline"` // which etcd: its keys are of this section
}

func (r *Register) validate(listen string) error {
	switch {
	case r.Service == "":
		return nil
	case strings.Contains(r.Service, "/"):
		return fmt.Errorf("the service %q has a slash", r.Service)
	case r.Address == "" && strings.HasPrefix(listen, "unix:"):
		return fmt.Errorf("a core that listens on %s needs an address to register", listen)
	case r.Address != "":
		if _, _, err := net.SplitHostPort(r.Address); err != nil {
			return fmt.Errorf("the address to register: %w", err)
		}
	}
	return r.Etcd.Validate()
}

// registration is this core's entry in etcd. Kitex's registry holds its lease; here
// it is made, made again when it is missing, and taken back once.
type registration struct {
	server *Server
	info   *registry.Info
	stop   context.CancelFunc
	ctx    context.Context
	rest   sync.WaitGroup

	// Owned by run, and by leave when that has ended.
	in   registry.Registry  // nil before etcd let this core in
	look discovery.Resolver // the same
	made bool               // there was an entry
}

// register starts to make this core known; nil when it is not to be.
func (s *Server) register() *registration {
	o := &s.options.Register
	if o.Service == "" {
		return nil
	}
	address := o.Address
	if address == "" {
		address = s.listener.Addr().String()
	}
	r := &registration{server: s, info: &registry.Info{
		ServiceName: o.Service, Addr: utils.NewNetAddr("tcp", address), Weight: 10,
		Tags: map[string]string{instanceTag: s.instance}}}
	r.ctx, r.stop = context.WithCancel(s.work)
	r.rest.Go(r.run)
	return r
}

// run sees to it that there is an entry, until leave.
func (r *registration) run() {
	log, failing := r.server.log, false
	for {
		pause := observing
		err := r.once()
		switch {
		case err == nil && (failing || !r.made):
			log.Info("core is registered", "service", r.info.ServiceName, "address", r.info.Addr.String())
			r.made = true
		case err != nil && !failing && r.ctx.Err() == nil: // once, until it succeeds
			log.Warn("core is not registered", "service", r.info.ServiceName, "err", err)
		}
		if failing = err != nil; failing {
			pause = registering
		}
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return
		}
	}
}

// once makes the entry, unless it is there.
func (r *registration) once() error {
	if err := r.connect(); err != nil {
		return fmt.Errorf("reach etcd: %w", err)
	}
	if r.made && r.there() {
		return nil
	}
	return r.in.Register(r.info)
}

func (r *registration) connect() error {
	if r.in != nil && r.look != nil {
		return nil
	}
	o := &r.server.options.Register
	options, err := o.Etcd.Options(registering)
	if err != nil {
		return err
	}
	if r.in == nil {
		r.in, err = registryetcd.NewEtcdRegistryWithRetry(o.Etcd.Endpoints, retry.NewRetryConfig(retry.WithObserveDelay(never)), options...)
		if err != nil {
			r.in = nil // not an interface around nothing
			return err
		}
	}
	if r.look == nil {
		if r.look, err = registryetcd.NewEtcdResolver(o.Etcd.Endpoints, options...); err != nil {
			r.look = nil
			return err
		}
	}
	return nil
}

// there reports whether etcd has the entry of this run of the core, for certain.
// Addresses do not tell: Kitex's registry takes the machine's own for a host that
// is none, and others from its environment.
func (r *registration) there() bool {
	ctx, cancel := context.WithTimeout(r.ctx, registering)
	defer cancel()
	found, err := r.look.Resolve(ctx, r.info.ServiceName)
	return err == nil && slices.ContainsFunc(found.Instances, func(i discovery.Instance) bool {
		instance, _ := i.Tag(instanceTag)
		return instance == r.server.instance
	})
}

// leave takes the entry back. More calls do nothing.
func (r *registration) leave() {
	if r == nil {
		return
	}
	r.stop()
	r.rest.Wait()
	if !r.made {
		return
	}
	r.made = false
	if err := r.in.Deregister(r.info); err != nil {
		r.server.log.Warn("core stays registered until its lease ends", "service", r.info.ServiceName, "err", err)
	}
}
