package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"freeim/conf"
	"freeim/conf/etcd"
	"freeim/conf/tracing"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/edge/api"
	"freeim/edge/certs"
	"freeim/edge/files"
	"freeim/edge/hooks"
	"freeim/edge/limits"
	"freeim/edge/rpc"
	"freeim/edge/session"
	home "freeim/idl/files"
	"freeim/plugins/account"
	"freeim/plugins/file"

	"github.com/prometheus/client_golang/prometheus"
)

// config is what conf/edge.yaml and conf/embedded.yaml hold. Both files give
// every key with its default and what it means.
type config struct {
	Log     conf.Log       `yaml:"log"`
	Edge    edgeConfig     `yaml:"edge"`
	Core    *server.Config `yaml:"core"`    // embedded mode: a core in this process
	Plugins map[string]any `yaml:"plugins"` // of that core
	Admin   conf.Admin     `yaml:"admin"`
	Tracing tracing.Config `yaml:"tracing"`
}

// edgeConfig is the edge's section.
type edgeConfig struct {
	ID        string      `yaml:"id"`
	Processes int         `yaml:"processes"`
	TCP       string      `yaml:"tcp"`
	TCPS      string      `yaml:"tcps"`
	HTTP      string      `yaml:"http"`
	HTTPS     string      `yaml:"https"`
	WSEcho    string      `yaml:"ws_echo"`
	Cores     []string    `yaml:"cores"` // empty in embedded mode: the core in this process
	LinkKey   string      `yaml:"link_key"`
	Etcd      etcd.Config `yaml:"etcd"`
	Origins   []string    `yaml:"origins"`

	API   apiConfig   `yaml:"api"`
	Files filesConfig `yaml:"files"`

	Pools map[string]poolConfig `yaml:"pools"`
	Rules rulesConfig           `yaml:"rules"`

	TLS tlsConfig `yaml:"tls"`

	TrustedProxies []string `yaml:"trusted_proxies"`
	ProxyProtocol  []string `yaml:"proxy_protocol"`

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
	Deflate     bool          `yaml:"deflate"`
	Backlog     conf.Size     `yaml:"backlog"`
	Stall       time.Duration `yaml:"stall"`
	ReadBuffer  conf.Size     `yaml:"read_buffer"`

	Limits limitsConfig `yaml:"limits"`

	Lookup       time.Duration `yaml:"lookup"`
	Silence      time.Duration `yaml:"silence"`
	Census       time.Duration `yaml:"census"`
	Wakes        int           `yaml:"wakes"`
	CallTimeout  time.Duration `yaml:"call_timeout"`
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	DrainDelay   time.Duration `yaml:"drain_delay"`
	DrainRate    int           `yaml:"drain_rate"`
	DrainJitter  time.Duration `yaml:"drain_jitter"`
}

// apiConfig is the actions over HTTP.
type apiConfig struct {
	Requests int      `yaml:"requests"` // under way at once; 0: there is no API
	Origins  []string `yaml:"origins"`
}

// handler is nil when there is no API.
func (c *apiConfig) handler(hub *session.Hub, links *rpc.Links, figures prometheus.Registerer) (*api.Handler, error) {
	if c.Requests == 0 {
		return nil, nil
	}
	return api.New(api.Options{Hub: hub, Actions: links.Actions, Requests: c.Requests, Origins: c.Origins, Figures: figures})
}

// filesConfig is what people upload.
type filesConfig struct {
	Dir     string `yaml:"dir"`     // empty: none; in embedded mode that of the core, if it has one
	Key     string `yaml:"key"`     // empty: the one in dir
	Uploads int    `yaml:"uploads"` // under way at once
	Origin  string `yaml:"origin"`  // of a store that clients reach by itself, S3; empty: none, in embedded mode that of the core
}

// stores are the origins that the demo may use beside its own.
func (c *filesConfig) stores() []string {
	if c.Origin == "" {
		return nil
	}
	return []string{c.Origin}
}

