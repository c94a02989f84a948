package group

import (
	"context"

	"freeim/core/im"
	"freeim/idl/kitex_gen/grouppb"
)

// Settle implements plugin.Settler: who may change the group's settings says after how long its messages disappear.
func (o owner) Settle(ctx context.Context, c im.ConversationID, user im.UserID) error {
	now, me, err := o.member(ctx, c, user)
	if err != nil {
		return err
	}
	if now.group.permissions(member{role: me.role, permissions: me.permissions})&int32(grouppb.GroupPermission_GROUP_PERMISSION_SETTINGS) == 0 {
		return denied("conversation_id", "you may not change the group's settings")
	}
	return nil
}
