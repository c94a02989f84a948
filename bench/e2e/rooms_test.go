package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// rooms is what a device was told of rooms.
type rooms struct {
	heard chan *client.RoomEntry
	left  chan client.RoomLeft
	seq   map[string]int64 // up to here a room was taken; owned by the stage
}

func newRooms() rooms {
	return rooms{heard: make(chan *client.RoomEntry, 10_000), left: make(chan client.RoomLeft, 100), seq: map[string]int64{}}
}

// handle adds what belongs to rooms to a device's handler. A skip in a story is a
// fault: nothing is busy there.
func (r *rooms) handle(h *client.Handler) {
	h.RoomMessage = func(_ context.Context, m *client.RoomEntry) { r.heard <- m }
	h.RoomLeft = func(_ context.Context, l client.RoomLeft) { r.left <- l }
	h.RoomSkip = func(_ context.Context, p *roompb.RoomSkip) {
		r.heard <- &client.RoomEntry{RoomMessage: &roompb.RoomMessage{Room: p.Room, Text: fmt.Sprintf("skip of %v: %v", p.Ranges, p.Reason)}}
	}
}

// creates lobby: of the person's own; and joins it
func (s *stage) creates(ctx context.Context, d *device, w []string) error {
	if _, err := d.session.CreateRoom(ctx, &roompb.CreateRoomRequest{Room: w[0]}); err != nil {
		return err
	}
	return s.joins(ctx, d, w)
}

// joins lobby [and is refused CODE]: what it knows of the room is not asked for again
func (s *stage) joins(ctx context.Context, d *device, w []string) error {
	_, err := d.session.Join(ctx, client.JoinRoom{Room: w[0], After: d.rooms.seq[w[0]]})
	return refused(err, w[1:])
}

// refused holds err against "and is refused CODE", or no words for none.
func refused(err error, w []string) error {
	if len(w) == 0 {
		return err
	}
	if client.CodeOf(err).String() != "CODE_"+w[len(w)-1] {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

func (s *stage) leaves(ctx context.Context, d *device, w []string) error {
	return d.session.Leave(ctx, w[0])
}

// says lobby "text" [and is refused CODE]
func (s *stage) says(ctx context.Context, d *device, w []string) error {
	if len(w) > 2 { // once, by hand: a session would not even try
		req := &roompb.RoomSendRequest{Room: w[0], ClientId: rand.Text(), Text: w[1]}
		return refused(d.session.Call(ctx, idl.ActionRoomMessage, req, new(roompb.RoomSendReply)), w[2:])
	}
	_, err := d.session.SendRoom(ctx, client.RoomOutgoing{Room: w[0], Text: w[1]})
	return err
}

// announces lobby "text"
func (s *stage) announces(ctx context.Context, d *device, w []string) error {
	_, err := d.session.SendRoom(ctx, client.RoomOutgoing{Room: w[0], Kind: roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT, Text: w[1]})
	return refused(err, w[2:])
}

// hears "text" from alice | hears MUTE of bob | hears nothing more in lobby
func (s *stage) hears(ctx context.Context, d *device, w []string) error {
	if w[0] == "nothing" {
		return s.hearsNothing(ctx, d, w[3])
	}
	select {
	case m := <-d.rooms.heard:
		d.rooms.seq[m.Room] = m.Seq
		about := s.people[w[2]]
		if w[1] == "of" {
			if m.Moderation.GetVerb().String() != "MODERATION_"+w[0] || m.Moderation.GetUserId() != about.id {
				return fmt.Errorf("heard %v", m.RoomMessage)
			}
			return nil
		}
		if m.Text != w[0] || m.SenderId != about.id || m.Nickname == "" {
			return fmt.Errorf("heard %q from %d, called %q", m.Text, m.SenderId, m.Nickname)
		}
		return nil
	case <-ctx.Done():
		return errors.New("heard nothing")
	}
}

// hearsNothing holds that the device has heard the room to its end, and no more.
func (s *stage) hearsNothing(ctx context.Context, d *device, room string) error {
	info, err := d.session.RoomInfo(ctx, room)
	if err != nil {
		return err
	}
	if info.Head != d.rooms.seq[room] {
		return fmt.Errorf("the room ends at %d, the device has heard up to %d", info.Head, d.rooms.seq[room])
	}
	select {
	case m := <-d.rooms.heard:
		return fmt.Errorf("heard %q", m.Text)
	default:
		return nil
	}
}

// mutes bob in lobby | unmutes | bans | unbans | removes
func moderates(verb roompb.ModerationVerb) func(*stage, context.Context, *device, []string) error {
	return func(s *stage, ctx context.Context, d *device, w []string) error {
		if s.groups[w[2]] != 0 {
			return s.governs(ctx, d, verb, w)
		}
		_, err := d.session.ModerateRoom(ctx, w[2], &roompb.Moderation{Verb: verb, UserId: s.people[w[0]].id})
		return refused(err, w[3:])
	}
}

// closes lobby
func (s *stage) closes(ctx context.Context, d *device, w []string) error {
	return refused(d.session.CloseRoom(ctx, w[0], "over"), w[1:])
}

// is out of lobby BANNED
func (s *stage) isOut(ctx context.Context, d *device, w []string) error {
	select {
	case l := <-d.rooms.left:
		if l.Room != w[0] || strings.TrimPrefix(l.Reason.String(), "ROOM_LEFT_") != w[1] {
			return fmt.Errorf("out of %s: %v %v", l.Room, l.Reason, l.Err)
		}
		return nil
	case <-ctx.Done():
		return errors.New("it is in the room still")
	}
}
