package account

import (
	"cmp"
	"context"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// signUp makes an account.
func (p *Account) signUp(ctx context.Context, call *plugin.Call, req *accountpb.SignUpRequest) (*accountpb.SignUpReply, error) {
	name, nickname, err := signUpRules(req)
	if err != nil {
		return nil, err
	}
	if wait := p.signUps.Take(ctx, addressKey(call.Address)); wait > 0 {
		return nil, limited(wait, "sign-ups from your address")
	}
	switch _, err := p.store.userByName(ctx, name); {
	case err == nil:
		return nil, nameTaken()
	case !errors.Is(err, errUnknown):
		return nil, plugin.Stored(ctx, err)
	}
	u := user{name: name, nickname: cmp.Or(nickname, name)}
	if err := p.hasher.run(ctx, func() { u.password = hashPassword(req.Password, p.hasher.cost) }); err != nil {
		return nil, err
	}
	id, err := p.store.addUser(ctx, u, p.host.Now().UnixMilli())
	if errors.Is(err, errNameTaken) {
		return nil, nameTaken()
	}
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	return &accountpb.SignUpReply{UserId: int64(id)}, nil
}

func signUpRules(req *accountpb.SignUpRequest) (name, nickname string, err error) {
	if name, err = accountName(req.Account); err != nil {
		return "", "", err
	}
	if err := newPassword("password", req.Password); err != nil {
		return "", "", err
	}
	if req.Nickname != "" {
		nickname, err = shownName("nickname", req.Nickname)
	}
	return name, nickname, err
}

func nameTaken() error {
	return &im.Error{Code: idl.CodeAlreadyExists, Field: "account", Reason: "the name is taken"}
}

// limited is the refusal of what was done too often.
func limited(wait time.Duration, what string) error {
	return &im.Error{Code: idl.CodeRateLimited, Reason: "too many " + what, RetryAfter: wait}
}
