package group

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is how much members want to hear of a group: a plugin.Leveller.

// mostLevels is how many members one query names.
const mostLevels = 500

const (
	selectLevels   = "SELECT user_id, notify FROM group_members WHERE group_id = ? AND notify > 0 AND user_id IN %s"
	selectSilenced = "SELECT group_id, notify FROM group_members WHERE user_id = ? AND notify = ?"
)

// Levels implements plugin.Leveller.
func (o owner) Levels(ctx context.Context, c im.ConversationID, users []im.UserID) (map[im.UserID]plugin.Level, error) {
	found := map[im.UserID]plugin.Level{}
	id, ok := number(c)
	if !ok {
		return found, nil
	}
	for some := range slices.Chunk(users, mostLevels) {
		args := []any{id}
		for _, u := range some {
			args = append(args, int64(u))
		}
		err := levels(ctx, o.host.DB(), func(u int64, level plugin.Level) { found[im.UserID(u)] = level },
			fmt.Sprintf(selectLevels, plugin.Marks(len(some))), args...)
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Silenced implements plugin.Leveller.
func (o owner) Silenced(ctx context.Context, user im.UserID) (all []im.ConversationID, err error) {
	err = levels(ctx, o.host.DB(), func(id int64, _ plugin.Level) { all = append(all, conversation(id)) },
		selectSilenced, int64(user), int(grouppb.NotifyLevel_NOTIFY_LEVEL_NONE))
	return all, err
}

// levels reads rows of a number and a level.
func levels(ctx context.Context, db *sql.DB, each func(int64, plugin.Level), query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("look who wants to hear of groups: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var level plugin.Level
		if err := rows.Scan(&n, &level); err != nil {
			return fmt.Errorf("look who wants to hear of groups: %w", err)
		}
		each(n, level)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look who wants to hear of groups: %w", err)
	}
	return nil
}
