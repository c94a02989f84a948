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

// century is longer than anything here is meant to last.
const century = 876000 * time.Hour

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
	// ProfileChangesPerHour bounds the changes of one person's profile. 0: no bound. Default 60.
	ProfileChangesPerHour int `yaml:"profile_changes_per_hour"`
	// HandleEvery is how long a handle stays before its owner may change it again, and
	// HandleReserved how long one that was given up is kept for him. Default 168h and 720h.
	HandleEvery    time.Duration `yaml:"handle_every"`
	HandleReserved time.Duration `yaml:"handle_reserved"`
	// SearchesPerMinute bounds one person's searches for others. 0: no bound. Default 60.
	SearchesPerMinute int `yaml:"searches_per_minute"`
	// DeleteGrace is how long people who delete their account may come back before they are
	// erased, and NameReserved how long nobody else gets their names then. Default 720h and 2160h.
	DeleteGrace  time.Duration `yaml:"delete_grace"`
	NameReserved time.Duration `yaml:"name_reserved"`
	// ExportEvery is how long a copy of what is kept of a person stays, and how long he
	// waits for another. Default 24h.
	ExportEvery time.Duration `yaml:"export_every"`
	// Devices are how many devices of which types a person may be signed in on. Default: one
	// of each, the newer ends the older.
	Devices []DeviceLimit `yaml:"devices"`
	// External are the issuers whose tokens (JWT) sign people in, and ExternalLeeway is by how
	// much their clocks may differ. Default: none, and 30s.
	External       []Issuer      `yaml:"external"`
	ExternalLeeway time.Duration `yaml:"external_leeway"`
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
	host        plugin.Host
	rules       Rules
	store       *store
	erasing     *store // of the eraser, which works aside
	hasher      *hasher
	failures    plugin.Limiter // of sign-ins, by account and by address
	signUps     plugin.Limiter // by address
	changes     plugin.Limiter // of profiles, by person
	searches    plugin.Limiter // by person
	exports     plugin.Limiter // that are made, by person
	exporting   chan struct{}  // an entry for each that is being made
	directory   *directory
	holdings    holdings
	issuers     map[string]*issuer // by name; static after Start
	messages    plugin.Messages    // nil: nobody provides it; static after Start
	files       plugin.Files       // the same
	seen        *seen
	findHolders func(ctx context.Context, hashes []string) (map[string]holder, error) // tests put others in its place
	looks       *plugin.Lookups[string, holder]                                       // by the hashes of tokens
	alone       bool                                                                  // no other core has the directory open: it is SQLite's, in this core's own directory

	cuts atomic.Int32 // searches for sessions of ended devices that wait for presence
}

// New makes the plugin with the default configuration.
func New() *Account {
	return &Account{
		config: Config{
			PasswordMemoryKiB: leastMemoryKiB, PasswordPasses: leastPasses,
			HashesAtOnce: 2, HashesWaiting: 200,
			FailuresPerMinute: 10, SignUpsPerMinute: 60,
			ProfileChangesPerHour: 60, HandleEvery: 7 * 24 * time.Hour, HandleReserved: 30 * 24 * time.Hour, SearchesPerMinute: 60,
			DeleteGrace: 30 * 24 * time.Hour, NameReserved: 90 * 24 * time.Hour, ExportEvery: 24 * time.Hour,
			Devices: oneOfEach(), ExternalLeeway: 30 * time.Second,
			TokenIdle: 90 * 24 * time.Hour,
			Heartbeat: 30 * time.Second, MaxBody: 65536,
		},
		least: cost{leastMemoryKiB, leastPasses},
	}
}

