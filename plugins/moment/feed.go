package moment

import (
	"context"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// feed gives the caller's own moments and those of his friends, the newest first.
func (p *Moment) feed(ctx context.Context, call *plugin.Call, req *momentpb.FeedRequest) (*momentpb.MomentsReply, error) {
	before, limit, err := placeOf(req.Cursor, req.Limit)
	if err != nil {
		return nil, err
	}
	v, err := p.view(ctx, call.User)
	if err != nil {
		return nil, err
	}
	friends, err := p.relations.Friends(ctx, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, u := range friends {
		v.friends[u] = true
	}
	authors := slices.DeleteFunc(slices.Clone(friends), func(u im.UserID) bool { return v.blocked[u] || u == call.User })
	ids, err := p.store.feed(ctx, feedQuery{call.User, authors, before, limit + 1})
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	own, err := p.store.own(ctx, call.User, before, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	ids = append(ids, own...)
	slices.Sort(ids)
	slices.Reverse(ids)
	return p.page(ctx, call, v, spanOf(ids, limit))
}
