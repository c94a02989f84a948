package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is what the chat plugin asks about messages of groups, right before each commit and
// each reading: a plugin.ConversationOwner.

// conversation is the group's log.
func conversation(id int64) im.ConversationID {
	return im.ConversationID("g_" + strconv.FormatInt(id, 10))
}

// number gives the group whose log c is, in its one spelling.
func number(c im.ConversationID) (id int64, ok bool) {
	if c.Type() != im.Group {
		return 0, false
	}
	id, err := strconv.ParseInt(string(c[len("g_"):]), 10, 64)
	return id, err == nil && id > 0 && id <= idl.MaxSafeInteger && conversation(id) == c
}

type owner struct{ *Group }

// Send implements plugin.ConversationOwner.
func (o owner) Send(ctx context.Context, c im.ConversationID, user im.UserID, m plugin.Outgoing) (plugin.Audience, error) {
	now, me, err := o.member(ctx, c, user)
	if err != nil {
		return plugin.Audience{}, err
	}
	named, err := o.those(ctx, now, m.Mentions)
	if err != nil {
		return plugin.Audience{}, err
	}
	g, at := now.group, o.host.Now()
	may := g.permissions(member{role: me.role, permissions: me.permissions})
	switch {
	case may&int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND) == 0:
		return plugin.Audience{}, denied("conversation_id", "you may not write here")
	case holds(me.mutedUntilMs, at.UnixMilli()):
		return plugin.Audience{}, muted(me.mutedUntilMs, at, "muted in the group")
	case holds(g.mutedUntilMs, at.UnixMilli()) && me.role == grouppb.GroupRole_GROUP_ROLE_MEMBER:
		return plugin.Audience{}, muted(g.mutedUntilMs, at, "only owner and admins write now")
	case m.MentionsAll && may&int32(grouppb.GroupPermission_GROUP_PERMISSION_MENTION_ALL) == 0:
		return plugin.Audience{}, denied("mentions_all", "you may not mention everybody")
	case len(named) < len(m.Mentions):
		return plugin.Audience{}, im.Invalid("mentions", "not all are members")
	case g.slowModeMs > 0 && !m.Taken && m.Kind != "edit" && m.Kind != "reaction" && m.Kind != "typing" && me.role == grouppb.GroupRole_GROUP_ROLE_MEMBER:
		wait := o.slow.TakeAt(ctx, 1, g.turn(), slowKey(c, user))
		if wait > 0 {
			return plugin.Audience{}, limited(wait, "the group is in slow mode")
		}
		to := now.audience()
		to.Taken = true
		return to, nil
	}
	return now.audience(), nil
}

// Read implements plugin.ConversationOwner.
func (o owner) Read(ctx context.Context, c im.ConversationID, user im.UserID) (plugin.Reach, error) {
	_, me, err := o.member(ctx, c, user)
	return plugin.Reach{After: me.afterSeq}, err
}

// Readers implements plugin.Watched.
func (o owner) Readers(ctx context.Context, c im.ConversationID, user im.UserID, seq int64, most int) (users []im.UserID, err error) {
	now, me, err := o.member(ctx, c, user)
	switch {
	case err != nil:
		return nil, err
	case now.group.members > most:
		return nil, &im.Error{Code: idl.CodeLimitExceeded, Field: "conversation_id", Reason: "in a group of so many nobody is told who has read"}
	case seq <= me.afterSeq:
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "seq", Reason: "no message that you may read"}
	}
	members := now.members
	if now.logged { // it has few members again, or is not large for who asks
		if members, err = mates(ctx, o.host.DB(), now.group.id); err != nil {
			return nil, plugin.Stored(ctx, err)
		}
	}
	for _, m := range members {
		if m.afterSeq < seq {
			users = append(users, m.user)
		}
	}
	return users, nil
}

// Recall implements plugin.Keeper: admins who may take back those of members, of who is none any
// more, and their own, the owner all.
func (o owner) Recall(ctx context.Context, c im.ConversationID, by, sender im.UserID) error {
	now, me, err := o.member(ctx, c, by)
	if err != nil {
		return err
	}
	if me.role == grouppb.GroupRole_GROUP_ROLE_OWNER {
		return nil
	}
	whose, in, err := o.mate(ctx, now, sender)
	if err != nil {
		return err
	}
	may := now.group.permissions(member{role: me.role, permissions: me.permissions})
	if may&bitRecall == 0 || in && sender != by && whose.role <= me.role {
		return denied("message_id", "you may not take that back")
	}
	return nil
}

