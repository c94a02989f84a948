package redis_test

import (
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"

	"freeim/core/engines"
	"freeim/core/redis"

	goredis "github.com/redis/go-redis/v9"
)

// locked closes a server to all but the account app, whose password is "opensesame".
func locked(t *testing.T, addr string) {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	for _, rule := range [][]any{
		{"ACL", "SETUSER", "app", "on", ">opensesame", "~*", "&*", "+@all"}, {"ACL", "SETUSER", "default", "off"},
	} {
		if err := c.Do(t.Context(), rule...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// health is what a client that is configured so says of its servers.
func health(t *testing.T, config redis.Config) error {
	t.Helper()
	c, err := redis.Open(redis.Options{Config: config, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Health(t.Context())
}

// A server under TLS with an account of ACL: who has both is served, who lacks one is
// not.
func TestTLSAndPassword(t *testing.T) {
	files, strange := engines.MakeCertificates(t), engines.MakeCertificates(t)
	port, err := engines.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	server := engines.RedisWith(t, engines.RedisOptions{Config: []string{
		"tls-port " + strconv.Itoa(port.Number), "tls-auth-clients no", "tls-ca-cert-file " + strconv.Quote(files.CA),
		"tls-cert-file " + strconv.Quote(files.Cert), "tls-key-file " + strconv.Quote(files.Key),
	}})
	locked(t, server.Addr())
	good := redis.Config{Addresses: []string{port.Addr()}, TLS: true, TLSCA: files.CA, Username: "app", Password: "opensesame"}
	if err := health(t, good); err != nil {
		t.Errorf("with everything: %v", err)
	}
	for name, change := range map[string]func(*redis.Config){
		"no account":            func(c *redis.Config) { c.Username, c.Password = "", "" },
		"a wrong password":      func(c *redis.Config) { c.Password = "open" },
		"another's roots":       func(c *redis.Config) { c.TLSCA = strange.CA },
		"the system's roots":    func(c *redis.Config) { c.TLSCA = "" },
		"no TLS":                func(c *redis.Config) { c.TLS, c.TLSCA = false, "" },
		"roots but no TLS":      func(c *redis.Config) { c.TLS = false },
		"no such file":          func(c *redis.Config) { c.TLSCA = filepath.Join(t.TempDir(), "none") },
		"a file without a root": func(c *redis.Config) { c.TLSCA = files.Key },
	} {
		bad := good
		change(&bad)
		if err := health(t, bad); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

// A Sentinel with a password of its own leads to a primary with an account of ACL.
func TestSentinelPassword(t *testing.T) {
	g := engines.Sentinel(t)
	c := goredis.NewClient(&goredis.Options{Addr: g.Sentinel.Addr()})
	defer c.Close()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "default", "resetpass", ">sentry").Err(); err != nil {
		t.Fatal(err)
	}
	p := goredis.NewClient(&goredis.Options{Addr: g.Primary.Addr()})
	defer p.Close()
	if err := p.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">opensesame", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	good := redis.Config{Addresses: g.Addrs(), Master: g.Name, Username: "app", Password: "opensesame", SentinelPassword: "sentry"}
	if err := health(t, good); err != nil {
		t.Errorf("with both passwords: %v", err)
	}
	for name, change := range map[string]func(*redis.Config){
		"no password for the Sentinel":    func(c *redis.Config) { c.SentinelPassword = "" },
		"a wrong one for the primary":     func(c *redis.Config) { c.Password = "sentry" },
		"the primary's for the Sentinel":  func(c *redis.Config) { c.SentinelPassword = "opensesame" },
		"an account that is not there":    func(c *redis.Config) { c.Username = "nobody" },
		"another name than the Sentinels": func(c *redis.Config) { c.Master = "other" },
	} {
		bad := good
		change(&bad)
		if err := health(t, bad); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}
