package social

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// What one question looks at: so many of the caller's friends, those whose entry was changed
// last, and so many of each one's; and so many people of those found.
const (
	usualSuggestions = 20
	mostSuggestions  = 50
	lookedAt         = 50
	ofEach           = 200
	candidates       = 200
)

// recentQuery is a page of somebody's friends, the newest changes first.
const recentQuery = "SELECT friend_id FROM social_friends WHERE user_id = ? AND state = 1 ORDER BY version DESC LIMIT ?"

// suggest gives friends of friends, the most friends in common first.
func (p *Social) suggest(ctx context.Context, call *plugin.Call, req *socialpb.SuggestionsRequest) (*socialpb.SuggestionsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualSuggestions, mostSuggestions)
	if err != nil {
		return nil, err
	}
	found, err := p.store.friendsOfFriends(ctx, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	var users []im.UserID
	for _, c := range found {
		users = append(users, c.user)
	}
	rep := &socialpb.SuggestionsReply{}
	if len(users) == 0 {
		return rep, nil
	}
	people, err := p.people.People(ctx, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, c := range found {
		one, there := people[c.user]
		if !there {
			continue
		}
		if rep.Suggestions = append(rep.Suggestions, &socialpb.Suggestion{Person: wirePerson(one), Common: c.common}); len(rep.Suggestions) == limit {
			break
		}
	}
	return rep, nil
}

// candidate is somebody with friends in common.
type candidate struct {
	user   im.UserID
	common int32
}

// friendsOfFriends are people who might be u's friends: none who is, has applied or was
// applied to, blocks or is blocked, or takes no applications.
func (s *store) friendsOfFriends(ctx context.Context, u im.UserID) ([]candidate, error) {
	friends, err := users(ctx, s.db, recentQuery, int64(u), lookedAt)
	if err != nil {
		return nil, fmt.Errorf("list friends: %w", err)
	}
	if len(friends) == 0 {
		return nil, nil
	}
	var parts []string
	var params []any
	for _, f := range friends {
		parts = append(parts, "SELECT * FROM ("+recentQuery+") AS part")
		params = append(params, int64(f), ofEach)
	}
	theirs, err := users(ctx, s.db, strings.Join(parts, " UNION ALL "), params...)
	if err != nil {
		return nil, fmt.Errorf("list friends of friends: %w", err)
	}
	common := map[im.UserID]int32{}
	for _, f := range theirs {
		common[f]++
	}
	delete(common, u)
	var all []candidate
	for user, n := range common {
		all = append(all, candidate{user, n})
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.common, a.common), cmp.Compare(a.user, b.user)) })
	return s.strangers(ctx, u, all)
}

const excludedQuery = "SELECT friend_id FROM social_friends WHERE user_id = ? AND state <> 0 AND friend_id IN %[1]s " +
	"UNION ALL SELECT blocked_id FROM social_blocks WHERE user_id = ? AND blocked_id IN %[1]s " +
	"UNION ALL SELECT user_id FROM social_blocks WHERE blocked_id = ? AND user_id IN %[1]s " +
	"UNION ALL SELECT to_id FROM social_applications WHERE from_id = ? AND state IN (0, 5) AND to_id IN %[1]s " +
	"UNION ALL SELECT from_id FROM social_applications WHERE to_id = ? AND state = 0 AND from_id IN %[1]s " +
	"UNION ALL SELECT user_id FROM social_people WHERE applying = 2 AND user_id IN %[1]s"

// strangers leaves out of all those whom u is not to apply to; it looks at so many as are left of the
// first, a few hundred at a time, and at all in the end.
func (s *store) strangers(ctx context.Context, u im.UserID, all []candidate) (left []candidate, err error) {
	for part := range slices.Chunk(all, candidates) {
		var ids []im.UserID
		for _, c := range part {
			ids = append(ids, c.user)
		}
		var params []any
		for range 5 {
			params = append(params, args(ids, int64(u))...)
		}
		excluded, err := users(ctx, s.db, fmt.Sprintf(excludedQuery, plugin.Marks(len(ids))), args(ids, params...)...)
		if err != nil {
			return nil, fmt.Errorf("list who is known: %w", err)
		}
		for _, c := range part {
			if !slices.Contains(excluded, c.user) {
				left = append(left, c)
			}
		}
		if len(left) >= 2*mostSuggestions { // some may have been deleted
			break
		}
	}
	return left[:min(len(left), candidates)], nil
}
