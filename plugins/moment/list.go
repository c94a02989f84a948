package moment

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// list gives one person's moments that the caller may see, the newest first. Of somebody who
// is not there, or not for him, there are none.
func (p *Moment) list(ctx context.Context, call *plugin.Call, req *momentpb.ListMomentsRequest) (*momentpb.MomentsReply, error) {
	before, limit, err := placeOf(req.Cursor, req.Limit)
	if err != nil {
		return nil, err
	}
	author := im.UserID(req.UserId)
	if author < 0 {
		return nil, im.Invalid("user_id", "must be the ID of a user")
	}
	if author == 0 {
		author = call.User
	}
	v, err := p.near(ctx, call.User, author)
	if err != nil {
		return nil, err
	}
	var ids []string
	switch {
	case author == call.User:
		ids, err = p.store.own(ctx, author, before, limit+1)
	case !v.knows(author):
	case v.friends[author]:
		ids, err = p.store.ofFriend(ctx, author, call.User, before, limit+1)
	default:
		ids, err = p.store.public(ctx, author, before, limit+1)
	}
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return p.page(ctx, call, v, spanOf(ids, limit))
}
