package room

import (
	"context"
	"slices"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

const (
	// countEvery is the least time between two words of a room's size by one core.
	countEvery = 5 * time.Second
	// countTick is how often it is looked whether one is due, while one waits.
	countTick = 200 * time.Millisecond
	// maxCounts bounds the rooms whose size waits to be told; beyond, the next change
	// tells it.
	maxCounts = 65_536
)

// counts is which rooms' sizes have changed and are to be told. Safe for concurrent use.
type counts struct {
	// Static.
	empty bool          // also of rooms in which nobody is any more
	most  int           // rooms in one tick; 0: all
	wake  chan struct{} // has one token when the first room came

	mu    sync.Mutex // guards rooms
	rooms map[im.ConversationID]*count
}

// count is the size of one room.
type count struct {
	there presence.Occupancy
	told  time.Time // the last word; zero: none lately
	due   bool
}

func newCounts(empty bool, most int) *counts {
	return &counts{empty: empty, most: most, wake: make(chan struct{}, 1), rooms: map[im.ConversationID]*count{}}
}

// note takes a room's size.
func (c *counts) note(room im.ConversationID, there presence.Occupancy) {
	due := c.empty || there.Members > 0
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.rooms[room]
	if one == nil {
		if !due || len(c.rooms) >= maxCounts {
			return
		}
		one = new(count)
		c.rooms[room] = one
	}
	one.there, one.due = there, due
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// again has a size that could not be told be told later, if it is the last that is known.
func (c *counts) again(room im.ConversationID, there presence.Occupancy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.rooms[room]; one != nil && !one.due {
		one.there, one.due = there, true
	}
}

// due gives the sizes to be told now, and whether there is more to come.
func (c *counts) due(now time.Time) (all map[im.ConversationID]presence.Occupancy, more bool) {
	all = map[im.ConversationID]presence.Occupancy{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for room, one := range c.rooms {
		switch recent := now.Sub(one.told) < countEvery && now.Sub(one.told) >= 0; {
		case recent, c.most > 0 && len(all) == c.most:
		case one.due:
			all[room] = one.there
			one.told, one.due = now, false
		default:
			delete(c.rooms, room)
		}
	}
	return all, len(c.rooms) > 0
}

// run tells sizes until ctx ends. It rests while nothing changes.
func (c *counts) run(ctx context.Context, clock func() time.Time, tell func(context.Context, map[im.ConversationID]presence.Occupancy)) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		tick := time.NewTicker(countTick)
		for more := true; more; {
			var all map[im.ConversationID]presence.Occupancy
			if all, more = c.due(clock()); len(all) > 0 {
				tell(ctx, all)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				more = false
			}
		}
		tick.Stop()
	}
}

// tellCounts pushes rooms' sizes.
func (p *Room) tellCounts(ctx context.Context, all map[im.ConversationID]presence.Occupancy) {
	for room, there := range all {
		p.tellCount(ctx, room, there.Members)
	}
}

// tellCount pushes a room's size. Without its head, when that cannot be read.
func (p *Room) tellCount(ctx context.Context, room im.ConversationID, members int64) {
	info := &roompb.RoomInfo{Room: nameOf(room), Members: members}
	if page, err := p.timelines.Log(ctx, room, 0, 0); err == nil {
		info.Head = page.Head
	}
	p.rooms.Broadcast(plugin.Broadcast{Room: room, Action: idl.ActionRoomInfo, Body: info})
}

// Changed implements plugin.RoomSource: a small room hears at once who came and went,
// every room now and then how many there are.
func (s source) Changed(changes []presence.RoomChange) {
	for _, c := range changes {
		if c.Room.Type() != im.Room {
			continue
		}
		if c.Before.Members != c.After.Members {
			s.counts.note(c.Room, c.After)
		}
		if !c.Before.Same(c.After) && s.wanted(eventMembers) {
			s.tallies.note(c.Room, c.After)
		}
		s.tellPresence(c)
	}
}

// tellPresence pushes who came and who went, when the room is small. To one that has
// just become small all came.
func (s source) tellPresence(c presence.RoomChange) {
	if !s.small(c.After) || c.After.Members == 0 {
		return
	}
	var before []im.UserID
	if s.small(c.Before) {
		before = c.Before.Users
	}
	push := &roompb.RoomPresence{Room: nameOf(c.Room), Came: numbers(without(c.After.Users, before)), Went: numbers(without(before, c.After.Users))}
	if len(push.Came)+len(push.Went) > 0 {
		s.rooms.Broadcast(plugin.Broadcast{Room: c.Room, Action: idl.ActionRoomMembers, Body: push})
	}
}

// without are those of the first, which ascend, that are not among the others, which
// do too.
func without(users, others []im.UserID) (rest []im.UserID) {
	for _, u := range users {
		if _, found := slices.BinarySearch(others, u); !found {
			rest = append(rest, u)
		}
	}
	return rest
}

func numbers(users []im.UserID) []int64 {
	out := make([]int64, len(users))
	for i, u := range users {
		out[i] = int64(u)
	}
	return out
}
