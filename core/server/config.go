package server

import (
	"errors"
	"fmt"
	"os"
	"time"

	"freeim/core/redis"
	"freeim/core/rpc"
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
	// ActionTimeout bounds an action that names no deadline of its own. 0: 10 s.
	ActionTimeout time.Duration `yaml:"action_timeout"`
	// DrainTimeout bounds the wait for actions under way at the end. 0: 10 s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
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
	c.Register.Prefix = "freeim"
	c.Redis = redis.DefaultConfig()
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
	if c.MySQL.Connections < 1 {
		return fmt.Errorf("core.mysql.connections is %d: at least 1", c.MySQL.Connections)
	}
	if c.Redis.Enabled() && c.MySQL.DSN == "" {
		return errors.New("core.redis is set, core.mysql.dsn is not: Redis is never the only copy of a message")
	}
	return nil
}
