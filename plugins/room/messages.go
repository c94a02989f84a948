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
	return &roompb.RoomMessage{
		Room: nameOf(m.Conversation), Seq: m.Seq, Id: m.ID.String(), SenderId: int64(m.Sender), Nickname: content.Nickname,
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

// fits gives how many of the first messages make up a page of about max octets in
// codec c, at least one if there is one.
func fits(all []*roompb.RoomMessage, max int, c idl.Codec) int {
	size := 0
	for i, m := range all {
		if size += sizeOf(m, c); size > max && i > 0 {
			return i
		}
	}
	return len(all)
}

// sizeOf is about what a message takes in codec c.
func sizeOf(m *roompb.RoomMessage, c idl.Codec) int {
	const rest = 320 // IDs, seqs and names around the texts, in JSON
	size := rest + encodedSize(m.Room, c) + encodedSize(m.Nickname, c) + encodedSize(m.Text, c) + encodedSize(m.Data, c)
	if m.Moderation != nil {
		size += encodedSize(m.Moderation.Reason, c)
	}
	return size
}

// encodedSize is about what a text takes in codec c: in JSON a quote, a bracket or a
// control character grows to as many as six octets.
func encodedSize(text string, c idl.Codec) int {
	size := len(text)
	if c != idl.CodecJSON {
		return size
	}
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ', b == '<', b == '>', b == '&', b == 0x7f:
			size += len(`\u003c`) - 1
		case b == '"', b == '\\':
			size++
		}
	}
	return size
}
