// Package social is the plugin for who is whose friend: applications, lists of friends and
// their groups, blocks, who may write to and apply to whom, and the presence of friends. It
// carries no messages: it is asked about each (plugin.ChatGuard), and has its events told
// by plugin.Messages. core/server runs it; other plugins use its service "social.relations".
package social

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"io/fs"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxFriends is how many friends one person may have. Default 5,000.
	MaxFriends int `yaml:"max_friends"`
	// MaxSent and MaxReceived are how many pending applications one may have made, and may
	// have from others. Defaults 100 and 1,000.
	MaxSent     int `yaml:"max_sent"`
	MaxReceived int `yaml:"max_received"`
	// MaxGroups and MaxBlocks are how many groups of friends one may have, and how many
	// people one may block. Defaults 50 and 1,000.
	MaxGroups int `yaml:"max_groups"`
	MaxBlocks int `yaml:"max_blocks"`
	// ApplicationsPerHour bounds those of one person. 0: no bound. Default 60.
	ApplicationsPerHour int `yaml:"applications_per_hour"`
	// ApplicationTime is how long an application can be accepted. Default 168h.
	ApplicationTime time.Duration `yaml:"application_time"`
	// ApplicationPause is how long somebody who was refused must wait before he applies to the
	// same person again. 0: not. Default 24h.
	ApplicationPause time.Duration `yaml:"application_pause"`
	// DeleteBoth says that who ends a friendship leaves the other's list too; else he stays
	// there, and the other is not told. Default true.
	DeleteBoth bool `yaml:"delete_both"`
	// Blocked is what those who are blocked meet when they write or apply: "unseen", all
	// seems well, or "refused". Default unseen.
	Blocked string `yaml:"blocked"`
	// Strangers says that people who are no friends may write to somebody who has not said
	// whether they may. Default true.
	Strangers bool `yaml:"strangers"`
	// Cache is how long presence believes what another core may have changed: who hides when
	// he was seen. Messages believe nothing so. Not used with SQLite. Default 2s.
	Cache time.Duration `yaml:"cache"`
	// PresencePoll is how often a core looks which of the friends who are watched came or
	// went; PresenceGrace how long one must be away to be offline. Defaults 3s and 10s.
	PresencePoll  time.Duration `yaml:"presence_poll"`
	PresenceGrace time.Duration `yaml:"presence_grace"`
	// PresenceLease is how long a session is told of its friends without asking again.
	// Default 2m.
	PresenceLease time.Duration `yaml:"presence_lease"`
}

// The values of Config.Blocked.
const (
	blockedUnseen  = "unseen"
	blockedRefused = "refused"
)

// readTogether is how many people's versions are read in one query.
const readTogether = 256

// Social is the plugin. Its methods are safe for concurrent use after Provision.
type Social struct {
	config Config

	// Static after Provision.
	host     plugin.Host
	messages plugin.Messages
	people   plugin.People
	store    *store
	applied  plugin.Limiter                    // applications, by person
	versions *plugin.Lookups[im.UserID, int64] // nil: this core alone changes the directory
	pairs    *cache[as[pair], between]
	persons  *cache[as[im.UserID], manners]
	seenBy   *cache[im.UserID, manners] // for presence, which asks about hundreds at a time
	watches  *watches
}

// New makes the plugin with the default configuration.
func New() *Social {
	return &Social{config: Config{
		MaxFriends: 5000, MaxSent: 100, MaxReceived: 1000, MaxGroups: 50, MaxBlocks: 1000,
		ApplicationsPerHour: 60, ApplicationTime: 7 * 24 * time.Hour, ApplicationPause: 24 * time.Hour,
		DeleteBoth: true, Blocked: blockedUnseen, Strangers: true, Cache: 2 * time.Second,
		PresencePoll: 3 * time.Second, PresenceGrace: 10 * time.Second, PresenceLease: 2 * time.Minute,
	}}
}

// Info implements plugin.Plugin.
func (p *Social) Info() plugin.Info {
	return plugin.Info{Name: "social", Version: "1.0",
		Needs:    []string{plugin.ServiceMessages, plugin.ServicePeople, plugin.ServiceHoldings},
		Provides: []string{"social.relations"}}
}

// Config implements plugin.Configurer.
func (p *Social) Config() any { return &p.config }

