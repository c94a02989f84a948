package room

import (
	"context"
	"database/sql"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// The longest texts in characters, and the longest pause. Source: idl/room.proto.
const (
	maxTitle        = 64
	maxAnnouncement = 500
	maxSlowModeMs   = 600_000
)

// validateSettings checks what somebody sets.
func validateSettings(title, announcement string, slowModeMs int64, overload roompb.RoomOverload, lowPerSecond int32) error {
	if err := im.CheckLine("title", title, 0, maxTitle); err != nil {
		return err
	}
	if err := im.CheckText("announcement", announcement, 0, maxAnnouncement); err != nil {
		return err
	}
	switch {
	case slowModeMs < 0 || slowModeMs > maxSlowModeMs:
		return im.Invalid("slow_mode_ms", "must be 0-%d", maxSlowModeMs)
	case overload < roompb.RoomOverload_ROOM_OVERLOAD_SAMPLE || overload > roompb.RoomOverload_ROOM_OVERLOAD_SLOW:
		return im.Invalid("overload", "%d is not known", overload)
	case lowPerSecond < 0 || lowPerSecond > mostPerSecond:
		return im.Invalid("low_per_second", "must be 0-%d", mostPerSecond)
	}
	return nil
}

func validateCreate(_ *plugin.Call, req *roompb.CreateRoomRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	return validateSettings(req.Title, req.Announcement, req.SlowModeMs, req.Overload, req.LowPerSecond)
}

// create makes a room that the caller owns.
func (p *Room) create(ctx context.Context, call *plugin.Call, req *roompb.CreateRoomRequest) (*roompb.CreateRoomReply, error) {
	r := room{
		name: req.Room, title: req.Title, announcement: req.Announcement, owner: call.User,
		slowModeMs: req.SlowModeMs, overload: req.Overload, lowPerSecond: int(req.LowPerSecond), createdMs: p.host.Now().UnixMilli(),
	}
	err := p.make(ctx, call.User, r)
	if errors.Is(err, errTaken) {
		err = p.createAgain(ctx, call.User, &r)
	}
	if err != nil {
		return nil, err
	}
	info, err := p.info(ctx, r)
	return &roompb.CreateRoomReply{Info: info}, err
}

// createAgain is create where there is a room of that name: it may be the very same, made
// by a request whose answer was lost, or one that somebody has only joined.
func (p *Room) createAgain(ctx context.Context, u im.UserID, r *room) error {
	s, err := p.store.state(ctx, key{r.name, u})
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	r.createdMs, r.changes = s.room.createdMs, s.room.changes
	if s.room == *r {
		return nil
	}
	unused, err := p.unused(ctx, s.room)
	if err != nil {
		return err
	}
	if !unused {
		return nameTaken()
	}
	if err := p.mayMake(ctx, u); err != nil {
		return err
	}
	err = p.change(ctx, r.name, func(tx *sql.Tx) error {
		now, err := readState(ctx, tx, key{r.name, u})
		if err != nil {
			return err
		}
		// Once more: somebody may have spoken since. Who speaks from now on does so in
		// the new owner's room.
		unused, err := p.unused(ctx, now.room)
		if err != nil {
			return err
		}
		if !unused {
			return nameTaken()
		}
		r.changes = now.room.changes
		return errors.Join(p.store.update(ctx, tx, *r), p.noteMade(ctx, tx, eventClaimed, *r))
	})
	if err != nil {
		return err
	}
	p.rooms.Configure(conversation(r.name), p.policy(ctx, *r)) // who is in it stays
	return nil
}

// unused reports whether a room is nobody's and nothing was said in it: joins at random
// keep no name from whoever would own it.
func (p *Room) unused(ctx context.Context, r room) (bool, error) {
	if r.owner != 0 || r.closed {
		return false, nil
	}
	page, err := p.timelines.Log(ctx, conversation(r.name), 0, 0)
	if err != nil {
		return false, plugin.Stored(ctx, err)
	}
	return page.Head == 0, nil
}

func nameTaken() error {
	return &im.Error{Code: idl.CodeAlreadyExists, Field: "room", Reason: "there is a room of that name"}
}

// settings are the fields that may be set, and how.
var settings = map[string]func(r *room, req *roompb.UpdateRoomRequest){
	"title":          func(r *room, req *roompb.UpdateRoomRequest) { r.title = req.Title },
	"announcement":   func(r *room, req *roompb.UpdateRoomRequest) { r.announcement = req.Announcement },
	"slow_mode_ms":   func(r *room, req *roompb.UpdateRoomRequest) { r.slowModeMs = req.SlowModeMs },
	"muted":          func(r *room, req *roompb.UpdateRoomRequest) { r.muted = req.Muted },
	"overload":       func(r *room, req *roompb.UpdateRoomRequest) { r.overload = req.Overload },
	"low_per_second": func(r *room, req *roompb.UpdateRoomRequest) { r.lowPerSecond = int(req.LowPerSecond) },
}

func validateUpdate(_ *plugin.Call, req *roompb.UpdateRoomRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	if len(req.Fields) < 1 || len(req.Fields) > len(settings) {
		return im.Invalid("fields", "must name 1-%d fields", len(settings))
	}
	for _, field := range req.Fields {
		if settings[field] == nil {
			return im.Invalid("fields", "%.20q cannot be set", field)
		}
	}
	return validateSettings(req.Title, req.Announcement, req.SlowModeMs, req.Overload, req.LowPerSecond)
}

// update changes settings, and tells the room and its edges.
func (p *Room) update(ctx context.Context, call *plugin.Call, req *roompb.UpdateRoomRequest) (*roompb.UpdateRoomReply, error) {
	if err := p.may(ctx, req.Room, call.User, rankAdmin); err != nil {
		return nil, err
	}
	m := &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_SETTINGS}
	body, err := p.notice(ctx, call.User, m)
	if err != nil {
		return nil, err
	}
	var changed room
	err = p.change(ctx, req.Room, func(tx *sql.Tx) error {
		s, err := readState(ctx, tx, key{req.Room, call.User})
		switch {
		case err != nil:
			return err
		case s.room.closed:
			return closed()
		case p.say(s, call.User) < rankAdmin:
			return notAllowed()
		}
		changed = s.room
		for _, field := range req.Fields {
			settings[field](&changed, req)
		}
		return p.store.update(ctx, tx, changed)
	})
	if err != nil {
		return nil, err
	}
	p.rooms.Configure(conversation(req.Room), p.policy(ctx, changed))
	seq, err := p.tellOf(ctx, call.User, req.Room, m.Verb, body, nil)
	if err != nil {
		return nil, err
	}
	info, err := p.info(ctx, changed)
	if err != nil {
		return nil, err
	}
	info.Head = seq
	return &roompb.UpdateRoomReply{Info: info}, nil
}

