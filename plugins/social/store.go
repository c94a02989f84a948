package social

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/idl/kitex_gen/socialpb"
)

// store is the plugin's tables. Every statement runs on SQLite and MySQL.
type store struct {
	db *sql.DB                                                    // for reading
	tx func(ctx context.Context, fn func(tx *sql.Tx) error) error // plugin.Host.Tx
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// person is a row of social_people.
type person struct {
	user       im.UserID
	version    int64 // counts the changes of anything that is kept of the person
	floor      int64 // friends who were gone by this version may have been forgotten
	friends    int   // in the list
	gone       int   // rows of those who are not any more
	sent       int   // pending applications
	received   int   // pending applications of others that the person sees
	blocks     int
	groupsMade int64 // the newest group's ID
	strangers  choice
	apply      socialpb.WhoMayApply
	question   string
	hideSeen   bool
}

// choice is a setting that follows the configuration until it is made.
type choice int

const (
	unset choice = iota
	yes
	no
)

// or gives the choice, or what holds when none was made.
func (c choice) or(unmade bool) bool { return c == yes || c == unset && unmade }

func chosen(b bool) choice {
	if b {
		return yes
	}
	return no
}

const personColumns = "version, floor, friends, gone, sent, received, blocks, groups_made, strangers, applying, question, hide_seen"

// person reads what is kept of u; one who has no row is all zero.
func (s *store) person(ctx context.Context, q querier, u im.UserID) (person, error) {
	p := person{user: u}
	err := q.QueryRowContext(ctx, "SELECT "+personColumns+" FROM social_people WHERE user_id = ?", int64(u)).Scan(&p.version, &p.floor, &p.friends,
		&p.gone, &p.sent, &p.received, &p.blocks, &p.groupsMade, &p.strangers, &p.apply, &p.question, &p.hideSeen)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("read a person: %w", err)
	}
	return p, nil
}

// errNoRow says that somebody has no row in social_people.
var errNoRow = errors.New("a person has no row")

func isNoRow(err error) bool { return errors.Is(err, errNoRow) }

// change runs fn in a transaction that is, while it lasts, the only one that changes what
// is kept of the users. fn gets them in the order of the arguments, which must differ, and what
// it changes of them is written.
func (s *store) change(ctx context.Context, fn func(tx *sql.Tx, people []*person) error, users ...im.UserID) error {
	try := func(tx *sql.Tx) error {
		people, err := s.lock(ctx, tx, users)
		if err != nil {
			return err
		}
		if err := fn(tx, people); err != nil {
			return err
		}
		return s.write(ctx, tx, people)
	}
	err := s.tx(ctx, try)
	if isNoRow(err) {
		if err := s.makeRows(ctx, users); err != nil {
			return err
		}
		err = s.tx(ctx, try)
	}
	return err
}

// lock takes the rows of the users in the order of their IDs, so that no two transactions
// wait for each other. On SQLite the transaction has the directory already.
func (s *store) lock(ctx context.Context, tx *sql.Tx, users []im.UserID) ([]*person, error) {
	people := make([]*person, len(users))
	for _, u := range slices.Sorted(slices.Values(users)) {
		result, err := tx.ExecContext(ctx, "UPDATE social_people SET version = version + 1 WHERE user_id = ?", int64(u))
		if err != nil {
			return nil, fmt.Errorf("count a person's changes: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return nil, errors.Join(err, errNoRow)
		}
		p, err := s.person(ctx, tx, u)
		if err != nil {
			return nil, err
		}
		people[slices.Index(users, u)] = &p
	}
	return people, nil
}

// has reports whether anything is kept of u: else there is nothing between him and anybody.
func (s *store) has(ctx context.Context, u im.UserID) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM social_people WHERE user_id = ?", int64(u)).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a person: %w", err)
	}
	return n > 0, nil
}

// makeRows gives each of the users a row.
func (s *store) makeRows(ctx context.Context, users []im.UserID) error {
	for _, u := range users {
		err := s.tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO social_people (user_id, "+personColumns+") VALUES (?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0)", int64(u))
			return err
		})
		if err == nil {
			continue
		}
		// Engines report a broken unique index in words of their own: look instead.
		if there, lookErr := s.has(ctx, u); lookErr != nil || !there {
			return fmt.Errorf("insert a person: %w", err)
		}
	}
	return nil
}

func (s *store) write(ctx context.Context, tx *sql.Tx, people []*person) error {
	for _, p := range people {
		_, err := tx.ExecContext(ctx, "UPDATE social_people SET floor = ?, friends = ?, gone = ?, sent = ?, received = ?, blocks = ?, groups_made = ?, "+
			"strangers = ?, applying = ?, question = ?, hide_seen = ? WHERE user_id = ?",
			p.floor, p.friends, p.gone, p.sent, p.received, p.blocks, p.groupsMade, int(p.strangers), int32(p.apply), p.question, p.hideSeen, int64(p.user))
		if err != nil {
			return fmt.Errorf("write a person: %w", err)
		}
	}
	return nil
}

// users reads a column of user IDs.
func users(ctx context.Context, q querier, query string, args ...any) (all []im.UserID, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var u im.UserID
		if err := rows.Scan(&u); err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, rows.Err()
}

// args are IDs as parameters, behind those that are given.
func args[T ~int64](ids []T, before ...any) []any {
	for _, id := range ids {
		before = append(before, int64(id))
	}
	return before
}
