package room

import (
	"context"
	"time"

	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl/kitex_gen/roompb"
)

// getInfo gives a room's settings and size, to anybody.
func (p *Room) getInfo(ctx context.Context, call *plugin.Call, req *roompb.RoomInfoRequest) (*roompb.RoomInfo, error) {
	name, err := canonical(req.Room)
	if err != nil {
		return nil, err
	}
	if err := p.keepPaceOf(looking, call.User); err != nil {
		return nil, err
	}
	s, err := p.known(ctx, key{name, call.User})
	if err != nil {
		return nil, err
	}
	info, err := p.info(ctx, s.room)
	if err != nil {
		return nil, err
	}
	page, err := p.timelines.Log(ctx, conversation(name), 0, 0)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	info.Head = page.Head
	return info, nil
}

// info is a room as clients see it, but for its head. While presence does not answer
// nobody is known to be there.
func (p *Room) info(ctx context.Context, r room) (*roompb.RoomInfo, error) {
	there, err := p.rooms.Occupancy(ctx, conversation(r.name))
	if err != nil {
		if ctx.Err() != nil {
			return nil, plugin.Stored(ctx, err)
		}
		if p.paces.take(key{room: looking}, time.Second, 1) == 0 { // one line in a second is enough
			p.host.Log().Warn("members are not known", "room", r.name, "err", err)
		}
		there = presence.Occupancy{}
	}
	policy := p.policy(ctx, r)
	return &roompb.RoomInfo{
		Room: r.name, Title: r.title, Announcement: r.announcement, OwnerId: int64(r.owner), Members: there.Members,
		SlowModeMs: r.slowModeMs, Muted: r.muted, Closed: r.closed, Overload: roompb.RoomOverload(policy.Overload),
		LowPerSecond: int32(policy.LowPerSecond), Presence: p.small(there), CreatedMs: r.createdMs,
	}, nil
}

// small reports whether the members are few enough to be listed and told of.
func (p *Room) small(there presence.Occupancy) bool {
	return there.Listed && there.Members <= int64(p.config.PresenceLimit)
}

// members says who is in a small room, and how many are in any, to those in it.
func (p *Room) members(ctx context.Context, call *plugin.Call, req *roompb.RoomMembersRequest) (*roompb.RoomMembersReply, error) {
	name, err := canonical(req.Room)
	if err != nil {
		return nil, err
	}
	if err := p.inside(ctx, call, name); err != nil {
		return nil, err
	}
	there, err := p.rooms.Occupancy(ctx, conversation(name))
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &roompb.RoomMembersReply{Members: there.Members}
	if p.small(there) {
		rep.UserIds = numbers(there.Users)
	}
	return rep, nil
}
