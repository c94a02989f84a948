package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/presence"

	goredis "github.com/redis/go-redis/v9"
)

// Rooms is the presence.Rooms of several cores: a hash for each room. Leases run by
// the clock of the server that holds it. Safe for concurrent use.
//
// A field is an edge, its value one line:
//
//	UNTIL EPOCH JOINING MEMBERS USERS
//
// UNTIL is how long it is believed and JOINING how long a join may be on its way,
// both in ms; USERS are IDs with commas between, or "-".
type Rooms struct {
	client *Client
	keys   keys
	leases presence.Leases
}

var _ presence.Rooms = (*Rooms)(nil)

// NewRooms makes rooms in Redis.
func NewRooms(c *Client, l presence.Leases) *Rooms {
	return &Rooms{client: c, keys: keys{c.config.Prefix}, leases: l.WithDefaults()}
}

// roomScript subscribes an edge to a room, or, without an edge, lists the room.
//
//	KEYS[1] the room's hash; ARGV: lease in ms, edge, epoch, how long a join takes in ms.
//
// It returns 1, or 0 when a later life is subscribed; or the time in ms and the hash.
const roomScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, lease, edge, epoch = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
if not edge then return {string.format('%.0f', now), redis.call('HGETALL', key)} end
local till, there, rest = string.match(redis.call('HGET', key, edge) or '', '^(%d+) (%d+) %d+ (%d+ %S+)$')
if there and there > epoch and tonumber(till) > now then return 0 end
if there ~= epoch then rest = '0 -' end
redis.call('HSET', key, edge, string.format('%.0f %s %.0f %s', now + lease, epoch, now + tonumber(ARGV[4]), rest))
redis.call('PEXPIRE', key, lease)
return 1
`

// roomReportScript takes what an edge says of a room, and forgets what has lapsed.
//
//	KEYS[1] the room's hash; ARGV: lease in ms, edge, epoch, members, users.
//
// It returns nothing when that changes nothing, and else the time in ms, the hash as
// it was, and 1 if the edge is in it now.
const roomReportScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, lease, edge, epoch, rest = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] .. ' ' .. ARGV[5]
if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
local all, mine, lapsed, joining = redis.call('HGETALL', key), nil, {}, '0'
for i = 1, #all, 2 do
  local till, there, join, was = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+ %S+)$')
  if all[i] == edge then
    if there and there > epoch and tonumber(till) > now then return end
    if there == epoch then mine, joining = was, join end
  end
  if not till or tonumber(till) <= now then lapsed[#lapsed + 1] = all[i] end
end
if #lapsed > 0 then redis.call('HDEL', key, unpack(lapsed)) end
local stays = ARGV[4] ~= '0' or tonumber(joining) > now
if stays then
  redis.call('HSET', key, edge, string.format('%.0f %s %s %s', now + lease, epoch, joining, rest))
  redis.call('PEXPIRE', key, lease)
else
  redis.call('HDEL', key, edge)
end
if mine == rest and #lapsed == 0 then return end
return {string.format('%.0f', now), all, stays and 1 or 0}
`

// Subscribe implements presence.Rooms.
func (r *Rooms) Subscribe(ctx context.Context, room im.ConversationID, life presence.Life) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	b := r.client.batch()
	b.run(ctx, r.client.scripts.room, r.keys.room(room), r.lease(), string(life.Edge), sortable(life.Epoch), r.leases.Join.Milliseconds())
	if err := b.exec(ctx); err != nil {
		return r.fault("subscribe to a room", err)
	}
	if b.runs[0].Val() == int64(0) {
		return presence.ErrFenced
	}
	return nil
}

func (r *Rooms) lease() int64 { return r.leases.Route.Milliseconds() }

func (r *Rooms) fault(doing string, err error) error {
	r.client.failed("rooms", err)
	return fmt.Errorf("%s in redis: %w", doing, err)
}

// Report implements presence.Rooms: one pipeline.
func (r *Rooms) Report(ctx context.Context, life presence.Life, reports ...presence.RoomReport) ([]presence.RoomChange, error) {
	changes := make([]presence.RoomChange, len(reports))
	if len(reports) == 0 {
		return changes, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	b := r.client.batch()
	edge, epoch := string(life.Edge), sortable(life.Epoch)
	for i, one := range reports {
		changes[i].Room = one.Room
		b.run(ctx, r.client.scripts.roomReport, r.keys.room(one.Room), r.lease(), edge, epoch, one.Members, writeUsers(one.Users))
	}
	_ = b.exec(ctx) // each run has its error
	var fault error
	for i, one := range reports {
		reply, err := b.runs[i].Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			fault = cmp.Or(fault, err)
			continue
		}
		if list, _ := reply.([]any); len(list) == 3 {
			changes[i] = r.change(life, one, list)
		}
	}
	if fault != nil {
		return changes, r.fault("report rooms", fault)
	}
	return changes, nil
}

