package social

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/idl"
)

// friendState is how somebody stands in a list of friends.
type friendState int

const (
	gone   friendState = iota // he was in it
	mutual                    // each is in the other's
	kept                      // he is in it, and has taken its owner out of his own
)

// friend is a row of social_friends: an entry of user's list.
type friend struct {
	user, other im.UserID
	state       friendState
	alias       string
	group       int64
	sinceMs     int64
	version     int64 // of user's, when it was changed last
	stored      bool
}

const friendColumns = "user_id, friend_id, state, alias, group_id, since_ms, version"

func (f *friend) fields() []any {
	return []any{&f.user, &f.other, &f.state, &f.alias, &f.group, &f.sinceMs, &f.version}
}

// friend reads other's entry in user's list; one that is not there is gone.
func (s *store) friend(ctx context.Context, q querier, user, other im.UserID) (friend, error) {
	f := friend{stored: true}
	err := q.QueryRowContext(ctx, "SELECT "+friendColumns+" FROM social_friends WHERE user_id = ? AND friend_id = ?", int64(user), int64(other)).Scan(f.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return friend{user: user, other: other}, nil
	}
	if err != nil {
		return f, fmt.Errorf("read a friend: %w", err)
	}
	return f, nil
}

// friends reads entries; rest is what follows FROM social_friends.
func (s *store) friends(ctx context.Context, q querier, rest string, args ...any) (all []friend, err error) {
	rows, err := q.QueryContext(ctx, "SELECT "+friendColumns+" FROM social_friends "+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list friends: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		f := friend{stored: true}
		if err := rows.Scan(f.fields()...); err != nil {
			return nil, fmt.Errorf("read a friend: %w", err)
		}
		all = append(all, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list friends: %w", err)
	}
	return all, nil
}

// putFriend writes an entry of the list of owner, whose row is locked, and keeps its counts.
func (s *store) putFriend(ctx context.Context, tx *sql.Tx, owner *person, was, f friend) (err error) {
	owner.friends += listed(f.state) - listed(was.state)
	owner.gone += 1 - listed(f.state)
	if was.stored {
		owner.gone -= 1 - listed(was.state)
	}
	f.version = owner.version
	if was.stored {
		_, err = tx.ExecContext(ctx, "UPDATE social_friends SET state = ?, alias = ?, group_id = ?, since_ms = ?, version = ? WHERE user_id = ? AND friend_id = ?",
			int(f.state), f.alias, f.group, f.sinceMs, f.version, int64(f.user), int64(f.other))
	} else {
		_, err = tx.ExecContext(ctx, "INSERT INTO social_friends ("+friendColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
			int64(f.user), int64(f.other), int(f.state), f.alias, f.group, f.sinceMs, f.version)
	}
	if err != nil {
		return fmt.Errorf("write a friend: %w", err)
	}
	if owner.gone > maxGone {
		return s.forgetGone(ctx, tx, owner)
	}
	return nil
}

// listed is 1 for those in the list.
func listed(s friendState) int {
	if s == gone {
		return 0
	}
	return 1
}

// maxGone is how many people who are not in a list any more are remembered, for FriendsRequest.since.
const maxGone = 1000

// forgetGone forgets the older half of them.
func (s *store) forgetGone(ctx context.Context, tx *sql.Tx, owner *person) error {
	err := tx.QueryRowContext(ctx, "SELECT version FROM social_friends WHERE user_id = ? AND state = 0 ORDER BY version LIMIT 1 OFFSET ?",
		int64(owner.user), maxGone/2).Scan(&owner.floor)
	if err != nil {
		return fmt.Errorf("find who is gone: %w", err)
	}
	result, err := tx.ExecContext(ctx, "DELETE FROM social_friends WHERE user_id = ? AND state = 0 AND version <= ?", int64(owner.user), owner.floor)
	if err != nil {
		return fmt.Errorf("forget who is gone: %w", err)
	}
	n, err := result.RowsAffected()
	owner.gone -= int(n)
	return err
}

// befriend puts a and b into each other's lists, and ends what either has applied for.
func (p *Social) befriend(ctx context.Context, tx *sql.Tx, a, b *person, nowMs int64) (ofA friend, err error) {
	for i, owner := range []*person{a, b} {
		other := []*person{b, a}[i]
		was, err := p.store.friend(ctx, tx, owner.user, other.user)
		if err != nil {
			return ofA, err
		}
		f := was
		if was.state == gone {
			if owner.friends >= p.config.MaxFriends {
				return ofA, &im.Error{Code: idl.CodeLimitExceeded, Field: []string{"", "user_id"}[i],
					Reason: fmt.Sprintf("%d is the most friends that one can have", p.config.MaxFriends)}
			}
			f = friend{user: was.user, other: was.other, stored: was.stored, sinceMs: nowMs}
		}
		f.state = mutual
		if err := p.store.putFriend(ctx, tx, owner, was, f); err != nil {
			return ofA, err
		}
		if i == 0 {
			ofA = f
		}
	}
	for _, pair := range [][2]*person{{a, b}, {b, a}} {
		one, err := p.store.application(ctx, tx, pair[0].user, pair[1].user)
		if err != nil {
			return ofA, err
		}
		if one.open() {
			if err := p.end(ctx, tx, pair[0], pair[1], one, accepted, nowMs); err != nil {
				return ofA, err
			}
		}
	}
	return ofA, nil
}
