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

// signOut ends devices of the caller: their tokens, then their live sessions. The
// calling session, when it is among them, gets its reply first.
func (p *Account) signOut(ctx context.Context, call *plugin.Call, req *accountpb.SignOutRequest) (*accountpb.SignOutReply, error) {
	if err := signOutRules(req); err != nil {
		return nil, err
	}
	ended, err := p.store.signOut(ctx, call.User, func(all []device) ([]device, error) {
		return chosen(all, call.TokenID, req)
	})
	if _, refused := errors.AsType[*im.Error](err); refused {
		return nil, err
	}
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	p.cut(ctx, call, call.User, ended, idl.CloseSignedOut, "the device was signed out")
	return &accountpb.SignOutReply{DeviceIds: ids(ended)}, nil
}

func signOutRules(req *accountpb.SignOutRequest) error {
	switch req.Scope {
	case accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE:
		return deviceID("device_id", req.DeviceId)
	case accountpb.SignOutScope_SIGN_OUT_SCOPE_THIS, accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS, accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL:
		if req.DeviceId != "" {
			return im.Invalid("device_id", "goes with scope 1 (DEVICE) only")
		}
		return nil
	}
	return im.Invalid("scope", "must be 0 this, 1 device, 2 others or 3 all")
}

// chosen picks the devices that req means out of all that the user has. A caller
// whose own sign-in was ended meanwhile may end no others.
func chosen(all []device, own int64, req *accountpb.SignOutRequest) ([]device, error) {
	isOwn := func(d device) bool { return d.signIn == own }
	if !slices.ContainsFunc(all, isOwn) {
		return nil, im.Errorf(idl.CodeUnauthenticated, "this device is signed out")
	}
	keep := func(d device) bool { return false } // ALL
	switch req.Scope {
	case accountpb.SignOutScope_SIGN_OUT_SCOPE_THIS:
		keep = func(d device) bool { return !isOwn(d) }
	case accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS:
		keep = isOwn
	case accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE:
		keep = func(d device) bool { return string(d.id) != req.DeviceId }
	}
	picked := slices.DeleteFunc(slices.Clone(all), keep)
	if len(picked) == 0 && req.Scope == accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "device_id", Reason: "not a device of yours that is signed in"}
	}
	return picked, nil
}
