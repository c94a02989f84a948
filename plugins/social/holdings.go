package social

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
)

// holdings is what the plugin keeps of people, for copies and for deletion.
type holdings struct{ *Social }

// exported is a copy of what is kept of somebody.
type exported struct {
	Friends      []exportedFriend      `json:"friends"`
	Groups       []exportedGroup       `json:"groups"`
	Applications []exportedApplication `json:"applications"`
	Blocked      []exportedBlock       `json:"blocked"`
	Settings     settingsData          `json:"settings"`
	LastSeenMs   int64                 `json:"last_seen_ms,omitempty"`
}

type exportedFriend struct {
	User    im.UserID `json:"user_id"`
	Alias   string    `json:"alias,omitempty"`
	Group   int64     `json:"group_id,omitempty"`
	SinceMs int64     `json:"since_ms"`
}

type exportedGroup struct {
	ID   int64  `json:"group_id"`
	Name string `json:"name"`
}

type exportedApplication struct {
	From     im.UserID `json:"from"`
	To       im.UserID `json:"to"`
	State    string    `json:"state"`
	Remark   string    `json:"remark,omitempty"`
	Question string    `json:"question,omitempty"`
	Answer   string    `json:"answer,omitempty"`
	MadeMs   int64     `json:"made_ms"`
}

type exportedBlock struct {
	User    im.UserID `json:"user_id"`
	SinceMs int64     `json:"since_ms"`
}

// Export implements plugin.Holdings. What others keep of the person, aliases and blocks, is theirs.
func (p holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	one, err := p.store.person(ctx, p.store.db, u)
	if err != nil {
		return nil, err
	}
	all := exported{Settings: settingsData{one.strangers.or(p.config.Strangers), int32(one.apply), one.question, one.hideSeen}}
	friends, err := p.store.friends(ctx, p.store.db, "WHERE user_id = ? AND state <> 0 ORDER BY friend_id", int64(u))
	if err != nil {
		return nil, err
	}
	for _, f := range friends {
		all.Friends = append(all.Friends, exportedFriend{f.other, f.alias, f.group, f.sinceMs})
	}
	groups, err := p.store.groups(ctx, p.store.db, u)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		all.Groups = append(all.Groups, exportedGroup{g.id, g.name})
	}
	sent, err := p.store.applications(ctx, p.store.db, "WHERE from_id = ? ORDER BY made_ms", int64(u))
	if err != nil {
		return nil, err
	}
	received, err := p.store.applications(ctx, p.store.db, "WHERE to_id = ? AND state < 5 ORDER BY made_ms", int64(u))
	if err != nil {
		return nil, err
	}
	nowMs := p.host.Now().UnixMilli()
	for _, a := range append(sent, received...) {
		all.Applications = append(all.Applications, exportedApplication{a.from, a.to, wireApplication(a, u, nil, nowMs).State.String(), a.remark, a.question, a.answer, a.madeMs})
	}
	blocks, err := p.store.blocksOf(ctx, u, 0, p.config.MaxBlocks)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		all.Blocked = append(all.Blocked, exportedBlock{b.whom, b.sinceMs})
	}
	seen, err := p.store.seen(ctx, []im.UserID{u})
	all.LastSeenMs = seen[u]
	return all, err
}

// Whom an Erase is about.
const (
	eraseFriends      = "SELECT friend_id AS other FROM social_friends WHERE user_id = ? AND state <> 0 UNION SELECT user_id FROM social_friends WHERE friend_id = ? AND state <> 0 LIMIT ?"
	eraseApplications = "SELECT to_id AS other FROM social_applications WHERE from_id = ? UNION SELECT from_id FROM social_applications WHERE to_id = ? LIMIT ?"
	eraseBlocks       = "SELECT user_id FROM social_blocks WHERE blocked_id = ? LIMIT ?"
)

// eraseBatch is how many other people one transaction of an Erase changes.
const eraseBatch = 50

