package plugintest

import (
	"context"
	"slices"
	"sync"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
)

// life is that of the one edge that hosts have.
var life = presence.Life{Edge: "edge", Epoch: 1}

// rooms is a plugin.Rooms and the edge behind it in one: a broadcast is with the
// sessions when the call returns, and what the edge has to say of its members is said
// at once. Safe for concurrent use.
type rooms struct {
	host     *Host
	registry presence.Rooms

	reports sync.Mutex // held while the edge says something: one at a time

	mu       sync.Mutex // guards the fields below
	source   plugin.RoomSource
	there    map[im.ConversationID]*roomThere
	sent     []plugin.Broadcast
	expelled []plugin.Expulsion
	policies []Configured
}

// roomThere is one room at the edge.
type roomThere struct {
	members map[*Session]int64 // each with the head by which it came in
	recent  []plugin.Broadcast // those with a seq, in the order of their coming
	list    int                // RoomPolicy.List
}

// Configured is a policy that a plugin gave to a room's edges.
type Configured struct {
	Room   im.ConversationID
	Policy plugin.RoomPolicy
}

func newRooms(h *Host, registry presence.Rooms) *rooms {
	return &rooms{host: h, registry: registry, there: map[im.ConversationID]*roomThere{}}
}

// of gives a room; r.mu must be held.
func (r *rooms) of(room im.ConversationID) *roomThere {
	t := r.there[room]
	if t == nil {
		t = &roomThere{members: map[*Session]int64{}}
		r.there[room] = t
	}
	return t
}

// Serve implements plugin.Rooms.
func (r *rooms) Serve(s plugin.RoomSource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.source = s
}

// Subscribe implements plugin.Rooms.
func (r *rooms) Subscribe(ctx context.Context, room im.ConversationID, life presence.Life) error {
	return r.registry.Subscribe(ctx, room, life)
}

// Occupancy implements plugin.Rooms.
func (r *rooms) Occupancy(ctx context.Context, room im.ConversationID) (presence.Occupancy, error) {
	return r.registry.Occupancy(ctx, room)
}

// subscribed reports whether the registry knows that the edge has the room.
func (r *rooms) subscribed(room im.ConversationID) bool {
	edges, err := r.registry.Edges(r.host.ctx, room)
	if err != nil {
		r.host.log.Error("a broadcast finds no edges", "room", room, "err", err)
		return false
	}
	return slices.Contains(edges[0], life)
}

// Broadcast implements plugin.Rooms.
func (r *rooms) Broadcast(b plugin.Broadcast) {
	subscribed := r.subscribed(b.Room)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, b)
	if !subscribed {
		return
	}
	t := r.of(b.Room)
	if b.Seq != 0 {
		t.recent = append(t.recent, b)
	}
	for s, head := range t.members {
		if b.Seq == 0 || b.Seq > head {
			r.give(s, b)
		}
	}
}

func (r *rooms) give(s *Session, b plugin.Broadcast) {
	body, err := stamped(b.Body, s.codec, 0)
	if err != nil {
		r.host.log.Error("broadcast is not encoded", "action", b.Action, "err", err)
		return
	}
	s.receive(Received{Action: b.Action, Body: body, codec: s.codec})
}

// Expel implements plugin.Rooms.
func (r *rooms) Expel(e plugin.Expulsion) {
	subscribed := r.subscribed(e.Room)
	r.mu.Lock()
	r.expelled = append(r.expelled, e)
	if !subscribed {
		r.mu.Unlock()
		return
	}
	t := r.of(e.Room)
	for s := range t.members {
		if len(e.Users) == 0 || slices.Contains(e.Users, s.Identity().User) {
			r.out(s, e)
		}
	}
	r.mu.Unlock()
	r.report(e.Room)
}

// out takes a session out of a room and tells it; r.mu must be held.
func (r *rooms) out(s *Session, e plugin.Expulsion) {
	delete(r.of(e.Room).members, s)
	s.leave(e.Room)
	r.give(s, plugin.Broadcast{Action: e.Action, Body: e.Body})
}

// Configure implements plugin.Rooms.
func (r *rooms) Configure(room im.ConversationID, p plugin.RoomPolicy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policies = append(r.policies, Configured{room, p})
	r.of(room).list = p.List
}

// enter takes a session into a room, and gives it what came since the head. One that
// was on its way in while it was expelled goes out at once, one that is in stays as it is.
func (r *rooms) enter(s *Session, in plugin.Entrance) {
	if s.Closed() != nil {
		return
	}
	r.mu.Lock()
	t := r.of(in.Room)
	if _, already := t.members[s]; already {
		r.mu.Unlock()
		return
	}
	t.members[s], t.list = in.Head, in.Policy.List
	s.enter(in.Room)
	for _, b := range t.recent {
		if b.Seq > in.Head {
			r.give(s, b)
		}
	}
	for _, e := range r.expelled {
		if e.Room == in.Room && in.Head < e.Seq && (len(e.Users) == 0 || slices.Contains(e.Users, s.Identity().User)) {
			r.out(s, e)
			break
		}
	}
	r.mu.Unlock()
	r.report(in.Room)
}

// leave takes a session out of a room.
func (r *rooms) leave(s *Session, room im.ConversationID) {
	r.mu.Lock()
	delete(r.of(room).members, s)
	r.mu.Unlock()
	s.leave(room)
	r.report(room)
}

// report says who is in the room now, and tells the plugin what that changed.
func (r *rooms) report(room im.ConversationID) {
	r.reports.Lock()
	defer r.reports.Unlock()
	r.mu.Lock()
	t, source := r.of(room), r.source
	told := presence.RoomReport{Room: room, Members: int64(len(t.members))}
	if len(t.members) <= t.list {
		for s := range t.members {
			told.Users = append(told.Users, s.Identity().User)
		}
		slices.Sort(told.Users)
		told.Users = slices.Compact(told.Users)
	}
	r.mu.Unlock()
	changes, err := r.registry.Report(context.WithoutCancel(r.host.ctx), life, told)
	if err != nil {
		r.host.log.Error("a room is not reported", "room", room, "err", err)
		return
	}
	if source != nil && !changes[0].Before.Same(changes[0].After) {
		source.Changed(changes)
	}
}

// Broadcasts are all that plugins sent to rooms so far, also to rooms without members.
func (h *Host) Broadcasts() []plugin.Broadcast {
	h.rooms.mu.Lock()
	defer h.rooms.mu.Unlock()
	return slices.Clone(h.rooms.sent)
}

// Expulsions are all that plugins asked for so far.
func (h *Host) Expulsions() []plugin.Expulsion {
	h.rooms.mu.Lock()
	defer h.rooms.mu.Unlock()
	return slices.Clone(h.rooms.expelled)
}

// Policies are all that plugins gave to rooms that were changed.
func (h *Host) Policies() []Configured {
	h.rooms.mu.Lock()
	defer h.rooms.mu.Unlock()
	return slices.Clone(h.rooms.policies)
}

// RoomSource is the plugin that rooms belong to, nil for none.
func (h *Host) RoomSource() plugin.RoomSource {
	h.rooms.mu.Lock()
	defer h.rooms.mu.Unlock()
	return h.rooms.source
}

// Rooms are those that the session is in.
func (s *Session) Rooms() []im.ConversationID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rooms)
}

func (s *Session) enter(room im.ConversationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.rooms, room) {
		s.rooms = append(s.rooms, room)
	}
}

func (s *Session) leave(room im.ConversationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms = slices.DeleteFunc(s.rooms, func(r im.ConversationID) bool { return r == room })
}
