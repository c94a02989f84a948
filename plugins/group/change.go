package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// change is what one transaction does to one group. While it lasts nobody else changes the
// group. What is set in group is written at its end, with the events.
type change struct {
	*Group
	ctx   context.Context
	tx    *sql.Tx
	group group
	nowMs int64

	events  []posted
	later   []posted // what is to be done behind them
	notices []plugin.Event
}

// errSame ends a change that changes nothing: nothing is written, and all is well.
var errSame = errors.New("nothing to change")

// change runs fn on a group, and tells what it did. It refuses a group that is not there.
// When it returns nil all is committed; what was to be told is told, or will be.
func (p *Group) change(ctx context.Context, id int64, fn func(c *change) error) error {
	err := p.host.Tx(ctx, func(tx *sql.Tx) error {
		// The update locks the group's row, on SQLite the directory. Versions count on by the clock: one that was lost with its change,
		// where the directory was taken back, is not given to another change.
		now := p.host.Now().UnixMilli()
		result, err := tx.ExecContext(ctx, "UPDATE group_groups SET version = CASE WHEN version < ? THEN ? ELSE version + 1 END WHERE id = ? AND dissolved = 0", now, now, id)
		if err != nil {
			return fmt.Errorf("count a group's changes: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errUnknown)
		}
		g, err := readGroup(ctx, tx, id)
		if err != nil {
			return err
		}
		c := &change{Group: p, ctx: ctx, tx: tx, group: g, nowMs: p.host.Now().UnixMilli()}
		if err := fn(c); err != nil {
			return err
		}
		return c.end()
	})
	switch {
	case errors.Is(err, errSame):
		return nil
	case err != nil:
		return refusal(ctx, err)
	}
	p.tell(ctx, id)
	return nil
}

// end writes the group, its events and the notices.
func (c *change) end() error {
	c.events = append(c.events, c.later...)
	for i := range c.events {
		c.group.events = max(c.group.events+1, c.nowMs) // by the clock, as versions: the log knows the events that the directory has lost
		c.events[i].group, c.events[i].number = c.group.id, c.group.events
	}
	if err := writeGroup(c.ctx, c.tx, c.group); err != nil {
		return err
	}
	if err := addPosted(c.ctx, c.tx, c.events); err != nil {
		return err
	}
	if len(c.notices) == 0 {
		return nil
	}
	return c.messages.File(c.ctx, c.tx, c.notices...)
}

// facts are what an event tells programs.
type facts map[string]any

func (f facts) json() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // texts and numbers only
	}
	return string(text)
}

// event has something told in the group's log.
func (c *change) event(actor im.UserID, name string, f facts) {
	c.events = append(c.events, posted{actor: actor, name: "group." + name, data: f.json()})
}

// perNotice is how many people one notice may be for. Source: plugin.Event.
const perNotice = 10

// notice has something told to people in their notices, with the group's ID and name.
func (c *change) notice(actor im.UserID, name string, f facts, users ...im.UserID) {
	if f == nil {
		f = facts{}
	}
	f["group_id"], f["name"] = c.group.id, c.group.name
	data := f.json()
	for some := range slices.Chunk(users, perNotice) {
		c.notices = append(c.notices, plugin.Event{Users: some, Actor: actor, Name: "group." + name, Data: data})
	}
}

// member gives somebody's row, of role 0 if he is no member.
func (c *change) member(u im.UserID) (member, error) { return readMember(c.ctx, c.tx, c.group.id, u) }

// actor gives the caller's row, or the refusal of one who is no member or lacks a permission.
func (c *change) actor(u im.UserID, needs grouppb.GroupPermission) (member, error) {
	m, err := c.member(u)
	switch {
	case err != nil:
		return m, err
	case m.role == grouppb.GroupRole_GROUP_ROLE_NONE:
		return m, c.group.outside(m)
	case c.group.permissions(m)&int32(needs) != int32(needs):
		return m, notAllowed()
	}
	return m, nil
}

// owner gives the caller's row, or the refusal of one who is not the owner.
func (c *change) owner(u im.UserID) (member, error) {
	m, err := c.actor(u, 0)
	if err == nil && m.role != grouppb.GroupRole_GROUP_ROLE_OWNER {
		err = notAllowed()
	}
	return m, err
}

// below gives the row of a member of a lower role than the actor's, or a refusal.
func (c *change) below(actor member, u im.UserID) (member, error) {
	m, err := c.member(u)
	switch {
	case err != nil:
		return m, err
	case m.role == grouppb.GroupRole_GROUP_ROLE_NONE:
		return m, &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "no member of the group"}
	case m.role <= actor.role:
		return m, denied("user_id", "not below you")
	}
	return m, nil
}

