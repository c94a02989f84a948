// Package idl gives Go names to what the wire specification (README.md beside
// it) fixes: protocol and codec numbers, actions, codes, close reasons, and the
// one way to encode and decode a body. It has no I/O and no policy. Edge, core,
// plugins and the client SDK all import it; it imports only generated code.
package idl

import "freeim/idl/kitex_gen/wirepb"

// Protocol is the high half of a frame's version that this project speaks.
const Protocol = 2

// MaxSafeInteger is the largest integer a body may hold: 2^53-1, so that every
// JSON client reads it exactly.
const MaxSafeInteger = 1<<53 - 1

// Codec is the low half of a frame's version: how the body is encoded.
type Codec uint16

const (
	CodecJSON     Codec = 0
	CodecProtobuf Codec = 1
)

func (c Codec) String() string {
	switch c {
	case CodecJSON:
		return "json"
	case CodecProtobuf:
		return "protobuf"
	}
	return "unknown"
}

// Action is the operation number in a frame's header.
type Action = wirepb.Action

const (
	ActionGetMessageID   = wirepb.Action_ACTION_GET_MESSAGE_ID
	ActionSignIn         = wirepb.Action_ACTION_SIGN_IN
	ActionSync           = wirepb.Action_ACTION_SYNC
	ActionMessage        = wirepb.Action_ACTION_MESSAGE
	ActionMessageAck     = wirepb.Action_ACTION_MESSAGE_ACK
	ActionNotice         = wirepb.Action_ACTION_NOTICE
	ActionAuth           = wirepb.Action_ACTION_AUTH
	ActionQuit           = wirepb.Action_ACTION_QUIT
	ActionSignUp         = wirepb.Action_ACTION_SIGN_UP
	ActionSignOut        = wirepb.Action_ACTION_SIGN_OUT
	ActionListDevices    = wirepb.Action_ACTION_LIST_DEVICES
	ActionFindUser       = wirepb.Action_ACTION_FIND_USER
	ActionProfile        = wirepb.Action_ACTION_PROFILE
	ActionUpdateProfile  = wirepb.Action_ACTION_UPDATE_PROFILE
	ActionSearchUsers    = wirepb.Action_ACTION_SEARCH_USERS
	ActionChangePassword = wirepb.Action_ACTION_CHANGE_PASSWORD
	ActionSetPushToken   = wirepb.Action_ACTION_SET_PUSH_TOKEN
	ActionDeleteAccount  = wirepb.Action_ACTION_DELETE_ACCOUNT
	ActionExport         = wirepb.Action_ACTION_EXPORT
	ActionSignInExternal = wirepb.Action_ACTION_SIGN_IN_EXTERNAL
	ActionHistory        = wirepb.Action_ACTION_HISTORY
	ActionHeld           = wirepb.Action_ACTION_HELD

	ActionRead               = wirepb.Action_ACTION_READ
	ActionListConversations  = wirepb.Action_ACTION_LIST_CONVERSATIONS
	ActionUpdateConversation = wirepb.Action_ACTION_UPDATE_CONVERSATION
	ActionTyping             = wirepb.Action_ACTION_TYPING
	ActionRecall             = wirepb.Action_ACTION_RECALL
	ActionEdit               = wirepb.Action_ACTION_EDIT
	ActionVersions           = wirepb.Action_ACTION_VERSIONS
	ActionReact              = wirepb.Action_ACTION_REACT
	ActionReactions          = wirepb.Action_ACTION_REACTIONS
	ActionSearchMessages     = wirepb.Action_ACTION_SEARCH_MESSAGES
	ActionSchedule           = wirepb.Action_ACTION_SCHEDULE
	ActionListScheduled      = wirepb.Action_ACTION_LIST_SCHEDULED
	ActionReschedule         = wirepb.Action_ACTION_RESCHEDULE
	ActionUnschedule         = wirepb.Action_ACTION_UNSCHEDULE
	ActionReaders            = wirepb.Action_ACTION_READERS
	ActionLifetime           = wirepb.Action_ACTION_LIFETIME
	ActionChatSettings       = wirepb.Action_ACTION_CHAT_SETTINGS

	ActionCreateGroup       = wirepb.Action_ACTION_CREATE_GROUP
	ActionGroupInfo         = wirepb.Action_ACTION_GROUP_INFO
	ActionListGroups        = wirepb.Action_ACTION_LIST_GROUPS
	ActionGroupMembers      = wirepb.Action_ACTION_GROUP_MEMBERS
	ActionUpdateGroup       = wirepb.Action_ACTION_UPDATE_GROUP
	ActionDissolveGroup     = wirepb.Action_ACTION_DISSOLVE_GROUP
	ActionInviteToGroup     = wirepb.Action_ACTION_INVITE_TO_GROUP
	ActionAnswerInvitation  = wirepb.Action_ACTION_ANSWER_INVITATION
	ActionJoinGroup         = wirepb.Action_ACTION_JOIN_GROUP
	ActionDecideApplication = wirepb.Action_ACTION_DECIDE_APPLICATION
	ActionGroupRequests     = wirepb.Action_ACTION_GROUP_REQUESTS
	ActionLeaveGroup        = wirepb.Action_ACTION_LEAVE_GROUP
	ActionRemoveFromGroup   = wirepb.Action_ACTION_REMOVE_FROM_GROUP
	ActionTransferGroup     = wirepb.Action_ACTION_TRANSFER_GROUP
	ActionSetGroupRole      = wirepb.Action_ACTION_SET_GROUP_ROLE
	ActionMuteInGroup       = wirepb.Action_ACTION_MUTE_IN_GROUP
	ActionBanFromGroup      = wirepb.Action_ACTION_BAN_FROM_GROUP
	ActionGroupBans         = wirepb.Action_ACTION_GROUP_BANS
	ActionWithdrawRequest   = wirepb.Action_ACTION_WITHDRAW_REQUEST
	ActionSetGroupSelf      = wirepb.Action_ACTION_SET_GROUP_SELF

	ActionJoinRoom            = wirepb.Action_ACTION_JOIN_ROOM
	ActionLeaveRoom           = wirepb.Action_ACTION_LEAVE_ROOM
	ActionRoomMessage         = wirepb.Action_ACTION_ROOM_MESSAGE
	ActionRoomHistory         = wirepb.Action_ACTION_ROOM_HISTORY
	ActionRoomInfo            = wirepb.Action_ACTION_ROOM_INFO
	ActionRoomMembers         = wirepb.Action_ACTION_ROOM_MEMBERS
	ActionCreateRoom          = wirepb.Action_ACTION_CREATE_ROOM
	ActionUpdateRoom          = wirepb.Action_ACTION_UPDATE_ROOM
	ActionModerateRoom        = wirepb.Action_ACTION_MODERATE_ROOM
	ActionCloseRoom           = wirepb.Action_ACTION_CLOSE_ROOM
	ActionRoomRoles           = wirepb.Action_ACTION_ROOM_ROLES
	ActionHeartbeat           = wirepb.Action_ACTION_HEARTBEAT
	ActionPublishMoment       = wirepb.Action_ACTION_PUBLISH_MOMENT
	ActionDeleteMoment        = wirepb.Action_ACTION_DELETE_MOMENT
	ActionSetMomentVisibility = wirepb.Action_ACTION_SET_MOMENT_VISIBILITY
	ActionGetMoment           = wirepb.Action_ACTION_GET_MOMENT
	ActionMomentFeed          = wirepb.Action_ACTION_MOMENT_FEED
	ActionListMoments         = wirepb.Action_ACTION_LIST_MOMENTS
	ActionMomentSquare        = wirepb.Action_ACTION_MOMENT_SQUARE
	ActionLikeMoment          = wirepb.Action_ACTION_LIKE_MOMENT
	ActionUnlikeMoment        = wirepb.Action_ACTION_UNLIKE_MOMENT
	ActionCommentMoment       = wirepb.Action_ACTION_COMMENT_MOMENT
	ActionDeleteComment       = wirepb.Action_ACTION_DELETE_COMMENT
	ActionMomentLikes         = wirepb.Action_ACTION_MOMENT_LIKES
	ActionMomentComments      = wirepb.Action_ACTION_MOMENT_COMMENTS
	ActionUploadFile          = wirepb.Action_ACTION_UPLOAD_FILE
	ActionCommitFile          = wirepb.Action_ACTION_COMMIT_FILE
	ActionFileURL             = wirepb.Action_ACTION_FILE_URL
	ActionListFiles           = wirepb.Action_ACTION_LIST_FILES
	ActionDeleteFile          = wirepb.Action_ACTION_DELETE_FILE
	ActionError               = wirepb.Action_ACTION_ERROR
)

