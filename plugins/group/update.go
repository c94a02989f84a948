package group

import (
	"context"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

const (
	maxHistoryLast = 1000
	maxSlowModeMs  = 3_600_000
)

// setting is a field of a group that UpdateGroup sets.
type setting struct {
	needs int32 // the permission
	check func(req *grouppb.UpdateGroupRequest) error
	set   func(g *group, req *grouppb.UpdateGroupRequest)
	// event names what is told, and tell what of it; without them it is one of "settings".
	event string
	tell  func(g *group) facts
}

// settings are all of them, by field.
func settings() map[string]setting {
	type request = grouppb.UpdateGroupRequest
	return map[string]setting{
		"name": {bitEdit, func(r *request) error { return line("name", &r.Name, 1, maxName) },
			func(g *group, r *request) { g.name = r.Name }, "renamed", func(g *group) facts { return facts{"name": g.name} }},
		"avatar": {bitEdit, func(r *request) error { return checkAvatar(&r.Avatar) },
			func(g *group, r *request) { g.avatar = r.Avatar }, "avatar", func(g *group) facts { return facts{"avatar": g.avatar} }},
		"description": {bitEdit, func(r *request) error { return prose("description", &r.Description, maxDescription) },
			func(g *group, r *request) { g.description = r.Description }, "described", func(g *group) facts { return facts{"description": g.description} }},
		"announcement": {bitEdit, func(r *request) error { return prose("announcement", &r.Announcement, maxAnnouncement) },
			func(g *group, r *request) { g.announcement = r.Announcement }, "announced", func(g *group) facts { return facts{"announcement": g.announcement} }},
		"policy": {bitSettings, nil, func(g *group, r *request) { g.policy = r.Policy }, "", nil}, // checked with the question
		"question": {bitSettings, func(r *request) error { return line("question", &r.Question, 0, maxQuestion) },
			func(g *group, r *request) { g.question = r.Question }, "", nil},
		"answer": {bitSettings, func(r *request) error { return line("answer", &r.Answer, 0, maxAnswer) },
			func(g *group, r *request) { g.answer = r.Answer }, "", nil},
		"history": {bitSettings, func(r *request) error {
			if grouppb.GroupHistory_name[int32(r.History)] == "" {
				return im.Invalid("history", "%d is not known", r.History)
			}
			return nil
		}, func(g *group, r *request) { g.history = r.History }, "", nil},
		"history_last": {bitSettings, func(r *request) error { return within("history_last", int64(r.HistoryLast), 0, maxHistoryLast) },
			func(g *group, r *request) { g.historyLast = r.HistoryLast }, "", nil},
		"slow_mode_ms": {bitSettings, func(r *request) error { return within("slow_mode_ms", r.SlowModeMs, 0, maxSlowModeMs) },
			func(g *group, r *request) { g.slowModeMs = r.SlowModeMs }, "", nil},
		"member_permissions": {bitSettings, func(r *request) error {
			if r.MemberPermissions&^ofMembers != 0 {
				return im.Invalid("member_permissions", "must be a sum of SEND 1, INVITE 2, MENTION_ALL 4 and EDIT 8")
			}
			return nil
		}, func(g *group, r *request) { g.memberPermissions = r.MemberPermissions }, "", nil},
	}
}

func within(field string, n, least, most int64) error {
	if n < least || n > most {
		return im.Invalid(field, "must be %d-%d", least, most)
	}
	return nil
}

func validateUpdate(_ *plugin.Call, req *grouppb.UpdateGroupRequest) error {
	if len(req.Fields) == 0 {
		return im.Invalid("fields", "names nothing")
	}
	all := settings()
	for i, field := range req.Fields {
		one, known := all[field]
		if !known || slices.Contains(req.Fields[:i], field) {
			return im.Invalid("fields", "%.32q is not a field that can be set, or comes twice", field)
		}
		if one.check != nil {
			if err := one.check(req); err != nil {
				return err
			}
		}
	}
	return nil
}

// update sets fields of a group, all or none.
func (p *Group) update(ctx context.Context, call *plugin.Call, req *grouppb.UpdateGroupRequest) (*grouppb.UpdateGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	all := settings()
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, 0)
		if err != nil {
			return err
		}
		may, was, told := c.group.permissions(me), c.group, []string{}
		for _, field := range req.Fields {
			one := all[field]
			if may&one.needs == 0 {
				return denied(field, "you may not set that")
			}
			before := c.group
			one.set(&c.group, req)
			switch {
			case c.group == before:
			case one.event != "":
				if err := c.unmuted(me, field); err != nil {
					return err
				}
				c.event(call.User, one.event, one.tell(&c.group))
			default:
				told = append(told, field)
			}
		}
		if c.group == was {
			return errSame
		}
		if given := c.group.memberPermissions &^ was.memberPermissions; given&^may != 0 {
			return denied("member_permissions", "nobody gives what he may not himself")
		}
		if c.group.history == grouppb.GroupHistory_GROUP_HISTORY_LAST && c.group.historyLast == 0 {
			return im.Invalid("history_last", "must be 1-%d with this history", maxHistoryLast)
		}
		if err := checkPolicy(c.group.policy, c.group.question, c.group.answer); err != nil {
			return err
		}
		if len(told) > 0 {
			c.event(call.User, "settings", c.group.told(told))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	info, err := p.shownTo(ctx, req.GroupId, call.User)
	return &grouppb.UpdateGroupReply{Group: info}, err
}

// told are settings as all members may know them: not the answer.
func (g *group) told(fields []string) facts {
	f := facts{"fields": fields, "policy": int32(g.policy), "history": int32(g.history), "history_last": g.historyLast,
		"slow_mode_ms": g.slowModeMs, "member_permissions": g.memberPermissions}
	return f
}
