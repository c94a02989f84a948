// Package redis is what the production profile keeps in Redis: copies of the hot
// ends of timelines in front of the record (Timelines), where sessions are
// (Presence, Rooms), and limits that all cores share (Limiter). Nothing here is
// the only copy of a message or a seq: Redis may be emptied, fail over to a
// replica that lags, or go away, and every answer stays right. It knows nothing
// of SQL: the record is handed in. core/server opens it; README.md beside it has
// the keys, the failure cases and the figures.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"freeim/conf/roots"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
)

// ErrAway is returned at once for a server that did not answer lately, until it
// answers again.
var ErrAway = errors.New("redis is away")

// Config is the section core.redis. Its zero value: no Redis.
type Config struct {
	// Addresses are "HOST:PORT": of one server, of some nodes of a Cluster, or,
	// with Master, of the Sentinels. Empty: no Redis.
	Addresses []string `yaml:"addresses"`
	// Master is the name by which the Sentinels know the primary; empty: no Sentinels.
	Master string `yaml:"master"`
	// Cluster says that a single address is a Cluster's; several always are.
	Cluster bool `yaml:"cluster"`
	// Username and Password are for the servers; empty: none.
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	// SentinelUsername and SentinelPassword are for the Sentinels; empty: none.
	SentinelUsername string `yaml:"sentinel_username"`
	SentinelPassword string `yaml:"sentinel_password"`
	// DB is the number of the database; a Cluster has 0 only.
	DB int `yaml:"db"`
	// TLS connects over TLS and verifies the servers' certificates by the system's roots.
	TLS bool `yaml:"tls"`
	// TLSCA is a file of certificates in PEM that verify them instead. Empty: none.
	TLSCA string `yaml:"tls_ca"`
	// PoolSize bounds the connections to each server. 0: 32.
	PoolSize int `yaml:"pool_size"`
	// Prefix begins every key, so that several systems can share a Redis. Empty: "freeim".
	Prefix string `yaml:"prefix"`
	// Keep is how many of the newest entries of a timeline are kept. 0: 1,000.
	Keep int `yaml:"keep"`
	// Age is how long a timeline is kept that nothing is written to. 0: 7 days.
	Age time.Duration `yaml:"age"`
}

// DefaultConfig is what an empty section means.
func DefaultConfig() Config {
	var c Config
	c.setDefaults()
	return c
}

// Enabled reports whether there is a Redis.
func (c *Config) Enabled() bool { return len(c.Addresses) > 0 }

func (c *Config) setDefaults() {
	if c.PoolSize == 0 {
		c.PoolSize = 32
	}
	if c.Prefix == "" {
		c.Prefix = "freeim"
	}
	if c.Keep == 0 {
		c.Keep = 1000
	}
	if c.Age == 0 {
		c.Age = 7 * 24 * time.Hour
	}
}

func (c *Config) validate() error {
	switch {
	case !c.Enabled():
		return errors.New("core.redis.addresses is empty")
	case c.DB < 0, c.DB > 0 && (c.Cluster || len(c.Addresses) > 1 && c.Master == ""):
		return fmt.Errorf("core.redis.db is %d: a Cluster has 0 only, and none is negative", c.DB)
	case c.TLSCA != "" && !c.TLS:
		return errors.New("core.redis.tls_ca is set, core.redis.tls is not")
	case c.PoolSize < 1:
		return fmt.Errorf("core.redis.pool_size is %d: at least 1", c.PoolSize)
	case c.Keep < 1:
		return fmt.Errorf("core.redis.keep is %d: at least 1", c.Keep)
	case c.Age < time.Second:
		return fmt.Errorf("core.redis.age is %s: at least a second", c.Age)
	}
	return nil
}

// tlsConfig is how to connect over TLS, nil for not at all. The Sentinels are asked
// over TLS too.
func (c *Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	pool, err := roots.Read(c.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("core.redis.tls_ca: %w", err)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// Options says which Redis to use.
type Options struct {
	Config
	Log *slog.Logger // nil: slog.Default
	// Figures, if set, gets the metrics, named freeim_redis_….
	Figures prometheus.Registerer
}

// The times that a server has. They are short, since all that is here can be done
// without: what does not answer in them is away (breaker.go).
const (
	dialTime  = time.Second
	ioTime    = time.Second
	probeTime = 500 * time.Millisecond
)

// Client is the connections that Timelines, Presence, Rooms and Limiter share.
// Safe for concurrent use.
type Client struct {
	// Static after Open.
	db      goredis.UniversalClient
	config  Config
	log     *slog.Logger
	figures *figures
	scripts scripts

	closing chan struct{} // closed by Close

	mu     sync.Mutex // guards closed, and that nothing is added to probes after it
	closed bool
	probes sync.WaitGroup // one of each server that is away
}

// Open makes a Client. It connects when it is first used, so a Redis that is away
// is no error.
func Open(o Options) (*Client, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Client{config: o.Config, log: o.Log, scripts: newScripts(), closing: make(chan struct{})}
	var err error
	if c.figures, err = newFigures(o.Figures); err != nil {
		return nil, err
	}
	goredis.SetLogger(logger{o.Log}) // there is one for the whole process
	options := &goredis.UniversalOptions{
		Addrs:         o.Addresses,
		MasterName:    o.Master,
		IsClusterMode: o.Cluster,
		Username:      o.Username, Password: o.Password,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		DB:       o.DB,
		PoolSize: o.PoolSize, PoolTimeout: ioTime,
		DialTimeout: dialTime, DialerRetries: 1, ReadTimeout: ioTime, WriteTimeout: ioTime,
		// One more try is for a connection that died in the pool. What a script did
		// before its answer was lost it may do again: README.md says for each what then.
		MaxRetries: 1, MinRetryBackoff: 8 * time.Millisecond, MaxRetryBackoff: 64 * time.Millisecond,
		ContextTimeoutEnabled: true,
		ConnMaxIdleTime:       5 * time.Minute,
		FailingTimeoutSeconds: 1,
		DisableIdentity:       true,
	}
	if options.TLSConfig, err = o.tlsConfig(); err != nil {
		return nil, err
	}
	c.db = goredis.NewUniversalClient(options)
	c.watch()
	return c, nil
}

// Health asks every server for an answer; nil: all gave one.
func (c *Client) Health(ctx context.Context) error {
	ctx = context.WithValue(ctx, probing{}, true)
	err := c.eachMaster(ctx, func(ctx context.Context, node *goredis.Client) error { return node.Ping(ctx).Err() })
	if err != nil {
		return fmt.Errorf("ask redis: %w", err)
	}
	return nil
}

// eachMaster calls fn with every server that is written to, at once in a Cluster.
func (c *Client) eachMaster(ctx context.Context, fn func(ctx context.Context, node *goredis.Client) error) error {
	switch db := c.db.(type) {
	case *goredis.ClusterClient:
		return db.ForEachMaster(ctx, fn)
	case *goredis.Client:
		return fn(ctx, db)
	}
	return fmt.Errorf("a %T is not expected", c.db)
}

// Close ends the connections. What uses the Client must be closed before.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	c.mu.Unlock()
	c.probes.Wait()
	err := c.db.Close()
	if errors.Is(err, goredis.ErrClosed) {
		return nil
	}
	return err
}

// logger passes on what the client library tells of its connections. Each such
// fault also comes back as an error, so here it is only detail.
type logger struct{ log *slog.Logger }

func (l logger) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, args...))
}
