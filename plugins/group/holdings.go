package group

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// kept is what the plugin keeps of people: a plugin.Holdings.
type kept struct{ *Group }

// exported is a group, an invitation, an application, a ban or a mute of somebody's.
type exported struct {
	Group     int64  `json:"group_id"`
	Name      string `json:"name,omitempty"`
	Role      string `json:"role,omitempty"`
	Alias     string `json:"alias,omitempty"`
	SinceMs   int64  `json:"since_ms,omitempty"`
	UntilMs   int64  `json:"until_ms,omitempty"`
	InvitedBy int64  `json:"invited_by,omitempty"`
	Text      string `json:"text,omitempty"`
}

// roles are how roles are written.
var roles = map[grouppb.GroupRole]string{
	grouppb.GroupRole_GROUP_ROLE_OWNER: "owner", grouppb.GroupRole_GROUP_ROLE_ADMIN: "admin", grouppb.GroupRole_GROUP_ROLE_MEMBER: "member",
}

// Export implements plugin.Holdings.
func (k kept) Export(ctx context.Context, user im.UserID) (any, error) {
	out := map[string][]exported{"groups": {}, "waiting": {}, "bans": {}, "mutes": {}}
	for after := int64(0); ; {
		all, err := list(ctx, k.host.DB(), (*mine).fields, ownGroups, int64(user), after, mostPage)
		if err != nil {
			return nil, err
		}
		for _, one := range all {
			after = one.group.id
			out["groups"] = append(out["groups"], exported{Group: one.group.id, Name: one.name, Role: roles[one.role], Alias: one.alias,
				SinceMs: one.joinedMs, InvitedBy: int64(one.invitedBy)})
		}
		if len(all) < mostPage {
			break
		}
	}
	waiting, err := requests(ctx, k.host.DB(), "WHERE r.user_id = ? ORDER BY r.group_id", int64(user))
	if err != nil {
		return nil, err
	}
	for _, r := range waiting {
		out["waiting"] = append(out["waiting"], exported{Group: r.group, SinceMs: r.createdMs, UntilMs: r.expiresMs, InvitedBy: int64(r.invitedBy), Text: r.remark})
	}
	excluded, err := bans(ctx, k.host.DB(), "WHERE b.user_id = ? ORDER BY b.group_id", int64(user))
	for _, b := range excluded {
		out["bans"] = append(out["bans"], exported{Group: b.group, SinceMs: b.createdMs, UntilMs: b.untilMs, Text: b.reason})
	}
	if err != nil {
		return nil, err
	}
	mutes, err := list(ctx, k.host.DB(), func(m *exported) []any { return []any{&m.Group, &m.UntilMs} }, mutesOfOne, int64(user), int64(user))
	slices.SortFunc(mutes, func(a, b exported) int { return cmp.Compare(a.Group, b.Group) })
	out["mutes"] = append(out["mutes"], mutes...)
	return out, err
}

// Erase implements plugin.Holdings: somebody leaves all groups. One that he owns goes to the
// admin, else to the member, who has been in it longest; one that nobody else is in is dissolved.
func (k kept) Erase(ctx context.Context, user im.UserID) error {
	for after := int64(0); ; { // rows of groups that are dissolved stay for a while
		all, err := members(ctx, k.host.DB(), "WHERE m.user_id = ? AND m.group_id > ? ORDER BY m.group_id LIMIT ?", int64(user), after, mostPage)
		if err != nil {
			return err
		}
		for _, m := range all {
			after = m.group
			if err := k.depart(ctx, m.group, user); err != nil {
				return fmt.Errorf("take %d out of group %d: %w", user, m.group, err)
			}
		}
		if len(all) < mostPage {
			return k.forget(ctx, user)
		}
	}
}

// depart takes somebody out of a group, if he is in.
func (k kept) depart(ctx context.Context, id int64, user im.UserID) error {
	err := k.change(ctx, id, func(c *change) error {
		me, err := c.member(user)
		switch {
		case err != nil:
			return err
		case me.role == grouppb.GroupRole_GROUP_ROLE_NONE:
			return errSame
		case me.role != grouppb.GroupRole_GROUP_ROLE_OWNER:
			return c.depart(user)
		}
		heirs, err := members(ctx, c.tx, "WHERE m.group_id = ? AND m.user_id <> ? ORDER BY m.role, m.joined_ms, m.user_id LIMIT 1", id, int64(user))
		if err != nil {
			return err
		}
		if len(heirs) == 0 {
			return c.finish(user)
		}
		if err := c.crown(user, heirs[0]); err != nil {
			return err
		}
		return c.depart(user)
	})
	if refusal, ok := errors.AsType[*im.Error](err); ok && refusal.Code == idl.CodeNotFound {
		return nil // dissolved meanwhile
	}
	return err
}

// forget deletes what is left of somebody who is in no group.
func (k kept) forget(ctx context.Context, user im.UserID) error {
	return k.host.Tx(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"group_requests", "group_bans", "group_mutes"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE user_id = ?", int64(user)); err != nil {
				return fmt.Errorf("delete rows of groups: %w", err)
			}
		}
		return nil
	})
}
