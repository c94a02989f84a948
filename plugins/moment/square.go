package moment

import (
	"context"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// square gives everybody's public moments, the newest first.
func (p *Moment) square(ctx context.Context, call *plugin.Call, req *momentpb.SquareRequest) (*momentpb.MomentsReply, error) {
	before, limit, err := placeOf(req.Cursor, req.Limit)
	if err != nil {
		return nil, err
	}
	v, err := p.view(ctx, call.User)
	if err != nil {
		return nil, err
	}
	ids, at, done, err := p.store.square(ctx, v.blocked, before, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	s := spanOf(ids, limit)
	if !s.more {
		s.at, s.more = at, !done
	}
	return p.page(ctx, call, v, s)
}
