package client

import (
	"context"
	"encoding/json"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// This file is what people do with their accounts, beside signing up, in and out.

// Profile gives this person's own profile, whole.
func (a Actions) Profile(ctx context.Context) (*accountpb.Profile, error) {
	rep, err := ask[accountpb.ProfileReply](ctx, a.call, idl.ActionProfile, &accountpb.ProfileRequest{})
	if len(rep.GetProfiles()) == 0 {
		return nil, err
	}
	return rep.Profiles[0], nil
}

// Profiles gives what others show of their profiles, up to 100, in the order asked; who is
// not there is left out.
func (a Actions) Profiles(ctx context.Context, users ...int64) ([]*accountpb.Profile, error) {
	if len(users) == 0 {
		return nil, nil
	}
	rep, err := ask[accountpb.ProfileReply](ctx, a.call, idl.ActionProfile, &accountpb.ProfileRequest{UserIds: users})
	return rep.GetProfiles(), err
}

// UpdateProfile changes the fields of req that are set, also to their zero, and gives the
// profile as it is then.
func (a Actions) UpdateProfile(ctx context.Context, req *accountpb.UpdateProfileRequest) (*accountpb.Profile, error) {
	rep, err := ask[accountpb.UpdateProfileReply](ctx, a.call, idl.ActionUpdateProfile, req)
	return rep.GetProfile(), err
}

// SearchUsers finds people by the beginning of a handle, an account or a nickname, in pages.
func (a Actions) SearchUsers(ctx context.Context, req *accountpb.SearchRequest) (*accountpb.SearchReply, error) {
	return ask[accountpb.SearchReply](ctx, a.call, idl.ActionSearchUsers, req)
}

// ChangePassword sets another password and ends the other devices, or all, and gives those.
// Without an answer the password may be the new one.
func (a Actions) ChangePassword(ctx context.Context, old, next string, all bool) (ended []string, err error) {
	req := &accountpb.ChangePasswordRequest{Password: old, NewPassword: next, SignOutAll: all}
	rep, err := ask[accountpb.ChangePasswordReply](ctx, a.call, idl.ActionChangePassword, req)
	return rep.GetDeviceIds(), err
}

// SetPushToken says where this device gets pushes while it is not connected; both empty:
// nowhere.
func (a Actions) SetPushToken(ctx context.Context, provider, token string) error {
	req := &accountpb.SetPushTokenRequest{Provider: provider, Token: token}
	_, err := ask[accountpb.SetPushTokenReply](ctx, a.call, idl.ActionSetPushToken, req)
	return err
}

// DeleteAccount leaves: this person is hidden and signed out everywhere until he signs in
// again, or is erased at a time; when only deactivated, never.
func (a Actions) DeleteAccount(ctx context.Context, req *accountpb.DeleteRequest) (eraseMs int64, err error) {
	rep, err := ask[accountpb.DeleteReply](ctx, a.call, idl.ActionDeleteAccount, req)
	return rep.GetEraseMs(), err
}

// Export gives a copy of all that is kept of this person, as JSON by plugin.
func (a Actions) Export(ctx context.Context) (map[string]json.RawMessage, error) {
	copied, err := ask[accountpb.ExportReply](ctx, a.call, idl.ActionExport, &accountpb.ExportRequest{})
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	for _, c := range copied.Contents {
		for part := range c.Parts {
			req := &accountpb.ExportRequest{MadeMs: copied.MadeMs, Plugin: c.Plugin, Part: part}
			rep, err := ask[accountpb.ExportReply](ctx, a.call, idl.ActionExport, req)
			if err != nil {
				return nil, err
			}
			all[c.Plugin] = append(all[c.Plugin], rep.Json...)
		}
	}
	return all, nil
}
