package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

const (
	usualPage = 100
	mostPage  = 200
)

// mine is a group and somebody's place in it.
type mine struct {
	group
	member
}

func (m *mine) fields() []any { return append(m.group.fields(), m.member.fields()...) }

const ownGroups = "SELECT " + groupColumns + ", " + memberColumns + " FROM group_members m JOIN group_groups g ON g.id = m.group_id " +
	"WHERE m.user_id = ? AND m.group_id > ? AND g.dissolved = 0 ORDER BY m.group_id LIMIT ?"

// list gives the groups in which the caller is.
func (p *Group) list(ctx context.Context, call *plugin.Call, req *grouppb.ListGroupsRequest) (*grouppb.ListGroupsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualPage, mostPage)
	if err != nil {
		return nil, err
	}
	if req.AfterGroupId < 0 {
		return nil, im.Invalid("after_group_id", "must not be negative")
	}
	all, err := list(ctx, p.host.DB(), (*mine).fields, ownGroups, int64(call.User), req.AfterGroupId, limit+1)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	rep := &grouppb.ListGroupsReply{HasMore: len(all) > limit}
	for _, one := range all[:min(limit, len(all))] {
		info := p.shown(one.group, one.member)
		info.Announcement, info.Description, info.Question, info.Answer = "", "", "", ""
		rep.Groups = append(rep.Groups, info)
	}
	return rep, nil
}
