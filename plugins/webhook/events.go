package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what events are called, and how one reads.

// pingEvent is of test; it is in no feed.
const pingEvent = "webhook.ping"

// named are the families that "*" leaves out: what is in no inbox, and would be written for nothing else.
var named = []string{"room.", "user."}

// catalogue is all names that events can have: a pattern that none of them matches is a
// mistake. By family, without it.
type catalogue map[string][]string

// newCatalogue has the names that the plugins' pages list, and more.
func newCatalogue(more []string) (catalogue, error) {
	c := catalogue{
		"message": {"committed", "shadowed"},
		"account": {"profile"},
		"chat":    {"conversation", "settings", "recalled", "edited", "reacted", "scheduled", "lifetime"},
		"social": {"applied", "accepted", "refused", "withdrawn", "expired", "deleted", "alias", "blocked", "unblocked", "group_created",
			"group_renamed", "group_deleted", "groups_ordered", "friends_moved", "settings"},
		"group": {"created", "joined", "left", "removed", "renamed", "avatar", "described", "announced", "settings", "transferred", "role",
			"muted", "muted_all", "banned", "unbanned", "alias", "dissolved", "invited", "declined", "applied", "refused", "withdrawn", "notify"},
		"moment": {"liked", "commented", "replied", "reviewed"},
		"user":   {"online", "offline"},
		"room":   {"message", "created", "claimed", "muted", "unmuted", "removed", "banned", "unbanned", "role", "updated", "closed", "members"},
	}
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$`)
	for _, m := range more {
		if !name.MatchString(m) {
			return nil, im.Invalid("webhook.more_events", "%q is not plugin.event", m)
		}
		family, event, _ := strings.Cut(m, ".")
		c[family] = append(c[family], event)
	}
	return c, nil
}

// check refuses a pattern that can match nothing.
func (c catalogue) check(pattern string) error {
	family, event, found := strings.Cut(pattern, ".")
	switch {
	case pattern == "*":
		return nil
	case !found:
		return fmt.Errorf("%q is no name, no family (\"group.*\") and not \"*\"", pattern)
	case c[family] == nil:
		families := make([]string, 0, len(c))
		for f := range c {
			families = append(families, f)
		}
		slices.Sort(families)
		return fmt.Errorf("%q: there are no events of %s, but of %s", pattern, family, strings.Join(families, ", "))
	case event != "*" && !slices.Contains(c[family], event):
		return fmt.Errorf("%q is not known: of %s there are %s", pattern, family, strings.Join(c[family], ", "))
	}
	return nil
}

// wants reports whether one of the patterns matches.
func wants(patterns []string, name string) bool {
	for _, pattern := range patterns {
		family, all := strings.CutSuffix(pattern, "*")
		switch {
		case pattern == name:
			return true
		case family == "" && slices.ContainsFunc(named, func(f string) bool { return strings.HasPrefix(name, f) }):
		case all && strings.HasPrefix(name, family):
			return true
		}
	}
	return false
}

// event is an item of a feed as it is delivered.
type event struct {
	ID       string          `json:"id"`       // the same whenever and however often it comes
	Position string          `json:"position"` // for replays
	Event    string          `json:"event"`
	TimeMs   int64           `json:"time_ms"`
	UserID   int64           `json:"user_id,omitempty"` // of a notice: whom it was told
	Message  json.RawMessage `json:"message,omitempty"` // as clients get it
	Push     *plugin.Alert   `json:"push,omitempty"`    // of an offline push

	place  int64
	itemID im.MessageID
}

// eventOf makes an item of a feed an event.
func eventOf(feed im.UserID, f plugin.Fed) (e event, err error) {
	e = event{ID: f.ID.String(), Position: position{feed, f.Position}.String(), Event: f.Event, TimeMs: f.Time.UnixMilli(), place: f.Position, itemID: f.ID}
	if m, is := f.Message.(*chatpb.Message); is {
		if user, notice := strings.CutPrefix(m.ConversationId, "n_"); notice {
			e.UserID, _ = strconv.ParseInt(user, 10, 64)
		}
	}
	e.Message, err = idl.Append(nil, idl.CodecJSON, f.Message)
	return e, err
}

// position is a place in a feed, as people and programs write it: "3-1042".
type position struct {
	feed  im.UserID
	place int64
}

func (p position) String() string { return fmt.Sprintf("%d-%d", -p.feed, p.place) }

var errPosition = errors.New("a position is as events have it: 3-1042")

func parsePosition(s string) (p position, err error) {
	feed, place, _ := strings.Cut(s, "-")
	n, err1 := strconv.ParseUint(feed, 10, 8)
	at, err2 := strconv.ParseUint(place, 10, 63)
	p = position{im.UserID(-int64(n)), int64(at)}
	if err1 != nil || err2 != nil || !p.feed.IsFeed() || p.String() != s {
		return position{}, errPosition
	}
	return p, nil
}
