package client

import (
	"context"

	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// This file is friends: what changes is told as messages of the kind EVENT (Handler.Message), who
// comes and goes by Handler.Presence.

// Apply asks somebody to be a friend.
func (a Actions) Apply(ctx context.Context, req *socialpb.ApplyRequest) (*socialpb.ApplyReply, error) {
	return ask[socialpb.ApplyReply](ctx, a.call, idl.ActionApply, req)
}

// Accept accepts the application of user.
func (a Actions) Accept(ctx context.Context, user int64) (*socialpb.Friend, error) {
	rep, err := ask[socialpb.AcceptReply](ctx, a.call, idl.ActionAccept, &socialpb.AcceptRequest{UserId: user})
	return rep.GetFriend(), err
}

// Refuse refuses the application of user.
func (a Actions) Refuse(ctx context.Context, user int64) error {
	_, err := ask[socialpb.RefuseReply](ctx, a.call, idl.ActionRefuse, &socialpb.RefuseRequest{UserId: user})
	return err
}

// Withdraw takes this person's application to user back.
func (a Actions) Withdraw(ctx context.Context, user int64) error {
	_, err := ask[socialpb.WithdrawReply](ctx, a.call, idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: user})
	return err
}

// Applications lists applications, the newest first: others', or this person's own.
func (a Actions) Applications(ctx context.Context, req *socialpb.ApplicationsRequest) (*socialpb.ApplicationsReply, error) {
	return ask[socialpb.ApplicationsReply](ctx, a.call, idl.ActionApplications, req)
}

// Friends reads a page of the list of friends, or of what changed in it.
func (a Actions) Friends(ctx context.Context, req *socialpb.FriendsRequest) (*socialpb.FriendsReply, error) {
	return ask[socialpb.FriendsReply](ctx, a.call, idl.ActionFriends, req)
}

// DeleteFriend ends a friendship.
func (a Actions) DeleteFriend(ctx context.Context, user int64) error {
	_, err := ask[socialpb.DeleteReply](ctx, a.call, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: user})
	return err
}

// SetAlias sets what this person calls a friend; empty: nothing of his own.
func (a Actions) SetAlias(ctx context.Context, user int64, alias string) (*socialpb.Friend, error) {
	rep, err := ask[socialpb.SetAliasReply](ctx, a.call, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: user, Alias: alias})
	return rep.GetFriend(), err
}

// Suggestions gives friends of friends; limit 0: as many as usual.
func (a Actions) Suggestions(ctx context.Context, limit int32) ([]*socialpb.Suggestion, error) {
	rep, err := ask[socialpb.SuggestionsReply](ctx, a.call, idl.ActionSuggestions, &socialpb.SuggestionsRequest{Limit: limit})
	return rep.GetSuggestions(), err
}

// Presence says which friends are online, and has Handler.Presence told who comes and goes, until lease_ms
// are over or the connection is: ask again before that, and after each Connected.
func (a Actions) Presence(ctx context.Context, users ...int64) (*socialpb.PresenceReply, error) {
	return ask[socialpb.PresenceReply](ctx, a.call, idl.ActionPresence, &socialpb.PresenceRequest{UserIds: users})
}

// Block keeps user from writing to this person.
func (a Actions) Block(ctx context.Context, user int64) error {
	_, err := ask[socialpb.BlockReply](ctx, a.call, idl.ActionBlock, &socialpb.BlockRequest{UserId: user})
	return err
}

// Unblock lets user write again.
func (a Actions) Unblock(ctx context.Context, user int64) error {
	_, err := ask[socialpb.UnblockReply](ctx, a.call, idl.ActionUnblock, &socialpb.UnblockRequest{UserId: user})
	return err
}

// Blocks lists whom this person blocks.
func (a Actions) Blocks(ctx context.Context, req *socialpb.BlocksRequest) (*socialpb.BlocksReply, error) {
	return ask[socialpb.BlocksReply](ctx, a.call, idl.ActionBlocks, req)
}

// FriendGroups lists this person's groups of friends, in their order.
func (a Actions) FriendGroups(ctx context.Context) ([]*socialpb.FriendGroup, error) {
	rep, err := ask[socialpb.GroupsReply](ctx, a.call, idl.ActionFriendGroups, &socialpb.GroupsRequest{})
	return rep.GetGroups(), err
}

// CreateFriendGroup makes a group of friends.
func (a Actions) CreateFriendGroup(ctx context.Context, name string) (*socialpb.FriendGroup, error) {
	rep, err := ask[socialpb.CreateGroupReply](ctx, a.call, idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: name})
	return rep.GetGroup(), err
}

// RenameFriendGroup gives a group of friends another name.
func (a Actions) RenameFriendGroup(ctx context.Context, group int64, name string) (*socialpb.FriendGroup, error) {
	rep, err := ask[socialpb.RenameGroupReply](ctx, a.call, idl.ActionRenameFriendGroup, &socialpb.RenameGroupRequest{GroupId: group, Name: name})
	return rep.GetGroup(), err
}

// DeleteFriendGroup deletes a group of friends; the friends stay, in no group.
func (a Actions) DeleteFriendGroup(ctx context.Context, group int64) error {
	_, err := ask[socialpb.DeleteGroupReply](ctx, a.call, idl.ActionDeleteFriendGroup, &socialpb.DeleteGroupRequest{GroupId: group})
	return err
}

// OrderFriendGroups sets the order of all groups of friends.
func (a Actions) OrderFriendGroups(ctx context.Context, groups ...int64) ([]*socialpb.FriendGroup, error) {
	rep, err := ask[socialpb.OrderGroupsReply](ctx, a.call, idl.ActionOrderFriendGroups, &socialpb.OrderGroupsRequest{GroupIds: groups})
	return rep.GetGroups(), err
}

// MoveFriends puts friends into a group, all or none; group 0: into none.
func (a Actions) MoveFriends(ctx context.Context, group int64, users ...int64) error {
	_, err := ask[socialpb.MoveFriendsReply](ctx, a.call, idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{GroupId: group, UserIds: users})
	return err
}

// SocialSettings gives who may write to and apply to this person.
func (a Actions) SocialSettings(ctx context.Context) (*socialpb.Settings, error) {
	rep, err := ask[socialpb.SettingsReply](ctx, a.call, idl.ActionSocialSettings, &socialpb.SettingsRequest{})
	return rep.GetSettings(), err
}

// UpdateSocialSettings changes the fields that req.Fields names.
func (a Actions) UpdateSocialSettings(ctx context.Context, req *socialpb.UpdateSettingsRequest) (*socialpb.Settings, error) {
	rep, err := ask[socialpb.UpdateSettingsReply](ctx, a.call, idl.ActionUpdateSocialSettings, req)
	return rep.GetSettings(), err
}

// Relation says how this person stands to user.
func (a Actions) Relation(ctx context.Context, user int64) (*socialpb.RelationReply, error) {
	return ask[socialpb.RelationReply](ctx, a.call, idl.ActionRelation, &socialpb.RelationRequest{UserId: user})
}
