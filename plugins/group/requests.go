package group

import (
	"context"
	"strconv"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

const (
	usualRequests = 50
	mostRequests  = 100
)

const (
	requestsOfUser  = "WHERE r.user_id = ? AND r.group_id > ? AND r.expires_ms > ? ORDER BY r.group_id LIMIT ?"
	requestsOfGroup = "WHERE r.group_id = ? AND r.user_id > ? AND r.expires_ms > ? ORDER BY r.user_id LIMIT ?"
)

// requests gives what waits for somebody, or for the deciders of a group.
func (p *Group) requests(ctx context.Context, call *plugin.Call, req *grouppb.GroupRequestsRequest) (*grouppb.GroupRequestsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualRequests, mostRequests)
	if err != nil {
		return nil, err
	}
	after, err := cursor(req.Cursor)
	if err != nil {
		return nil, err
	}
	query, of := requestsOfUser, int64(call.User)
	if req.GroupId != 0 {
		g, me, err := p.look(ctx, req.GroupId, call.User)
		if err != nil {
			return nil, err
		}
		if g.hidesFrom(me) {
			return nil, noSuchGroup()
		}
		if g.permissions(me)&int32(grouppb.GroupPermission_GROUP_PERMISSION_APPROVE) == 0 {
			return nil, notAllowed()
		}
		query, of = requestsOfGroup, g.id
	}
	all, err := requests(ctx, p.host.DB(), query, of, after, p.host.Now().UnixMilli(), limit+1)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	rep := &grouppb.GroupRequestsReply{HasMore: len(all) > limit}
	all = all[:min(limit, len(all))]
	if n := len(all); n > 0 {
		rep.Cursor = strconv.FormatInt(all[n-1].group, 10)
		if req.GroupId != 0 {
			rep.Cursor = all[n-1].user.String()
		}
	}
	rep.Requests, err = p.shownRequests(ctx, all)
	return rep, err
}

// cursor reads one that is a number.
func cursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, im.Invalid("cursor", "is not one that was given")
	}
	return n, nil
}

// shownRequests are requests with the names of the groups and of the people.
func (p *Group) shownRequests(ctx context.Context, all []request) (shown []*grouppb.GroupRequest, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	var users []im.UserID
	ids := make([]any, len(all))
	for i, r := range all {
		users, ids[i] = append(users, r.user), r.group
	}
	type named struct {
		id   int64
		name string
	}
	groups, err := list(ctx, p.host.DB(), func(n *named) []any { return []any{&n.id, &n.name} },
		"SELECT id, name FROM group_groups WHERE id IN "+plugin.Marks(len(ids)), ids...)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	names := map[int64]string{}
	for _, g := range groups {
		names[g.id] = g.name
	}
	people, err := p.people.People(ctx, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, r := range all {
		shown = append(shown, &grouppb.GroupRequest{GroupId: r.group, UserId: int64(r.user), InvitedBy: int64(r.invitedBy), Remark: r.remark,
			TimeMs: r.createdMs, ExpiresMs: r.expiresMs, GroupName: names[r.group], Nickname: people[r.user].Nickname})
	}
	return shown, nil
}
