package account

import (
	"context"
	"errors"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// attempts is how often a password is verified: a race with a new one, or with a new hash of
// the old, is rare.
const attempts = 3

// signIn trades a password for a token, and ends the devices that the kick
// policy says the new one displaces. It takes three steps: check the password,
// which is slow and so outside any transaction; in one transaction make sure that
// the password is still that one, end the displaced and file the new device;
// after the commit end the live sessions of the displaced.
func (p *Account) signIn(ctx context.Context, call *plugin.Call, req *accountpb.SignInRequest) (*accountpb.SignInReply, error) {
	name, err := signInRules(req)
	if err != nil {
		return nil, err
	}
	var allowed im.UserID // whom the operator's rules let in
	for range attempts {
		u, password, err := p.verify(ctx, call, name, req.Password)
		if err != nil {
			return nil, err
		}
		if u.id != allowed {
			who := plugin.Identity{User: u.id, Device: im.DeviceID(req.Device.Id), DeviceType: req.Device.Type}
			if err := p.rules.OnLogin(ctx, call, who); err != nil {
				return nil, err
			}
			allowed = u.id
		}
		rep, err := p.file(ctx, call, u, password, req.Device)
		if !errors.Is(err, errChanged) {
			return rep, err
		}
	}
	return nil, im.Unavailable(retryAfter, nil)
}

func signInRules(req *accountpb.SignInRequest) (name string, err error) {
	if name, err = accountName(req.Account); err != nil {
		return "", err
	}
	if err := triedPassword(req.Password); err != nil {
		return "", err
	}
	return name, deviceRules(req.Device)
}

// verify gives the user whose name and password these are, and the hash to file
// with the sign-in. A name that nobody has, or somebody without a password, takes the
// same way, the same time and the same refusal as a wrong password.
func (p *Account) verify(ctx context.Context, call *plugin.Call, name, tried string) (u user, password string, err error) {
	keys := []string{accountKey(name), addressKey(call.Address)}
	if wait := p.failures.Wait(ctx, keys...); wait > 0 {
		return u, "", limited(wait, "failed sign-ins")
	}
	u, err = p.store.userByName(ctx, name)
	if err != nil && !errors.Is(err, errUnknown) {
		return u, "", plugin.Stored(ctx, err)
	}
	exists := err == nil && u.password != noPassword
	if !exists {
		u.password = p.hasher.dummy
	}
	password, err = p.check(ctx, keys, u.password, tried, exists)
	return u, password, err
}

// check compares the tried password with the hash, and gives the hash to keep: a
// new one when hashes cost more by now. The try counts as a failure while the
// hash is computed, so that many at once do not slip through together.
func (p *Account) check(ctx context.Context, keys []string, hash, tried string, exists bool) (keep string, err error) {
	refusal := badCredentials()
	err = p.hasher.run(ctx, func() {
		if wait := p.failures.Take(ctx, keys...); wait > 0 {
			refusal = limited(wait, "failed sign-ins")
			return
		}
		right, err := passwordMatches(hash, tried)
		if err != nil {
			refusal = err
		}
		if !right || !exists {
			return
		}
		refusal, keep = nil, hash
		p.failures.GiveBack(ctx, keys...)
		if p.hasher.outdated(hash) {
			keep = hashPassword(tried, p.hasher.cost)
		}
	})
	if err != nil {
		return "", err
	}
	return keep, refusal
}

func badCredentials() error {
	return im.Errorf(idl.CodeBadCredentials, "account name or password is wrong")
}

// file signs the device in and ends the devices that it displaces.
func (p *Account) file(ctx context.Context, call *plugin.Call, u user, password string, d *accountpb.Device) (*accountpb.SignInReply, error) {
	token, hash := newToken()
	now := p.host.Now().UnixMilli()
	_, ended, err := p.store.signIn(ctx, u, password, device{
		id: im.DeviceID(d.Id), deviceType: d.Type, name: d.Name, tokenHash: hash, signedInMs: now, lastSeenMs: now,
		client: d.Client, address: hostOf(call.Address),
	})
	if errors.Is(err, errChanged) {
		return nil, err
	}
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	p.cut(ctx, call, u.id, ended, idl.CloseKicked, "signed in anew on another device, or on this one")
	others := slices.DeleteFunc(ids(ended), func(id string) bool { return id == d.Id })
	return &accountpb.SignInReply{Token: token, UserId: int64(u.id), KickedDeviceIds: others}, nil
}