// Migrations implements plugin.Migrator.
func (p *Social) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Validate implements plugin.Validator.
func (p *Social) Validate() error {
	c := p.config
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.MaxFriends >= 1 && c.MaxFriends <= 100_000, "max_friends", "must be 1-100000"},
		{c.MaxSent >= 1 && c.MaxSent <= 10_000, "max_sent", "must be 1-10000"},
		{c.MaxReceived >= 1 && c.MaxReceived <= 100_000, "max_received", "must be 1-100000"},
		{c.MaxGroups >= 1 && c.MaxGroups <= 200, "max_groups", "must be 1-200"},
		{c.MaxBlocks >= 1 && c.MaxBlocks <= 100_000, "max_blocks", "must be 1-100000"},
		{c.ApplicationsPerHour >= 0, "applications_per_hour", "must be 0 (no bound) or more"},
		{c.ApplicationTime >= time.Minute && c.ApplicationTime <= 365*24*time.Hour, "application_time", "must be 1m-8760h"},
		{c.ApplicationPause >= 0 && c.ApplicationPause <= remembered, "application_pause", "must be 0s-720h"},
		{c.Blocked == blockedUnseen || c.Blocked == blockedRefused, "blocked", "must be unseen or refused"},
		{c.Cache >= 0 && c.Cache <= time.Minute, "cache", "must be 0s-1m"},
		{c.PresencePoll >= 100*time.Millisecond && c.PresencePoll <= time.Minute, "presence_poll", "must be 100ms-1m"},
		{c.PresenceGrace >= 0 && c.PresenceGrace <= 10*time.Minute, "presence_grace", "must be 0s-10m"},
		{c.PresenceLease >= 10*time.Second && c.PresenceLease <= time.Hour, "presence_lease", "must be 10s-1h"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("social."+check.key, "%s", check.rule)
		}
	}
	return nil
}

// Provision implements plugin.Provisioner.
func (p *Social) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host = h
	p.store = &store{db: h.DB(), tx: h.Tx}
	p.applied = h.Limiter("applications", p.config.ApplicationsPerHour, time.Hour)
	believed := p.config.Cache
	if h.Dialect() == "sqlite" {
		believed = forGood // no other core changes it
	} else {
		p.versions = plugin.NewLookups(h, "read versions of people", readTogether, p.store.readVersions)
	}
	p.pairs, p.persons = newCache[as[pair], between](forGood, h.Now), newCache[as[im.UserID], manners](forGood, h.Now)
	p.seenBy = newCache[im.UserID, manners](believed, h.Now)
	p.watches = newWatches(p.config.PresenceLease, p.config.PresenceGrace)
	if p.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err != nil {
		return err
	}
	if p.people, err = plugin.Need[plugin.People](h, plugin.ServicePeople); err != nil {
		return err
	}
	all, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
	if err != nil {
		return err
	}
	all.Hold("social", holdings{p})
	p.messages.Guard(guard{p})
	h.Provide("social.relations", relations{p})
	return nil
}

// Start implements plugin.Starter.
func (p *Social) Start(context.Context) error {
	p.host.Go("applications that expire", p.runExpiry)
	p.host.Go("presence of friends", p.runWatches)
	return nil
}

// Register implements plugin.Plugin.
func (p *Social) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionApply, "apply", p.apply,
		plugin.Validate[socialpb.ApplyRequest, socialpb.ApplyReply](validateApply),
		plugin.Rewrite[socialpb.ApplyRequest, socialpb.ApplyReply]("remark", maxRemark))
	plugin.Handle(r, idl.ActionAccept, "accept", p.accept)
	plugin.Handle(r, idl.ActionRefuse, "refuse", p.refuse)
	plugin.Handle(r, idl.ActionWithdraw, "withdraw", p.withdraw)
	plugin.Handle(r, idl.ActionApplications, "applications", p.listApplications)
	plugin.Handle(r, idl.ActionFriends, "friends", p.listFriends)
	plugin.Handle(r, idl.ActionDeleteFriend, "delete", p.deleteFriend)
	plugin.Handle(r, idl.ActionSetAlias, "set_alias", p.setAlias)
	plugin.Handle(r, idl.ActionSuggestions, "suggestions", p.suggest)
	plugin.Handle(r, idl.ActionPresence, "presence", p.presence)
	plugin.Handle(r, idl.ActionBlock, "block", p.block)
	plugin.Handle(r, idl.ActionUnblock, "unblock", p.unblock)
	plugin.Handle(r, idl.ActionBlocks, "blocks", p.listBlocks)
	plugin.Handle(r, idl.ActionFriendGroups, "groups", p.listGroups)
	plugin.Handle(r, idl.ActionCreateFriendGroup, "create_group", p.createGroup)
	plugin.Handle(r, idl.ActionRenameFriendGroup, "rename_group", p.renameGroup)
	plugin.Handle(r, idl.ActionDeleteFriendGroup, "delete_group", p.deleteGroup)
	plugin.Handle(r, idl.ActionOrderFriendGroups, "order_groups", p.orderGroups)
	plugin.Handle(r, idl.ActionMoveFriends, "move_friends", p.moveFriends)
	plugin.Handle(r, idl.ActionSocialSettings, "settings", p.settings)
	plugin.Handle(r, idl.ActionUpdateSocialSettings, "update_settings", p.updateSettings,
		plugin.Validate[socialpb.UpdateSettingsRequest, socialpb.UpdateSettingsReply](validateSettings),
		plugin.Rewrite[socialpb.UpdateSettingsRequest, socialpb.UpdateSettingsReply]("question", maxQuestion))
	plugin.Handle(r, idl.ActionRelation, "relation", p.relation)
}

