// Package webhook is the plugin that tells other programs what happens here: it posts what is
// committed, event by event in the order of each conversation, to HTTP endpoints that the operator
// names, signed and at least once. It keeps no messages: the feeds of the timelines are its outbox,
// and it stores how far each endpoint is. It asks nobody whether something may happen; rules in Lua do
// that. core/server runs it.
package webhook

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"io/fs"
	"os"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is the plugin's section of the configuration.
type Config struct {
	// Endpoints are told. None: nothing is done, and nothing costs anything.
	Endpoints []Endpoint `yaml:"endpoints"`
	// MoreEvents are names of events beside those that are known, of plugins of one's own:
	// "poll.closed".
	MoreEvents []string `yaml:"more_events"`
	// Timeout is for one delivery, with its answer. Default 10 s.
	Timeout time.Duration `yaml:"timeout"`
	// Batch and BatchBytes are how many events, and about how many octets, one delivery has.
	// Defaults 100 and 262,144.
	Batch      int `yaml:"batch"`
	BatchBytes int `yaml:"batch_bytes"`
	// Pause is how long after a failure it is tried again; it doubles with each, up to
	// MostPause. Defaults 1 s and 5 min.
	Pause     time.Duration `yaml:"pause"`
	MostPause time.Duration `yaml:"most_pause"`
	// Tries is how often an event that the endpoint refuses is tried before it is a dead
	// letter. Default 10.
	Tries int `yaml:"tries"`
	// GiveUp is the age at which an event becomes a dead letter when it cannot be delivered.
	// Default 24 h.
	GiveUp time.Duration `yaml:"give_up"`
	// MostDead is how many dead letters one endpoint may have: with more it is stopped, and
	// the rest waits. Default 10,000.
	MostDead int `yaml:"most_dead"`
	// RoomBacklog is how many items of its feed may wait behind a message of a room: one with more behind it is told
	// nobody. 0: no bound. Default 100,000.
	RoomBacklog int64 `yaml:"room_backlog"`
	// Poll is how often a core looks for what others committed. Default 1 s.
	Poll time.Duration `yaml:"poll"`
	// Lease is how long a core that does not say any more that it delivers is believed to.
	// Default 20 s.
	Lease time.Duration `yaml:"lease"`
	// PresenceGrace is how long somebody may be without a session before he is said to be offline.
	// Default 30 s.
	PresenceGrace time.Duration `yaml:"presence_grace"`
	// PresenceSweep is how often everybody who is online as endpoints know is looked for. Default 1 min.
	PresenceSweep time.Duration `yaml:"presence_sweep"`
}

// Webhook is the plugin. Its methods are safe for concurrent use after Provision.
type Webhook struct {
	config Config

	// Static after Provision.
	host      plugin.Host
	store     *store
	outbox    plugin.Outbox
	alerts    plugin.Alerts // nil: no endpoint is for offline pushes
	endpoints []*endpoint
	core      string // this run of this one
	online    onlineStore
	lookouts  *lookouts // nil: no endpoint is told who is online
}

// New makes the plugin with the default configuration.
func New() *Webhook {
	return &Webhook{config: Config{Timeout: 10 * time.Second, Batch: 100, BatchBytes: 256 << 10, Pause: time.Second, MostPause: 5 * time.Minute,
		Tries: 10, GiveUp: 24 * time.Hour, MostDead: 10_000, Poll: time.Second, Lease: 20 * time.Second,
		PresenceGrace: 30 * time.Second, PresenceSweep: time.Minute}}
}

// Info implements plugin.Plugin.
func (p *Webhook) Info() plugin.Info {
	return plugin.Info{Name: "webhook", Version: "1.0", Needs: []string{plugin.ServiceOutbox}}
}

// Config implements plugin.Configurer.
func (p *Webhook) Config() any { return &p.config }

