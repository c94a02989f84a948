package social

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// deleteFriend ends a friendship: for both, or as configured for the caller only.
func (p *Social) deleteFriend(ctx context.Context, call *plugin.Call, req *socialpb.DeleteRequest) (*socialpb.DeleteReply, error) {
	who, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	none := &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "is no friend of yours"}
	err = p.between(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		mine, err := p.store.friend(ctx, tx, call.User, who)
		if err != nil {
			return nil, err
		}
		if mine.state == gone {
			return nil, none
		}
		his, err := p.store.friend(ctx, tx, who, call.User)
		if err != nil {
			return nil, err
		}
		if err := p.store.putFriend(ctx, tx, people[0], mine, friend{user: mine.user, other: mine.other, stored: true}); err != nil {
			return nil, err
		}
		told := []im.UserID{call.User}
		switch {
		case his.state == gone:
		case p.config.DeleteBoth:
			err = p.store.putFriend(ctx, tx, people[1], his, friend{user: his.user, other: his.other, stored: true})
			told = append(told, who)
		case his.state == mutual:
			after := his
			after.state = kept
			err = p.store.putFriend(ctx, tx, people[1], his, after)
		}
		return []plugin.Event{event(call.User, "deleted", two{call.User, who}, told...)}, err
	}, call.User, who, none)
	return &socialpb.DeleteReply{}, err
}
