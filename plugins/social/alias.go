package social

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// aliasData is that of an event about what somebody calls a friend.
type aliasData struct {
	User  im.UserID `json:"user_id"`
	Alias string    `json:"alias"`
}

// setAlias sets what the caller calls a friend. Only his own devices are told.
func (p *Social) setAlias(ctx context.Context, call *plugin.Call, req *socialpb.SetAliasRequest) (*socialpb.SetAliasReply, error) {
	who, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	if err := lineOf("alias", &req.Alias, 0, maxAlias); err != nil {
		return nil, err
	}
	var f friend
	err = p.change(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		was, err := p.store.friend(ctx, tx, call.User, who)
		if err != nil {
			return nil, err
		}
		if was.state == gone {
			return nil, &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "is no friend of yours"}
		}
		f = was
		f.alias = req.Alias
		if f == was {
			return nil, nil
		}
		return []plugin.Event{event(call.User, "alias", aliasData{who, f.alias}, call.User)}, p.store.putFriend(ctx, tx, people[0], was, f)
	}, call.User)
	if err != nil {
		return nil, err
	}
	shown, err := p.shownFriend(ctx, f)
	return &socialpb.SetAliasReply{Friend: shown}, err
}
