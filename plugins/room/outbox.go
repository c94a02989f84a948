package room

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// This file is what other programs are told of rooms, by the feeds (plugin.Outbox): nothing is written for that unless
// somebody asked for the event. README.md lists the events, and what each may miss.

// The events that are no message of the log.
const (
	eventMessage = "room.message"
	eventCreated = "room.created"
	eventClaimed = "room.claimed"
	eventMembers = "room.members"
)

// moderated is what the notices of a room's log are called.
var moderated = map[roompb.ModerationVerb]string{
	roompb.ModerationVerb_MODERATION_MUTE:     "room.muted",
	roompb.ModerationVerb_MODERATION_UNMUTE:   "room.unmuted",
	roompb.ModerationVerb_MODERATION_REMOVE:   "room.removed",
	roompb.ModerationVerb_MODERATION_BAN:      "room.banned",
	roompb.ModerationVerb_MODERATION_UNBAN:    "room.unbanned",
	roompb.ModerationVerb_MODERATION_SET_ROLE: "room.role",
	roompb.ModerationVerb_MODERATION_SETTINGS: "room.updated",
	roompb.ModerationVerb_MODERATION_CLOSE:    "room.closed",
}

const (
	// mostTallies is how many rooms' sizes a core tells in a fifth of a second: the others wait their turn.
	mostTallies = 20
	// mostNamed is of how many people it is told who they are: the data of an event has 4 KiB.
	mostNamed = 150
	// tallyTime bounds the telling of some.
	tallyTime = 5 * time.Second
)

// openOutbox finds the feeds, and says how rooms' messages are told there.
func (p *Room) openOutbox(h plugin.Host) (err error) {
	if _, ok := h.Service(plugin.ServiceOutbox); !ok {
		return nil
	}
	if p.outbox, err = plugin.Need[plugin.Outbox](h, plugin.ServiceOutbox); err == nil {
		p.outbox.Show(im.Room, show)
	}
	return err
}

// show is a plugin.Show.
func show(m im.Message) (event string, body idl.Message, err error) {
	one, err := shown(m)
	if err != nil {
		return "", nil, err
	}
	return eventOf(one.Kind, one.Moderation), one, nil
}

// eventOf is what a message of a room is called.
func eventOf(kind roompb.RoomKind, m *roompb.Moderation) string {
	if name := moderated[m.GetVerb()]; kind == roompb.RoomKind_ROOM_KIND_MODERATION && name != "" {
		return name
	}
	return eventMessage
}

// wanted reports whether somebody asked for an event.
func (p *Room) wanted(event string) bool { return p.outbox != nil && p.outbox.Wanted(event) }

// commit appends to a room's log.
func (p *Room) commit(ctx context.Context, event string, d timeline.Draft) (timeline.Committed, error) {
	if p.outbox == nil {
		return p.timelines.Append(ctx, d)
	}
	return p.outbox.Append(ctx, event, d)
}

// noteMade has it told once tx is committed that there is a room now, or that somebody has taken one over.
func (p *Room) noteMade(ctx context.Context, tx *sql.Tx, event string, r room) error {
	if !p.wanted(event) {
		return nil
	}
	data, err := json.Marshal(struct {
		Room  string    `json:"room"`
		Owner im.UserID `json:"owner_id,omitempty"`
		Title string    `json:"title,omitempty"`
	}{r.name, r.owner, r.title})
	if err != nil {
		return err
	}
	return p.outbox.Note(ctx, tx, plugin.Notice{About: conversation(r.name), Name: event, Data: string(data)})
}

// tally is the data of eventMembers.
type tally struct {
	Room    string  `json:"room"`
	Members int64   `json:"members"`
	Users   []int64 `json:"user_ids,omitempty"`
}

// tellTallies tells rooms' sizes. What cannot be told is tried again.
func (p *Room) tellTallies(ctx context.Context, all map[im.ConversationID]presence.Occupancy) {
	rooms := slices.Collect(maps.Keys(all))
	notices := make([]plugin.Notice, len(rooms))
	for i, c := range rooms {
		one := tally{Room: nameOf(c), Members: all[c].Members}
		if p.small(all[c]) && len(all[c].Users) <= mostNamed {
			one.Users = numbers(all[c].Users)
		}
		data, _ := json.Marshal(one) // numbers and a name: it never fails
		notices[i] = plugin.Notice{About: c, ID: "~" + p.host.MessageIDs().Next(c).String(), Name: eventMembers, Data: string(data)}
	}
	ctx, cancel := context.WithTimeout(ctx, tallyTime)
	defer cancel()
	var faults []error
	for i, err := range p.outbox.Tell(ctx, notices...) {
		if err != nil {
			faults = append(faults, err)
			p.tallies.again(rooms[i], all[rooms[i]])
		}
	}
	if len(faults) > 0 {
		p.host.Log().Warn("sizes of rooms wait to be told to other programs", "rooms", len(faults), "err", faults[0])
	}
}
