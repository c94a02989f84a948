package plugin

import (
	"context"

	"freeim/core/im"
	"freeim/idl"
)

// This file is the hook for offline pushes: who sends them, by which service of an operating system's maker
// ever, asks the plugin that messages belong to whom a message did not reach. The account plugin knows
// where.

// The names of services: ServiceAlerts is an Alerts, of the chat plugin; ServicePush a PushTokens, of the
// account plugin.
const (
	ServiceAlerts = "chat.alerts"
	ServicePush   = "account.push"
)

// Alerts says who has to be told, otherwise than by a connection, that there are messages for him. Safe for
// concurrent use.
type Alerts interface {
	// Alerts looks whom items of one feed did not reach, as it is now: people none of whose devices has
	// acknowledged or read the message since, and who have a device that can be told. Of what was recalled
	// meanwhile, deleted, or may not be read any more there is no alert, nor for who wants to hear nothing
	// of the conversation. Of several items of one conversation everybody gets one alert, for the newest.
	// covered is how many of the items it looked at, the first ones, at least one: it takes no more than
	// have some thousand recipients. The caller waits first, for as long as a device that is awake may take
	// to acknowledge.
	Alerts(ctx context.Context, items []Fed) (alerts []Alert, covered int, err error)
}

// Alert is a push to the devices of one person.
type Alert struct {
	Position     int64             `json:"-"` // of the item in its feed
	User         im.UserID         `json:"user_id"`
	Conversation im.ConversationID `json:"conversation_id"`
	// CollapseKey is the same for all alerts that replace each other on a device: 64 octets at most.
	CollapseKey string    `json:"collapse_key"`
	MessageID   string    `json:"message_id"`
	Seq         int64     `json:"seq"`
	Sender      im.UserID `json:"sender_id"`
	TimeMs      int64     `json:"time_ms"` // of the commit
	// ExpiresMs is when the message disappears, and what shows of it on the device has to as well; 0: it stays.
	ExpiresMs int64  `json:"expires_ms,omitempty"`
	Kind      string `json:"kind"` // "text", "image" …
	// Name is the sender's nickname, and Text the beginning of what he wrote, if anything: who sends
	// pushes may leave them out.
	Name    string `json:"sender_name,omitempty"`
	Text    string `json:"text,omitempty"`
	Mention bool   `json:"mention,omitempty"` // one of the messages names him, or everybody
	// Silent is to be shown without a sound: he muted the conversation, and none of the messages mentions him.
	Silent bool `json:"silent,omitempty"`
	// Badge is how many messages he has not read, but for conversations that he muted altogether, or hid. Of somebody who was long
	// away it may be too few: each alert counts 500 entries of his inbox more.
	Badge   int64         `json:"badge"`
	Devices []AlertDevice `json:"devices"` // at least one
}

// AlertDevice is where an alert goes.
type AlertDevice struct {
	Device   im.DeviceID `json:"device_id"`
	Type     string      `json:"type"` // "mobile" …
	Provider string      `json:"provider"`
	Token    string      `json:"token"`
}

// PushTokens knows the devices that can be told while they are not connected. Safe for concurrent use.
type PushTokens interface {
	// PushTokens calls fn with each device of the users that has given a token, of each user the newest sign-in first.
	PushTokens(ctx context.Context, users []im.UserID, fn func(u im.UserID, d im.DeviceID, kind idl.DeviceType, provider, token string)) error
}

// Level is how much somebody wants to hear of a conversation.
type Level int

// The levels, as in chat.proto and group.proto.
const (
	LevelNormal Level = 0
	LevelSilent Level = 1 // shown and counted, without a sound
	LevelNone   Level = 2 // not told at all
)

// Leveller is a ConversationOwner that keeps such levels of its own beside those that the chat plugin keeps for
// all conversations. Of two the quieter one holds.
type Leveller interface {
	// Levels gives those of the users in c that are not LevelNormal.
	Levels(ctx context.Context, c im.ConversationID, users []im.UserID) (map[im.UserID]Level, error)
	// Silenced gives the conversations of which user wants to hear nothing.
	Silenced(ctx context.Context, user im.UserID) ([]im.ConversationID, error)
}