// checkOrigin refuses what is no origin: it stands in a header, among others.
func (c *filesConfig) checkOrigin() error {
	if c.Origin == "" {
		return nil
	}
	at, err := url.Parse(c.Origin)
	if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "" || c.Origin != at.Scheme+"://"+at.Host || strings.ContainsAny(c.Origin, " ;,'\"") {
		return errors.New("edge.files.origin must be as https://s3.example, without a path")
	}
	return nil
}

// handler is nil when there are none; origins are those of the API.
func (c *filesConfig) handler(origins []string, log *slog.Logger, figures prometheus.Registerer) (*files.Handler, error) {
	if c.Dir == "" {
		return nil, nil
	}
	return files.New(files.Options{Home: &home.Home{Dir: c.Dir, Given: c.Key}, Uploads: c.Uploads, Origins: origins, Log: log, Figures: figures})
}

// poolConfig is some more cores, for the sessions that rules send there.
type poolConfig struct {
	Cores     []string `yaml:"cores"`
	Otherwise string   `yaml:"otherwise"` // "default", also if empty, or "refuse"
}

// rulesConfig is the Lua rules of the edge.
type rulesConfig struct {
	Dir    string                                 `yaml:"dir"`    // empty: none; in embedded mode those of the core
	State  string                                 `yaml:"state"`  // of the last bundles; empty: in memory only
	Config map[string]map[string]server.RuleValue `yaml:"config"` // by im.config's name and key
}

// tlsConfig says which certificate the ports with TLS show.
type tlsConfig struct {
	Cert   string        `yaml:"cert"`
	Key    string        `yaml:"key"`
	Reload time.Duration `yaml:"reload"`
	ACME   acmeConfig    `yaml:"acme"`
}

// acmeConfig is in use when it names hosts.
type acmeConfig struct {
	Hosts     []string `yaml:"hosts"`
	Cache     string   `yaml:"cache"`
	Email     string   `yaml:"email"`
	Directory string   `yaml:"directory"`
}

// limitsConfig is what one address and one user may have; 0: no limit.
type limitsConfig struct {
	Connections           int           `yaml:"connections"`
	Connects              int           `yaml:"connects"`
	Frames                int           `yaml:"frames"`
	Octets                conf.Size     `yaml:"octets"`
	AuthFailures          int           `yaml:"auth_failures"`
	AuthFailuresPerMinute int           `yaml:"auth_failures_per_minute"`
	UserSessions          int           `yaml:"user_sessions"`
	UserFrames            int           `yaml:"user_frames"`
	UserOctets            conf.Size     `yaml:"user_octets"`
	Patience              int           `yaml:"patience"`
	Ban                   time.Duration `yaml:"ban"`
	BanMax                time.Duration `yaml:"ban_max"`
	Exempt                []string      `yaml:"exempt"`
}

func (c *limitsConfig) guard() (*limits.Guard, error) {
	exempt, err := prefixes("edge.limits.exempt", c.Exempt)
	if err != nil {
		return nil, err
	}
	return limits.New(limits.Options{
		Connections: c.Connections, Connects: c.Connects, Frames: c.Frames, Octets: int(c.Octets),
		AuthFailures: c.AuthFailuresPerMinute, UserSessions: c.UserSessions, UserFrames: c.UserFrames, UserOctets: int(c.UserOctets),
		Ban: c.Ban, BanMax: c.BanMax, Exempt: exempt,
	})
}

// defaultDrain is the time to drain when none is given, here and in the core.
const defaultDrain = 10 * time.Second

