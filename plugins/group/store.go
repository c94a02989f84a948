package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// errUnknown says that there is no such row.
var errUnknown = errors.New("no such row")

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// group is a row of group_groups.
type group struct {
	id                int64
	creator           im.UserID
	clientID          string // of the request that made it
	name              string
	avatar            string
	description       string
	announcement      string
	owner             im.UserID
	policy            grouppb.GroupPolicy
	question, answer  string
	history           grouppb.GroupHistory
	historyLast       int32
	slowModeMs        int64
	mutedUntilMs      int64 // as of a member
	memberPermissions int32
	members           int
	dissolved         bool
	createdMs         int64
	version           int64 // grows with each change of the group, its members or their roles; about the ms of the last one
	events            int64 // the number of its last event
}

const groupColumns = "g.id, g.creator_id, g.client_id, g.name, g.avatar, g.description, g.announcement, g.owner_id, g.policy, g.question, g.answer, " +
	"g.history, g.history_last, g.slow_mode_ms, g.muted_until_ms, g.member_permissions, g.members, g.dissolved, g.created_ms, g.version, g.events"

func (g *group) fields() []any {
	return []any{&g.id, &g.creator, &g.clientID, &g.name, &g.avatar, &g.description, &g.announcement, &g.owner, &g.policy, &g.question, &g.answer,
		&g.history, &g.historyLast, &g.slowModeMs, &g.mutedUntilMs, &g.memberPermissions, &g.members, &g.dissolved, &g.createdMs, &g.version, &g.events}
}

// readGroup returns errUnknown when there is none, or none any more.
func readGroup(ctx context.Context, q querier, id int64) (g group, err error) {
	err = q.QueryRowContext(ctx, "SELECT "+groupColumns+" FROM group_groups g WHERE g.id = ?", id).Scan(g.fields()...)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && g.dissolved:
		return group{}, errUnknown
	case err != nil:
		return group{}, fmt.Errorf("read a group: %w", err)
	}
	return g, nil
}

