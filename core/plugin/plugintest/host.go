// Package plugintest runs plugins in the test's process: with real stores (the
// embedded ones, or MySQL and Redis, see Stores), real presence and real dispatch, a clock that the test moves, and sessions in place
// of an edge, which keep what was pushed to them and why they were closed.
// Conform is what every plugin must pass. It is for tests only; the tests of
// plugins and of core/plugin use it.
package plugintest

import (
	"bytes"
	"context"
	stdsql "database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/redis"
	"freeim/core/sql"
	"freeim/core/timeline"
	"freeim/scripts/engine"
)

// Options says what a host runs.
type Options struct {
	Plugins []plugin.Plugin // configured, in the order of starting
	Stubs   []Stub          // services that the plugins need and none of them provides
	Hooks   dispatch.Hooks  // nil: no rules
	// Scripts are rules in Lua, instead of Hooks: their files by path. They run by the
	// host's clock.
	Scripts map[string]string
	Targets []plugin.Target // what the rules can send messages to
	Start   time.Time       // of the clock; zero: 2026-01-01 00:00 UTC
	// Presence is the registry of live sessions; nil: one of the host's own.
	Presence presence.Registry
	// Dir holds the directory database, for a host that is to find what another
	// has stored; empty: a directory of the test's own. Timelines may end with the
	// host.
	Dir string
	// Timelines are another host's, which ends after this one; nil: the host's own.
	// Two hosts with the same Dir and timelines are two cores of one site.
	Timelines timeline.Store
}

// Stub is a service that stands for another plugin's.
type Stub struct {
	Name    string
	Service any
}

// Host is a core in the test's process. Safe for concurrent use.
type Host struct {
	// Static after New.
	directory  *sql.Directory
	copied     bool // the directory, from a template
	timelines  timeline.Store
	borrowed   bool          // the timelines, of another host, which closes them
	redis      *redis.Client // nil with the embedded stores
	registry   presence.Registry
	observed   *presence.Observed // the same
	rooms      *rooms
	ids        *im.IDGenerator
	services   *plugin.Services
	rules      *hooks.Rules // nil without scripts
	plugins    *plugin.Set
	dispatcher *dispatch.Dispatcher
	log        *slog.Logger
	logs       *buffer

	work     sync.WaitGroup // what plugins run with Go
	ctx      context.Context
	end      context.CancelFunc
	stopOnce sync.Once
	stopErr  error

	mu       sync.Mutex // guards the fields below
	now      time.Time
	sessions map[presence.SessionRef]*Session // live and closed
	kicks    []Kick
	wakes    []plugin.Followed
}

// New starts a host that is stopped when the test ends. The test fails at once
// when it does not start.
func New(t testing.TB, o Options) *Host {
	t.Helper()
	h, err := Start(t, o)
	if err != nil {
		t.Fatalf("plugins do not start: %v", err)
	}
	return h
}

// Start is New for tests that expect an error.
func Start(t testing.TB, o Options) (*Host, error) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	h := &Host{now: o.Start, sessions: map[presence.SessionRef]*Session{}, registry: o.Presence,
		services: plugin.NewServices(), logs: &buffer{}}
	h.log = slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.ids = im.NewIDGenerator(h.Now)
	h.ctx, h.end = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Errorf("plugins do not stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the host:\n%s", h.Logs())
		}
	})
	if len(o.Stubs) > 0 {
		o.Plugins = append([]plugin.Plugin{stubbed(o.Stubs)}, o.Plugins...)
	}
	var err error
	if h.plugins, err = plugin.NewSet(o.Plugins); err != nil {
		return nil, err
	}
	if err := h.open(t, o.Dir, o.Plugins); err != nil {
		return nil, err
	}
	h.observed = presence.Observe(h.registry)
	h.registry = h.observed
	if o.Timelines != nil {
		if err := h.timelines.Close(); err != nil {
			return nil, err
		}
		h.timelines, h.borrowed = o.Timelines, true
	}
	var there presence.Rooms = presence.NewMemoryRooms(presence.Leases{})
	if h.redis != nil {
		there = redis.NewRooms(h.redis, presence.Leases{})
	}
	h.rooms = newRooms(h, there)
	return h, h.start(o)
}

