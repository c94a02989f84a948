package client

import (
	"context"
	"encoding/json"
	"fmt"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// Actions are the requests that a Client and a Session share, with their types.
// Each fails as Call of its owner does.
type Actions struct {
	call call
}

type call func(ctx context.Context, action idl.Action, req, rep idl.Message) error

// ActionsBy are the actions by another way than a Client or a Session, as HTTP: do sends req
// and reads the answer into rep, and fails with a *Refusal if it is one.
func ActionsBy(do func(ctx context.Context, action idl.Action, req, rep idl.Message) error) Actions {
	return Actions{call: do}
}

// ask calls and gives the answer, nil when there is an error.
func ask[Rep any, P interface {
	*Rep
	idl.Message
}](ctx context.Context, by call, action idl.Action, req idl.Message) (*Rep, error) {
	rep := new(Rep)
	if err := by(ctx, action, req, P(rep)); err != nil {
		return nil, err
	}
	return rep, nil
}

// SignOut ends a device of this user: with the zero request the one that asks,
// which closes this session with idl.CloseSignedOut.
func (a Actions) SignOut(ctx context.Context, req *accountpb.SignOutRequest) (*accountpb.SignOutReply, error) {
	return ask[accountpb.SignOutReply](ctx, a.call, idl.ActionSignOut, req)
}

// Devices lists the devices that are signed in, the newest first.
func (a Actions) Devices(ctx context.Context) ([]*accountpb.DeviceInfo, error) {
	rep, err := ask[accountpb.ListDevicesReply](ctx, a.call, idl.ActionListDevices, &accountpb.ListDevicesRequest{})
	return rep.GetDevices(), err
}

// FindUser finds a person by account name.
func (a Actions) FindUser(ctx context.Context, account string) (*accountpb.FindUserReply, error) {
	return ask[accountpb.FindUserReply](ctx, a.call, idl.ActionFindUser, &accountpb.FindUserRequest{Account: account})
}

// FindUserID finds a person by user ID.
func (a Actions) FindUserID(ctx context.Context, user int64) (*accountpb.FindUserReply, error) {
	return ask[accountpb.FindUserReply](ctx, a.call, idl.ActionFindUser, &accountpb.FindUserRequest{UserId: user})
}

// History reads a page of a conversation's log.
func (a Actions) History(ctx context.Context, req *chatpb.HistoryRequest) (*chatpb.HistoryReply, error) {
	return ask[chatpb.HistoryReply](ctx, a.call, idl.ActionHistory, req)
}

// Held reads a page of one's own messages that wait for a decision, or were denied.
func (a Actions) Held(ctx context.Context, req *chatpb.HeldRequest) (*chatpb.HeldReply, error) {
	return ask[chatpb.HeldReply](ctx, a.call, idl.ActionHeld, req)
}

// MessageID gets an ID fit for Outgoing.ClientID.
func (a Actions) MessageID(ctx context.Context) (string, error) {
	rep, err := ask[chatpb.GetMessageIdReply](ctx, a.call, idl.ActionGetMessageID, &chatpb.GetMessageIdRequest{})
	return rep.GetMessageId(), err
}

// RoomHistory reads a page of a room's log.
func (a Actions) RoomHistory(ctx context.Context, req *roompb.RoomHistoryRequest) (*roompb.RoomHistoryReply, error) {
	return ask[roompb.RoomHistoryReply](ctx, a.call, idl.ActionRoomHistory, req)
}

// RoomInfo gives a room's settings and size.
func (a Actions) RoomInfo(ctx context.Context, room string) (*roompb.RoomInfo, error) {
	return ask[roompb.RoomInfo](ctx, a.call, idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: room})
}

// RoomMembers lists who is in a small room.
func (a Actions) RoomMembers(ctx context.Context, room string) (*roompb.RoomMembersReply, error) {
	return ask[roompb.RoomMembersReply](ctx, a.call, idl.ActionRoomMembers, &roompb.RoomMembersRequest{Room: room})
}

// CreateRoom makes a room of this person's.
func (a Actions) CreateRoom(ctx context.Context, req *roompb.CreateRoomRequest) (*roompb.RoomInfo, error) {
	rep, err := ask[roompb.CreateRoomReply](ctx, a.call, idl.ActionCreateRoom, req)
	return rep.GetInfo(), err
}

// UpdateRoom changes the fields of a room that req.Fields names.
func (a Actions) UpdateRoom(ctx context.Context, req *roompb.UpdateRoomRequest) (*roompb.RoomInfo, error) {
	rep, err := ask[roompb.UpdateRoomReply](ctx, a.call, idl.ActionUpdateRoom, req)
	return rep.GetInfo(), err
}

