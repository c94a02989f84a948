package room

import (
	"context"
	"database/sql"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// maxReason is the longest reason in characters. Source: idl/room.proto.
const maxReason = 200

// validateModerate checks a request by itself, and clears what its verb has no use for.
func (p *Room) validateModerate(_ *plugin.Call, req *roompb.ModerateRoomRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	m := req.Moderation
	if m == nil {
		return im.Invalid("moderation", "is missing")
	}
	if m.UserId < 1 {
		return im.Invalid("moderation.user_id", "must be the ID of a user")
	}
	if err := im.CheckText("moderation.reason", m.Reason, 0, maxReason); err != nil {
		return err
	}
	switch m.Verb {
	case roompb.ModerationVerb_MODERATION_MUTE, roompb.ModerationVerb_MODERATION_BAN:
		if m.UntilMs != 0 && m.UntilMs <= p.host.Now().UnixMilli() {
			return im.Invalid("moderation.until_ms", "must lie ahead, or be 0: for good")
		}
		m.Role = roompb.RoomRole_ROOM_ROLE_MEMBER
		return nil
	case roompb.ModerationVerb_MODERATION_SET_ROLE:
		if m.Role != roompb.RoomRole_ROOM_ROLE_MEMBER && m.Role != roompb.RoomRole_ROOM_ROLE_ADMIN {
			return im.Invalid("moderation.role", "must be 0, a member, or 1, an admin")
		}
		m.UntilMs = 0
		return nil
	case roompb.ModerationVerb_MODERATION_UNMUTE, roompb.ModerationVerb_MODERATION_REMOVE, roompb.ModerationVerb_MODERATION_UNBAN:
		m.Role, m.UntilMs = roompb.RoomRole_ROOM_ROLE_MEMBER, 0
		return nil
	}
	return im.Invalid("moderation.verb", "%d is not one of mute, unmute, remove, ban, unban, set role", m.Verb)
}

// moderate does something to a person in a room, and tells the room. What is done is
// committed before it is told; doing it again tells it again.
func (p *Room) moderate(ctx context.Context, call *plugin.Call, req *roompb.ModerateRoomRequest) (*roompb.ModerateRoomReply, error) {
	m := req.Moderation
	if err := p.may(ctx, req.Room, call.User, least(m.Verb)); err != nil {
		return nil, err
	}
	switch _, exists, err := p.people.Nickname(ctx, im.UserID(m.UserId)); {
	case err != nil:
		return nil, err
	case !exists:
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "moderation.user_id", Reason: "no such user"}
	}
	body, err := p.notice(ctx, call.User, m)
	if err != nil {
		return nil, err
	}
	err = p.change(ctx, req.Room, func(tx *sql.Tx) error { return p.inflict(ctx, tx, call.User, req.Room, m) })
	if err != nil {
		return nil, err
	}
	seq, err := p.tellOf(ctx, call.User, req.Room, m.Verb, body, implied(req.Room, m))
	return &roompb.ModerateRoomReply{Seq: seq}, err
}

// least is the rank that a verb takes.
func least(verb roompb.ModerationVerb) int {
	if verb == roompb.ModerationVerb_MODERATION_SET_ROLE {
		return rankOwner
	}
	return rankAdmin
}

// may refuses, by what is remembered, who may not, and who does too much: before
// anything is written for him. The transaction decides.
func (p *Room) may(ctx context.Context, name string, u im.UserID, least int) error {
	if err := p.keepPaceOf("", u); err != nil { // of all rooms, also of those that are not there
		return err
	}
	s, err := p.known(ctx, key{name, u})
	switch {
	case err != nil:
		return err
	case p.say(s, u) < least:
		return notAllowed()
	}
	return nil
}

func notAllowed() error { return denied("", "not one of those who may") }

// change runs fn in a transaction that is the only one about the room, and has
// what is remembered of the room read anew.
func (p *Room) change(ctx context.Context, name string, fn func(tx *sql.Tx) error) error {
	err := p.store.change(ctx, name, fn)
	if _, refused := errors.AsType[*im.Error](err); !refused && !errors.Is(err, errUnknown) {
		p.states.forget(name) // also after a fault: it may have been committed
	}
	if errors.Is(err, errUnknown) {
		return noSuchRoom()
	}
	if _, refused := errors.AsType[*im.Error](err); refused || err == nil {
		return err
	}
	return plugin.Stored(ctx, err)
}

