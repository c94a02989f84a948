package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"time"
)

// cleanupTime bounds the stop of everything after a start that failed.
const cleanupTime = 10 * time.Second

// Set is the plugins of one core on their common way through life, see Plugin.
// core/server and plugintest both run it. NewSet, Start, Drain and Stop are
// called by one goroutine in this order; Health by any, after Start.
type Set struct {
	plugins     []Plugin // static, in the order of starting
	provisioned []Plugin // those whose Provision was reached: Stop is owed to them
	started     []Plugin // those whose Start was reached: Drain is owed to them
}

// NewSet takes the plugins in the order in which they are to start. It returns
// an error that names the plugins in question when two have one name or provide
// one service, or when a service is needed that no earlier plugin provides.
func NewSet(plugins []Plugin) (*Set, error) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	names, providers := map[string]bool{}, map[string]string{}
	for _, p := range plugins {
		info := p.Info()
		if !name.MatchString(info.Name) {
			return nil, fmt.Errorf("plugin name %q is not lower-case letters, digits and _", info.Name)
		}
		if names[info.Name] {
			return nil, fmt.Errorf("two plugins are named %s", info.Name)
		}
		names[info.Name] = true
		for _, need := range info.Needs {
			if providers[need] == "" {
				return nil, unmet(info.Name, need, plugins)
			}
		}
		for _, service := range info.Provides {
			if other := providers[service]; other != "" {
				return nil, fmt.Errorf("service %q is provided by plugin %s and by plugin %s", service, other, info.Name)
			}
			providers[service] = info.Name
		}
	}
	return &Set{plugins: slices.Clone(plugins)}, nil
}

// unmet explains why plugin name cannot have the service it needs.
func unmet(name, need string, plugins []Plugin) error {
	for _, p := range plugins {
		if info := p.Info(); slices.Contains(info.Provides, need) {
			return fmt.Errorf("plugin %s needs service %q of plugin %s, which comes later: list %s first",
				name, need, info.Name, info.Name)
		}
	}
	return fmt.Errorf("plugin %s needs service %q, which no plugin provides", name, need)
}

// Start takes all plugins through migrations, Provision, Validate, Register and
// Start, each step for all before the next begins, and gives their actions. When
// a step fails or panics, Stop is called for all that were provisioned and the
// error names plugin and step. migrate is called for plugins with a schema.
func (s *Set) Start(ctx context.Context, hostFor func(Info) Host,
	migrate func(ctx context.Context, name string, files fs.FS) error) (specs []Spec, err error) {
	defer func() {
		if err != nil {
			cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
			defer cancel()
			err = errors.Join(err, s.Stop(cleanup))
		}
	}()
	steps := []struct {
		name string
		take func(p Plugin) error
	}{
		{"migrate", func(p Plugin) error {
			if m, ok := p.(Migrator); ok {
				return migrate(ctx, p.Info().Name, m.Migrations())
			}
			return nil
		}},
		{"provision", func(p Plugin) error { return s.provision(ctx, p, hostFor(p.Info())) }},
		{"validate", func(p Plugin) error {
			if v, ok := p.(Validator); ok {
				return v.Validate()
			}
			return nil
		}},
		{"register", func(p Plugin) error {
			r := NewRegistrar(p.Info().Name)
			p.Register(r)
			specs = append(specs, r.Specs()...)
			return nil
		}},
		{"start", func(p Plugin) error { return s.start(ctx, p) }},
	}
	for _, step := range steps {
		for _, p := range s.plugins {
			if err := guard(p, step.name, func() error { return step.take(p) }); err != nil {
				return nil, err
			}
		}
	}
	return specs, nil
}

func (s *Set) provision(ctx context.Context, p Plugin, h Host) error {
	s.provisioned = append(s.provisioned, p)
	if provisioner, ok := p.(Provisioner); ok {
		if err := provisioner.Provision(ctx, h); err != nil {
			return err
		}
	}
	for _, name := range p.Info().Provides {
		if _, ok := h.Service(name); !ok {
			return fmt.Errorf("service %q was announced but not provided", name)
		}
	}
	return nil
}

func (s *Set) start(ctx context.Context, p Plugin) error {
	s.started = append(s.started, p)
	if starter, ok := p.(Starter); ok {
		return starter.Start(ctx)
	}
	return nil
}

// Drain asks all started plugins, the last first, to refuse new work and finish
// what is under way. It goes on past errors and joins them.
func (s *Set) Drain(ctx context.Context) error {
	var errs []error
	for _, p := range slices.Backward(s.started) {
		if d, ok := p.(Drainer); ok {
			errs = append(errs, guard(p, "drain", func() error { return d.Drain(ctx) }))
		}
	}
	s.started = nil
	return errors.Join(errs...)
}

// Stop stops all provisioned plugins, the last first. It goes on past errors and
// joins them. A second call does nothing.
func (s *Set) Stop(ctx context.Context) error {
	var errs []error
	for _, p := range slices.Backward(s.provisioned) {
		if stopper, ok := p.(Stopper); ok {
			errs = append(errs, guard(p, "stop", func() error { return stopper.Stop(ctx) }))
		}
	}
	s.provisioned, s.started = nil, nil
	return errors.Join(errs...)
}

// Pages are those of all plugins.
func (s *Set) Pages() (all []Page) {
	for _, p := range s.plugins {
		if pager, ok := p.(Pager); ok {
			all = append(all, pager.Pages()...)
		}
	}
	return all
}

// Held counts the messages that wait for decisions, of all plugins.
func (s *Set) Held() (waiting, behind int64) {
	for _, p := range s.plugins {
		if holder, ok := p.(Holder); ok {
			w, b := holder.Held()
			waiting, behind = waiting+w, behind+b
		}
	}
	return waiting, behind
}

// Counts are those of all plugins that count, by the plugin's name.
func (s *Set) Counts() map[string]map[string]int64 {
	all := map[string]map[string]int64{}
	for _, p := range s.plugins {
		if c, ok := p.(Counter); ok {
			all[p.Info().Name] = c.Counts()
		}
	}
	return all
}

// Forwarded is what became of events for other programs, of all plugins.
func (s *Set) Forwarded() map[string]Forwarded {
	all := map[string]Forwarded{}
	for _, p := range s.plugins {
		if f, ok := p.(Forwarder); ok {
			maps.Copy(all, f.Forwarded())
		}
	}
	return all
}

// Health asks every plugin what is wrong now; the map has an entry for each, nil
// for a healthy one.
func (s *Set) Health(ctx context.Context) map[string]error {
	health := make(map[string]error, len(s.plugins))
	for _, p := range s.plugins {
		var err error
		if h, ok := p.(Healther); ok {
			err = guard(p, "health", func() error { return h.Health(ctx) })
		}
		health[p.Info().Name] = err
	}
	return health
}

// guard runs one step of one plugin: an error gets the names of both, a panic
// becomes an error.
func guard(p Plugin, step string, fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s plugin %s: panic: %v", step, p.Info().Name, cause)
		}
	}()
	if err := fn(); err != nil {
		return fmt.Errorf("%s plugin %s: %w", step, p.Info().Name, err)
	}
	return nil
}
