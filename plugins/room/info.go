package room

import (
	"context"

	"freeim/core/presence"
	"freeim/idl/kitex_gen/roompb"
)

// info is a room as clients see it, but for its head. While presence does not answer
// there are no members to be told of.
func (p *Room) info(ctx context.Context, r room) (*roompb.RoomInfo, error) {
	there, err := p.rooms.Occupancy(ctx, conversation(r.name))
	if err != nil {
		if ctx.Err() != nil {
			return nil, stored(ctx, err)
		}
		p.host.Log().Warn("members are not known", "room", r.name, "err", err)
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
