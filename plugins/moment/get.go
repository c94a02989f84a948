package moment

import (
	"context"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// get gives one moment that the caller may see.
func (p *Moment) get(ctx context.Context, call *plugin.Call, req *momentpb.GetMomentRequest) (*momentpb.GetMomentReply, error) {
	m, v, err := p.look(ctx, call.User, req.MomentId)
	if err != nil {
		return nil, err
	}
	shown, err := p.shown(ctx, v, []*moment{m})
	if err != nil {
		return nil, err
	}
	return &momentpb.GetMomentReply{Moment: shown[0]}, nil
}
