package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/utils"
	etcd "github.com/kitex-contrib/registry-etcd"
	"github.com/kitex-contrib/registry-etcd/retry"
)

const (
	// registering is how long etcd may take to let this core in, and the pause
	// after it did not.
	registering = 3 * time.Second
	// observing is how often it is looked whether etcd still has the entry: one
	// that was restarted empty has not.
	observing = 5 * time.Second
)

// Register says where this core makes itself known to edges that look for cores
// in etcd. The zero value is nowhere.
type Register struct {
	Endpoints []string `yaml:"endpoints"` // of etcd, "HOST:PORT"
	Service   string   `yaml:"service"`   // the name that edges look for; empty: not registered
	Address   string   `yaml:"address"`   // what edges dial; empty: where it listens
	Prefix    string   `yaml:"prefix"`    // of the keys; the edges' must be the same
	Username  string   `yaml:"username"`  // empty: no authentication
	Password  string   `yaml:"password"`
}

func (r *Register) validate(listen string) error {
	switch {
	case r.Service == "":
		return nil
	case strings.Contains(r.Service, "/"):
		return fmt.Errorf("the service %q has a slash", r.Service)
	case len(r.Endpoints) == 0:
		return errors.New("to register a core takes the endpoints of etcd")
	case r.Address == "" && strings.HasPrefix(listen, "unix:"):
		return fmt.Errorf("a core that listens on %s needs an address to register", listen)
	case r.Address != "":
		if _, _, err := net.SplitHostPort(r.Address); err != nil {
			return fmt.Errorf("the address to register: %w", err)
		}
	}
	return nil
}

// registration is this core's entry in etcd. Kitex's registry holds its lease and
// makes it anew when it is missing; here the first entry is tried until etcd
// takes it, and taken back once.
type registration struct {
	server *Server
	info   *registry.Info
	stop   context.CancelFunc
	ctx    context.Context
	rest   sync.WaitGroup

	mu sync.Mutex        // guards in
	in registry.Registry // nil: no entry
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
		ServiceName: o.Service, Addr: utils.NewNetAddr("tcp", address), Weight: 10}}
	r.ctx, r.stop = context.WithCancel(s.work)
	r.rest.Go(r.run)
	return r
}

// run tries until there is an entry.
func (r *registration) run() {
	for {
		err := r.once()
		if err == nil {
			r.server.log.Info("core is registered", "service", r.info.ServiceName, "address", r.info.Addr.String())
			return
		}
		r.server.log.Warn("core is not registered yet", "service", r.info.ServiceName, "err", err)
		select {
		case <-time.After(registering):
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *registration) once() error {
	o := &r.server.options.Register
	options := []etcd.Option{etcd.WithEtcdServicePrefix(o.Prefix), etcd.WithDialTimeoutOpt(registering)}
	if o.Username != "" {
		options = append(options, etcd.WithAuthOpt(o.Username, o.Password))
	}
	in, err := etcd.NewEtcdRegistryWithRetry(o.Endpoints,
		retry.NewRetryConfig(retry.WithMaxAttemptTimes(0), retry.WithObserveDelay(observing), retry.WithRetryDelay(observing)), options...)
	if err != nil {
		return fmt.Errorf("reach etcd: %w", err)
	}
	if err := in.Register(r.info); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = in
	return nil
}

// leave takes the entry back. More calls do nothing.
func (r *registration) leave() {
	if r == nil {
		return
	}
	r.stop()
	r.rest.Wait()
	r.mu.Lock()
	in := r.in
	r.in = nil
	r.mu.Unlock()
	if in == nil {
		return
	}
	if err := in.Deregister(r.info); err != nil {
		r.server.log.Warn("core stays registered until its lease ends", "service", r.info.ServiceName, "err", err)
	}
}