// change is store.change for a call: events that fn gives are told, and what the core
// remembers of the users is forgotten, whatever became of the transaction. Its errors are refusals.
func (p *Social) change(ctx context.Context, fn func(tx *sql.Tx, people []*person) ([]plugin.Event, error), users ...im.UserID) error {
	defer p.forget(users...) // also when the answer to COMMIT was lost
	err := p.store.change(ctx, func(tx *sql.Tx, people []*person) error {
		events, err := fn(tx, people)
		if err != nil || len(events) == 0 {
			return err
		}
		return p.messages.File(ctx, tx, events...)
	}, users...)
	if err != nil {
		return refusal(ctx, err)
	}
	p.messages.Deliver()
	return nil
}

// forget has the core ask the directory anew about users, and what is between the first and the others.
func (p *Social) forget(users ...im.UserID) {
	p.seenBy.forget(users...)
	for i, u := range users {
		p.persons.forget(as[im.UserID]{key: u})
		if i > 0 {
			p.pairs.forget(as[pair]{key: pairOf(users[0], u)})
		}
	}
}

// refusal is err as a client gets it: a refusal as it is, a store's error as "not now".
func refusal(ctx context.Context, err error) error {
	if im.CodeOf(err) != idl.CodeInternal {
		return err
	}
	return plugin.Stored(ctx, err)
}

// event is what by did, told to those who are named. data is encoded as JSON.
func event(by im.UserID, name string, data any, told ...im.UserID) plugin.Event {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // maps and structs of this package
	}
	return plugin.Event{Users: told, Actor: by, Name: "social." + name, Data: string(text)}
}

// somebody checks the user_id of a request: of another person than the caller.
func somebody(call *plugin.Call, id int64) (im.UserID, error) {
	switch u := im.UserID(id); {
	case id <= 0 || id > idl.MaxSafeInteger:
		return 0, im.Invalid("user_id", "must be the ID of a user")
	case u == call.User:
		return 0, im.Invalid("user_id", "is your own")
	default:
		return u, nil
	}
}

// must finds somebody, or refuses: there is no such user.
func (p *Social) must(ctx context.Context, u im.UserID) (plugin.Person, error) {
	found, err := p.people.People(ctx, []im.UserID{u})
	if err != nil {
		return plugin.Person{}, plugin.Stored(ctx, err)
	}
	one, ok := found[u]
	if !ok {
		return one, &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "no such user"}
	}
	return one, nil
}

// between is change for what is between the caller and somebody who may be nobody: such a one
// gets no row, and there is nothing of him, as otherwise says.
func (p *Social) between(ctx context.Context, fn func(tx *sql.Tx, people []*person) ([]plugin.Event, error), me, other im.UserID, otherwise error) error {
	there, err := p.store.has(ctx, other)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if !there {
		return otherwise
	}
	return p.change(ctx, fn, me, other)
}

// shown are people as clients see them; one who is gone is an ID alone.
func (p *Social) shown(ctx context.Context, users []im.UserID) (map[im.UserID]*socialpb.Person, error) {
	all := make(map[im.UserID]*socialpb.Person, len(users))
	if len(users) == 0 {
		return all, nil
	}
	found, err := p.people.People(ctx, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, u := range users {
		one := found[u]
		one.User = u
		all[u] = wirePerson(one)
	}
	return all, nil
}

func wirePerson(of plugin.Person) *socialpb.Person {
	return &socialpb.Person{UserId: int64(of.User), Handle: of.Handle, Nickname: of.Nickname, Avatar: of.Avatar}
}
