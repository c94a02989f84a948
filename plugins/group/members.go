package group

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

const (
	// askPeople is how many people's names are asked for at once. Source: plugin.People.
	askPeople = 1000
	// mostSearched is how many members' names one search looks at. Source: idl/group.proto.
	mostSearched = 2000
)

// pageOfMembers begins after a role and a user: of that role those with a greater ID, of later
// roles all.
const pageOfMembers = "WHERE m.group_id = ? AND m.role >= ? AND (m.role > ? OR m.user_id > ?) ORDER BY m.role, m.user_id LIMIT ?"

// listMembers gives members, those with a role first, or those whose names hold a text.
func (p *Group) listMembers(ctx context.Context, call *plugin.Call, req *grouppb.GroupMembersRequest) (*grouppb.GroupMembersReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualPage, mostPage)
	if err != nil {
		return nil, err
	}
	if err := line("query", &req.Query, 0, maxAlias); err != nil {
		return nil, err
	}
	role, user, err := placeOf(req.Cursor)
	if err != nil {
		return nil, err
	}
	g, me, err := p.look(ctx, req.GroupId, call.User)
	if err != nil {
		return nil, err
	}
	if me.role == grouppb.GroupRole_GROUP_ROLE_NONE {
		return nil, g.outside(me)
	}
	rep := &grouppb.GroupMembersReply{Version: g.version}
	for searched := 0; len(rep.Members) <= limit; { // several readings only for a text that few names hold
		ask := limit + 1
		if req.Query != "" {
			ask = askPeople
		}
		if searched == mostSearched { // who asks on goes on there
			rep.HasMore, rep.Cursor = true, cursorAt(role, user)
			return rep, nil
		}
		all, err := members(ctx, p.host.DB(), pageOfMembers, g.id, int32(role), int32(role), int64(user), ask)
		if err != nil {
			return nil, refusal(ctx, err)
		}
		shown, err := p.named(ctx, &g, all, strings.ToLower(req.Query))
		if err != nil {
			return nil, err
		}
		rep.Members = append(rep.Members, shown...)
		if len(all) < ask {
			break
		}
		role, user, searched = all[len(all)-1].role, all[len(all)-1].user, searched+ask
	}
	if rep.HasMore = len(rep.Members) > limit; rep.HasMore {
		rep.Members = rep.Members[:limit]
	}
	if n := len(rep.Members); n > 0 {
		rep.Cursor = cursorAt(rep.Members[n-1].Role, im.UserID(rep.Members[n-1].UserId))
	}
	return rep, nil
}

// cursorAt is the cursor behind a member.
func cursorAt(role grouppb.GroupRole, user im.UserID) string { return fmt.Sprintf("%d.%d", role, user) }

// placeOf reads a cursor.
func placeOf(cursor string) (role grouppb.GroupRole, user im.UserID, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	if n, err := fmt.Sscanf(cursor, "%d.%d", &role, &user); n != 2 || err != nil || cursorAt(role, user) != cursor ||
		grouppb.GroupRole_name[int32(role)] == "" || user < 0 {
		return 0, 0, im.Invalid("cursor", "is not one that was given")
	}
	return role, user, nil
}

// named are members with their names: those whose names hold a text, in lower case.
func (p *Group) named(ctx context.Context, g *group, all []member, text string) (shown []*grouppb.GroupMember, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	users := make([]im.UserID, len(all))
	for i, m := range all {
		users[i] = m.user
	}
	people, err := p.people.People(ctx, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, m := range all {
		who := people[m.user]
		holds := func(name string) bool { return strings.Contains(strings.ToLower(name), text) }
		if text != "" && !slices.ContainsFunc([]string{m.alias, who.Nickname, who.Handle}, holds) {
			continue
		}
		one := p.shownMember(g, m)
		one.Nickname, one.Handle, one.Avatar = who.Nickname, who.Handle, who.Avatar
		shown = append(shown, one)
	}
	return shown, nil
}
