package social

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"

	"golang.org/x/text/unicode/norm"
)

// The longest names in characters, and how many friends are moved at once. Source: idl/social.proto.
const (
	maxGroupName = 32
	maxAlias     = 64
	mostMoved    = 100
)

// group is a row of social_groups, of a person who is known.
type group struct {
	id   int64
	name string
}

// groups reads those of u, in their order.
func (s *store) groups(ctx context.Context, q querier, u im.UserID) (all []group, err error) {
	rows, err := q.QueryContext(ctx, "SELECT group_id, name FROM social_groups WHERE user_id = ? ORDER BY place, group_id", int64(u))
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var g group
		if err := rows.Scan(&g.id, &g.name); err != nil {
			return nil, fmt.Errorf("read a group: %w", err)
		}
		all = append(all, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return all, nil
}

// listGroups gives the caller's groups of friends.
func (p *Social) listGroups(ctx context.Context, call *plugin.Call, _ *socialpb.GroupsRequest) (*socialpb.GroupsReply, error) {
	all, err := p.store.groups(ctx, p.store.db, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return &socialpb.GroupsReply{Groups: wireGroups(all)}, nil
}

func wireGroups(all []group) (shown []*socialpb.FriendGroup) {
	for _, g := range all {
		shown = append(shown, &socialpb.FriendGroup{GroupId: g.id, Name: g.name})
	}
	return shown
}

// groupData is that of an event about one group.
type groupData struct {
	ID   int64  `json:"group_id"`
	Name string `json:"name,omitempty"`
}

// lineOf checks a text of one line, and brings it into Unicode NFC without space around it.
func lineOf(field string, t *string, least, most int) error {
	if len(*t) > 16*most { // NFC of more is never short enough
		return im.Invalid(field, "must have %d-%d characters", least, most)
	}
	*t = strings.TrimSpace(norm.NFC.String(*t))
	return im.CheckLine(field, *t, least, most)
}

// free refuses a name that another group of all has than id.
func free(all []group, id int64, name string) error {
	if slices.ContainsFunc(all, func(g group) bool { return g.name == name && g.id != id }) {
		return &im.Error{Code: idl.CodeAlreadyExists, Field: "name", Reason: "is that of another group of yours"}
	}
	return nil
}

// named finds a group, or refuses.
func named(all []group, id int64) (at int, err error) {
	if at = slices.IndexFunc(all, func(g group) bool { return g.id == id }); at < 0 {
		return 0, &im.Error{Code: idl.CodeNotFound, Field: "group_id", Reason: "is no group of yours"}
	}
	return at, nil
}

// changeGroups is change for one person's groups.
func (p *Social) changeGroups(ctx context.Context, u im.UserID, fn func(tx *sql.Tx, me *person, all []group) (plugin.Event, error)) error {
	return p.change(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		all, err := p.store.groups(ctx, tx, u)
		if err != nil {
			return nil, err
		}
		told, err := fn(tx, people[0], all)
		if err != nil || told.Name == "" {
			return nil, err
		}
		return []plugin.Event{told}, nil
	}, u)
}

// createGroup makes a group, the last of the caller's.
func (p *Social) createGroup(ctx context.Context, call *plugin.Call, req *socialpb.CreateGroupRequest) (*socialpb.CreateGroupReply, error) {
	if err := lineOf("name", &req.Name, 1, maxGroupName); err != nil {
		return nil, err
	}
	made := group{name: req.Name}
	err := p.changeGroups(ctx, call.User, func(tx *sql.Tx, me *person, all []group) (plugin.Event, error) {
		if len(all) >= p.config.MaxGroups {
			return plugin.Event{}, im.Errorf(idl.CodeLimitExceeded, "%d is the most groups that one can have", p.config.MaxGroups)
		}
		if err := free(all, 0, made.name); err != nil {
			return plugin.Event{}, err
		}
		me.groupsMade++
		made.id = me.groupsMade
		if _, err := tx.ExecContext(ctx, "INSERT INTO social_groups (user_id, group_id, name, place) VALUES (?, ?, ?, ?)", int64(me.user), made.id, made.name, len(all)); err != nil {
			return plugin.Event{}, fmt.Errorf("insert a group: %w", err)
		}
		return event(me.user, "group_created", groupData{made.id, made.name}, me.user), nil
	})
	return &socialpb.CreateGroupReply{Group: &socialpb.FriendGroup{GroupId: made.id, Name: made.name}}, err
}

// renameGroup gives a group another name.
func (p *Social) renameGroup(ctx context.Context, call *plugin.Call, req *socialpb.RenameGroupRequest) (*socialpb.RenameGroupReply, error) {
	if err := lineOf("name", &req.Name, 1, maxGroupName); err != nil {
		return nil, err
	}
	err := p.changeGroups(ctx, call.User, func(tx *sql.Tx, me *person, all []group) (plugin.Event, error) {
		at, err := named(all, req.GroupId)
		if err != nil || all[at].name == req.Name {
			return plugin.Event{}, err
		}
		if err := free(all, req.GroupId, req.Name); err != nil {
			return plugin.Event{}, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE social_groups SET name = ? WHERE user_id = ? AND group_id = ?", req.Name, int64(me.user), req.GroupId); err != nil {
			return plugin.Event{}, fmt.Errorf("rename a group: %w", err)
		}
		return event(me.user, "group_renamed", groupData{req.GroupId, req.Name}, me.user), nil
	})
	return &socialpb.RenameGroupReply{Group: &socialpb.FriendGroup{GroupId: req.GroupId, Name: req.Name}}, err
}

// deleteGroup deletes a group; its friends are in none then.
func (p *Social) deleteGroup(ctx context.Context, call *plugin.Call, req *socialpb.DeleteGroupRequest) (*socialpb.DeleteGroupReply, error) {
	err := p.changeGroups(ctx, call.User, func(tx *sql.Tx, me *person, all []group) (plugin.Event, error) {
		at, err := named(all, req.GroupId)
		if err != nil {
			return plugin.Event{}, err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM social_groups WHERE user_id = ? AND group_id = ?", int64(me.user), req.GroupId); err != nil {
			return plugin.Event{}, fmt.Errorf("delete a group: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE social_friends SET group_id = 0, version = ? WHERE user_id = ? AND group_id = ?", me.version, int64(me.user), req.GroupId); err != nil {
			return plugin.Event{}, fmt.Errorf("empty a group: %w", err)
		}
		if err := p.place(ctx, tx, me.user, slices.Delete(all, at, at+1)); err != nil {
			return plugin.Event{}, err
		}
		return event(me.user, "group_deleted", groupData{ID: req.GroupId}, me.user), nil
	})
	return &socialpb.DeleteGroupReply{}, err
}

// place writes the order of u's groups.
func (p *Social) place(ctx context.Context, tx *sql.Tx, u im.UserID, all []group) error {
	for i, g := range all {
		if _, err := tx.ExecContext(ctx, "UPDATE social_groups SET place = ? WHERE user_id = ? AND group_id = ?", i, int64(u), g.id); err != nil {
			return fmt.Errorf("order groups: %w", err)
		}
	}
	return nil
}

// groupsData is that of an event about their order.
type groupsData struct {
	IDs []int64 `json:"group_ids"`
}

// orderGroups sets the order of the caller's groups.
func (p *Social) orderGroups(ctx context.Context, call *plugin.Call, req *socialpb.OrderGroupsRequest) (*socialpb.OrderGroupsReply, error) {
	var ordered []group
	err := p.changeGroups(ctx, call.User, func(tx *sql.Tx, me *person, all []group) (plugin.Event, error) {
		ordered = nil
		for _, id := range req.GroupIds {
			at := slices.IndexFunc(all, func(g group) bool { return g.id == id })
			if at < 0 || slices.Contains(ordered, all[at]) {
				return plugin.Event{}, im.Invalid("group_ids", "must be all groups of yours, each once")
			}
			ordered = append(ordered, all[at])
		}
		if len(ordered) != len(all) {
			return plugin.Event{}, im.Invalid("group_ids", "must be all groups of yours, each once")
		}
		if slices.Equal(ordered, all) {
			return plugin.Event{}, nil
		}
		return event(me.user, "groups_ordered", groupsData{req.GroupIds}, me.user), p.place(ctx, tx, me.user, ordered)
	})
	return &socialpb.OrderGroupsReply{Groups: wireGroups(ordered)}, err
}

// movedData is that of an event about friends in a group.
type movedData struct {
	Group int64   `json:"group_id"`
	Users []int64 `json:"user_ids"`
}

// moveFriends puts friends into a group of the caller's: all of them, or none.
func (p *Social) moveFriends(ctx context.Context, call *plugin.Call, req *socialpb.MoveFriendsRequest) (*socialpb.MoveFriendsReply, error) {
	if n := len(req.UserIds); n < 1 || n > mostMoved {
		return nil, im.Invalid("user_ids", "must be 1-%d friends", mostMoved)
	}
	moved := slices.Compact(slices.Sorted(slices.Values(req.UserIds)))
	err := p.changeGroups(ctx, call.User, func(tx *sql.Tx, me *person, all []group) (plugin.Event, error) {
		if req.GroupId != 0 {
			if _, err := named(all, req.GroupId); err != nil {
				return plugin.Event{}, err
			}
		}
		result, err := tx.ExecContext(ctx, "UPDATE social_friends SET group_id = ?, version = ? WHERE user_id = ? AND state <> 0 AND friend_id IN "+plugin.Marks(len(moved)),
			args(moved, req.GroupId, me.version, int64(me.user))...)
		if err != nil {
			return plugin.Event{}, fmt.Errorf("move friends: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || int(n) != len(moved) {
			return plugin.Event{}, orElse(err, &im.Error{Code: idl.CodeNotFound, Field: "user_ids", Reason: "not all are friends of yours"})
		}
		return event(me.user, "friends_moved", movedData{req.GroupId, moved}, me.user), nil
	})
	return &socialpb.MoveFriendsReply{}, err
}

// orElse is err, or what is the matter when there is none.
func orElse(err error, refused *im.Error) error {
	if err != nil {
		return err
	}
	return refused
}