const decidersOf = "WHERE m.group_id = ? AND m.role <= ? ORDER BY m.role, m.user_id"

// deciders are those who may decide on applications: the owner and admins, who are few.
func (c *change) deciders() (users []im.UserID, err error) {
	all, err := members(c.ctx, c.tx, decidersOf, c.group.id, int32(grouppb.GroupRole_GROUP_ROLE_ADMIN))
	for _, m := range all {
		if c.group.permissions(m)&int32(grouppb.GroupPermission_GROUP_PERMISSION_APPROVE) != 0 {
			users = append(users, m.user)
		}
	}
	return users, err
}

// add makes people members, who were none. It refuses when that would be too many.
func (c *change) add(users []im.UserID, invitedBy im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	if c.group.members+len(users) > c.config.MaxMembers {
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "group_id", Reason: fmt.Sprintf("the group may have %d members", c.config.MaxMembers)}
	}
	after, err := c.floor()
	if err != nil {
		return err
	}
	muted, err := c.takeMutes(users)
	if err != nil {
		return err
	}
	all := make([]member, len(users))
	for i, u := range users {
		all[i] = member{group: c.group.id, user: u, role: grouppb.GroupRole_GROUP_ROLE_MEMBER, mutedUntilMs: muted[u], joinedMs: c.nowMs, afterSeq: after, invitedBy: invitedBy}
	}
	if err := addMembers(c.ctx, c.tx, all); err != nil {
		return err
	}
	c.group.members += len(users)
	if err := c.followers(users); err != nil {
		return err
	}
	return dropRequests(c.ctx, c.tx, c.group.id, users...)
}

// floor is the seq after which somebody reads who comes in now. The log's head is read here,
// where nobody else comes in or goes.
func (c *change) floor() (int64, error) {
	if c.group.history == grouppb.GroupHistory_GROUP_HISTORY_ALL {
		return 0, nil
	}
	head, err := c.head()
	if err == nil && c.group.history == grouppb.GroupHistory_GROUP_HISTORY_LAST {
		head = max(0, head-int64(c.group.historyLast))
	}
	return head, err
}

// remove takes members out.
func (c *change) remove(users ...im.UserID) error {
	c.group.members -= len(users)
	if err := errors.Join(c.unfollow(users), c.keepMutes(users)); err != nil {
		return err
	}
	return dropMembers(c.ctx, c.tx, c.group.id, users...)
}

// joinable refuses who is kept out, or is in too many groups.
func (c *change) joinable(u im.UserID) error {
	kept, err := banned(c.ctx, c.tx, c.group.id, []im.UserID{u}, c.nowMs)
	if err != nil {
		return err
	}
	if _, is := kept[u]; is {
		return denied("group_id", "banned from the group")
	}
	in, err := counted(c.ctx, c.tx, "group_members", []im.UserID{u})
	if err == nil && in[u] >= c.config.MaxGroups {
		err = &im.Error{Code: idl.CodeLimitExceeded, Field: "user_id", Reason: fmt.Sprintf("nobody may be in more than %d groups", c.config.MaxGroups)}
	}
	return err
}

// refusal is what a client sees of an error of a change or a reading.
func refusal(ctx context.Context, err error) error {
	if errors.Is(err, errUnknown) {
		return noSuchGroup()
	}
	if _, refused := errors.AsType[*im.Error](err); refused {
		return err
	}
	return plugin.Stored(ctx, err)
}

func denied(field, reason string) error {
	return &im.Error{Code: idl.CodePermissionDenied, Field: field, Reason: reason}
}

func limited(wait time.Duration, reason string) error {
	return &im.Error{Code: idl.CodeRateLimited, Reason: reason, RetryAfter: wait}
}

func noSuchGroup() error {
	return &im.Error{Code: idl.CodeNotFound, Field: "group_id", Reason: "no such group"}
}

// hidesFrom reports whether a group is not there for somebody: by invitation only, for who is no member.
func (g *group) hidesFrom(m member) bool {
	return m.role == grouppb.GroupRole_GROUP_ROLE_NONE && g.policy == grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY
}

// outside is the refusal of one who is no member.
func (g *group) outside(m member) error {
	if g.hidesFrom(m) {
		return noSuchGroup()
	}
	return denied("group_id", "not a member of the group")
}

func notAllowed() error { return denied("", "not one of those who may") }