// defaults is the configuration of an empty file.
func defaults(all []plugin.Plugin) config {
	return config{
		Log:     conf.DefaultLog(),
		Admin:   conf.DefaultAdmin(),
		Tracing: tracing.Default(),
		Edge: edgeConfig{
			Processes: 1, TCP: ":7070", HTTP: ":8080",
			Etcd: etcd.Config{Prefix: "freeim"}, Lookup: 5 * time.Second, Silence: 2 * time.Second, Census: 5 * time.Second,
			API: apiConfig{Requests: 4096}, Files: filesConfig{Uploads: 128},
			TLS: tlsConfig{Reload: 10 * time.Second, ACME: acmeConfig{Cache: "data/acme"}},
			Limits: limitsConfig{
				Connections: 10_000, Connects: 500, Frames: 20_000, Octets: 32 << 20, AuthFailures: 5, AuthFailuresPerMinute: 10,
				UserSessions: 100, UserFrames: 1000, UserOctets: 4 << 20, Patience: 1000,
				Ban: 10 * time.Second, BanMax: time.Hour, Exempt: []string{"127.0.0.0/8", "::1/128"},
			},
			MaxSessions: 1_000_000, AuthTimeout: 10 * time.Second, Heartbeat: 30 * time.Second,
			MaxBodyFresh: 4 << 10, MaxBody: 64 << 10, QueueFrames: 1024, QueueBytes: 256 << 10,
			RetryAfter: time.Second, Jitter: 5 * time.Second,
			HeadTimeout: 10 * time.Second, MaxHTTP: 8192, Backlog: 256 << 10, Stall: 7 * time.Second, ReadBuffer: 128,
			Wakes: 2000, CallTimeout: 15 * time.Second, DrainTimeout: defaultDrain, DrainJitter: time.Second,
		},
		Plugins: plugin.Configs(all),
	}
}

// kind is what this process is called in traces.
func (c *config) kind() string {
	if c.Core != nil {
		return "freeim"
	}
	return "freeim-edge"
}

// complete fills what depends on the rest, and says what is wrong.
func (c *config) complete() error {
	if c.Edge.ID == "" {
		c.Edge.ID = c.Edge.ownID()
	}
	if c.Core != nil && len(c.Edge.Cores) == 0 {
		c.Edge.Cores = []string{c.Core.Listen}
		c.Edge.LinkKey = cmp.Or(c.Edge.LinkKey, c.Core.LinkKey)
	}
	if err := c.Edge.validatePools(); err != nil {
		return err
	}
	if c.Edge.Rules.Dir == "" && (c.Edge.Rules.State != "" || len(c.Edge.Rules.Config) > 0) {
		return fmt.Errorf("edge.rules.dir is empty, so edge.rules.state and edge.rules.config say nothing")
	}
	if c.Core != nil && c.Edge.Rules.Dir == "" && c.Core.Scripts != "" {
		c.Edge.Rules = rulesConfig{c.Core.Scripts, filepath.Join(c.Core.Data, "rules", "edge"), c.Core.Rules.Config}
	}
	if k := c.Edge.Files.Key; k != "" && len(k) < home.LeastKey {
		return fmt.Errorf("edge.files.key has %d octets: it must have %d or more", len(k), home.LeastKey)
	}
	if of, ok := c.Plugins["file"].(*file.Config); ok && c.Core != nil && c.Edge.Files.Dir == "" && of.Store == "disk" {
		c.Edge.Files.Dir, c.Edge.Files.Key = of.Dir, of.Key
	}
	if of, ok := c.Plugins["file"].(*file.Config); ok && c.Core != nil && c.Edge.Files.Origin == "" {
		c.Edge.Files.Origin = of.Origin()
	}
	if err := c.Edge.Files.checkOrigin(); err != nil {
		return err
	}
	switch {
	case len(c.Edge.Cores) == 0:
		return fmt.Errorf("edge.cores is empty, and there is no core section: name the cores to link to")
	case c.Edge.TCP+c.Edge.TCPS+c.Edge.HTTP+c.Edge.HTTPS == "":
		return fmt.Errorf("edge.tcp, edge.tcps, edge.http and edge.https are all empty: nobody could connect")
	}
	if c.Edge.Processes < 0 {
		return fmt.Errorf("edge.processes is %d: it must not be negative", c.Edge.Processes)
	}
	if c.Edge.Processes > 1 {
		if err := c.shareable(); err != nil {
			return err
		}
	}
	if c.Edge.DrainTimeout == 0 { // as in the core
		c.Edge.DrainTimeout = defaultDrain
	}
	if min(c.Edge.DrainTimeout, c.Edge.DrainDelay) < 0 {
		return fmt.Errorf("edge.drain_timeout and edge.drain_delay must not be negative")
	}
	if n := c.Edge.Wakes; n != 0 && (n < session.LeastWakes || n > session.MostWakes) {
		return fmt.Errorf("edge.wakes is %d: it must be %d to %d", n, session.LeastWakes, session.MostWakes)
	}
	if s := c.Edge.Silence; s != 0 && (s < 500*time.Millisecond || s > time.Minute) {
		return fmt.Errorf("edge.silence is %v: it must be 500ms to 1m", c.Edge.Silence)
	}
	if s := c.Edge.Census; s != 0 && (s < time.Second || s > 15*time.Second) { // six of them within the life of a route
		return fmt.Errorf("edge.census is %v: it must be 1s to 15s", c.Edge.Census)
	}
	if _, err := prefixes("edge.trusted_proxies", c.Edge.TrustedProxies); err != nil {
		return err
	}
	return c.agree()
}

