package room

import (
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// shown is a message as clients see it.
func shown(m im.Message) (*roompb.RoomMessage, error) {
	var content roompb.RoomContent
	if err := content.Unmarshal(m.Body); err != nil {
		return nil, fmt.Errorf("read message %s: %w", m.ID, err)
	}
	room, seq := m.Conversation, m.Seq
	if of, shadowed := room.Shadowed(); shadowed {
		room, seq = of, 0 // the room's log has it not
	}
	return &roompb.RoomMessage{
		Room: nameOf(room), Seq: seq, Id: m.ID.String(), SenderId: int64(m.Sender), Nickname: content.Nickname,
		ClientId: m.ClientID, TimeMs: m.Time.UnixMilli(), Kind: content.Kind, Text: content.Text, Data: content.Data,
		Moderation: content.Moderation,
	}, nil
}

func shownAll(items []im.Message) ([]*roompb.RoomMessage, error) {
	all := make([]*roompb.RoomMessage, len(items))
	for i, item := range items {
		var err error
		if all[i], err = shown(item); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// broadcast is a message on its way to the members.
func broadcast(m *roompb.RoomMessage) plugin.Broadcast {
	return plugin.Broadcast{
		Room: conversation(m.Room), Seq: m.Seq, Important: m.Kind != roompb.RoomKind_ROOM_KIND_TEXT,
		Action: idl.ActionRoomMessage, Body: m,
	}
}

// tell hands a committed message to fan-out. It runs in the order of commits
// (timeline.Draft.OnCommit).
func (p *Room) tell(done timeline.Committed) {
	m, err := shown(done.Message)
	if err != nil {
		p.host.Log().Error("committed message cannot be shown", "id", done.ID, "err", err)
		return
	}
	p.rooms.Broadcast(broadcast(m))
}

// tellSender pushes a message that nobody else is to see to the sender's devices. Those
// that are not in the room pass it over.
func (p *Room) tellSender(done timeline.Committed) {
	m, err := shown(done.Message)
	if err != nil {
		p.host.Log().Error("committed message cannot be shown", "id", done.ID, "err", err)
		return
	}
	p.host.Push(plugin.Push{Action: idl.ActionRoomMessage, Body: m, Users: []im.UserID{done.Sender}})
}

// fits gives how many of the first messages make up a page of the configured size in
// codec c, at least one if there is one.
func (p *Room) fits(all []*roompb.RoomMessage, c idl.Codec) int {
	return plugin.Fits(all, p.config.PageBytes, func(m *roompb.RoomMessage) int { return sizeOf(m, c) })
}

// sizeOf is about what a message takes in codec c.
func sizeOf(m *roompb.RoomMessage, c idl.Codec) int {
	const rest = 320 // IDs, seqs and names around the texts, in JSON
	size := rest + plugin.SizeOf(m.Room, c) + plugin.SizeOf(m.Nickname, c) + plugin.SizeOf(m.Text, c) + plugin.SizeOf(m.Data, c)
	if m.Moderation != nil {
		size += plugin.SizeOf(m.Moderation.Reason, c)
	}
	return size
}
