package social

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

// pair names two people, the lower ID first.
type pair struct{ low, high im.UserID }

func pairOf(a, b im.UserID) pair { return pair{min(a, b), max(a, b)} }

// between is what a message asks about two people.
type between struct {
	friends    bool // each is in the other's list
	lowBlocks  bool
	highBlocks bool
}

// blocks reports whether by, who is one of k, blocks the other.
func (b between) blocks(k pair, by im.UserID) bool {
	return by == k.low && b.lowBlocks || by == k.high && b.highBlocks
}

const pairQuery = "SELECT 1, user_id FROM social_blocks WHERE user_id = ? AND blocked_id = ? " +
	"UNION ALL SELECT 1, user_id FROM social_blocks WHERE user_id = ? AND blocked_id = ? " +
	"UNION ALL SELECT 2, user_id FROM social_friends WHERE user_id = ? AND friend_id = ? AND state = 1"

// readPair is what the directory says of two people.
func (s *store) readPair(ctx context.Context, k pair) (b between, err error) {
	rows, err := s.db.QueryContext(ctx, pairQuery, int64(k.low), int64(k.high), int64(k.high), int64(k.low), int64(k.low), int64(k.high))
	if err != nil {
		return b, fmt.Errorf("read what is between two people: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var what int
		var by im.UserID
		if err := rows.Scan(&what, &by); err != nil {
			return b, fmt.Errorf("read what is between two people: %w", err)
		}
		switch {
		case what == 2:
			b.friends = true
		case by == k.low:
			b.lowBlocks = true
		default:
			b.highBlocks = true
		}
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("read what is between two people: %w", err)
	}
	return b, nil
}

const versionsQuery = "SELECT user_id, version FROM social_people WHERE user_id IN "

// readVersions gives the versions of those of some people of whom anything is kept.
func (s *store) readVersions(ctx context.Context, all []im.UserID) (map[im.UserID]int64, error) {
	args := make([]any, len(all))
	for i, u := range all {
		args[i] = int64(u)
	}
	rows, err := s.db.QueryContext(ctx, versionsQuery+plugin.Marks(len(all)), args...)
	if err != nil {
		return nil, fmt.Errorf("read versions of people: %w", err)
	}
	defer rows.Close()
	found := make(map[im.UserID]int64, len(all))
	for rows.Next() {
		var u im.UserID
		var version int64
		if err := rows.Scan(&u, &version); err != nil {
			return nil, fmt.Errorf("read versions of people: %w", err)
		}
		found[u] = version
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read versions of people: %w", err)
	}
	return found, nil
}

// version is u's, if other cores may change what is kept of him. It is read after the call, so
// that what is remembered of that version holds whatever was answered before.
func (p *Social) version(ctx context.Context, u im.UserID) (im.UserID, int64, error) {
	if p.versions == nil {
		return 0, 0, nil
	}
	version, _, err := p.versions.Find(ctx, u) // 0: nothing is kept of him
	return u, version, err
}

// pair is what is between two people: each change of it counts up the versions of both.
func (p *Social) pair(ctx context.Context, a, b im.UserID) (between, error) {
	who, version, err := p.version(ctx, b)
	if err != nil {
		return between{}, err
	}
	return p.pairAs(ctx, as[pair]{pairOf(a, b), who, version})
}

func (p *Social) pairAs(ctx context.Context, k as[pair]) (between, error) {
	return p.pairs.get(ctx, k, func(ctx context.Context, k as[pair]) (between, error) { return p.store.readPair(ctx, k.key) })
}

func (p *Social) mannersAs(ctx context.Context, k as[im.UserID]) (manners, error) {
	return p.persons.get(ctx, k, func(ctx context.Context, k as[im.UserID]) (manners, error) { return p.store.readManners(ctx, k.key) })
}

// manners are the settings that a message asks about.
type manners struct {
	strangers choice
	hideSeen  bool
}

func (s *store) readManners(ctx context.Context, u im.UserID) (manners, error) {
	one, err := s.person(ctx, s.db, u)
	return manners{one.strangers, one.hideSeen}, err
}

// guard is the plugin.ChatGuard of the plugin.
type guard struct{ *Social }

// Chat implements plugin.ChatGuard. Who blocks somebody does not write to him either.
func (p guard) Chat(ctx context.Context, from, to im.UserID) error {
	if from == to {
		return nil
	}
	k := pairOf(from, to)
	who, version, err := p.version(ctx, to)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	b, err := p.pairAs(ctx, as[pair]{k, who, version})
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	switch {
	case b.blocks(k, from):
		return &im.Error{Code: idl.CodePermissionDenied, Field: "to_user_id", Reason: "you block this person"}
	case b.blocks(k, to) && p.config.Blocked == blockedUnseen:
		return plugin.ErrUnseen
	case b.blocks(k, to):
		return &im.Error{Code: idl.CodePermissionDenied, Field: "to_user_id", Reason: "this person takes no messages from you"}
	case b.friends:
		return nil
	}
	m, err := p.mannersAs(ctx, as[im.UserID]{to, who, version})
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if !m.strangers.or(p.config.Strangers) {
		return &im.Error{Code: idl.CodePermissionDenied, Field: "to_user_id", Reason: "this person takes messages from friends only"}
	}
	return nil
}

// The queries of the service.
const (
	mutualQuery  = "SELECT friend_id FROM social_friends WHERE user_id = ? AND state = 1 ORDER BY friend_id"
	blockedQuery = "SELECT blocked_id AS other FROM social_blocks WHERE user_id = ? UNION SELECT user_id FROM social_blocks WHERE blocked_id = ? ORDER BY other"
)

// relations is the service "social.relations". Its errors are those of the directory.
type relations struct{ *Social }

// Friends are the people who are in u's list and have u in theirs, ascending.
func (p relations) Friends(ctx context.Context, u im.UserID) ([]im.UserID, error) {
	all, err := users(ctx, p.store.db, mutualQuery, int64(u))
	if err != nil {
		return nil, fmt.Errorf("list friends: %w", err)
	}
	return all, nil
}

// Friend reports whether a and b are in each other's list.
func (p relations) Friend(ctx context.Context, a, b im.UserID) (bool, error) {
	found, err := p.pair(ctx, a, b)
	return found.friends, err
}

// Blocks reports whether by blocks whom.
func (p relations) Blocks(ctx context.Context, by, whom im.UserID) (bool, error) {
	found, err := p.pair(ctx, by, whom)
	return by != whom && found.blocks(pairOf(by, whom), by), err
}

// Blocked are the people who block u or whom u blocks, ascending.
func (p relations) Blocked(ctx context.Context, u im.UserID) ([]im.UserID, error) {
	all, err := users(ctx, p.store.db, blockedQuery, int64(u), int64(u))
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return all, nil
}
