package social

import (
	"context"
	"database/sql"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// refuse ends an application of somebody's to the caller. Again, it changes nothing.
func (p *Social) refuse(ctx context.Context, call *plugin.Call, req *socialpb.RefuseRequest) (*socialpb.RefuseReply, error) {
	from, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	none := noApplication("of this person's to refuse")
	nowMs := p.host.Now().UnixMilli()
	err = p.between(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		a, err := p.store.application(ctx, tx, from, call.User)
		switch {
		case err != nil:
			return nil, err
		case a.stored && a.state == refused:
			return nil, nil
		case a.state != pending || !a.holds(nowMs):
			return nil, none
		}
		if err := p.end(ctx, tx, people[1], people[0], a, refused, nowMs); err != nil {
			return nil, err
		}
		return []plugin.Event{event(call.User, "refused", two{from, call.User}, call.User, from)}, nil
	}, call.User, from, none)
	return &socialpb.RefuseReply{}, err
}