// Members implements plugin.Keeper.
func (o owner) Members(ctx context.Context, c im.ConversationID) (plugin.Audience, error) {
	id, ok := number(c)
	if !ok {
		return plugin.Audience{}, notYours()
	}
	now, err := o.memberships.get(ctx, id)
	if err != nil {
		return plugin.Audience{}, refusal(ctx, err)
	}
	return now.audience(), nil
}

// Few implements plugin.Shrinking.
func (o owner) Few(ctx context.Context, c im.ConversationID) (users []im.UserID, few bool, err error) {
	id, ok := number(c)
	if !ok {
		return nil, false, notYours()
	}
	now, err := o.memberships.get(ctx, id)
	if err != nil {
		return nil, false, refusal(ctx, err)
	}
	if now.group.members > o.config.WriteDiffusion {
		return nil, false, nil
	}
	members, err := mates(ctx, o.host.DB(), id)
	if err != nil {
		return nil, false, plugin.Stored(ctx, err)
	}
	for _, m := range members {
		users = append(users, m.user)
	}
	return users, true, nil
}

// Present implements plugin.Roll.
func (o owner) Present(ctx context.Context, c im.ConversationID, users []im.UserID) ([]im.UserID, error) {
	id, ok := number(c)
	if !ok {
		return nil, notYours()
	}
	now, err := o.memberships.get(ctx, id)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	there, err := o.those(ctx, now, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return there, nil
}

// Version implements plugin.Versioned: each change of the group counts it up first, and waits for who holds the row.
func (o owner) Version(ctx context.Context, tx *sql.Tx, c im.ConversationID) (version int64, err error) {
	id, ok := number(c)
	if !ok {
		return 0, notYours()
	}
	// On SQLite nobody else writes while tx does; MySQL reads what the comment says.
	err = tx.QueryRowContext(ctx, "SELECT version FROM group_groups WHERE id = ? AND dissolved = 0 /*! LOCK IN SHARE MODE */", id).Scan(&version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("hold the version of group %d: %w", id, err)
	}
	return version, nil
}

// Raise implements plugin.Versioned.
func (o owner) Raise(ctx context.Context, c im.ConversationID, least int64) error {
	id, ok := number(c)
	if !ok {
		return notYours()
	}
	var raised int64
	err := o.host.Tx(ctx, func(tx *sql.Tx) error {
		to := max(least+1, o.host.Now().UnixMilli()) // who remembers the version that was lost is not to take it for this
		result, err := tx.ExecContext(ctx, "UPDATE group_groups SET version = ? WHERE id = ? AND version < ? AND dissolved = 0", to, id, least)
		if err == nil {
			raised, err = result.RowsAffected()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("raise the version of group %d: %w", id, err)
	}
	if raised > 0 {
		o.host.Log().Warn("a group's log tells of changes that the directory does not have: what the directory says holds", "group", id, "version", least)
	}
	return nil
}

// Return implements plugin.Returning: the turn in slow mode. If the rate has changed since, what comes back is as long as a turn is now.
func (o owner) Return(ctx context.Context, c im.ConversationID, user im.UserID) {
	id, ok := number(c)
	if !ok {
		return
	}
	now, err := o.memberships.get(ctx, id)
	if err != nil || now.group.slowModeMs == 0 {
		return // he waits: nobody else is concerned
	}
	o.slow.GiveBackAt(ctx, 1, now.group.turn(), slowKey(c, user))
}

// turn is how long a member waits for his next message in slow mode.
func (g *group) turn() time.Duration { return time.Duration(g.slowModeMs) * time.Millisecond }

func slowKey(c im.ConversationID, user im.UserID) string { return user.String() + " " + string(c) }

// member gives a group and a member of it as they are now. Of a group that is not there
// strangers hear the same as of any other.
func (o owner) member(ctx context.Context, c im.ConversationID, user im.UserID) (*membership, mate, error) {
	id, ok := number(c)
	if !ok {
		return nil, mate{}, notYours()
	}
	now, err := o.memberships.get(ctx, id)
	if err != nil {
		err = refusal(ctx, err)
		if im.CodeOf(err) == idl.CodeNotFound {
			err = notYours()
		}
		return nil, mate{}, err
	}
	me, in, err := o.mate(ctx, now, user)
	if err == nil && !in {
		err = notYours()
	}
	return now, me, err
}

func notYours() error { return denied("conversation_id", "not a conversation of yours") }

// muted is the refusal while a mute lasts.
func muted(untilMs int64, now time.Time, reason string) *im.Error {
	e := &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: reason}
	if untilMs != forGood {
		e.RetryAfter = time.UnixMilli(untilMs).Sub(now)
	}
	return e
}