// The actions of the social plugin.
const (
	ActionApply                = wirepb.Action_ACTION_APPLY
	ActionAccept               = wirepb.Action_ACTION_ACCEPT
	ActionRefuse               = wirepb.Action_ACTION_REFUSE
	ActionWithdraw             = wirepb.Action_ACTION_WITHDRAW
	ActionApplications         = wirepb.Action_ACTION_APPLICATIONS
	ActionFriends              = wirepb.Action_ACTION_FRIENDS
	ActionDeleteFriend         = wirepb.Action_ACTION_DELETE_FRIEND
	ActionSetAlias             = wirepb.Action_ACTION_SET_ALIAS
	ActionSuggestions          = wirepb.Action_ACTION_SUGGESTIONS
	ActionPresence             = wirepb.Action_ACTION_PRESENCE
	ActionBlock                = wirepb.Action_ACTION_BLOCK
	ActionUnblock              = wirepb.Action_ACTION_UNBLOCK
	ActionBlocks               = wirepb.Action_ACTION_BLOCKS
	ActionFriendGroups         = wirepb.Action_ACTION_FRIEND_GROUPS
	ActionCreateFriendGroup    = wirepb.Action_ACTION_CREATE_FRIEND_GROUP
	ActionRenameFriendGroup    = wirepb.Action_ACTION_RENAME_FRIEND_GROUP
	ActionDeleteFriendGroup    = wirepb.Action_ACTION_DELETE_FRIEND_GROUP
	ActionOrderFriendGroups    = wirepb.Action_ACTION_ORDER_FRIEND_GROUPS
	ActionMoveFriends          = wirepb.Action_ACTION_MOVE_FRIENDS
	ActionSocialSettings       = wirepb.Action_ACTION_SOCIAL_SETTINGS
	ActionUpdateSocialSettings = wirepb.Action_ACTION_UPDATE_SOCIAL_SETTINGS
	ActionRelation             = wirepb.Action_ACTION_RELATION
)