func validateClose(_ *plugin.Call, req *roompb.CloseRoomRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	return im.CheckText("reason", req.Reason, 0, maxReason)
}

// close ends a room for good. The name stays taken, and the log stays.
func (p *Room) close(ctx context.Context, call *plugin.Call, req *roompb.CloseRoomRequest) (*roompb.CloseRoomReply, error) {
	if err := p.may(ctx, req.Room, call.User, rankOwner); err != nil {
		return nil, err
	}
	m := &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_CLOSE, Reason: req.Reason}
	body, err := p.notice(ctx, call.User, m)
	if err != nil {
		return nil, err
	}
	again := false
	err = p.change(ctx, req.Room, func(tx *sql.Tx) error {
		s, err := readState(ctx, tx, key{req.Room, call.User})
		if err != nil {
			return err
		}
		if p.say(s, call.User) < rankOwner {
			return notAllowed()
		}
		again, s.room.closed = s.room.closed, true
		return p.store.update(ctx, tx, s.room)
	})
	if err != nil {
		return nil, err
	}
	out := implied(req.Room, m)
	if again { // it was told, or not, the first time; nobody is to be left in it
		p.rooms.Expel(*out)
		return &roompb.CloseRoomReply{}, nil
	}
	_, err = p.tellOf(ctx, call.User, req.Room, m.Verb, body, out)
	return &roompb.CloseRoomReply{}, err
}
