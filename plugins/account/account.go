// Package account is the plugin for who a person is and on which devices: sign
// up, sign in, the auth of a session, sign out, the list of devices, and finding
// people by name. It decides passwords, tokens and the kick policy; it knows
// nothing of messages. core/server runs it, other plugins use its service
// "account.directory".
package account

import (
	"context"
	"embed"
	"io/fs"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// retryAfter is the advice to a client while the directory cannot answer.
const retryAfter = time.Second

// Config is the plugin's section of the configuration.
type Config struct {
	// PasswordMemoryKiB and PasswordPasses are what argon2id spends on one
	// password, on one lane. A raise reaches each account at its next sign-in.
	// Default and minimum 19,456 and 2. Source: OWASP, Password Storage.
	PasswordMemoryKiB uint32 `yaml:"password_memory_kib"`
	PasswordPasses    uint32 `yaml:"password_passes"`
	// HashesAtOnce bounds the passwords that are hashed at one time, and so the
	// memory and processors that hashing takes. Default 2.
	HashesAtOnce int `yaml:"hashes_at_once"`
	// HashesWaiting is how many more may wait; beyond it: UNAVAILABLE. Default 200.
	HashesWaiting int `yaml:"hashes_waiting"`
	// FailuresPerMinute bounds the failed sign-ins of one account and of one
	// address, each; beyond it: RATE_LIMITED. Default 10.
	FailuresPerMinute int `yaml:"failures_per_minute"`
	// SignUpsPerMinute bounds the sign-ups from one address. 0: no bound. Default 60.
	SignUpsPerMinute int `yaml:"sign_ups_per_minute"`
	// TokenIdle is how long a token stays valid without an Auth. 0: for ever.
	// Default 2160h (90 days).
	TokenIdle time.Duration `yaml:"token_idle"`
	// Heartbeat is what AuthReply asks of clients: a frame at least this often.
	// The edge's idle time must fit. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// MaxBody is what AuthReply announces, in octets. The edge's limit must fit.
	// Default 65,536.
	MaxBody int64 `yaml:"max_body"`
}

// Account is the plugin. Its methods are safe for concurrent use after Start.
type Account struct {
	config Config
	least  cost // what Validate demands of password hashes

	// Static after Provision.
	host      plugin.Host
	rules     Rules
	store     *store
	hasher    *hasher
	failures  plugin.Limiter // of sign-ins, by account and by address
	signUps   plugin.Limiter // by address
	directory *directory
	seen      *seen
	looks     looks
	alone     bool // no other core has the directory open: it is SQLite's, in this core's own directory

	cuts atomic.Int32 // searches for sessions of ended devices that wait for presence
}

// New makes the plugin with the default configuration.
func New() *Account {
	return &Account{
		config: Config{
			PasswordMemoryKiB: leastMemoryKiB, PasswordPasses: leastPasses,
			HashesAtOnce: 2, HashesWaiting: 200,
			FailuresPerMinute: 10, SignUpsPerMinute: 60,
			TokenIdle: 90 * 24 * time.Hour,
			Heartbeat: 30 * time.Second, MaxBody: 65536,
		},
		least: cost{leastMemoryKiB, leastPasses},
	}
}

// Info implements plugin.Plugin.
func (p *Account) Info() plugin.Info {
	return plugin.Info{Name: "account", Version: "1.0", Provides: []string{"account.directory", "account.admission"}}
}

// Config implements plugin.Configurer.
func (p *Account) Config() any { return &p.config }

// Migrations implements plugin.Migrator.
func (p *Account) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Validate implements plugin.Validator.
func (p *Account) Validate() error {
	c := p.config
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.PasswordMemoryKiB >= p.least.memoryKiB && c.PasswordMemoryKiB <= mostMemoryKiB, "password_memory_kib", "must be 19456-1048576"},
		{c.PasswordPasses >= p.least.passes && c.PasswordPasses <= mostPasses, "password_passes", "must be 2-100"},
		{c.HashesAtOnce >= 1 && c.HashesAtOnce <= 256, "hashes_at_once", "must be 1-256"},
		{c.HashesWaiting >= 0 && c.HashesWaiting <= 100_000, "hashes_waiting", "must be 0-100000"},
		{c.FailuresPerMinute >= 1 && c.FailuresPerMinute <= 10_000, "failures_per_minute", "must be 1-10000"},
		{c.SignUpsPerMinute >= 0, "sign_ups_per_minute", "must be 0 (no bound) or more"},
		{c.TokenIdle == 0 || c.TokenIdle >= time.Minute, "token_idle", "must be 0 (for ever) or at least 1m"},
		{c.Heartbeat >= time.Second && c.Heartbeat <= time.Hour, "heartbeat", "must be 1s-1h"},
		{c.MaxBody >= 4096 && c.MaxBody <= 16<<20, "max_body", "must be 4096-16777216"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("account."+check.key, "%s", check.rule)
		}
	}
	return nil
}

// Rules are the operator's say about sign-ins. Whoever has some provides them as the
// service "account.rules", before this plugin; nobody has to.
type Rules interface {
	// OnLogin judges somebody whose credentials are right, before a device is filed or
	// a session bound: nil lets him, an *im.Error refuses. It is asked with each
	// sign-in and each Auth.
	OnLogin(ctx context.Context, call *plugin.Call, who plugin.Identity) error
}

// noRules is what holds when nobody provides Rules.
type noRules struct{}

func (noRules) OnLogin(context.Context, *plugin.Call, plugin.Identity) error { return nil }

// Provision implements plugin.Provisioner.
func (p *Account) Provision(_ context.Context, h plugin.Host) error {
	p.host = h
	p.store = &store{db: h.DB(), tx: h.Tx}
	p.hasher = newHasher(cost{p.config.PasswordMemoryKiB, p.config.PasswordPasses}, p.config.HashesAtOnce, p.config.HashesWaiting)
	p.failures = h.Limiter("failures", p.config.FailuresPerMinute, time.Minute)
	p.signUps = h.Limiter("sign_ups", p.config.SignUpsPerMinute, time.Minute)
	p.directory = newDirectory(p.store)
	p.seen = newSeen(p.store, h.Log())
	p.looks.host, p.looks.find = h, p.store.holders
	p.alone = h.Dialect() == "sqlite"
	p.rules = noRules{}
	if _, ok := h.Service("account.rules"); ok {
		var err error
		if p.rules, err = plugin.Need[Rules](h, "account.rules"); err != nil {
			return err
		}
	}
	h.Provide("account.directory", p.directory)
	h.Provide("account.admission", admission{p})
	return nil
}

// Start implements plugin.Starter.
func (p *Account) Start(context.Context) error {
	p.hasher.prepare()
	p.host.Go("last seen", p.seen.run)
	return nil
}

// Register implements plugin.Plugin.
func (p *Account) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionSignUp, "sign_up", p.signUp, plugin.Open[accountpb.SignUpRequest, accountpb.SignUpReply]())
	plugin.Handle(r, idl.ActionSignIn, "sign_in", p.signIn, plugin.Open[accountpb.SignInRequest, accountpb.SignInReply]())
	plugin.Handle(r, idl.ActionAuth, "auth", p.auth, plugin.Open[accountpb.AuthRequest, accountpb.AuthReply]())
	plugin.Handle(r, idl.ActionSignOut, "sign_out", p.signOut)
	plugin.Handle(r, idl.ActionListDevices, "list_devices", p.listDevices)
	plugin.Handle(r, idl.ActionFindUser, "find_user", p.findUser)
}
