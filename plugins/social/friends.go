package social

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

const (
	usualFriends = 100
	mostFriends  = 500
)

const (
	friendsQuery = "WHERE user_id = ? AND friend_id > ? AND state <> 0 ORDER BY friend_id LIMIT ?"
	changesQuery = "WHERE user_id = ? AND version >= ? AND NOT (version = ? AND friend_id <= ?) ORDER BY version, friend_id LIMIT ?"
)

// listFriends gives a page of the caller's list, or of what changed in it. A page begins behind
// the friend that the one before ended with, so one who comes or goes meanwhile moves no other.
func (p *Social) listFriends(ctx context.Context, call *plugin.Call, req *socialpb.FriendsRequest) (*socialpb.FriendsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualFriends, mostFriends)
	if err != nil {
		return nil, err
	}
	since, err := parseCursor("since", req.Since, changesList, call.User)
	if err != nil {
		return nil, err
	}
	after, err := parseCursor("cursor", req.Cursor, friendsList, call.User)
	switch {
	case err != nil:
		return nil, err
	case after != nil && since != nil:
		return nil, im.Invalid("since", "give cursor or since, not both")
	case after == nil:
		after = &cursor{}
	}
	me, err := p.store.person(ctx, p.store.db, call.User) // first: what changes after it is listed again by since
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &socialpb.FriendsReply{Total: int32(me.friends)}
	if since != nil {
		return p.changedFriends(ctx, me, *since, limit, rep)
	}
	all, err := p.store.friends(ctx, p.store.db, friendsQuery, int64(call.User), after.a, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep.Since = cursor{list: changesList, user: me.user, a: me.version, b: int64(1) << 53}.String()
	if rep.HasMore = len(all) > limit; rep.HasMore {
		all = all[:limit]
		rep.Next = cursor{list: friendsList, user: me.user, a: int64(all[limit-1].other)}.String()
	}
	rep.Friends, err = p.shownFriends(ctx, all)
	return rep, err
}

// changedFriends fills in those who were changed after since.
func (p *Social) changedFriends(ctx context.Context, me person, since cursor, limit int, rep *socialpb.FriendsReply) (*socialpb.FriendsReply, error) {
	if since.a < me.floor || since.a > me.version {
		rep.Restarted = true
		return rep, nil
	}
	all, err := p.store.friends(ctx, p.store.db, changesQuery, int64(me.user), since.a, since.a, since.b, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if rep.HasMore = len(all) > limit; rep.HasMore {
		all = all[:limit]
	}
	if len(all) > 0 {
		last := all[len(all)-1]
		since.a, since.b = last.version, int64(last.other)
	}
	rep.Since = since.String()
	rep.Friends, err = p.shownFriends(ctx, all)
	return rep, err
}

func (p *Social) shownFriends(ctx context.Context, all []friend) ([]*socialpb.Friend, error) {
	var others []im.UserID
	for _, f := range all {
		if f.state != gone {
			others = append(others, f.other)
		}
	}
	people, err := p.shown(ctx, others)
	if err != nil {
		return nil, err
	}
	shown := make([]*socialpb.Friend, len(all))
	for i, f := range all {
		shown[i] = wireFriend(f, people)
	}
	return shown, nil
}
