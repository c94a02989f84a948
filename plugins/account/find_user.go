package account

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/accountpb"
)

// findUser finds a person by account name or by user ID.
// Who is not to be found by account is not, except by himself, and his ID tells no account.
func (p *Account) findUser(ctx context.Context, call *plugin.Call, req *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
	u, err := p.find(ctx, req)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	name := u.name
	if u.foundBy&foundByAccount == 0 && u.id != call.User {
		name = ""
	}
	if u.hidden || req.Account != "" && name == "" {
		return nil, refusalOf(ctx, errUnknown)
	}
	return &accountpb.FindUserReply{UserId: int64(u.id), Account: name, Nickname: u.nickname}, nil
}

func (p *Account) find(ctx context.Context, req *accountpb.FindUserRequest) (profile, error) {
	switch {
	case req.Account != "" && req.UserId != 0:
		return profile{}, im.Invalid("user_id", "give account or user_id, not both")
	case req.Account != "":
		name, err := accountName(req.Account)
		if err != nil {
			return profile{}, err
		}
		return p.store.profileOf(ctx, name)
	case req.UserId > 0:
		return p.store.profile(ctx, p.store.db, im.UserID(req.UserId))
	case req.UserId < 0:
		return profile{}, im.Invalid("user_id", "must be positive")
	}
	return profile{}, im.Invalid("account", "give account or user_id")
}
