package room

import (
	"context"
	"errors"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

const (
	// mostRepeated and mostOctets are how many messages an edge that missed some is
	// given again, and about how large all together in JSON: the newest. Older ones it
	// declares skipped. An edge keeps no more chat than that of a room.
	mostRepeated = 1000
	mostOctets   = 256 << 10
	// lookBack is how many messages that the edge has are looked at too: the expulsion
	// follows its message, and may have been lost alone.
	lookBack = 16
)

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
	piece.Through = end.Head
	missed := max(0, end.Head-after)
	page, err := s.timelines.LogBefore(ctx, c, end.Head+1, int(min(mostRepeated, missed))+lookBack)
	if err != nil {
		return piece, err
	}
	size := 0
	for _, item := range page.Items {
		m, err := shown(item)
		if err != nil {
			return piece, err
		}
		if out := implied(m.Room, m.Moderation); out != nil {
			out.Seq = m.Seq
			piece.Expulsions = append(piece.Expulsions, *out)
		}
		if size += sizeOf(m, idl.CodecJSON); m.Seq > after && len(piece.Frames) < mostRepeated && (size <= mostOctets || len(piece.Frames) == 0) {
			piece.Frames = append(piece.Frames, broadcast(m))
		}
	}
	slices.Reverse(piece.Frames)
	slices.Reverse(piece.Expulsions)
	if st.room.closed && !slices.ContainsFunc(piece.Expulsions, func(e plugin.Expulsion) bool { return len(e.Users) == 0 }) {
		out := implied(st.room.name, &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_CLOSE})
		piece.Expulsions = append(piece.Expulsions, *out)
	}
	if missed <= mostRepeated {
		return piece, nil
	}
	return piece, s.banned(ctx, &piece, st.room.name)
}

// banned adds those who are banned now: what told of it lies further back than the
// piece. Who was only removed so long ago stays.
func (s source) banned(ctx context.Context, piece *plugin.RoomPiece, name string) error {
	now := s.host.Now().UnixMilli()
	all, err := s.store.people(ctx, name, 0, maxPeople, now, false)
	if err != nil {
		return err
	}
	out := implied(name, &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN})
	out.Users, out.Seq = nil, piece.Through
	for _, one := range all {
		if holds(one.bannedUntilMs, now) && !s.operator(one.user) {
			out.Users = append(out.Users, one.user)
		}
	}
	if len(out.Users) > 0 { // none would be everybody
		piece.Expulsions = append(piece.Expulsions, *out)
	}
	return nil
}