// inflict decides whether one may do this to another, and writes it down.
func (p *Room) inflict(ctx context.Context, tx *sql.Tx, by im.UserID, name string, m *roompb.Moderation) error {
	actor, err := readState(ctx, tx, key{name, by})
	if err != nil {
		return err
	}
	target, err := readState(ctx, tx, key{name, im.UserID(m.UserId)})
	if err != nil {
		return err
	}
	switch rank := p.say(actor, by); {
	case actor.room.closed:
		return closed()
	case rank < least(m.Verb):
		return notAllowed()
	case rank <= p.rank(target, target.person.user):
		return denied("moderation.user_id", "not below you")
	}
	return p.store.setPerson(ctx, tx, name, target.person, after(target.person, m), p.host.Now().UnixMilli())
}

// after is a person when this was done to him.
func after(one person, m *roompb.Moderation) person {
	until := m.UntilMs
	if until == 0 {
		until = forGood
	}
	switch m.Verb {
	case roompb.ModerationVerb_MODERATION_MUTE:
		one.mutedUntilMs = until
	case roompb.ModerationVerb_MODERATION_UNMUTE:
		one.mutedUntilMs = 0
	case roompb.ModerationVerb_MODERATION_BAN:
		one.bannedUntilMs, one.role = until, roompb.RoomRole_ROOM_ROLE_MEMBER
	case roompb.ModerationVerb_MODERATION_UNBAN:
		one.bannedUntilMs = 0
	case roompb.ModerationVerb_MODERATION_SET_ROLE:
		one.role = m.Role
	}
	return one
}

// The ranks: one may do something to those of a lower rank only.
const (
	rankMember = iota
	rankAdmin
	rankOwner
	rankOperator
)

// say is the rank in which somebody acts: who is banned, as an owner by an operator, has
// none while it lasts.
func (p *Room) say(s state, u im.UserID) int {
	if holds(s.person.bannedUntilMs, p.host.Now().UnixMilli()) && !p.operator(u) {
		return rankMember
	}
	return p.rank(s, u)
}

func (p *Room) rank(s state, u im.UserID) int {
	switch {
	case p.operator(u):
		return rankOperator
	case s.room.owner == u:
		return rankOwner
	case s.person.role >= roompb.RoomRole_ROOM_ROLE_ADMIN:
		return rankAdmin
	}
	return rankMember
}

// implied is the expulsion that something done to a room brings with it, nil for none.
func implied(name string, m *roompb.Moderation) *plugin.Expulsion {
	left := &roompb.RoomLeft{Room: name, Message: m.GetReason()}
	out := &plugin.Expulsion{Room: conversation(name), Action: idl.ActionLeaveRoom, Body: left}
	switch m.GetVerb() {
	case roompb.ModerationVerb_MODERATION_REMOVE:
		left.Reason, out.Users = roompb.RoomLeftReason_ROOM_LEFT_REMOVED, []im.UserID{im.UserID(m.UserId)}
	case roompb.ModerationVerb_MODERATION_BAN:
		left.Reason, left.UntilMs, out.Users = roompb.RoomLeftReason_ROOM_LEFT_BANNED, m.UntilMs, []im.UserID{im.UserID(m.UserId)}
	case roompb.ModerationVerb_MODERATION_CLOSE: // everybody
		left.Reason = roompb.RoomLeftReason_ROOM_LEFT_CLOSED
	default:
		return nil
	}
	return out
}

// notice makes the message that tells a room what somebody does to it. It is made
// before that is done: when it cannot be, nothing is done.
func (p *Room) notice(ctx context.Context, by im.UserID, m *roompb.Moderation) ([]byte, error) {
	nickname, _, err := p.people.Nickname(ctx, by)
	if err != nil {
		return nil, err
	}
	return (&roompb.RoomContent{Kind: roompb.RoomKind_ROOM_KIND_MODERATION, Nickname: nickname, Moderation: m}).Marshal(nil)
}

// tellOf commits the notice of what was done, and puts out whom it puts out, behind
// the message. When it cannot be told they go all the same; it may then be told later,
// while nobody waits for it any more.
func (p *Room) tellOf(ctx context.Context, by im.UserID, name string, verb roompb.ModerationVerb, body []byte, out *plugin.Expulsion) (seq int64, err error) {
	expel := func(seq int64) {
		if out != nil {
			one := *out
			one.Seq = seq
			p.rooms.Expel(one)
		}
	}
	told := false
	defer func() {
		if !told {
			expel(0)
		}
	}()
	done, err := p.commit(ctx, moderated[verb], timeline.Draft{Conversation: conversation(name), Sender: by, Body: body,
		OnCommit: func(done timeline.Committed) {
			p.tell(done)
			expel(done.Seq)
		}})
	if err != nil {
		return 0, plugin.Stored(ctx, err)
	}
	told = true
	return done.Seq, nil
}