// Info implements plugin.Plugin.
func (p *Account) Info() plugin.Info {
	return plugin.Info{Name: "account", Version: "1.0", Provides: []string{"account.directory", "account.admission", "account.push", "account.tokens",
		plugin.ServicePeople, plugin.ServiceHoldings}}
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
		{c.ProfileChangesPerHour >= 0, "profile_changes_per_hour", "must be 0 (no bound) or more"},
		{c.HandleEvery >= 0 && c.HandleEvery <= century, "handle_every", "must be 0s-876000h"},
		{c.HandleReserved >= 0 && c.HandleReserved <= century, "handle_reserved", "must be 0s-876000h"},
		{c.SearchesPerMinute >= 0, "searches_per_minute", "must be 0 (no bound) or more"},
		{c.DeleteGrace >= 0 && c.DeleteGrace <= century, "delete_grace", "must be 0s-876000h"},
		{c.NameReserved >= 0 && c.NameReserved <= century, "name_reserved", "must be 0s-876000h"},
		{c.ExportEvery >= time.Minute && c.ExportEvery <= century, "export_every", "must be 1m-876000h"},
		{c.ExternalLeeway >= 0 && c.ExternalLeeway <= 5*time.Minute, "external_leeway", "must be 0s-5m"},
		{c.TokenIdle == 0 || c.TokenIdle >= time.Minute, "token_idle", "must be 0 (for ever) or at least 1m"},
		{c.Heartbeat >= time.Second && c.Heartbeat <= time.Hour, "heartbeat", "must be 1s-1h"},
		{c.MaxBody >= 4096 && c.MaxBody <= 16<<20, "max_body", "must be 4096-16777216"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("account."+check.key, "%s", check.rule)
		}
	}
	if err := validateLimits(c.Devices); err != nil {
		return err
	}
	return validateIssuers(c.External)
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
	p.store = &store{db: h.DB(), tx: h.Tx, limits: p.config.Devices, expired: p.expired}
	p.erasing = &store{db: h.DB(), tx: h.Tx, limits: p.config.Devices, expired: p.expired}
	p.hasher = newHasher(cost{p.config.PasswordMemoryKiB, p.config.PasswordPasses}, p.config.HashesAtOnce, p.config.HashesWaiting)
	p.failures = h.Limiter("failures", p.config.FailuresPerMinute, time.Minute)
	p.signUps = h.Limiter("sign_ups", p.config.SignUpsPerMinute, time.Minute)
	p.changes = h.Limiter("profile_changes", p.config.ProfileChangesPerHour, time.Hour)
	p.searches = h.Limiter("searches", p.config.SearchesPerMinute, time.Minute)
	p.exports = h.Limiter("exports", 4, time.Hour)
	p.exporting = make(chan struct{}, exportsAtOnce)
	p.holdings.Hold("account", kept{p})
	p.directory = newDirectory(p.store, h.Now)
	p.seen = newSeen(p.store, h.Log())
	p.findHolders = p.store.holders
	p.looks = plugin.NewLookups(h, "look tokens up", lookBatch, func(ctx context.Context, hashes []string) (map[string]holder, error) {
		return p.findHolders(ctx, hashes)
	})
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
	h.Provide("account.push", pushes{p})
	h.Provide(plugin.ServicePeople, p.directory)
	h.Provide(plugin.ServiceHoldings, &p.holdings)
	h.Provide("account.tokens", tokens{p})
	return nil
}

// Start implements plugin.Starter. Whoever carries messages needs this plugin's directory
// and so comes after it: the service is looked for now, when everybody has provided his.
func (p *Account) Start(ctx context.Context) error {
	p.issuers = map[string]*issuer{}
	for _, i := range p.config.External {
		made, err := newIssuer(ctx, i, p.config.ExternalLeeway, p.host.Now)
		if err != nil {
			return err
		}
		p.issuers[i.Issuer] = made
	}
	if _, ok := p.host.Service(plugin.ServiceMessages); ok {
		var err error
		if p.messages, err = plugin.Need[plugin.Messages](p.host, plugin.ServiceMessages); err != nil {
			return err
		}
	}
	if _, ok := p.host.Service(plugin.ServiceFiles); ok {
		var err error
		if p.files, err = plugin.Need[plugin.Files](p.host, plugin.ServiceFiles); err != nil {
			return err
		}
	}
	p.hasher.prepare()
	p.host.Go("last seen", p.seen.run)
	p.host.Go("erase", p.runEraser)
	return nil
}

// Register implements plugin.Plugin.
func (p *Account) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionSignUp, "sign_up", p.signUp, plugin.Open[accountpb.SignUpRequest, accountpb.SignUpReply]())
	plugin.Handle(r, idl.ActionSignIn, "sign_in", p.signIn, plugin.Open[accountpb.SignInRequest, accountpb.SignInReply]())
	plugin.Handle(r, idl.ActionAuth, "auth", p.auth, plugin.Open[accountpb.AuthRequest, accountpb.AuthReply](), plugin.NeedsSession[accountpb.AuthRequest, accountpb.AuthReply]())
	plugin.Handle(r, idl.ActionSignOut, "sign_out", p.signOut)
	plugin.Handle(r, idl.ActionListDevices, "list_devices", p.listDevices)
	plugin.Handle(r, idl.ActionFindUser, "find_user", p.findUser)
	plugin.Handle(r, idl.ActionProfile, "profile", p.profiles)
	plugin.Handle(r, idl.ActionUpdateProfile, "update_profile", p.updateProfile)
	plugin.Handle(r, idl.ActionSearchUsers, "search", p.search)
	plugin.Handle(r, idl.ActionChangePassword, "change_password", p.changePassword)
	plugin.Handle(r, idl.ActionSetPushToken, "set_push_token", p.setPushToken)
	plugin.Handle(r, idl.ActionDeleteAccount, "delete", p.delete)
	plugin.Handle(r, idl.ActionSignInExternal, "sign_in_external", p.signInExternal, plugin.Open[accountpb.SignInExternalRequest, accountpb.SignInReply]())
	plugin.Handle(r, idl.ActionExport, "export", p.export, plugin.Timeout[accountpb.ExportRequest, accountpb.ExportReply](exportTime))
}