// Code says why an action was refused.
type Code = wirepb.Code

const (
	CodeUnknown          = wirepb.Code_CODE_UNKNOWN
	CodeInternal         = wirepb.Code_CODE_INTERNAL
	CodeUnavailable      = wirepb.Code_CODE_UNAVAILABLE
	CodeUnauthenticated  = wirepb.Code_CODE_UNAUTHENTICATED
	CodePermissionDenied = wirepb.Code_CODE_PERMISSION_DENIED
	CodeInvalidArgument  = wirepb.Code_CODE_INVALID_ARGUMENT
	CodeNotFound         = wirepb.Code_CODE_NOT_FOUND
	CodeAlreadyExists    = wirepb.Code_CODE_ALREADY_EXISTS
	CodeConflict         = wirepb.Code_CODE_CONFLICT
	CodeRateLimited      = wirepb.Code_CODE_RATE_LIMITED
	CodeUnknownAction    = wirepb.Code_CODE_UNKNOWN_ACTION
	CodeTooLarge         = wirepb.Code_CODE_TOO_LARGE
	CodeDeadlineExceeded = wirepb.Code_CODE_DEADLINE_EXCEEDED
	CodeRejected         = wirepb.Code_CODE_REJECTED
	CodeBadCredentials   = wirepb.Code_CODE_BAD_CREDENTIALS
	CodeMalformedBody    = wirepb.Code_CODE_MALFORMED_BODY
	CodeLimitExceeded    = wirepb.Code_CODE_LIMIT_EXCEEDED
)

// CloseReason says why the server ended a session. It doubles as the close code
// of a WebSocket.
type CloseReason = wirepb.CloseReason

const (
	CloseShutdown           = wirepb.CloseReason_CLOSE_SHUTDOWN
	CloseSlow               = wirepb.CloseReason_CLOSE_SLOW
	CloseIdle               = wirepb.CloseReason_CLOSE_IDLE
	CloseOverloaded         = wirepb.CloseReason_CLOSE_OVERLOADED
	CloseAuthTimeout        = wirepb.CloseReason_CLOSE_AUTH_TIMEOUT
	CloseReplaced           = wirepb.CloseReason_CLOSE_REPLACED
	CloseKicked             = wirepb.CloseReason_CLOSE_KICKED
	CloseSignedOut          = wirepb.CloseReason_CLOSE_SIGNED_OUT
	CloseBye                = wirepb.CloseReason_CLOSE_BYE
	CloseRemoved            = wirepb.CloseReason_CLOSE_REMOVED
	CloseMalformed          = wirepb.CloseReason_CLOSE_MALFORMED
	CloseTooLarge           = wirepb.CloseReason_CLOSE_TOO_LARGE
	CloseUnsupportedVersion = wirepb.CloseReason_CLOSE_UNSUPPORTED_VERSION
	CloseFlood              = wirepb.CloseReason_CLOSE_FLOOD
)

// Reconnect reports whether a client that was closed for r should connect again
// by itself. Source: README.md, Close reasons.
func Reconnect(r CloseReason) bool { return r < 4500 }

// DeviceType is the class of device that the kick policy looks at.
type DeviceType = wirepb.DeviceType

const (
	DeviceUnknown = wirepb.DeviceType_DEVICE_TYPE_UNKNOWN
	DeviceMobile  = wirepb.DeviceType_DEVICE_TYPE_MOBILE
	DeviceDesktop = wirepb.DeviceType_DEVICE_TYPE_DESKTOP
	DeviceWeb     = wirepb.DeviceType_DEVICE_TYPE_WEB
	DeviceTablet  = wirepb.DeviceType_DEVICE_TYPE_TABLET
)
