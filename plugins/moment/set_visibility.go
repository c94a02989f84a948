package moment

import (
	"context"
	"database/sql"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// setVisibility changes who sees one of the caller's moments. What a reviewer said of it stays.
func (p *Moment) setVisibility(ctx context.Context, call *plugin.Call, req *momentpb.SetMomentVisibilityRequest) (*momentpb.SetMomentVisibilityReply, error) {
	listed, err := listedOf(req.Visibility, req.UserIds, call.User)
	if err != nil {
		return nil, err
	}
	if wait := p.changed.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "changes of visibility")
	}
	var is *moment
	err = p.own(ctx, call.User, req.MomentId, func(tx *sql.Tx, m *moment) error {
		is, m.visibility = m, req.Visibility
		if err := p.store.change(ctx, tx, m); err != nil {
			return err
		}
		if err := p.store.dropList(ctx, tx, m.id); err != nil {
			return err
		}
		return p.store.putList(ctx, tx, m.id, listed)
	})
	if err != nil {
		return nil, err
	}
	v, err := p.view(ctx, call.User)
	if err != nil {
		return nil, err
	}
	shown, err := p.shown(ctx, v, []*moment{is})
	if err != nil {
		return nil, err
	}
	return &momentpb.SetMomentVisibilityReply{Moment: shown[0]}, nil
}
