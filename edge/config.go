package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"freeim/conf"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/plugins/account"
)

// config is what conf/edge.yaml and conf/embedded.yaml hold. Both files give
// every key with its default and what it means.
type config struct {
	Log     conf.Log       `yaml:"log"`
	Edge    edgeConfig     `yaml:"edge"`
	Core    *server.Config `yaml:"core"`    // embedded mode: a core in this process
	Plugins map[string]any `yaml:"plugins"` // of that core
	Admin   conf.Admin     `yaml:"admin"`
}

// edgeConfig is the edge's section.
type edgeConfig struct {
	ID      string   `yaml:"id"`
	TCP     string   `yaml:"tcp"`
	HTTP    string   `yaml:"http"`
	WSEcho  string   `yaml:"ws_echo"`
	Cores   []string `yaml:"cores"` // empty in embedded mode: the core in this process
	Origins []string `yaml:"origins"`

	MaxSessions  int           `yaml:"max_sessions"`
	AuthTimeout  time.Duration `yaml:"auth_timeout"`
	Heartbeat    time.Duration `yaml:"heartbeat"`
	MaxBodyFresh conf.Size     `yaml:"max_body_fresh"`
	MaxBody      conf.Size     `yaml:"max_body"`
	QueueFrames  int           `yaml:"queue_frames"`
	QueueBytes   conf.Size     `yaml:"queue_bytes"`
	RetryAfter   time.Duration `yaml:"retry_after"`
	Jitter       time.Duration `yaml:"jitter"`

	HeadTimeout time.Duration `yaml:"head_timeout"`
	MaxHTTP     int           `yaml:"max_http"`
	Backlog     conf.Size     `yaml:"backlog"`
	Stall       time.Duration `yaml:"stall"`
	ReadBuffer  conf.Size     `yaml:"read_buffer"`

	CallTimeout  time.Duration `yaml:"call_timeout"`
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// defaults is the configuration of an empty file.
func defaults(all []plugin.Plugin) config {
	return config{
		Log:   conf.DefaultLog(),
		Admin: conf.DefaultAdmin(),
		Edge: edgeConfig{
			TCP: ":7070", HTTP: ":8080",
			MaxSessions: 1_000_000, AuthTimeout: 10 * time.Second, Heartbeat: 30 * time.Second,
			MaxBodyFresh: 4 << 10, MaxBody: 64 << 10, QueueFrames: 1024, QueueBytes: 256 << 10,
			RetryAfter: time.Second, Jitter: 5 * time.Second,
			HeadTimeout: 10 * time.Second, MaxHTTP: 8192, Backlog: 256 << 10, Stall: 10 * time.Second, ReadBuffer: 128,
			CallTimeout: 15 * time.Second, DrainTimeout: 10 * time.Second,
		},
		Plugins: plugin.Configs(all),
	}
}

// complete fills what depends on the rest, and says what is wrong.
func (c *config) complete() error {
	if c.Edge.ID == "" {
		if c.Edge.ID, _ = os.Hostname(); c.Edge.ID == "" {
			c.Edge.ID = "edge"
		}
	}
	if c.Core != nil && len(c.Edge.Cores) == 0 {
		c.Edge.Cores = []string{c.Core.Listen}
	}
	switch {
	case len(c.Edge.Cores) == 0:
		return fmt.Errorf("edge.cores is empty, and there is no core section: name the cores to link to")
	case c.Edge.TCP == "" && c.Edge.HTTP == "":
		return fmt.Errorf("edge.tcp and edge.http are both empty: nobody could connect")
	}
	return c.agree()
}

// agree holds what clients are told by the core's Auth to what the edge enforces.
func (c *config) agree() error {
	told, ok := c.Plugins["account"].(*account.Config)
	if c.Core == nil || !ok {
		return nil
	}
	if told.Heartbeat != c.Edge.Heartbeat {
		return fmt.Errorf("plugins.account.heartbeat is %v, edge.heartbeat %v: they must be the same", told.Heartbeat, c.Edge.Heartbeat)
	}
	if told.MaxBody != int64(c.Edge.MaxBody) {
		return fmt.Errorf("plugins.account.max_body is %d, edge.max_body %d: they must be the same", told.MaxBody, c.Edge.MaxBody)
	}
	return nil
}

// allowOrigin is the rule for pages that open a WebSocket: nil, the default, is
// pages of the same host.
func (c *edgeConfig) allowOrigin() func(origin, host string) bool {
	if len(c.Origins) == 0 {
		return nil
	}
	listed := map[string]bool{}
	for _, origin := range c.Origins {
		listed[strings.ToLower(origin)] = true
	}
	return func(origin, host string) bool { return listed["*"] || listed[strings.ToLower(origin)] }
}

// reachable is a listener's address as a person on this machine would write it.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
