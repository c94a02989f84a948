package server

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"freeim/core/redis"
	"freeim/core/rpc"
	"freeim/scripts/engine"
)

// Config is the core's section of the configuration.
type Config struct {
	// ID names this core in logs; empty: the host's name and where it listens.
	ID string `yaml:"id"`
	// Listen is where edges link to: "unix:PATH" or "HOST:PORT". No default.
	Listen string `yaml:"listen"`
	// LinkKey is what edges must show; empty: nothing.
	LinkKey string `yaml:"link_key"`
	// Register is how edges find this core in etcd; without a service not at all.
	Register rpc.Register `yaml:"register"`
	// Data is the directory of the embedded stores, and of what the rules keep; it
	// is made if missing. No default.
	Data string `yaml:"data"`
	// MySQL holds the message record and the directory of the production profile,
	// which several cores share; without a DSN the stores are the embedded ones.
	MySQL MySQL `yaml:"mysql"`
	// Redis holds what the cores of the production profile share beside the record:
	// hot timelines, presence, limits. Without addresses one core is all there can be.
	Redis redis.Config `yaml:"redis"`
	// Scripts is the directory of the Lua rules; empty: no rules.
	Scripts string `yaml:"scripts"`
	Rules   Rules  `yaml:"rules"`
	// ActionTimeout bounds an action that names no deadline of its own. 0: 10 s.
	ActionTimeout time.Duration `yaml:"action_timeout"`
	// DrainTimeout bounds the wait for actions under way at the end. 0: 10 s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// HeapFloor is up to how many octets the heap of the process may grow before its garbage is collected: for
	// whoever runs the process, by core/heap. A Server leaves the collector alone. 0: as soon as it has doubled.
	HeapFloor int64 `yaml:"heap_floor"`
}

// Rules is the section core.rules.
type Rules struct {
	// Thresholds say what happens to an action whose scores, as hooks give them,
	// add up to so much, and about which no hook decides. The highest that is
	// reached holds.
	Thresholds []Threshold `yaml:"thresholds"`
	// AfterQueue bounds the answered actions that wait for after hooks; beyond it the
	// newest gets none. 0: 1,024.
	AfterQueue int `yaml:"after_queue"`
	// ChainUnits is the work that all hooks of one message may do together, in units, of
	// which one hook may do 100,000. 0: 400,000.
	ChainUnits int `yaml:"chain_units"`
	// Config are the values that scripts declare with im.config, by name and key.
	Config map[string]map[string]RuleValue `yaml:"config"`
	// Targets are the conversations that im.reroute can send messages to, by the names
	// that scripts use: {support: {user: 42}}, {lounge: {room: lounge}}.
	Targets map[string]RuleTarget `yaml:"targets"`
	// Senders are the accounts, by user ID, that scripts may send messages from by
	// im.send.
	Senders []int64 `yaml:"senders"`
	// HTTP is where scripts may post to by im.http.post, by name.
	HTTP map[string]Endpoint `yaml:"http"`
	// Activate is what becomes of changed files: "now" they are active, or they are
	// tried as candidates, in "shadow" or as a "canary". Empty: "now".
	Activate string `yaml:"activate"`
	// Canary is the percentage of users that a canary decides for. 0: 5.
	Canary float64 `yaml:"canary"`
	Watch  Watch   `yaml:"watch"`
	Record Record  `yaml:"record"`
}

// RuleValue is a value for scripts. Its type is what they declare.
type RuleValue string

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *RuleValue) UnmarshalText(text []byte) error {
	*v = RuleValue(text)
	return nil
}

func (r *Rules) config() map[string]map[string]string {
	all := map[string]map[string]string{}
	for name, values := range r.Config {
		all[name] = map[string]string{}
		for key, value := range values {
			all[name][key] = string(value)
		}
	}
	return all
}

func (r *Rules) senders() []string {
	all := []string{} // not nil: nobody else
	for _, id := range r.Senders {
		all = append(all, strconv.FormatInt(id, 10))
	}
	return all
}

// Threshold is one of core.rules.thresholds.
type Threshold struct {
	Score float64 `yaml:"score"` // this and more
	// Verdict is "throttle" or "deny". A throttled client is told RetryAfter, 1 s if
	// that is 0.
	Verdict    string        `yaml:"verdict"`
	Code       string        `yaml:"code"`   // of a denial; empty: "rejected"
	Reason     string        `yaml:"reason"` // for the client's developer
	RetryAfter time.Duration `yaml:"retry_after"`
}