// addGroup files a new group, with the next ID, or gives the one that was made by the same request.
func addGroup(ctx context.Context, tx *sql.Tx, g group) (made group, there bool, err error) {
	// The update locks the counter: groups are made one after the other.
	if _, err := tx.ExecContext(ctx, "UPDATE group_counters SET value = value + 1 WHERE name = 'group'"); err != nil {
		return g, false, fmt.Errorf("count groups: %w", err)
	}
	var old int64
	err = tx.QueryRowContext(ctx, "SELECT id FROM group_groups WHERE creator_id = ? AND client_id = ?", int64(g.creator), g.clientID).Scan(&old)
	if err == nil {
		made, err = readGroup(ctx, tx, old)
		return made, true, err
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return g, false, fmt.Errorf("look for a group: %w", err)
	}
	if err := tx.QueryRowContext(ctx, "SELECT value FROM group_counters WHERE name = 'group'").Scan(&g.id); err != nil {
		return g, false, fmt.Errorf("read the next group ID: %w", err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO group_groups (id, creator_id, client_id, name, avatar, description, announcement, owner_id, policy, question, answer, "+
		"history, history_last, slow_mode_ms, muted_until_ms, member_permissions, members, dissolved, created_ms, version, events) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		g.id, int64(g.creator), g.clientID, g.name, g.avatar, g.description, g.announcement, int64(g.owner), int32(g.policy), g.question, g.answer,
		int32(g.history), g.historyLast, g.slowModeMs, g.mutedUntilMs, g.memberPermissions, g.members, g.dissolved, g.createdMs, g.version, g.events)
	if err != nil {
		return g, false, fmt.Errorf("insert a group: %w", err)
	}
	return g, false, nil
}

// writeGroup writes what can change of a group.
func writeGroup(ctx context.Context, tx *sql.Tx, g group) error {
	_, err := tx.ExecContext(ctx, "UPDATE group_groups SET name = ?, avatar = ?, description = ?, announcement = ?, owner_id = ?, policy = ?, question = ?, answer = ?, "+
		"history = ?, history_last = ?, slow_mode_ms = ?, muted_until_ms = ?, member_permissions = ?, members = ?, dissolved = ?, version = ?, events = ? WHERE id = ?",
		g.name, g.avatar, g.description, g.announcement, int64(g.owner), int32(g.policy), g.question, g.answer,
		int32(g.history), g.historyLast, g.slowModeMs, g.mutedUntilMs, g.memberPermissions, g.members, g.dissolved, g.version, g.events, g.id)
	if err != nil {
		return fmt.Errorf("update a group: %w", err)
	}
	return nil
}

// member is a row of group_members.
type member struct {
	group        int64
	user         im.UserID
	role         grouppb.GroupRole // 0: no member
	permissions  int32             // an admin's own
	alias        string
	notify       grouppb.NotifyLevel
	mutedUntilMs int64 // 0: not; forGood
	joinedMs     int64
	afterSeq     int64 // what he may read comes after it
	invitedBy    im.UserID
}

// forGood is the moment of a mute or a ban without an end.
const forGood = -1

// holds reports whether a mute or a ban until that moment is one now.
func holds(untilMs, nowMs int64) bool { return untilMs == forGood || untilMs > nowMs }

const memberColumns = "m.group_id, m.user_id, m.role, m.permissions, m.alias, m.notify, m.muted_until_ms, m.joined_ms, m.after_seq, m.invited_by"

func (m *member) fields() []any {
	return []any{&m.group, &m.user, &m.role, &m.permissions, &m.alias, &m.notify, &m.mutedUntilMs, &m.joinedMs, &m.afterSeq, &m.invitedBy}
}

// readMember gives a member, or the zero value's role for who is none.
func readMember(ctx context.Context, q querier, id int64, u im.UserID) (m member, err error) {
	err = q.QueryRowContext(ctx, "SELECT "+memberColumns+" FROM group_members m WHERE m.group_id = ? AND m.user_id = ?", id, int64(u)).Scan(m.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return member{group: id, user: u}, nil
	}
	if err != nil {
		return m, fmt.Errorf("read a member: %w", err)
	}
	return m, nil
}

// members gives those that the rest of a query chooses.
func members(ctx context.Context, q querier, rest string, args ...any) ([]member, error) {
	return list(ctx, q, (*member).fields, "SELECT "+memberColumns+" FROM group_members m "+rest, args...)
}

// list reads rows of one kind.
func list[T any](ctx context.Context, q querier, fields func(*T) []any, query string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list rows of groups: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one T
		if err := rows.Scan(fields(&one)...); err != nil {
			return nil, fmt.Errorf("read a row of groups: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list rows of groups: %w", err)
	}
	return all, nil
}

func addMembers(ctx context.Context, tx *sql.Tx, all []member) error {
	if len(all) == 0 {
		return nil
	}
	args := make([]any, 0, 10*len(all))
	for _, m := range all {
		args = append(args, m.group, int64(m.user), int32(m.role), m.permissions, m.alias, int32(m.notify), m.mutedUntilMs, m.joinedMs, m.afterSeq, int64(m.invitedBy))
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO group_members (group_id, user_id, role, permissions, alias, notify, muted_until_ms, joined_ms, after_seq, invited_by) VALUES "+
		strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ", len(all)), ", "), args...)
	if err != nil {
		return fmt.Errorf("insert members: %w", err)
	}
	return nil
}

// writeMember writes what can change of a member.
func writeMember(ctx context.Context, tx *sql.Tx, m member) error {
	_, err := tx.ExecContext(ctx, "UPDATE group_members SET role = ?, permissions = ?, alias = ?, notify = ?, muted_until_ms = ? WHERE group_id = ? AND user_id = ?",
		int32(m.role), m.permissions, m.alias, int32(m.notify), m.mutedUntilMs, m.group, int64(m.user))
	if err != nil {
		return fmt.Errorf("update a member: %w", err)
	}
	return nil
}

// request is a row of group_requests: somebody who may come in, once he, or somebody of the
// group, says so.
type request struct {
	group     int64
	user      im.UserID
	invitedBy im.UserID // 0: he applied
	remark    string
	createdMs int64
	expiresMs int64
}

const requestColumns = "r.group_id, r.user_id, r.invited_by, r.remark, r.created_ms, r.expires_ms"

func (r *request) fields() []any {
	return []any{&r.group, &r.user, &r.invitedBy, &r.remark, &r.createdMs, &r.expiresMs}
}

// requests gives those that the rest of a query chooses.
func requests(ctx context.Context, q querier, rest string, args ...any) ([]request, error) {
	return list(ctx, q, (*request).fields, "SELECT "+requestColumns+" FROM group_requests r "+rest, args...)
}

// readRequest gives the one of somebody that waits; ok is false when none does.
func readRequest(ctx context.Context, q querier, id int64, u im.UserID, nowMs int64) (r request, ok bool, err error) {
	all, err := requests(ctx, q, "WHERE r.group_id = ? AND r.user_id = ? AND r.expires_ms > ?", id, int64(u), nowMs)
	if len(all) == 0 {
		return r, false, err
	}
	return all[0], true, err
}

// putRequest files a request in the place of another of the same person.
func putRequest(ctx context.Context, tx *sql.Tx, r request) error {
	if err := dropRequests(ctx, tx, r.group, r.user); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO group_requests (group_id, user_id, invited_by, remark, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)",
		r.group, int64(r.user), int64(r.invitedBy), r.remark, r.createdMs, r.expiresMs)
	if err != nil {
		return fmt.Errorf("insert a request: %w", err)
	}
	return nil
}

func dropRequests(ctx context.Context, tx *sql.Tx, id int64, users ...im.UserID) error {
	return drop(ctx, tx, "DELETE FROM group_requests WHERE group_id = ? AND user_id IN ", id, users)
}

func dropMembers(ctx context.Context, tx *sql.Tx, id int64, users ...im.UserID) error {
	if err := drop(ctx, tx, "DELETE FROM group_cuts WHERE group_id = ? AND user_id IN ", id, users); err != nil {
		return err
	}
	return drop(ctx, tx, "DELETE FROM group_members WHERE group_id = ? AND user_id IN ", id, users)
}

// drop deletes rows of some people in a group.
func drop(ctx context.Context, tx *sql.Tx, statement string, id int64, users []im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, statement+plugin.Marks(len(users)), withUsers([]any{id}, users)...); err != nil {
		return fmt.Errorf("delete rows of groups: %w", err)
	}
	return nil
}

// ban is a row of group_bans.
type ban struct {
	group     int64
	user      im.UserID
	untilMs   int64
	by        im.UserID
	reason    string
	createdMs int64
}

const banColumns = "b.group_id, b.user_id, b.until_ms, b.by_id, b.reason, b.created_ms"

func (b *ban) fields() []any {
	return []any{&b.group, &b.user, &b.untilMs, &b.by, &b.reason, &b.createdMs}
}

// bans gives those that the rest of a query chooses.
func bans(ctx context.Context, q querier, rest string, args ...any) ([]ban, error) {
	return list(ctx, q, (*ban).fields, "SELECT "+banColumns+" FROM group_bans b "+rest, args...)
}

// banned gives those of some people who are kept out of a group now.
func banned(ctx context.Context, q querier, id int64, users []im.UserID, nowMs int64) (map[im.UserID]ban, error) {
	found := map[im.UserID]ban{}
	if len(users) == 0 {
		return found, nil
	}
	all, err := bans(ctx, q, "WHERE b.group_id = ? AND b.user_id IN "+plugin.Marks(len(users)), withUsers([]any{id}, users)...)
	for _, b := range all {
		if holds(b.untilMs, nowMs) {
			found[b.user] = b
		}
	}
	return found, err
}

// counted gives, of some people, how many rows a table has of each: table is a constant.
func counted(ctx context.Context, q querier, table string, users []im.UserID) (map[im.UserID]int, error) {
	type count struct {
		user im.UserID
		n    int
	}
	all, err := list(ctx, q, func(c *count) []any { return []any{&c.user, &c.n} },
		"SELECT user_id, COUNT(*) FROM "+table+" WHERE user_id IN "+plugin.Marks(len(users))+" GROUP BY user_id", withUsers(nil, users)...)
	found := map[im.UserID]int{}
	for _, c := range all {
		found[c.user] = c.n
	}
	return found, err
}

func withUsers(args []any, users []im.UserID) []any {
	for _, u := range users {
		args = append(args, int64(u))
	}
	return args
}
