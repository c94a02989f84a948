package server

import (
	"cmp"
	"fmt"
	"path/filepath"
	"time"

	"freeim/scripts/engine"
)

// Watch is the section core.rules.watch: by what new rules are compared with those
// before, and taken back if they are worse.
type Watch struct {
	// Time is for how long after they became active; negative: not at all. 0: 5 min.
	Time time.Duration `yaml:"time"`
	// Calls is the number of actions before anything is concluded. 0: 200.
	Calls int `yaml:"calls"`
	// Faults is the share of actions on which more scripts may fail, or exceed their
	// budget. 0: 0.01.
	Faults float64 `yaml:"faults"`
	// Denied is the share of actions of which more may be denied. 0: 0.1.
	Denied float64 `yaml:"denied"`
	// Slower is how many times as long they may last. 0: 3.
	Slower float64 `yaml:"slower"`
}

// Record is the section core.rules.record: what is kept of actions, to try new
// rules on.
type Record struct {
	// Every is which part of the actions that rules are asked about: one of so many.
	// 0: none.
	Every int `yaml:"every"`
	// Keep is how many of the last are kept in memory. 0: 500.
	Keep int `yaml:"keep"`
	// Text is what is kept of texts: "off" (their lengths), "hash" or "full". Empty:
	// "off".
	Text string `yaml:"text"`
	// Disk writes them below core.data as well, 64 MiB at most.
	Disk bool `yaml:"disk"`
	// MaxFlip is the share of them about which new rules may decide otherwise. 0: any.
	MaxFlip float64 `yaml:"max_flip"`
}

// RuleTarget is one of core.rules.targets. It has one of both.
type RuleTarget struct {
	User int64  `yaml:"user"` // whose chat with the sender gets messages of chats
	Room string `yaml:"room"` // which gets messages of rooms
}

func (r *Rules) targets() map[string]engine.Target {
	all := map[string]engine.Target{}
	for name, t := range r.Targets {
		all[name] = engine.Target(t)
	}
	return all
}

// hookUnits is the work that one hook may do.
const hookUnits = 100_000

func (r *Rules) setDefaults() {
	r.AfterQueue = cmp.Or(r.AfterQueue, 1024)
	r.ChainUnits = cmp.Or(r.ChainUnits, 4*hookUnits)
	r.Activate = cmp.Or(r.Activate, string(engine.ModeNow))
	r.Canary = cmp.Or(r.Canary, 5)
	w := &r.Watch
	w.Time, w.Calls = cmp.Or(w.Time, 5*time.Minute), cmp.Or(w.Calls, 200)
	w.Faults, w.Denied, w.Slower = cmp.Or(w.Faults, 0.01), cmp.Or(w.Denied, 0.1), cmp.Or(w.Slower, 3)
	r.Record.Keep, r.Record.Text = cmp.Or(r.Record.Keep, 500), cmp.Or(r.Record.Text, engine.TextOff)
}

// options puts what the configuration says of targets and reloads into o.
func (r *Rules) options(o *engine.Options, data string) {
	o.Targets = r.targets()
	o.Policy = engine.Policy{Mode: engine.Mode(r.Activate)}
	if o.Policy.Mode == engine.ModeCanary {
		o.Policy.Percent = r.Canary
	}
	o.Watch = engine.Watch{For: r.Watch.Time, MinCalls: r.Watch.Calls, Faults: r.Watch.Faults, Denied: r.Watch.Denied, Slower: r.Watch.Slower}
	o.Record = engine.Record{Every: r.Record.Every, Keep: r.Record.Keep, Text: r.Record.Text, MaxFlip: r.Record.MaxFlip}
	if r.Record.Disk {
		o.Record.Dir = filepath.Join(data, "rules", "recorded")
	}
}

// validateReload checks what options uses.
func (r *Rules) validateReload() error {
	var o engine.Options
	r.options(&o, "")
	if err := o.Policy.Validate(); err != nil {
		return fmt.Errorf("core.rules.activate: %w", err)
	}
	if err := o.Watch.Validate(); err != nil {
		return fmt.Errorf("core.rules.watch: %w", err)
	}
	if err := o.Record.Validate(); err != nil {
		return fmt.Errorf("core.rules.record: %w", err)
	}
	return nil
}
