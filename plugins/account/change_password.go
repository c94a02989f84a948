package account

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// changePassword sets the caller's password, who must know the old one, and ends his other
// devices, or all.
func (p *Account) changePassword(ctx context.Context, call *plugin.Call, req *accountpb.ChangePasswordRequest) (*accountpb.ChangePasswordReply, error) {
	if err := triedPassword(req.Password); err != nil {
		return nil, err
	}
	if err := newPassword("new_password", req.NewPassword); err != nil {
		return nil, err
	}
	if string(prepared(req.NewPassword)) == string(prepared(req.Password)) {
		return nil, im.Invalid("new_password", "is the old one")
	}
	for range attempts {
		u, err := p.reverify(ctx, call, req.Password)
		if err != nil {
			return nil, err
		}
		var hash string
		if err := p.hasher.run(ctx, func() { hash = hashPassword(req.NewPassword, p.hasher.cost) }); err != nil {
			return nil, err
		}
		ended, err := p.store.setPassword(ctx, u, hash, func(all []device) ([]device, error) {
			scope := accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS
			if req.SignOutAll {
				scope = accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL
			}
			return chosen(all, call.TokenID, &accountpb.SignOutRequest{Scope: scope})
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		p.cut(ctx, call, call.User, ended, idl.CloseSignedOut, "the password was changed")
		return &accountpb.ChangePasswordReply{DeviceIds: ids(ended)}, nil
	}
	return nil, im.Unavailable(retryAfter, nil)
}

// reverify makes sure that the caller knows his password: it counts failures as a sign-in
// does. u.password is the hash that was right.
func (p *Account) reverify(ctx context.Context, call *plugin.Call, tried string) (u user, err error) {
	u, err = p.store.userByID(ctx, call.User)
	if err != nil {
		return u, refusalOf(ctx, err)
	}
	keys := []string{accountKey(u.name), addressKey(call.Address)}
	if wait := p.failures.Wait(ctx, keys...); wait > 0 {
		return u, limited(wait, "wrong passwords")
	}
	hash, exists := u.password, u.password != noPassword
	if !exists {
		hash = p.hasher.dummy
	}
	_, err = p.check(ctx, keys, hash, tried, exists)
	return u, err
}
