package group

import (
	"cmp"
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// mostAdmins bounds the admins of one group: each is told of every application.
const mostAdmins = 100

func validateSetRole(_ *plugin.Call, req *grouppb.SetGroupRoleRequest) error {
	if err := checkUser(req.UserId); err != nil {
		return err
	}
	switch req.Role {
	case grouppb.GroupRole_GROUP_ROLE_ADMIN:
	case grouppb.GroupRole_GROUP_ROLE_MEMBER:
		req.Permissions = 0
	default:
		return im.Invalid("role", "must be 2, an admin, or 3, a member")
	}
	if req.Permissions&^allBits != 0 {
		return im.Invalid("permissions", "must be a sum of GroupPermission bits")
	}
	return nil
}

// setRole makes a member an admin, or an admin a member, or changes what an admin may.
func (p *Group) setRole(ctx context.Context, call *plugin.Call, req *grouppb.SetGroupRoleRequest) (*grouppb.SetGroupRoleReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.owner(call.User)
		if err != nil {
			return err
		}
		m, err := c.below(me, im.UserID(req.UserId))
		if err != nil {
			return err
		}
		was := m
		m.role, m.permissions = req.Role, 0
		if req.Role == grouppb.GroupRole_GROUP_ROLE_ADMIN {
			m.permissions = cmp.Or(req.Permissions, usualAdmin)
			if was.role != m.role { // an admin who is muted stays so
				m.mutedUntilMs = 0
			}
		}
		if m == was {
			return errSame
		}
		if err := c.roomForAdmin(was, m); err != nil {
			return err
		}
		c.event(call.User, "role", facts{"user_id": m.user, "role": int32(m.role), "permissions": c.group.permissions(m)})
		return writeMember(ctx, c.tx, m)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.SetGroupRoleReply{}, nil
}

// roomForAdmin refuses one more admin than there may be.
func (c *change) roomForAdmin(was, m member) error {
	if m.role != grouppb.GroupRole_GROUP_ROLE_ADMIN || was.role == m.role {
		return nil
	}
	var n int
	err := c.tx.QueryRowContext(c.ctx, "SELECT COUNT(*) FROM group_members WHERE group_id = ? AND role = ?", c.group.id, int32(m.role)).Scan(&n)
	switch {
	case err != nil:
		return fmt.Errorf("count admins: %w", err)
	case n >= mostAdmins:
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "role", Reason: fmt.Sprintf("a group may have %d admins", mostAdmins)}
	}
	return nil
}