// Erase implements plugin.Holdings. Friends, and those with an application, are told; that he was
// in a list, its owner's tombstones say until they are forgotten.
func (p holdings) Erase(ctx context.Context, u im.UserID) error {
	for _, step := range []struct {
		others string // whom it is about
		params int
		erase  func(ctx context.Context, tx *sql.Tx, gone, other *person) ([]plugin.Event, error)
	}{
		{eraseFriends, 2, p.eraseFriend},
		{eraseApplications, 2, p.eraseApplications},
		{eraseBlocks, 1, p.eraseBlock},
	} {
		for {
			others, err := users(ctx, p.store.db, step.others, append(slices.Repeat([]any{int64(u)}, step.params), eraseBatch)...)
			if err != nil {
				return fmt.Errorf("list whom somebody knew: %w", err)
			}
			if len(others) == 0 {
				break
			}
			err = p.change(ctx, func(tx *sql.Tx, people []*person) (events []plugin.Event, err error) {
				for _, other := range people[1:] {
					more, err := step.erase(ctx, tx, people[0], other)
					if err != nil {
						return nil, err
					}
					events = append(events, more...)
				}
				return events, nil
			}, append([]im.UserID{u}, others...)...)
			if err != nil {
				return err
			}
		}
	}
	defer p.forget(u)
	return p.store.tx(ctx, func(tx *sql.Tx) error {
		if _, err := p.store.lock(ctx, tx, []im.UserID{u}); err != nil && !isNoRow(err) {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM social_friends WHERE user_id = ?", "DELETE FROM social_blocks WHERE user_id = ?", "DELETE FROM social_groups WHERE user_id = ?",
			"DELETE FROM social_seen WHERE user_id = ?", "DELETE FROM social_people WHERE user_id = ?",
		} {
			if _, err := tx.ExecContext(ctx, statement, int64(u)); err != nil {
				return fmt.Errorf("erase a person: %w", err)
			}
		}
		return nil
	})
}

// eraseFriend takes both out of each other's list.
func (p holdings) eraseFriend(ctx context.Context, tx *sql.Tx, gonePerson, other *person) (events []plugin.Event, err error) {
	for i, owner := range []*person{gonePerson, other} {
		whom := []*person{other, gonePerson}[i]
		was, err := p.store.friend(ctx, tx, owner.user, whom.user)
		if err != nil {
			return nil, err
		}
		if was.state == gone {
			continue
		}
		if err := p.store.putFriend(ctx, tx, owner, was, friend{user: was.user, other: was.other, stored: true}); err != nil {
			return nil, err
		}
		if owner == other {
			events = append(events, event(0, "deleted", two{gonePerson.user, other.user}, other.user))
		}
	}
	return events, nil
}

// eraseApplications forgets those between both.
func (p holdings) eraseApplications(ctx context.Context, tx *sql.Tx, gonePerson, other *person) (events []plugin.Event, err error) {
	for i, from := range []*person{gonePerson, other} {
		to := []*person{other, gonePerson}[i]
		a, err := p.store.application(ctx, tx, from.user, to.user)
		if err != nil {
			return nil, err
		}
		if !a.stored {
			continue
		}
		if a.open() {
			from.sent--
			to.received -= count(a.state == pending)
			if from == other || a.state == pending {
				events = append(events, event(0, []string{"withdrawn", "expired"}[i], two{from.user, to.user}, other.user))
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM social_applications WHERE from_id = ? AND to_id = ?", int64(from.user), int64(to.user)); err != nil {
			return nil, fmt.Errorf("forget an application: %w", err)
		}
	}
	return events, nil
}

// eraseBlock ends the block of somebody who is deleted.
func (p holdings) eraseBlock(ctx context.Context, tx *sql.Tx, gonePerson, other *person) ([]plugin.Event, error) {
	result, err := tx.ExecContext(ctx, "DELETE FROM social_blocks WHERE user_id = ? AND blocked_id = ?", int64(other.user), int64(gonePerson.user))
	if err != nil {
		return nil, fmt.Errorf("delete a block: %w", err)
	}
	n, err := result.RowsAffected()
	other.blocks -= int(n)
	return nil, err
}
