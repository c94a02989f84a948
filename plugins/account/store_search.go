package account

import (
	"context"
	"slices"
	"strings"
)

// This file is the search for people by the beginnings of their names.

// The parts of a search's results, in their order. A person comes in the first that he
// belongs to.
const (
	partExact    = iota + 1 // the handle or the account is the query
	partHandle              // the handle begins with it
	partAccount             // the account does
	partNickname            // the nickname does
)

// hit is one who was found, and where.
type hit struct {
	profile
	at found
}

// greatest is the last of all characters, in the order that both engines sort by: a text
// with it behind is behind every text that begins so.
const greatest = "\U0010FFFF"

// What a row must be, with the bit by which it is found: the conditions of the parts.
const (
	visible   = "COALESCE(p.hidden, 0) = 0 AND (COALESCE(p.found_by, 7) & ?) <> 0"
	notHandle = " AND NOT (p.handle IS NOT NULL AND p.handle >= ? AND p.handle < ? AND (p.found_by & 1) <> 0)"

	exactHandle  = selectProfiles + "WHERE p.handle = ? AND " + visible
	exactAccount = selectProfiles + "WHERE u.name = ? AND " + visible
	byHandle     = "SELECT " + profileColumns + " FROM account_profiles p JOIN account_users u ON u.id = p.user_id " +
		"WHERE p.handle > ? AND p.handle < ? AND " + visible + " AND NOT (u.name = ? AND (p.found_by & 2) <> 0) ORDER BY p.handle LIMIT ?"
	byAccount  = selectProfiles + "WHERE u.name > ? AND u.name < ? AND " + visible + notHandle + " ORDER BY u.name LIMIT ?"
	byNickname = "SELECT " + profileColumns + " FROM account_profiles p JOIN account_users u ON u.id = p.user_id " +
		"WHERE p.nickname_key >= ? AND p.nickname_key < ? AND NOT (p.nickname_key = ? AND p.user_id <= ?) ORDER BY p.nickname_key, p.user_id LIMIT ?"
)

const (
	// nicknameStep is how many of those whose nickname begins so are read at a time, and
	// nicknameSteps how often for one page: many may be in other parts, or not to be found.
	nicknameStep  = 100
	nicknameSteps = 10
)

// search gives the people behind q.after: one more than the limit, if there are. It may give
// fewer, and the place up to which it has looked.
func (s *store) search(ctx context.Context, q query) (all []hit, on *found, err error) {
	for part := max(q.after.Part, partExact); part <= partNickname && len(all) <= q.limit; part++ {
		if part != partNickname && q.name == "" {
			continue
		}
		after := found{}
		if part == q.after.Part {
			after = q.after
		}
		var some []hit
		if part == partNickname {
			some, on, err = s.byNickname(ctx, q, after, q.limit+1-len(all))
		} else {
			some, err = s.part(ctx, part, q, after, q.limit+1-len(all))
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, some...)
	}
	return all, on, nil
}

// part reads one part behind a place. What is exactly the query is in no part but the first.
func (s *store) part(ctx context.Context, part int, q query, after found, n int) (hits []hit, err error) {
	var people []profile
	switch part {
	case partExact:
		return s.exact(ctx, q, after)
	case partHandle:
		people, err = s.listProfiles(ctx, byHandle, max(after.Key, q.name), q.name+greatest, foundByHandle, q.name, n)
	case partAccount:
		people, err = s.listProfiles(ctx, byAccount, max(after.Key, q.name), q.name+greatest, foundByAccount, q.name, q.name+greatest, n)
	}
	for _, one := range people {
		at := found{Part: part, User: one.id}
		switch part {
		case partHandle:
			at.Key = one.handle
		case partAccount:
			at.Key = one.name
		}
		hits = append(hits, hit{one, at})
	}
	return hits, err
}

// byNickname reads that part. on is not nil when it has looked at as many as it may.
func (s *store) byNickname(ctx context.Context, q query, after found, n int) (hits []hit, on *found, err error) {
	for range nicknameSteps {
		people, err := s.listProfiles(ctx, byNickname, max(after.Key, q.key), q.key+greatest, after.Key, int64(after.User), nicknameStep)
		if err != nil {
			return nil, nil, err
		}
		for _, one := range people {
			after = found{Part: partNickname, Key: one.nicknameKey, User: one.id}
			if !q.byNickname(one) {
				continue
			}
			if hits = append(hits, hit{one, after}); len(hits) == n {
				return hits, nil, nil
			}
		}
		if len(people) < nicknameStep {
			return hits, nil, nil
		}
	}
	return hits, &after, nil
}

// byNickname reports whether one whose nickname begins with the query is found so, and in no
// other part.
func (q query) byNickname(one profile) bool {
	begins := func(name string, bit int) bool {
		return q.name != "" && strings.HasPrefix(name, q.name) && one.foundBy&bit != 0
	}
	return !one.hidden && one.foundBy&foundByNickname != 0 && !begins(one.handle, foundByHandle) && !begins(one.name, foundByAccount)
}

// exact gives the one whose handle the query is and then the one whose account it is: they
// are two at most, and the same one comes once.
func (s *store) exact(ctx context.Context, q query, after found) (hits []hit, err error) {
	for _, by := range []struct {
		query string
		bit   int
	}{{exactHandle, foundByHandle}, {exactAccount, foundByAccount}} {
		people, err := s.listProfiles(ctx, by.query, q.name, by.bit)
		if err != nil {
			return nil, err
		}
		for _, one := range people {
			if !slices.ContainsFunc(hits, func(h hit) bool { return h.id == one.id }) {
				hits = append(hits, hit{one, found{Part: partExact, Key: q.name, User: one.id}})
			}
		}
	}
	if after.Part == partExact {
		behind := slices.IndexFunc(hits, func(h hit) bool { return h.id == after.User })
		hits = hits[behind+1:]
	}
	return hits, nil
}
