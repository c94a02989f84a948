// Package room is the plugin for super-large conversations: joining and leaving,
// sending, history, and what owners and admins do. A message is one entry of the
// room's log and one broadcast; nothing is stored of a member. Who is in a room is the
// edges' to say (Host.Rooms); this plugin decides who may come in, speak and moderate.
// core/server runs it; README.md tells the flow, the races and the bounds.
package room

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Directory says how people are called; the account plugin provides it as the
// service "account.directory".
type Directory interface {
	// Nickname gives a person's; exists is false when there is nobody with that ID.
	Nickname(ctx context.Context, u im.UserID) (nickname string, exists bool, err error)
}

// Rules are the operator's say about rooms, beside the one about messages that
// plugin.Message asks for. Whoever has some provides them as the service "room.rules",
// before this plugin; nobody has to.
type Rules interface {
	// OnJoin judges a session that is about to come in: nil lets it, an *im.Error
	// refuses.
	OnJoin(ctx context.Context, call *plugin.Call, room im.ConversationID) error
	// OnRoomPolicy gives the policy of a room; p is what its settings say. It is asked
	// with each join, each message and each look at a room, and must be quick.
	OnRoomPolicy(ctx context.Context, room im.ConversationID, p plugin.RoomPolicy) plugin.RoomPolicy
}

// readTogether is of how many rooms the changes are read in one query.
const readTogether = 256

// noRules is what holds when nobody provides Rules.
type noRules struct{}

func (noRules) OnJoin(context.Context, *plugin.Call, im.ConversationID) error { return nil }

func (noRules) OnRoomPolicy(_ context.Context, _ im.ConversationID, p plugin.RoomPolicy) plugin.RoomPolicy {
	return p
}

// Room is the plugin. Its methods are safe for concurrent use after Provision.
type Room struct {
	config Config

	// Static after Provision.
	host      plugin.Host
	rooms     plugin.Rooms
	timelines timeline.Store
	people    Directory
	rules     Rules
	store     *store
	states    *states
	joins     plugin.Limiter // by user
	creations plugin.Limiter // by user
	slow      plugin.Limiter // of slow mode, by room and user, at the rooms' rates
	overload  plugin.Limiter // of chat, by room, at the rooms' rates
	sends     *pace          // by room and user; here only
	paces     *pace          // what slow and overload refuse, here, at no cost
	owed      owed           // turns of slow
	counts    *counts        // what rooms hear of their sizes
	tallies   *counts        // what other programs hear of them
	outbox    plugin.Outbox  // nil: nobody tells other programs
}

// New makes the plugin with the default configuration.
func New() *Room { return &Room{config: defaultConfig()} }

// Info implements plugin.Plugin.
func (p *Room) Info() plugin.Info {
	return plugin.Info{Name: "room", Version: "1.0", Needs: []string{"account.directory"}}
}

// Config implements plugin.Configurer.
func (p *Room) Config() any { return &p.config }

// Validate implements plugin.Validator.
func (p *Room) Validate() error { return p.config.validate() }

// Migrations implements plugin.Migrator.
func (p *Room) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Provision implements plugin.Provisioner.
func (p *Room) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host, p.rooms, p.timelines = h, h.Rooms(), h.Timelines()
	if p.people, err = plugin.Need[Directory](h, "account.directory"); err != nil {
		return err
	}
	p.rules = noRules{}
	if _, ok := h.Service("room.rules"); ok {
		if p.rules, err = plugin.Need[Rules](h, "room.rules"); err != nil {
			return err
		}
	}
	p.store = &store{db: h.DB(), tx: h.Tx}
	if _, ok := h.Service(plugin.ServiceHoldings); ok {
		of, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
		if err != nil {
			return err
		}
		of.Hold("room", holdings{p})
	}
	var changes func(context.Context, string) (int64, bool, error)
	if h.Dialect() != "sqlite" { // other cores change rooms too
		changes = plugin.NewLookups(h, "count changes of rooms", readTogether, p.store.changes).Find
	}
	p.states = newStates(p.store.state, changes, h.Now)
	p.joins = h.Limiter("joins", p.config.JoinsPerMinute, time.Minute)
	p.creations = h.Limiter("creations", p.config.CreationsPerHour, time.Hour)
	p.slow = h.Limiter("slow_mode", 1, time.Second)
	p.overload = h.Limiter("overload", 1, time.Second)
	p.sends, p.paces, p.counts = newPace(h.Now), newPace(h.Now), newCounts(false, 0)
	p.tallies = newCounts(true, mostTallies)
	p.rooms.Serve(source{p})
	return p.openOutbox(h)
}

// Start implements plugin.Starter.
func (p *Room) Start(context.Context) error {
	p.host.Go("sizes of rooms", func(ctx context.Context) { p.counts.run(ctx, p.host.Now, p.tellCounts) })
	if p.outbox != nil {
		p.host.Go("sizes of rooms for other programs", func(ctx context.Context) { p.tallies.run(ctx, p.host.Now, p.tellTallies) })
	}
	return nil
}

