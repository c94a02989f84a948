package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

func validateSetSelf(_ *plugin.Call, req *grouppb.SetGroupSelfRequest) error {
	if len(req.Fields) == 0 {
		return im.Invalid("fields", "names nothing")
	}
	for _, field := range req.Fields {
		switch field {
		case "alias":
			if err := line("alias", &req.Alias, 0, maxAlias); err != nil {
				return err
			}
		case "notify":
			if grouppb.NotifyLevel_name[int32(req.Notify)] == "" {
				return im.Invalid("notify", "%d is not known", req.Notify)
			}
		default:
			return im.Invalid("fields", "%.32q is not one of alias, notify", field)
		}
	}
	return nil
}

// setSelf sets what is one's own in a group. The group is told of a new alias, one's other
// devices of the rest.
func (p *Group) setSelf(ctx context.Context, call *plugin.Call, req *grouppb.SetGroupSelfRequest) (*grouppb.SetGroupSelfReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	rep := &grouppb.SetGroupSelfReply{}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, 0)
		if err != nil {
			return err
		}
		was := me
		for _, field := range req.Fields {
			switch field {
			case "alias":
				me.alias = req.Alias
			case "notify":
				me.notify = req.Notify
			}
		}
		rep.Me = p.shownMember(&c.group, me)
		rep.Me.Notify, rep.Me.FirstSeq = me.notify, me.afterSeq+1
		if me == was {
			return errSame
		}
		if me.alias != was.alias {
			if err := c.unmuted(was, "alias"); err != nil {
				return err
			}
			c.event(call.User, "alias", facts{"user_id": me.user, "alias": me.alias})
		}
		if me.notify != was.notify {
			c.notice(call.User, "notify", facts{"notify": int32(me.notify)}, me.user)
		}
		return writeMember(ctx, c.tx, me)
	})
	if err != nil {
		return nil, err
	}
	return rep, nil
}