// RuleOptions is what the configuration says of the rule engine.
func (c *Config) RuleOptions() engine.Options {
	o := engine.Options{Dir: c.Scripts, StateDir: filepath.Join(c.Data, "rules"),
		Thresholds: c.Rules.thresholds(), AfterQueue: c.Rules.AfterQueue, ChainInstructions: c.Rules.ChainUnits, Config: c.Rules.config(),
		Endpoints: c.Rules.endpointNames(), Senders: c.Rules.senders()}
	c.Rules.options(&o, c.Data)
	return o
}

func (r *Rules) thresholds() (all []engine.Threshold) {
	for _, t := range r.Thresholds {
		e := engine.Threshold{Score: t.Score, Code: cmp.Or(t.Code, "rejected"), Reason: t.Reason, RetryAfter: t.RetryAfter}
		if t.Verdict == "throttle" {
			e.Code, e.RetryAfter = engine.ThrottleCode, cmp.Or(t.RetryAfter, time.Second)
		}
		all = append(all, e)
	}
	return all
}

func (r *Rules) validate() error {
	for i, t := range r.Thresholds {
		switch {
		case t.Verdict != "throttle" && t.Verdict != "deny":
			return fmt.Errorf("core.rules.thresholds[%d].verdict is %q: throttle or deny", i, t.Verdict)
		case t.Verdict == "throttle" && t.Code != "":
			return fmt.Errorf("core.rules.thresholds[%d].code: a throttled action has no other", i)
		case t.Score <= 0:
			return fmt.Errorf("core.rules.thresholds[%d].score is %v: must be positive", i, t.Score)
		case t.RetryAfter < 0:
			return fmt.Errorf("core.rules.thresholds[%d].retry_after is negative", i)
		}
	}
	for name, t := range r.Targets {
		if (t.User > 0) == (t.Room != "") || t.User < 0 {
			return fmt.Errorf("core.rules.targets.%s: name a user or a room", name)
		}
	}
	if r.AfterQueue < 1 {
		return fmt.Errorf("core.rules.after_queue is %d: at least 1", r.AfterQueue)
	}
	if r.ChainUnits < hookUnits {
		return fmt.Errorf("core.rules.chain_units is %d: at least %d, what one hook may do", r.ChainUnits, hookUnits)
	}
	for i, id := range r.Senders {
		if id <= 0 {
			return fmt.Errorf("core.rules.senders[%d] is %d: no user's ID", i, id)
		}
	}
	if err := r.validateEndpoints(); err != nil {
		return err
	}
	return r.validateReload()
}

// MySQL is the section core.mysql.
type MySQL struct {
	// DSN names the database, which must exist, as go-sql-driver/mysql reads it:
	// USER:PASSWORD@tcp(HOST:PORT)/DATABASE. Empty: no MySQL.
	DSN string `yaml:"dsn"`
	// Connections bounds those for the directory, and those for reading the record.
	// 0: 32.
	Connections int `yaml:"connections"`
	// AllowUnsafe starts although MySQL would not flush every commit, and says so
	// loudly: then a power cut takes acknowledged messages.
	AllowUnsafe bool `yaml:"allow_unsafe"`
}

// DefaultConfig is what an empty section means.
func DefaultConfig() Config {
	var c Config
	c.Listen, c.Data, c.Scripts = "127.0.0.1:7071", "data", "scripts"
	c.Register.Etcd.Prefix = "freeim"
	c.Redis = redis.DefaultConfig()
	c.Rules.Record.Every = 100
	c.HeapFloor = 512 << 20
	c.setDefaults()
	c.ID = "" // it depends on Listen
	return c
}

func (c *Config) setDefaults() {
	if c.ID == "" {
		if c.ID, _ = os.Hostname(); c.ID == "" {
			c.ID = "core"
		}
		c.ID += "/" + c.Listen
	}
	if c.MySQL.Connections == 0 {
		c.MySQL.Connections = 32
	}
	c.Rules.setDefaults()
	if c.ActionTimeout == 0 {
		c.ActionTimeout = 10 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
}

func (c *Config) validate() error {
	if c.Listen == "" {
		return fmt.Errorf("core.listen is empty: name a unix socket (unix:PATH) or HOST:PORT")
	}
	if c.Data == "" {
		return fmt.Errorf("core.data is empty: name the directory of the stores")
	}
	if c.HeapFloor < 0 {
		return fmt.Errorf("core.heap_floor is %d: octets, or 0", c.HeapFloor)
	}
	if c.MySQL.Connections < 1 {
		return fmt.Errorf("core.mysql.connections is %d: at least 1", c.MySQL.Connections)
	}
	if err := c.Rules.validate(); err != nil {
		return err
	}
	if c.Redis.Enabled() && c.MySQL.DSN == "" {
		return errors.New("core.redis is set, core.mysql.dsn is not: Redis is never the only copy of a message")
	}
	return nil
}
