// Package group is the plugin for conversations of members: making groups, coming in and
// going, roles and what they may, settings, mutes and bans. It decides who may write and read
// in a group, and says what happens there; the messages are the chat plugin's to carry.
// core/server runs it; README.md tells the flow, the races and the bounds.
package group

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Relations says who is whose friend, and who blocks whom. Whoever knows provides it as the
// service "social.relations", before this plugin; else nobody has friends.
type Relations interface {
	Friend(ctx context.Context, a, b im.UserID) (bool, error)
	Blocks(ctx context.Context, by, whom im.UserID) (bool, error)
}

// noRelations is what holds when nobody provides Relations.
type noRelations struct{}

func (noRelations) Friend(context.Context, im.UserID, im.UserID) (bool, error) { return false, nil }
func (noRelations) Blocks(context.Context, im.UserID, im.UserID) (bool, error) { return false, nil }

// Rules are the operator's say about coming in. Whoever has some provides them as the service
// "group.rules", before this plugin; nobody has to.
type Rules interface {
	// OnJoin judges a person who is about to come into a group, or to apply: nil lets him, an
	// *im.Error refuses. It is not asked about those whom somebody else brings in.
	OnJoin(ctx context.Context, call *plugin.Call, group im.ConversationID) error
}

// noRules is what holds when nobody provides Rules.
type noRules struct{}

func (noRules) OnJoin(context.Context, *plugin.Call, im.ConversationID) error { return nil }

// Group is the plugin. Its methods are safe for concurrent use after Provision.
type Group struct {
	config Config

	// Static after Provision.
	host        plugin.Host
	messages    plugin.Messages
	people      plugin.People
	relations   Relations
	rules       Rules
	memberships *memberships
	creations   plugin.Limiter // by user
	changes     plugin.Limiter // by user
	looks       plugin.Limiter // by user
	answers     plugin.Limiter // by user and group
	applied     plugin.Limiter // by user and group
	slow        plugin.Limiter // by user and group, at the groups' rates
}

// New makes the plugin with the default configuration.
func New() *Group { return &Group{config: defaultConfig()} }

// Info implements plugin.Plugin.
func (p *Group) Info() plugin.Info {
	return plugin.Info{Name: "group", Version: "1.0", Needs: []string{plugin.ServiceMessages, plugin.ServicePeople, plugin.ServiceHoldings}}
}

// Config implements plugin.Configurer.
func (p *Group) Config() any { return &p.config }

// Validate implements plugin.Validator.
func (p *Group) Validate() error { return p.config.validate() }

// Migrations implements plugin.Migrator.
func (p *Group) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Provision implements plugin.Provisioner.
func (p *Group) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host = h
	if p.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err != nil {
		return err
	}
	if p.people, err = plugin.Need[plugin.People](h, plugin.ServicePeople); err != nil {
		return err
	}
	holdings, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
	if err != nil {
		return err
	}
	p.relations, p.rules = noRelations{}, noRules{}
	if _, ok := h.Service("social.relations"); ok || p.config.Invite == inviteFriends {
		if p.relations, err = plugin.Need[Relations](h, "social.relations"); err != nil {
			return err
		}
	}
	if _, ok := h.Service("group.rules"); ok {
		if p.rules, err = plugin.Need[Rules](h, "group.rules"); err != nil {
			return err
		}
	}
	versions := plugin.NewLookups(h, "read versions of groups", versionBatch, func(ctx context.Context, ids []int64) (map[int64]int64, error) { return readVersions(ctx, h.DB(), ids) })
	p.memberships = newMemberships(versions.Find, p.load, p.config.CacheMembers)
	p.creations = h.Limiter("creations", p.config.CreationsPerHour, time.Hour)
	p.changes = h.Limiter("changes", p.config.ChangesPerMinute, time.Minute)
	p.looks = h.Limiter("looks", p.config.LooksPerMinute, time.Minute)
	p.answers = h.Limiter("answers", p.config.AnswersPerHour, time.Hour)
	p.applied = h.Limiter("applications", p.config.ApplicationsPerHour, time.Hour)
	p.slow = h.Limiter("slow_mode", 1, time.Second)
	p.messages.Own(im.Group, owner{p})
	holdings.Hold("group", kept{p})
	return nil
}

