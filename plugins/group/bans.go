package group

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

const bansOfGroup = "WHERE b.group_id = ? AND b.user_id > ? AND (b.until_ms = -1 OR b.until_ms > ?) ORDER BY b.user_id LIMIT ?"

// bans gives those who are kept out, to whoever may ban.
func (p *Group) bans(ctx context.Context, call *plugin.Call, req *grouppb.GroupBansRequest) (*grouppb.GroupBansReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualPage, mostPage)
	if err != nil {
		return nil, err
	}
	if req.AfterUserId < 0 {
		return nil, im.Invalid("after_user_id", "must not be negative")
	}
	g, me, err := p.look(ctx, req.GroupId, call.User)
	if err != nil {
		return nil, err
	}
	if g.hidesFrom(me) {
		return nil, noSuchGroup()
	}
	if g.permissions(me)&int32(grouppb.GroupPermission_GROUP_PERMISSION_BAN) == 0 {
		return nil, notAllowed()
	}
	all, err := bans(ctx, p.host.DB(), bansOfGroup, g.id, req.AfterUserId, p.host.Now().UnixMilli(), limit+1)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	rep := &grouppb.GroupBansReply{HasMore: len(all) > limit}
	for _, b := range all[:min(limit, len(all))] {
		rep.Bans = append(rep.Bans, &grouppb.GroupBan{UserId: int64(b.user), UntilMs: b.untilMs, ByUserId: int64(b.by), Reason: b.reason, TimeMs: b.createdMs})
	}
	return rep, nil
}

func dropBan(ctx context.Context, tx *sql.Tx, id int64, u im.UserID) error {
	return drop(ctx, tx, "DELETE FROM group_bans WHERE group_id = ? AND user_id IN ", id, []im.UserID{u})
}