// Register implements plugin.Plugin.
func (p *Room) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionJoinRoom, "join", p.join,
		plugin.InRooms[roompb.JoinRoomRequest, roompb.JoinRoomReply](), plugin.NeedsSession[roompb.JoinRoomRequest, roompb.JoinRoomReply](),
		plugin.Validate[roompb.JoinRoomRequest, roompb.JoinRoomReply](p.validateJoin))
	plugin.Handle(r, idl.ActionLeaveRoom, "leave", p.leave,
		plugin.InRooms[roompb.LeaveRoomRequest, roompb.LeaveRoomReply](), plugin.NeedsSession[roompb.LeaveRoomRequest, roompb.LeaveRoomReply]())
	plugin.Handle(r, idl.ActionRoomMessage, "send", p.send,
		plugin.InRooms[roompb.RoomSendRequest, roompb.RoomSendReply](), plugin.NeedsSession[roompb.RoomSendRequest, roompb.RoomSendReply](),
		plugin.Validate[roompb.RoomSendRequest, roompb.RoomSendReply](p.validateSend),
		plugin.Answered(p.answered),
		plugin.Permit[roompb.RoomSendRequest, roompb.RoomSendReply](p.permitSend),
		plugin.Message[roompb.RoomSendRequest, roompb.RoomSendReply](reviewed),
		plugin.Rewrite[roompb.RoomSendRequest, roompb.RoomSendReply]("text", p.config.MaxText),
		plugin.Shadows[roompb.RoomSendRequest, roompb.RoomSendReply](),
		plugin.Reroutes[roompb.RoomSendRequest, roompb.RoomSendReply](plugin.TargetRoom))
	plugin.Handle(r, idl.ActionRoomHistory, "history", p.history,
		plugin.InRooms[roompb.RoomHistoryRequest, roompb.RoomHistoryReply](), plugin.NeedsSession[roompb.RoomHistoryRequest, roompb.RoomHistoryReply](),
		plugin.Bulky[roompb.RoomHistoryRequest, roompb.RoomHistoryReply]())
	plugin.Handle(r, idl.ActionRoomInfo, "info", p.getInfo)
	plugin.Handle(r, idl.ActionRoomMembers, "members", p.members,
		plugin.InRooms[roompb.RoomMembersRequest, roompb.RoomMembersReply](), plugin.NeedsSession[roompb.RoomMembersRequest, roompb.RoomMembersReply]())
	plugin.Handle(r, idl.ActionCreateRoom, "create", p.create,
		plugin.Validate[roompb.CreateRoomRequest, roompb.CreateRoomReply](validateCreate))
	plugin.Handle(r, idl.ActionUpdateRoom, "update", p.update,
		plugin.Validate[roompb.UpdateRoomRequest, roompb.UpdateRoomReply](validateUpdate))
	plugin.Handle(r, idl.ActionModerateRoom, "moderate", p.moderate,
		plugin.Validate[roompb.ModerateRoomRequest, roompb.ModerateRoomReply](p.validateModerate))
	plugin.Handle(r, idl.ActionCloseRoom, "close", p.close,
		plugin.Validate[roompb.CloseRoomRequest, roompb.CloseRoomReply](validateClose))
	plugin.Handle(r, idl.ActionRoomRoles, "roles", p.roles,
		plugin.InRooms[roompb.ListRolesRequest, roompb.ListRolesReply]())
}

// conversation is the room's log.
func conversation(name string) im.ConversationID { return im.ConversationID("r_" + name) }

// nameOf is the room that a conversation is the log of.
func nameOf(c im.ConversationID) string { return string(c[len("r_"):]) }

// known gives what is remembered of somebody in a room, or the refusal.
func (p *Room) known(ctx context.Context, k key) (state, error) {
	s, err := p.states.get(ctx, k)
	switch {
	case errors.Is(err, errUnknown):
		return s, noSuchRoom()
	case err != nil:
		return s, plugin.Stored(ctx, err)
	}
	return s, nil
}

// policy is how the edges treat the room's traffic.
func (p *Room) policy(ctx context.Context, r room) plugin.RoomPolicy {
	low := r.lowPerSecond
	if low == 0 {
		low = p.config.LowPerSecond
	}
	policy := p.rules.OnRoomPolicy(ctx, conversation(r.name), plugin.RoomPolicy{
		Overload: int32(r.overload), LowPerSecond: low, List: p.config.PresenceLimit})
	policy.Version = 1 + r.changes
	return policy
}

// operator reports whether the configuration puts a person above all rooms.
func (p *Room) operator(u im.UserID) bool { return slices.Contains(p.config.Admins, int64(u)) }

// role is what a person may do in a room.
func (p *Room) role(s state, u im.UserID) roompb.RoomRole {
	if p.operator(u) || s.room.owner == u && u != 0 {
		return roompb.RoomRole_ROOM_ROLE_OWNER
	}
	return s.person.role
}

func denied(field, reason string) error {
	return &im.Error{Code: idl.CodePermissionDenied, Field: field, Reason: reason}
}

func limited(wait time.Duration, reason string) error {
	return &im.Error{Code: idl.CodeRateLimited, Reason: reason, RetryAfter: wait}
}

func noSuchRoom() error {
	return &im.Error{Code: idl.CodeNotFound, Field: "room", Reason: "no such room"}
}

// closed is the refusal for a room that has ended.
func closed() error { return denied("room", "the room is closed") }

// outside is the refusal for a session that is not in the room.
func outside() error { return denied("room", "join the room first") }