// Migrations implements plugin.Migrator.
func (p *Webhook) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Validate implements plugin.Validator.
func (p *Webhook) Validate() error {
	c := p.config
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{len(c.Endpoints) <= 16, "endpoints", "must be at most 16"},
		{c.Timeout >= 100*time.Millisecond && c.Timeout <= time.Minute, "timeout", "must be 100ms-1m"},
		{c.Batch >= 1 && c.Batch <= 1000, "batch", "must be 1-1000"},
		{c.BatchBytes >= 1<<10 && c.BatchBytes <= 8<<20, "batch_bytes", "must be 1024-8388608"},
		{c.Pause >= time.Millisecond && c.Pause <= c.MostPause, "pause", "must be from 1ms to most_pause"},
		{c.MostPause <= time.Hour, "most_pause", "must be at most 1h"},
		{c.Tries >= 1 && c.Tries <= 1000, "tries", "must be 1-1000"},
		{c.GiveUp >= time.Second && c.GiveUp <= 30*24*time.Hour, "give_up", "must be 1s-720h"},
		{c.MostDead >= 1 && c.MostDead <= 100_000, "most_dead", "must be 1-100000"},
		{c.RoomBacklog >= 0, "room_backlog", "must not be negative"},
		{c.Poll >= 10*time.Millisecond && c.Poll <= time.Minute, "poll", "must be 10ms-1m"},
		{c.Lease >= time.Second && c.Lease <= 5*time.Minute, "lease", "must be 1s-5m"},
		{c.PresenceGrace >= time.Second && c.PresenceGrace <= 10*time.Minute, "presence_grace", "must be 1s-10m"},
		{c.PresenceSweep >= time.Second && c.PresenceSweep <= time.Hour, "presence_sweep", "must be 1s-1h"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("webhook."+check.key, "%s", check.rule)
		}
	}
	known, err := newCatalogue(c.MoreEvents)
	if err != nil {
		return err
	}
	return validEndpoints(c.Endpoints, known)
}

// Provision implements plugin.Provisioner.
func (p *Webhook) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host = h
	p.store = &store{db: h.DB(), tx: h.Tx}
	if p.outbox, err = plugin.Need[plugin.Outbox](h, plugin.ServiceOutbox); err != nil {
		return err
	}
	if err := p.hold(h); err != nil || len(p.config.Endpoints) == 0 {
		return err
	}
	if err := p.Validate(); err != nil {
		return err
	}
	p.core = core()
	for _, c := range p.config.Endpoints {
		if c.Push != nil && p.alerts == nil {
			if p.alerts, err = plugin.Need[plugin.Alerts](h, plugin.ServiceAlerts); err != nil {
				return err
			}
		}
		e, err := p.newEndpoint(c)
		if err != nil {
			return err
		}
		p.endpoints = append(p.endpoints, e)
	}
	p.outbox.Feed(plugin.Feeding{Woken: p.woken, Wants: p.wants})
	if p.wants(onlineEvent) || p.wants(offlineEvent) {
		p.lookouts = newLookouts()
		h.Watch(p.lookouts.hear)
	}
	return nil
}

// hold says what is kept of people.
func (p *Webhook) hold(h plugin.Host) error {
	p.online = onlineStore{p.store, h.Dialect()}
	if _, ok := h.Service(plugin.ServiceHoldings); !ok {
		return nil
	}
	of, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
	if err == nil {
		of.Hold("webhook", holdings{p.online})
	}
	return err
}

// core names this run of this core, for operators and for leases.
func core() string {
	host, _ := os.Hostname() // without it the rest will do
	var unique [6]byte
	_, _ = rand.Read(unique[:]) // never fails
	return host[:min(len(host), 40)] + "-" + hex.EncodeToString(unique[:])
}

// Start implements plugin.Starter.
func (p *Webhook) Start(ctx context.Context) error {
	for _, e := range p.endpoints {
		if err := p.begin(ctx, e); err != nil {
			return err
		}
		p.host.Go("webhook "+e.Name, e.run)
	}
	if p.lookouts == nil {
		return nil
	}
	if err := p.beginSweeps(ctx); err != nil {
		return err
	}
	p.host.Go("who comes online", p.runLookouts)
	p.host.Go("who went offline", p.runSweeps)
	return nil
}

// Stop implements plugin.Stopper.
func (p *Webhook) Stop(context.Context) error {
	for _, e := range p.endpoints {
		e.client.CloseIdleConnections()
	}
	return nil
}

// woken hears that a feed has grown.
func (p *Webhook) woken(feed im.UserID) {
	for _, e := range p.endpoints {
		e.shards[-1-feed].awake()
	}
}

// wants reports whether an endpoint names an event.
func (p *Webhook) wants(event string) bool {
	for _, e := range p.endpoints {
		if wants(e.Events, event) {
			return true
		}
	}
	return false
}

// Register implements plugin.Plugin: clients have no actions here.
func (p *Webhook) Register(*plugin.Registrar) {}
