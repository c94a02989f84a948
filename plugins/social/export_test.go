package social

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// Expire sees to applications whose time is over.
func (p *Social) Expire(ctx context.Context) error { return p.expire(ctx) }

// Watch is one round of presence.
func (p *Social) Watch(ctx context.Context) error { return p.watch(ctx) }

// Presence asks for that of friends; pairs is how many a session watches then.
func (p *Social) Presence(ctx context.Context, call *plugin.Call, req *socialpb.PresenceRequest) (rep *socialpb.PresenceReply, pairs int, err error) {
	rep, err = p.presence(ctx, call, req)
	return rep, p.watches.pairs, err
}

// Watched is how many pairs of a session and a friend are watched.
func (p *Social) Watched() int {
	p.watches.mu.Lock()
	defer p.watches.mu.Unlock()
	return p.watches.pairs
}

// MaxGone is how many are remembered who left a list.
const MaxGone = maxGone

// Query is a query of a list, with what to ask it with.
type Query struct {
	Name, SQL string
	Args      []any
}

// Listings are the queries of all lists, for user 1.
func Listings() []Query {
	friends, applications := "SELECT "+friendColumns+" FROM social_friends ", "SELECT "+applicationColumns+" FROM social_applications "
	return []Query{
		{"friends", friends + friendsQuery, []any{1, 0, 100}},
		{"changes", friends + changesQuery, []any{1, 5, 5, 7, 100}},
		{"received", applications + receivedQuery, []any{1, 1 << 53, 1 << 53, 1 << 53, 100}},
		{"sent", applications + sentQuery, []any{1, 1 << 53, 1 << 53, 1 << 53, 100}},
		{"due", applications + dueQuery, []any{0, 1, 100}},
		{"blocks", blocksQuery, []any{1, 0, 100}},
		{"recent", recentQuery, []any{1, 50}},
		{"watchable", fmt.Sprintf(watchableQuery, plugin.Marks(2)), []any{1, 2, 3}},
		{"excluded", fmt.Sprintf(excludedQuery, plugin.Marks(1)), []any{1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 2}},
		{"pair", pairQuery, []any{1, 2, 2, 1, 1, 2}},
		{"blocked", blockedQuery, []any{1, 1}},
		{"mutual", mutualQuery, []any{1}},
		{"erased friends", eraseFriends, []any{1, 1, 50}},
		{"erased applications", eraseApplications, []any{1, 1, 50}},
		{"erased blocks", eraseBlocks, []any{1, 50}},
	}
}

// ParseCursor reads a cursor of the list of friends of user 7, and writes it again.
func ParseCursor(text string) (again string, err error) {
	c, err := parseCursor("cursor", text, friendsList, im.UserID(7))
	if c == nil {
		return "", err
	}
	return c.String(), err
}
