package group

import (
	"freeim/idl/kitex_gen/grouppb"
)

const (
	bitSend       = int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND)
	bitInvite     = int32(grouppb.GroupPermission_GROUP_PERMISSION_INVITE)
	bitMentionAll = int32(grouppb.GroupPermission_GROUP_PERMISSION_MENTION_ALL)
	bitEdit       = int32(grouppb.GroupPermission_GROUP_PERMISSION_EDIT)
	bitSettings   = int32(grouppb.GroupPermission_GROUP_PERMISSION_SETTINGS)
	bitRecall     = int32(grouppb.GroupPermission_GROUP_PERMISSION_RECALL)

	// allBits are all permissions, ofMembers those that a group may give to its members.
	allBits   = 2*bitRecall - 1
	ofMembers = bitSend | bitInvite | bitMentionAll | bitEdit
	// usualMember and usualAdmin are what is given when nobody says.
	usualMember = bitSend | bitInvite
	usualAdmin  = allBits &^ bitSettings
)

// permissions are what a member may.
func (g *group) permissions(m member) int32 {
	switch m.role {
	case grouppb.GroupRole_GROUP_ROLE_OWNER:
		return allBits
	case grouppb.GroupRole_GROUP_ROLE_ADMIN:
		return m.permissions
	case grouppb.GroupRole_GROUP_ROLE_MEMBER:
		return g.memberPermissions
	}
	return 0
}
