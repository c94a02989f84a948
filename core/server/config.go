package server

import (
	"fmt"
	"os"
	"time"

	"freeim/core/rpc"
)

// Config is the core's section of the configuration.
type Config struct {
	// ID names this core in logs; empty: the host's name and where it listens.
	ID string `yaml:"id"`
	// Listen is where edges link to: "unix:PATH" or "HOST:PORT". No default.
	Listen string `yaml:"listen"`
	// Register is how edges find this core in etcd; without a service not at all.
	Register rpc.Register `yaml:"register"`
	// Data is the directory of the embedded stores; it is made if missing. No default.
	Data string `yaml:"data"`
	// Scripts is the directory of the Lua rules; empty: no rules.
	Scripts string `yaml:"scripts"`
	// ActionTimeout bounds an action that names no deadline of its own. 0: 10 s.
	ActionTimeout time.Duration `yaml:"action_timeout"`
	// DrainTimeout bounds the wait for actions under way at the end. 0: 10 s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// DefaultConfig is what an empty section means.
func DefaultConfig() Config {
	var c Config
	c.Listen, c.Data, c.Scripts = "127.0.0.1:7071", "data", "scripts"
	c.Register.Prefix = "freeim"
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
	return nil
}