// ModerateRoom mutes, removes or bans a person, or gives a role.
func (a Actions) ModerateRoom(ctx context.Context, room string, m *roompb.Moderation) (*roompb.ModerateRoomReply, error) {
	return ask[roompb.ModerateRoomReply](ctx, a.call, idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: room, Moderation: m})
}

// CloseRoom ends a room for good.
func (a Actions) CloseRoom(ctx context.Context, room, reason string) error {
	_, err := ask[roompb.CloseRoomReply](ctx, a.call, idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: room, Reason: reason})
	return err
}

// RoomRoles lists the people with a role, a mute or a ban in a room.
func (a Actions) RoomRoles(ctx context.Context, req *roompb.ListRolesRequest) (*roompb.ListRolesReply, error) {
	return ask[roompb.ListRolesReply](ctx, a.call, idl.ActionRoomRoles, req)
}

// Scripted calls an action that the operator's scripts define, by its number, 200 to 254.
// req is marshalled to the JSON object of its request; nil: an empty one. The reply's JSON
// is unmarshalled into rep, unless that is nil. Whether it may be sent again when there is
// no answer, the action's own description says.
func (a Actions) Scripted(ctx context.Context, action idl.Action, req, rep any) error {
	in, out := new(idl.Scripted), new(idl.Scripted)
	if req != nil {
		text, err := json.Marshal(req)
		if err != nil {
			return fmt.Errorf("body of action %d: %w", action, err)
		}
		in.JSON = text
	}
	if err := a.call(ctx, action, in, out); err != nil || rep == nil {
		return err
	}
	if len(out.JSON) == 0 {
		out.JSON = []byte("{}")
	}
	if err := json.Unmarshal(out.JSON, rep); err != nil {
		return fmt.Errorf("answer to action %d: %w", action, err)
	}
	return nil
}

// SignUp makes an account. An empty nickname is the account's name.
func (c *Client) SignUp(ctx context.Context, account, password, nickname string) (user int64, err error) {
	req := &accountpb.SignUpRequest{Account: account, Password: password, Nickname: nickname}
	rep, err := ask[accountpb.SignUpReply](ctx, c.Call, idl.ActionSignUp, req)
	return rep.GetUserId(), err
}

// SignIn trades a password for a token. It does not pass Auth.
func (c *Client) SignIn(ctx context.Context, account, password string, device *accountpb.Device) (*accountpb.SignInReply, error) {
	req := &accountpb.SignInRequest{Account: account, Password: password, Device: device}
	return ask[accountpb.SignInReply](ctx, c.Call, idl.ActionSignIn, req)
}

// SignInExternal is SignIn by the token (JWT) of an issuer that the server trusts.
func (c *Client) SignInExternal(ctx context.Context, token string, device *accountpb.Device) (*accountpb.SignInReply, error) {
	req := &accountpb.SignInExternalRequest{Token: token, Device: device}
	return ask[accountpb.SignInReply](ctx, c.Call, idl.ActionSignInExternal, req)
}

// Auth makes this connection the session of the token's device. The caller must
// then send a frame every AuthReply.heartbeat_ms.
func (c *Client) Auth(ctx context.Context, token string) (*accountpb.AuthReply, error) {
	rep, err := ask[accountpb.AuthReply](ctx, c.Call, idl.ActionAuth, &accountpb.AuthRequest{Token: token})
	if rep.GetMaxBody() > 0 {
		c.maxBody.Store(rep.MaxBody)
	}
	return rep, err
}

// Heartbeat says "still here".
func (c *Client) Heartbeat(ctx context.Context) error {
	return c.Call(ctx, idl.ActionHeartbeat, &wirepb.HeartbeatRequest{}, new(wirepb.HeartbeatReply))
}

// Send sends one message once; the answer means that it is committed. When there
// is no answer, send it again unchanged.
func (c *Client) Send(ctx context.Context, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	return ask[chatpb.SendReply](ctx, c.Call, idl.ActionMessage, req)
}

// Sync reads a page of the inbox.
func (c *Client) Sync(ctx context.Context, req *chatpb.SyncRequest) (*chatpb.SyncReply, error) {
	return ask[chatpb.SyncReply](ctx, c.Call, idl.ActionSync, req)
}

// Ack says that this device holds a conversation up to seq.
func (c *Client) Ack(ctx context.Context, conversation string, seq int64) error {
	req := &chatpb.AckRequest{ConversationId: conversation, Seq: seq}
	return c.Call(ctx, idl.ActionMessageAck, req, new(chatpb.AckReply))
}