// Start implements plugin.Starter.
func (p *Group) Start(context.Context) error {
	p.host.Go("events of groups", p.run)
	return nil
}

// Register implements plugin.Plugin.
func (p *Group) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionCreateGroup, "create", p.create,
		plugin.Validate[grouppb.CreateGroupRequest, grouppb.CreateGroupReply](validateCreate),
		plugin.Rewrite[grouppb.CreateGroupRequest, grouppb.CreateGroupReply]("name", maxName),
		plugin.Rewrite[grouppb.CreateGroupRequest, grouppb.CreateGroupReply]("description", maxDescription))
	plugin.Handle(r, idl.ActionGroupInfo, "info", p.info)
	plugin.Handle(r, idl.ActionListGroups, "list", p.list)
	plugin.Handle(r, idl.ActionGroupMembers, "members", p.listMembers)
	plugin.Handle(r, idl.ActionUpdateGroup, "update", p.update,
		plugin.Validate[grouppb.UpdateGroupRequest, grouppb.UpdateGroupReply](validateUpdate),
		plugin.Rewrite[grouppb.UpdateGroupRequest, grouppb.UpdateGroupReply]("name", maxName),
		plugin.Rewrite[grouppb.UpdateGroupRequest, grouppb.UpdateGroupReply]("description", maxDescription),
		plugin.Rewrite[grouppb.UpdateGroupRequest, grouppb.UpdateGroupReply]("announcement", maxAnnouncement))
	plugin.Handle(r, idl.ActionDissolveGroup, "dissolve", p.dissolve)
	plugin.Handle(r, idl.ActionInviteToGroup, "invite", p.invite,
		plugin.Validate[grouppb.InviteToGroupRequest, grouppb.InviteToGroupReply](validateInvite))
	plugin.Handle(r, idl.ActionAnswerInvitation, "answer", p.answer)
	plugin.Handle(r, idl.ActionJoinGroup, "join", p.join,
		plugin.Validate[grouppb.JoinGroupRequest, grouppb.JoinGroupReply](validateJoin),
		plugin.Rewrite[grouppb.JoinGroupRequest, grouppb.JoinGroupReply]("remark", maxRemark))
	plugin.Handle(r, idl.ActionDecideApplication, "decide", p.decide,
		plugin.Validate[grouppb.DecideApplicationRequest, grouppb.DecideApplicationReply](validateDecide))
	plugin.Handle(r, idl.ActionGroupRequests, "requests", p.requests)
	plugin.Handle(r, idl.ActionWithdrawRequest, "withdraw", p.withdraw)
	plugin.Handle(r, idl.ActionLeaveGroup, "leave", p.leave)
	plugin.Handle(r, idl.ActionRemoveFromGroup, "remove", p.remove,
		plugin.Validate[grouppb.RemoveFromGroupRequest, grouppb.RemoveFromGroupReply](validateRemove))
	plugin.Handle(r, idl.ActionTransferGroup, "transfer", p.transfer)
	plugin.Handle(r, idl.ActionSetGroupRole, "set_role", p.setRole,
		plugin.Validate[grouppb.SetGroupRoleRequest, grouppb.SetGroupRoleReply](validateSetRole))
	plugin.Handle(r, idl.ActionMuteInGroup, "mute", p.mute,
		plugin.Validate[grouppb.MuteInGroupRequest, grouppb.MuteInGroupReply](p.validateMute))
	plugin.Handle(r, idl.ActionBanFromGroup, "ban", p.ban,
		plugin.Validate[grouppb.BanFromGroupRequest, grouppb.BanFromGroupReply](p.validateBan))
	plugin.Handle(r, idl.ActionGroupBans, "bans", p.bans)
	plugin.Handle(r, idl.ActionSetGroupSelf, "set_self", p.setSelf,
		plugin.Validate[grouppb.SetGroupSelfRequest, grouppb.SetGroupSelfReply](validateSetSelf),
		plugin.Rewrite[grouppb.SetGroupSelfRequest, grouppb.SetGroupSelfReply]("alias", maxAlias))
}

// mayChange bounds what somebody does to groups, before anything is read for him.
func (p *Group) mayChange(ctx context.Context, u im.UserID) error {
	if wait := p.changes.Take(ctx, u.String()); wait > 0 {
		return limited(wait, "too many changes of groups")
	}
	return nil
}
