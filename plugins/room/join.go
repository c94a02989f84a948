package room

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

func (p *Room) validateJoin(_ *plugin.Call, req *roompb.JoinRoomRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	switch {
	case req.AfterSeq < 0:
		return im.Invalid("after_seq", "must not be negative")
	case req.Last < -1 || req.Last > mostEntries:
		return im.Invalid("last", "must be 1-%d, 0 for as many as usual, or -1 for none", mostEntries)
	}
	return nil
}

// join takes the session into a room, and gives it the end of the log. The order of
// the steps is what makes it right, see README.md: the edge is subscribed before the
// head is read, and who may come in is read after it.
func (p *Room) join(ctx context.Context, call *plugin.Call, req *roompb.JoinRoomRequest) (*roompb.JoinRoomReply, error) {
	c := conversation(req.Room)
	if wait := p.joins.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "too many joins")
	}
	if !call.In(c) {
		if err := p.approach(ctx, call, req.Room); err != nil {
			return nil, err
		}
	}
	// Also for a session that is in: its edge may be taking it out just now, and leaves
	// one alone that is still in.
	if err := p.rooms.Subscribe(ctx, c, call.Session.Life()); err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep, err := p.end(ctx, call, req)
	if err != nil {
		return nil, err
	}
	s, err := p.store.state(ctx, key{req.Room, call.User})
	switch {
	case errors.Is(err, errUnknown):
		return nil, noSuchRoom()
	case err != nil:
		return nil, plugin.Stored(ctx, err)
	}
	if err := p.admits(s, call.User); err != nil {
		return nil, err
	}
	rep.Role = p.role(s, call.User)
	if now := p.host.Now().UnixMilli(); holds(s.person.mutedUntilMs, now) {
		rep.MutedUntilMs = s.person.mutedUntilMs
	}
	if rep.Info, err = p.info(ctx, s.room); err != nil {
		return nil, err
	}
	rep.Info.Head = rep.Head
	call.Enter(c, rep.Head, p.policy(ctx, s.room))
	return rep, nil
}

// approach refuses a session that cannot come in, and makes the room if there is none.
func (p *Room) approach(ctx context.Context, call *plugin.Call, name string) error {
	if call.Session.Edge == "" {
		return denied("", "only a connected session can be in a room")
	}
	if len(call.Rooms) >= p.config.RoomsPerSession {
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "room", Reason: "the session is in as many rooms as it may be"}
	}
	s, err := p.states.get(ctx, key{name, call.User})
	unknown := errors.Is(err, errUnknown)
	switch {
	case err == nil:
		if err := p.admits(s, call.User); err != nil {
			return err
		}
	case !unknown:
		return plugin.Stored(ctx, err)
	case !p.config.CreateOnJoin:
		return noSuchRoom()
	}
	if err := p.hasPlace(ctx, name); err != nil {
		return err
	}
	if err := p.rules.OnJoin(ctx, call, conversation(name)); err != nil || !unknown {
		return err
	}
	if err := p.make(ctx, call.User, room{name: name}); !errors.Is(err, errTaken) {
		return err
	}
	return nil
}

// admits refuses who may not be in the room.
func (p *Room) admits(s state, u im.UserID) error {
	if s.room.closed {
		return closed()
	}
	if until := s.person.bannedUntilMs; holds(until, p.host.Now().UnixMilli()) && !p.operator(u) {
		return denied("room", "banned from the room")
	}
	return nil
}

// hasPlace refuses when the room is full. The count is a second old.
func (p *Room) hasPlace(ctx context.Context, name string) error {
	if p.config.MaxMembers == 0 {
		return nil
	}
	there, err := p.rooms.Occupancy(ctx, conversation(name))
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if there.Members >= p.config.MaxMembers {
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "room", Reason: "the room is full"}
	}
	return nil
}

// make files a new room of u's making. It returns errTaken as it is.
func (p *Room) make(ctx context.Context, u im.UserID, r room) error {
	if err := p.mayMake(ctx, u); err != nil {
		return err
	}
	r.createdMs = p.host.Now().UnixMilli()
	defer p.states.forget(r.name) // it is not unknown any more
	switch err := p.store.create(ctx, r, func(tx *sql.Tx) error { return p.noteMade(ctx, tx, eventCreated, r) }); {
	case errors.Is(err, errTaken):
		p.creations.GiveBack(ctx, u.String())
		return err
	case err != nil:
		return plugin.Stored(ctx, err)
	}
	return nil
}

// mayMake counts a new room, and refuses one too many: of one person, and of all together
// at this core, so that nobody's crowd of accounts has everybody wait for the directory.
func (p *Room) mayMake(ctx context.Context, u im.UserID) error {
	if wait := p.creations.Take(ctx, u.String()); wait > 0 {
		return limited(wait, "too many new rooms")
	}
	n := p.config.CreationsPerSecond
	if n == 0 || p.paces.take(key{room: making}, time.Second/time.Duration(n), n) == 0 {
		return nil
	}
	p.creations.GiveBack(ctx, u.String())
	return limited(time.Second, "too many new rooms just now")
}

// making is what mayMake counts by: no room has such a name.
const making = " new"

// end gives the last entries of the log, up to its head.
func (p *Room) end(ctx context.Context, call *plugin.Call, req *roompb.JoinRoomRequest) (*roompb.JoinRoomReply, error) {
	limit := int(req.Last)
	switch limit {
	case 0:
		limit = p.config.JoinEntries
	case -1:
		limit = 0
	}
	page, err := p.timelines.LogBefore(ctx, conversation(req.Room), 0, limit)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	all, err := shownAll(page.Items)
	if err != nil {
		return nil, err
	}
	rep := &roompb.JoinRoomReply{Head: page.Head, Messages: all[:p.fits(all, call.Codec)]}
	if len(all) > 0 {
		rep.Head = all[0].Seq // a newer one is pushed
	}
	for n := len(rep.Messages); n > 0 && rep.Messages[n-1].Seq <= req.AfterSeq; n-- {
		rep.Messages = rep.Messages[:n-1]
	}
	oldest := rep.Head + 1
	if n := len(rep.Messages); n > 0 {
		oldest = rep.Messages[n-1].Seq
	}
	rep.HasMore = oldest > max(page.Floor, req.AfterSeq+1)
	slices.Reverse(rep.Messages)
	return rep, nil
}
