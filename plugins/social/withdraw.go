package social

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// withdraw takes an application of the caller's back. Again, it changes nothing.
func (p *Social) withdraw(ctx context.Context, call *plugin.Call, req *socialpb.WithdrawRequest) (*socialpb.WithdrawReply, error) {
	to, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	none := noApplication("of yours to take back")
	nowMs := p.host.Now().UnixMilli()
	err = p.between(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		a, err := p.store.application(ctx, tx, call.User, to)
		switch {
		case err != nil:
			return nil, err
		case a.stored && a.state.shown() == withdrawn:
			return nil, nil
		case !a.holds(nowMs):
			return nil, none
		}
		return p.takeBack(ctx, tx, people[0], people[1], a, nowMs)
	}, call.User, to, none)
	return &socialpb.WithdrawReply{}, err
}

// takeBack withdraws an open application, and gives what both are told of it.
func (p *Social) takeBack(ctx context.Context, tx *sql.Tx, from, to *person, a application, nowMs int64) ([]plugin.Event, error) {
	told := []im.UserID{from.user, to.user}
	if a.state == unseen {
		told = told[:1]
	}
	if err := p.end(ctx, tx, from, to, a, withdrawn, nowMs); err != nil {
		return nil, err
	}
	return []plugin.Event{event(from.user, "withdrawn", two{from.user, to.user}, told...)}, nil
}