// validatePools checks what rpc.New cannot name so well.
func (c *edgeConfig) validatePools() error {
	for name, p := range c.Pools {
		switch {
		case !poolName.MatchString(name) || name == rpc.DefaultPool:
			return fmt.Errorf("edge.pools: %q is no name for a pool: a-z, 0-9, \".\", \"_\" and \"-\", and not \"default\", which is edge.cores", name)
		case len(p.Cores) == 0:
			return fmt.Errorf("edge.pools.%s.cores is empty: name its cores", name)
		case p.Otherwise != "" && p.Otherwise != "default" && p.Otherwise != "refuse":
			return fmt.Errorf("edge.pools.%s.otherwise is %q: default or refuse", name, p.Otherwise)
		}
	}
	return nil
}

var poolName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// pools are those of the links, in the order of their names.
func (c *edgeConfig) pools() (all []rpc.Pool) {
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		all = append(all, rpc.Pool{Name: name, Cores: c.Pools[name].Cores, Refuse: c.Pools[name].Otherwise == "refuse"})
	}
	return all
}

// rules opens the rules; nil without any.
func (c *edgeConfig) rules(log *slog.Logger) (*hooks.Rules, error) {
	if c.Rules.Dir == "" {
		return nil, nil
	}
	o := hooks.Options{Dir: c.Rules.Dir, State: c.Rules.State, Config: map[string]map[string]string{}, Pools: slices.Sorted(maps.Keys(c.Pools)), Log: log.With("rules", "edge")}
	for name, values := range c.Rules.Config {
		o.Config[name] = map[string]string{}
		for key, value := range values {
			o.Config[name][key] = string(value)
		}
	}
	return hooks.Open(o)
}

// ownID is the name of an edge that was given none: the host's, and where it
// listens first, since two edges of one name fence each other off. A port that is
// chosen at the start says nothing; then it is the process's number.
func (c *edgeConfig) ownID() string {
	host, _ := os.Hostname()
	if host == "" {
		host = "edge"
	}
	for _, address := range []string{c.TCP, c.TCPS, c.HTTP, c.HTTPS} {
		if _, port, err := net.SplitHostPort(address); err == nil && port != "" && port != "0" {
			return host + "/" + address
		}
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
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

// prefixes reads networks, as in "10.0.0.0/8", and single addresses.
func prefixes(key string, list []string) (out []netip.Prefix, err error) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q is neither a network, as 10.0.0.0/8, nor an address", key, text)
		}
		out = append(out, p)
	}
	return out, nil
}

// certificates opens what the ports with TLS show; nil when there is no such port.
func (c *edgeConfig) certificates(log *slog.Logger) (*certs.Source, error) {
	if c.TCPS+c.HTTPS == "" {
		return nil, nil
	}
	s, err := certs.Open(certs.Options{Cert: c.TLS.Cert, Key: c.TLS.Key, Every: c.TLS.Reload, Log: log, ACME: certs.ACME(c.TLS.ACME)})
	if err != nil {
		return nil, fmt.Errorf("edge.tls: %w", err)
	}
	return s, nil
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