func (h *Host) start(o Options) (err error) {
	if o.Scripts != nil {
		h.rules = hooks.New()
		for _, service := range []string{"account.rules", "room.rules", "group.rules", "chat.rules"} {
			h.services.Provide("host", service, h.rules)
		}
		o.Hooks = h.rules
	}
	specs, err := h.plugins.Start(h.ctx, h.hostFor, h.migrate)
	if err != nil {
		return err
	}
	if h.rules != nil {
		if err := h.openRules(specs, o); err != nil {
			return err
		}
	}
	options := dispatch.Options{Specs: specs, Hooks: o.Hooks, Log: h.log}
	if h.rules != nil {
		options.Scripted = h.rules.Scripted
	}
	h.dispatcher, err = dispatch.New(options)
	return err
}

// migrate is Migrate of the directory, but for one that has all tables from its template.
func (h *Host) migrate(ctx context.Context, name string, files fs.FS) error {
	if h.copied {
		return nil
	}
	return h.directory.Migrate(ctx, name, files)
}

// openRules loads scripts from a directory that nobody watches.
func (h *Host) openRules(specs []plugin.Spec, o Options) error {
	dir, err := os.MkdirTemp("", "rules")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, text := range o.Scripts {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	targets := map[string]engine.Target{}
	for _, t := range o.Targets {
		targets[t.Name] = engine.Target{User: int64(t.User), Room: t.Room}
	}
	// The machine may be busy: only what a script does wrong must fail a test.
	return h.rules.Open(specs, engine.Options{Dir: dir, Log: h.log, Now: h.Now, Targets: targets,
		Wall: time.Second, ChainWall: 2 * time.Second, ActionWall: time.Second, AsideWall: time.Second, LoadWall: 10 * time.Second})
}

// Rules is the engine of Options.Scripts.
func (h *Host) Rules() *engine.Engine { return h.rules.Engine() }

// Stop drains and stops the plugins and closes the stores, once; the test's end
// does it too.
func (h *Host) Stop() error {
	h.stopOnce.Do(func() { h.stopErr = h.stop() })
	return h.stopErr
}

func (h *Host) stop() error {
	ctx := context.WithoutCancel(h.ctx)
	var errs []error
	if h.plugins != nil {
		errs = append(errs, h.plugins.Drain(ctx))
	}
	h.end()
	if h.plugins != nil {
		errs = append(errs, h.plugins.Stop(ctx))
	}
	h.work.Wait()
	if h.rules != nil {
		errs = append(errs, h.rules.Close())
	}
	if h.timelines != nil && !h.borrowed {
		errs = append(errs, h.timelines.Close())
	}
	if h.redis != nil {
		errs = append(errs, h.redis.Close())
	}
	if h.directory != nil {
		errs = append(errs, h.directory.Close())
	}
	return errors.Join(errs...)
}

// Now is the host's clock, which stands still but for Advance.
func (h *Host) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Advance moves the clock; a negative d sets it back.
func (h *Host) Advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// DB is the directory.
func (h *Host) DB() *stdsql.DB { return h.directory.DB() }

// Timelines is the store of messages.
func (h *Host) Timelines() timeline.Store { return h.timelines }

// Presence is the registry of live sessions.
func (h *Host) Presence() presence.Registry { return h.registry }

// Service is a service that a plugin provides.
func (h *Host) Service(name string) (any, bool) { return h.services.Service(name) }

// Health is what the plugins say of themselves.
func (h *Host) Health(ctx context.Context) map[string]error { return h.plugins.Health(ctx) }

// Actions are the actions of all plugins.
func (h *Host) Actions() []plugin.Spec { return h.dispatcher.Actions() }

// Logs is everything that was logged so far, from debug up.
func (h *Host) Logs() string { return h.logs.String() }

// stubs is a plugin that provides services only.
type stubs []Stub

func (s stubs) Info() plugin.Info {
	info := plugin.Info{Name: "stubs", Version: "1"}
	for _, stub := range s {
		info.Provides = append(info.Provides, stub.Name)
	}
	return info
}

func (s stubs) Provision(_ context.Context, h plugin.Host) error {
	for _, stub := range s {
		if one, ok := stub.Service.(attached); ok {
			one.attach(h)
		}
		h.Provide(stub.Name, stub.Service)
	}
	return nil
}

// attached is a fake that works with its host, and has tables there.
type attached interface{ attach(h plugin.Host) }

func stubbed(all stubs) plugin.Plugin {
	for _, stub := range all {
		if _, ok := stub.Service.(attached); ok {
			return filing{all}
		}
	}
	return all
}

func (stubs) Register(*plugin.Registrar) {}

var _ interface {
	plugin.Plugin
	plugin.Provisioner
} = stubs(nil)

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu    sync.Mutex // guards bytes
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}
