package account

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// findUser finds a person by account name or by user ID.
func (p *Account) findUser(ctx context.Context, _ *plugin.Call, req *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
	u, err := p.find(ctx, req)
	if errors.Is(err, errUnknown) {
		return nil, im.Errorf(idl.CodeNotFound, "no such user")
	}
	if _, refused := errors.AsType[*im.Error](err); refused {
		return nil, err
	}
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return &accountpb.FindUserReply{UserId: int64(u.id), Account: u.name, Nickname: u.nickname}, nil
}

func (p *Account) find(ctx context.Context, req *accountpb.FindUserRequest) (user, error) {
	switch {
	case req.Account != "" && req.UserId != 0:
		return user{}, im.Invalid("user_id", "give account or user_id, not both")
	case req.Account != "":
		name, err := accountName(req.Account)
		if err != nil {
			return user{}, err
		}
		return p.store.userByName(ctx, name)
	case req.UserId > 0:
		return p.store.userByID(ctx, im.UserID(req.UserId))
	case req.UserId < 0:
		return user{}, im.Invalid("user_id", "must be positive")
	}
	return user{}, im.Invalid("account", "give account or user_id")
}
