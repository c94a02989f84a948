package social

import (
	"context"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// mostWatched is how many friends one session may watch. Source: idl/social.proto.
const mostWatched = 200

// presence says which friends are online, and has the session told what changes until the
// lease ends. Who is no friend, or blocks or is blocked, is left out.
func (p *Social) presence(ctx context.Context, call *plugin.Call, req *socialpb.PresenceRequest) (*socialpb.PresenceReply, error) {
	if len(req.UserIds) > mostWatched {
		return nil, im.Invalid("user_ids", "must be at most %d", mostWatched)
	}
	for _, id := range req.UserIds {
		if id <= 0 || id > idl.MaxSafeInteger {
			return nil, im.Invalid("user_ids", "must be IDs of users")
		}
	}
	rep := &socialpb.PresenceReply{LeaseMs: p.config.PresenceLease.Milliseconds()}
	friends, err := p.store.watchable(ctx, call.User, req.UserIds)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	online := map[im.UserID]bool{}
	if len(friends) > 0 {
		routes, err := p.host.Presence().Routes(ctx, friends...)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		for i, u := range friends {
			online[u] = len(routes[i]) > 0
		}
	}
	if call.Alone { // there is no session to tell, nor is who asks online
		rep.LeaseMs = 0
	} else if err := p.watches.set(call.Session, call.User, friends, online, p.host.Now()); err != nil {
		return nil, err
	}
	rep.States, err = p.states(ctx, online, nil)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return rep, nil
}

// states are what is told of people: when those who are offline were seen, if they do
// not hide it. known is what need not be asked for.
func (p *Social) states(ctx context.Context, online map[im.UserID]bool, known map[im.UserID]int64) (all []*socialpb.PresenceState, err error) {
	var ask []im.UserID
	for u, is := range online {
		if _, have := known[u]; !is && !have {
			ask = append(ask, u)
		}
	}
	seen := map[im.UserID]int64{}
	if len(ask) > 0 {
		if seen, err = p.store.seen(ctx, ask); err != nil {
			return nil, err
		}
	}
	for u, is := range online {
		one := &socialpb.PresenceState{UserId: int64(u), Online: is}
		if !is {
			m, err := p.seenBy.get(ctx, u, p.store.readManners)
			if err != nil {
				return nil, err
			}
			if one.LastSeenMs = max(seen[u], known[u]); m.hideSeen {
				one.LastSeenMs = 0
			}
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *socialpb.PresenceState) int { return int(a.UserId - b.UserId) })
	return all, nil
}

// watchableQuery finds those of some people who are friends of somebody, and neither blocks the other.
const watchableQuery = "SELECT friend_id FROM social_friends f WHERE user_id = ? AND state = 1 AND friend_id IN %s " +
	"AND NOT EXISTS (SELECT 1 FROM social_blocks b WHERE b.user_id = f.user_id AND b.blocked_id = f.friend_id) " +
	"AND NOT EXISTS (SELECT 1 FROM social_blocks b WHERE b.user_id = f.friend_id AND b.blocked_id = f.user_id) ORDER BY friend_id"

// watchable are those of ids whom u may watch; they are the same who may watch u.
func (s *store) watchable(ctx context.Context, u im.UserID, ids []int64) (all []im.UserID, err error) {
	for part := range slices.Chunk(ids, mostWatched) {
		some, err := users(ctx, s.db, fmt.Sprintf(watchableQuery, plugin.Marks(len(part))), args(part, int64(u))...)
		if err != nil {
			return nil, fmt.Errorf("list whom somebody may watch: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// tell pushes what changed to those who watch, of each person to whom that is allowed by
// now: a friendship may have ended at another core.
func (p *Social) tell(ctx context.Context, changes []change) error {
	told := map[im.UserID]map[im.UserID]bool{} // by watcher: who is online
	seen := map[im.UserID]int64{}
	for _, c := range changes {
		seen[c.user] = c.seenMs
		allowed, err := p.store.watchable(ctx, c.user, c.watchers)
		if err != nil {
			return err
		}
		for _, w := range allowed {
			if told[w] == nil {
				told[w] = map[im.UserID]bool{}
			}
			told[w][c.user] = c.online
		}
	}
	for w, online := range told {
		states, err := p.states(ctx, online, seen)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(states, mostWatched) {
			p.host.Push(plugin.Push{Action: idl.ActionPresence, Body: &socialpb.Presence{States: part}, Users: []im.UserID{w}})
		}
	}
	return nil
}