// change reads what roomReportScript returned.
func (r *Rooms) change(life presence.Life, report presence.RoomReport, reply []any) presence.RoomChange {
	now, parts := r.parts(reply)
	c := presence.RoomChange{Room: report.Room, Before: presence.Occupancy{Listed: true}, After: presence.Occupancy{Listed: true}, New: report.Members > 0}
	for _, p := range parts {
		if p.Life == life && p.until > now {
			c.New = false
		}
		c.Before.Count(p.members, p.users)
		if p.until > now && p.Edge != life.Edge {
			c.After.Count(p.members, p.users)
		}
	}
	if reply[2] == int64(1) {
		c.After.Count(report.Members, report.Users)
	}
	c.Before.Sort()
	c.After.Sort()
	return c
}

// part is what one edge said of a room.
type part struct {
	presence.Life
	until   int64
	members int64
	users   []im.UserID
}

// parts reads a time and a hash. What cannot be read is as nothing.
func (r *Rooms) parts(reply []any) (now int64, all []part) {
	if len(reply) < 2 {
		return 0, nil
	}
	stamp, _ := reply[0].(string)
	now, _ = readInt(stamp)
	hash, _ := reply[1].([]any)
	for i := 0; i+1 < len(hash); i += 2 {
		edge, _ := hash[i].(string)
		line, _ := hash[i+1].(string)
		p, ok := decodePart(edge, line)
		if !ok {
			r.client.figures.corrupt.Inc()
			continue
		}
		all = append(all, p)
	}
	return now, all
}

// decodePart reads one field.
func decodePart(edge, line string) (part, bool) {
	words := strings.Split(line, " ")
	if len(words) != 5 {
		return part{}, false
	}
	until, ok1 := readInt(words[0])
	epoch, ok2 := readSortable(words[1])
	_, ok3 := readInt(words[2])
	members, ok4 := readInt(words[3])
	users, ok5 := readUsers(words[4])
	return part{presence.Life{Edge: presence.EdgeID(edge), Epoch: epoch}, until, members, users}, ok1 && ok2 && ok3 && ok4 && ok5
}

func writeUsers(users []im.UserID) string {
	if len(users) == 0 {
		return "-"
	}
	b := make([]byte, 0, 17*len(users))
	for i, u := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(u), 10)
	}
	return string(b)
}

func readUsers(text string) (users []im.UserID, ok bool) {
	if text == "-" {
		return nil, true
	}
	for word := range strings.SplitSeq(text, ",") {
		n, ok := readInt(word)
		if !ok {
			return nil, false
		}
		users = append(users, im.UserID(n))
	}
	return users, true
}

// Edges implements presence.Rooms: one pipeline.
func (r *Rooms) Edges(ctx context.Context, rooms ...im.ConversationID) ([][]presence.Life, error) {
	out := make([][]presence.Life, len(rooms))
	all, err := r.list(ctx, rooms)
	for i, parts := range all {
		for _, p := range parts {
			out[i] = append(out[i], p.Life)
		}
	}
	return out, err
}

// Occupancy implements presence.Rooms.
func (r *Rooms) Occupancy(ctx context.Context, room im.ConversationID) (presence.Occupancy, error) {
	o := presence.Occupancy{Listed: true}
	all, err := r.list(ctx, []im.ConversationID{room})
	if err != nil {
		return presence.Occupancy{}, err
	}
	for _, p := range all[0] {
		o.Count(p.members, p.users)
	}
	o.Sort()
	return o, nil
}

// list gives what is believed of each room.
func (r *Rooms) list(ctx context.Context, rooms []im.ConversationID) ([][]part, error) {
	out := make([][]part, len(rooms))
	if len(rooms) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	b := r.client.batch()
	for _, room := range rooms {
		b.run(ctx, r.client.scripts.room, r.keys.room(room), r.lease())
	}
	_ = b.exec(ctx) // each run has its error
	var fault error
	for i := range rooms {
		reply, err := b.runs[i].Slice()
		if err != nil {
			fault = cmp.Or(fault, err)
			continue
		}
		now, parts := r.parts(reply)
		for _, p := range parts {
			if p.until > now {
				out[i] = append(out[i], p)
			}
		}
	}
	if fault != nil {
		return out, r.fault("look up rooms", fault)
	}
	return out, nil
}
