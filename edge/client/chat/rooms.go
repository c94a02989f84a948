package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freeim/edge/client"
	"freeim/idl/kitex_gen/roompb"
)

// enter joins a room and makes it what lines are written to.
func (t *talker) enter(ctx context.Context, name string) error {
	name = strings.TrimPrefix(name, "#") // as a room is written elsewhere
	rep, err := t.session.Join(ctx, client.JoinRoom{Room: name})
	if err != nil {
		return err
	}
	t.to, t.room = person{}, rep.GetInfo().GetRoom()
	t.screen.notice("in the room %s (%s); lines are written to it; /leave goes out", t.room, people(rep.GetInfo().GetMembers()))
	return nil
}

// people says how many were in a room just before.
func people(n int64) string {
	switch n {
	case 0:
		return "nobody else"
	case 1:
		return "one other"
	}
	return fmt.Sprintf("%d others", n)
}

// leave goes out of the room with that name, or of the one that lines are written to.
func (t *talker) leave(ctx context.Context, name string) error {
	name = cmp.Or(strings.TrimPrefix(name, "#"), t.room)
	if name == "" {
		return errors.New("which room? /leave NAME")
	}
	if err := t.session.Leave(ctx, name); err != nil {
		return err
	}
	if name == t.room {
		t.room = ""
	}
	t.screen.notice("left the room %s", name)
	return nil
}

// say sends a line to the room. The message itself comes back with the others, in
// its place; here only what went wrong is shown.
func (t *talker) say(ctx context.Context, text string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	rep, err := t.session.SendRoom(ctx, client.RoomOutgoing{Room: t.room, Text: text})
	switch {
	case err != nil:
		t.fail("not sent to %s: %s: %s", t.room, plain(err), text)
	case rep.Rewritten:
		t.screen.notice("changed by a rule: %s", rep.Text)
	}
}

// roomHistory shows the last messages of the room.
func (t *talker) roomHistory(ctx context.Context, n int) error {
	rep, err := t.session.RoomHistory(ctx, &roompb.RoomHistoryRequest{Room: t.room, Limit: int32(min(n, 100))})
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(rep.Messages) {
		t.showRoom(m)
	}
	if len(rep.Messages) == 0 {
		t.screen.notice("nothing yet")
	}
	return nil
}

func (t *talker) showRoom(m *roompb.RoomMessage) {
	who := m.Nickname
	if who == "" {
		who = fmt.Sprint(m.SenderId)
	}
	text := m.Text
	switch m.Kind {
	case roompb.RoomKind_ROOM_KIND_GIFT:
		text = "🎁 " + text
	case roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT:
		text = "📢 " + text
	case roompb.RoomKind_ROOM_KIND_MODERATION:
		text = moderation(m.Moderation)
	}
	t.screen.message(m.TimeMs, m.Room+" | "+who, text)
}

// moderation says what was done to whom.
func moderation(m *roompb.Moderation) string {
	text := map[roompb.ModerationVerb]string{
		roompb.ModerationVerb_MODERATION_MUTE: "muted", roompb.ModerationVerb_MODERATION_UNMUTE: "may speak again:",
		roompb.ModerationVerb_MODERATION_REMOVE: "removed", roompb.ModerationVerb_MODERATION_BAN: "banned",
		roompb.ModerationVerb_MODERATION_UNBAN: "may come again:", roompb.ModerationVerb_MODERATION_SET_ROLE: "new role of",
		roompb.ModerationVerb_MODERATION_SETTINGS: "settings changed", roompb.ModerationVerb_MODERATION_CLOSE: "room closed",
	}[m.GetVerb()]
	if m.GetUserId() != 0 {
		text = fmt.Sprintf("%s %d", text, m.GetUserId())
	}
	if m.GetReason() != "" {
		text += ": " + m.GetReason()
	}
	return "⚖ " + text
}

// roomEvents are the parts of the handler that belong to rooms.
func (t *talker) roomEvents(h *client.Handler) {
	h.RoomMessage = func(_ context.Context, m *client.RoomEntry) { t.showRoom(m.RoomMessage) }
	h.RoomSkip = func(_ context.Context, p *roompb.RoomSkip) {
		n := int64(0)
		for _, r := range p.Ranges {
			n += r.To - r.From + 1
		}
		t.screen.notice("%d messages of %s are not shown: /history has them", n, p.Room)
	}
	h.RoomLeft = func(_ context.Context, l client.RoomLeft) {
		why := map[roompb.RoomLeftReason]string{
			roompb.RoomLeftReason_ROOM_LEFT_REMOVED: "removed by an admin", roompb.RoomLeftReason_ROOM_LEFT_BANNED: "banned",
			roompb.RoomLeftReason_ROOM_LEFT_CLOSED: "the room is closed",
		}[l.Reason]
		if l.Err != nil {
			why = plain(l.Err)
		}
		t.screen.notice("you are not in the room %s any more: %s", l.Room, why)
	}
}
