package room

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/roompb"
)

const (
	usualRoles = 100
	mostRoles  = 200
)

// roles lists the people with a role, a mute or a ban, by user ID. Members see the
// roles only.
func (p *Room) roles(ctx context.Context, call *plugin.Call, req *roompb.ListRolesRequest) (*roompb.ListRolesReply, error) {
	name, err := canonical(req.Room)
	if err != nil {
		return nil, err
	}
	limit, err := plugin.PageLimit(req.Limit, usualRoles, mostRoles)
	switch {
	case err != nil:
		return nil, err
	case req.AfterUserId < 0:
		return nil, im.Invalid("after_user_id", "must not be negative")
	}
	if err := p.keepPaceOf(looking, call.User); err != nil {
		return nil, err
	}
	s, err := p.known(ctx, key{name, call.User})
	if err != nil {
		return nil, err
	}
	rank, now := p.say(s, call.User), p.host.Now().UnixMilli()
	if rank < rankAdmin && !call.In(conversation(name)) {
		return nil, outside()
	}
	all, err := p.store.people(ctx, name, im.UserID(req.AfterUserId), limit+1, now, rank < rankAdmin)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &roompb.ListRolesReply{HasMore: len(all) > limit}
	for _, one := range all[:min(limit, len(all))] {
		info := &roompb.RoleInfo{UserId: int64(one.user), Role: one.role}
		if rank >= rankAdmin && holds(one.mutedUntilMs, now) {
			info.MutedUntilMs = one.mutedUntilMs
		}
		if rank >= rankAdmin && holds(one.bannedUntilMs, now) {
			info.BannedUntilMs = one.bannedUntilMs
		}
		rep.People = append(rep.People, info)
	}
	return rep, nil
}
