package room

import (
	"context"
	"errors"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
)

// mostRepeated is how many messages an edge that missed some is given again: the
// newest. Older ones it declares skipped.
const mostRepeated = 1000

// source is what the host asks of rooms: a plugin.RoomSource.
type source struct{ *Room }

// Since implements plugin.RoomSource.
func (s source) Since(ctx context.Context, c im.ConversationID, after int64) (plugin.RoomPiece, error) {
	piece := plugin.RoomPiece{}
	if c.Type() != im.Room {
		return piece, errUnknown
	}
	st, err := s.states.get(ctx, key{room: nameOf(c)})
	if err != nil && !errors.Is(err, errUnknown) {
		return piece, err
	}
	st.room.name = nameOf(c)
	piece.Policy = s.policy(ctx, st.room)
	end, err := s.timelines.Log(ctx, c, 0, 0)
	if err != nil {
		return piece, err
	}
	if piece.Through = end.Head; end.Head <= after {
		return piece, nil
	}
	page, err := s.timelines.LogBefore(ctx, c, end.Head+1, int(min(mostRepeated, end.Head-after)))
	if err != nil {
		return piece, err
	}
	for _, item := range slices.Backward(page.Items) {
		m, err := shown(item)
		if err != nil {
			return piece, err
		}
		piece.Frames = append(piece.Frames, broadcast(m))
	}
	return piece, nil
}
