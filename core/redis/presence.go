package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/presence"

	goredis "github.com/redis/go-redis/v9"
)

// callTime bounds every call of Presence, Rooms and Limiter: when Redis does not
// answer they return an error about then, and at once as soon as it is known to
// be away.
const callTime = time.Second

// Presence is the presence.Registry of several cores. A user's routes are one
// hash, so each of its steps is atomic; the edges' lives are one small hash, of
// which every core has a copy that is a second old at most. Safe for concurrent use.
type Presence struct {
	client *Client
	keys   keys
	lives  *lives
}

var _ presence.Registry = (*Presence)(nil)

// NewPresence makes a registry in Redis.
func NewPresence(c *Client, l presence.Leases) *Presence {
	return &Presence{client: c, keys: keys{c.config.Prefix}, lives: newLives(c, l.WithDefaults())}
}

// Attach implements presence.Registry. A life that attaches again, through another
// core or after its link was cut, keeps its routes: those that it does not list
// again end by Leases.Route.
func (p *Presence) Attach(ctx context.Context, life presence.Life) error {
	over, err := p.Keep(ctx, life)
	if err == nil && len(over) > 0 {
		err = presence.ErrFenced
	}
	return err
}

// Keep implements presence.Registry.
func (p *Presence) Keep(ctx context.Context, lives ...presence.Life) (over []presence.Life, err error) {
	if len(lives) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	t, err := p.lives.keep(ctx, lives...)
	if err != nil {
		return nil, p.fault("keep edges", err)
	}
	for _, life := range lives {
		if t.fenced(life) {
			over = append(over, life)
		}
	}
	return over, nil
}

func (p *Presence) fault(doing string, err error) error {
	p.client.failed("presence", err)
	return fmt.Errorf("%s in redis: %w", doing, err)
}

// Register implements presence.Registry.
func (p *Presence) Register(ctx context.Context, r presence.Route) (displaced []presence.Route, registered bool, err error) {
	all, err := p.Restore(ctx, []presence.Route{r})
	if err != nil {
		return nil, false, err
	}
	return all[0].Displaced, all[0].Registered, nil
}

// registerScript lets one session in, or not.
//
//	KEYS[1] the user's hash; ARGV: device, now in ms, value without LISTED, ORDER,
//	session, how long the hash lasts in ms, a value that stands in nobody's way.
//
// It returns 1: registered, 2: that very session was there, 0: an older session
// than the one there; and what was there.
const registerScript = `
local key, device, now, value, order, ref = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local there = redis.pcall('HGET', key, device)
if type(there) == 'table' then
  redis.call('DEL', key)
  there = false
end
if there and there ~= ARGV[7] then
  local sum, order_there, ref_there = string.match(there, '^%d+ (%x+) (%d+) %d+ %d+ (.+)$')
  if ref_there == ref and order_there >= order then
    redis.call('HSET', key, device, now .. string.match(there, ' .*$'))
    redis.call('PEXPIRE', key, ARGV[6])
    return {2, there}
  elseif ref_there and ref_there ~= ref and order < order_there then
    return {0, there}
  end
end
redis.call('HSET', key, device, now .. ' ' .. value)
redis.call('PEXPIRE', key, ARGV[6])
if not there and redis.call('HLEN', key) > 16 then
  local all = redis.call('HGETALL', key)
  for i = 2, #all, 2 do
    local listed = string.match(all[i], '^(%d+) ')
    if not listed or now - listed > tonumber(ARGV[6]) then redis.call('HDEL', key, all[i - 1]) end
  end
end
return {1, there}
`

// Restore implements presence.Registry: one pipeline.
func (p *Presence) Restore(ctx context.Context, routes []presence.Route) ([]presence.Restored, error) {
	if len(routes) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	t, err := p.lives.get(ctx)
	if err != nil {
		return nil, p.fault("ask for the edges", err)
	}
	for i := range routes {
		if t.fenced(routes[i].Life()) {
			return nil, presence.ErrFenced
		}
	}
	all := make([]presence.Restored, len(routes))
	rest := make([]int, len(routes)) // those that are still to be registered
	for i := range rest {
		rest[i] = i
	}
	obsolete := make([]string, len(routes)) // what stands in nobody's way
	for len(rest) > 0 {
		replies, err := p.register(ctx, t, routes, rest, obsolete)
		if err != nil {
			return nil, p.fault("register routes", err)
		}
		again := rest[:0]
		for n, i := range rest {
			if replies[n].there == obsolete[i] { // nothing, or nothing that counts
				all[i] = presence.Restored{Registered: true}
			} else if !p.judge(t, &routes[i], replies[n], &all[i]) {
				obsolete[i] = replies[n].there
				again = append(again, i)
			}
		}
		rest = again
	}
	return all, nil
}

// registration is what registerScript returned.
type registration struct {
	status int64
	there  string
}

// register runs registerScript for some of the routes, in one pipeline.
func (p *Presence) register(ctx context.Context, t *table, routes []presence.Route, some []int, obsolete []string) ([]registration, error) {
	b := p.client.batch()
	now, last := t.moment(), 2*p.lives.leases.Route.Milliseconds()
	for _, i := range some {
		r := &routes[i]
		b.run(ctx, p.client.scripts.register, p.keys.routes(r.User),
			string(r.Device), now, encodeRoute(r), orderOf(r), refOf(&r.SessionRef), last, obsolete[i])
	}
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	replies := make([]registration, len(some))
	for n := range replies {
		reply, err := b.runs[n].Slice()
		if err != nil {
			return nil, err
		}
		if len(reply) > 0 {
			replies[n].status, _ = reply[0].(int64)
		}
		if len(reply) > 1 {
			replies[n].there, _ = reply[1].(string)
		}
	}
	return replies, nil
}

// judge says what became of one session. It returns false when what was there does
// not count and stood in its way, so that it must be registered again without.
func (p *Presence) judge(t *table, r *presence.Route, reply registration, done *presence.Restored) bool {
	there, ok := decodeRoute(r.User, r.Device, reply.there)
	if !ok {
		p.client.figures.corrupt.Inc()
	}
	over := !ok || p.lives.over(t, &there)
	switch {
	case reply.status == 1:
		*done = presence.Restored{Registered: true}
		if !over && there.SessionRef != r.SessionRef {
			done.Displaced = []presence.Route{there.Route}
		}
	case reply.status == 2 && ok:
		*done = presence.Restored{Registered: true, Known: !over}
	case over:
		return false
	default:
		*done = presence.Restored{Displaced: []presence.Route{*r}}
	}
	return true
}

// unregisterScript removes a route if it is that session's.
//
//	KEYS[1] the user's hash; ARGV: device, session, ORDER or empty for any.
const unregisterScript = `
local there = redis.call('HGET', KEYS[1], ARGV[1])
if not there then return 0 end
local order, ref = string.match(there, '^%d+ %x+ (%d+) %d+ %d+ (.+)$')
if ref ~= ARGV[2] or (ARGV[3] ~= '' and ARGV[3] < order) then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
`

// Unregister implements presence.Registry: one pipeline.
func (p *Presence) Unregister(ctx context.Context, routes ...presence.Route) (removed []presence.Route, err error) {
	if len(routes) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	b := p.client.batch()
	for i := range routes {
		r, order := &routes[i], ""
		if !r.Since.IsZero() {
			order = orderOf(r)
		}
		b.run(ctx, p.client.scripts.unregister, p.keys.routes(r.User), string(r.Device), refOf(&r.SessionRef), order)
	}
	err = b.exec(ctx)
	for i := 0; err == nil && i < len(routes); i++ {
		var n int
		if n, err = b.runs[i].Int(); n > 0 {
			removed = append(removed, routes[i])
		}
	}
	if err != nil {
		return removed, p.fault("unregister routes", err)
	}
	return removed, nil
}

// Routes implements presence.Registry: one pipeline. A user's are in the order in
// which the sessions began. Of a Cluster that misses a server, those that the other
// servers hold come with the error.
func (p *Presence) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	out := make([][]presence.Route, len(users))
	if len(users) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	t, err := p.lives.get(ctx)
	if err != nil {
		return nil, p.fault("ask for the edges", err)
	}
	replies := make([]*goredis.MapStringStringCmd, len(users))
	if len(users) == 1 {
		replies[0] = p.client.db.HGetAll(ctx, p.keys.routes(users[0]))
	} else {
		pipe := p.client.db.Pipeline()
		for i, user := range users {
			replies[i] = pipe.HGetAll(ctx, p.keys.routes(user))
		}
		_, _ = pipe.Exec(ctx) // each reply has its error
	}
	var fault error
	for i, user := range users {
		fields, err := replies[i].Result()
		if goredis.HasErrorPrefix(err, "WRONGTYPE") {
			p.client.figures.corrupt.Inc()
			continue // no routes; the next registration clears it
		}
		if err != nil {
			fault = cmp.Or(fault, err)
			continue
		}
		for device, value := range fields {
			s, ok := decodeRoute(user, im.DeviceID(device), value)
			if !ok {
				p.client.figures.corrupt.Inc()
			} else if !p.lives.over(t, &s) {
				out[i] = append(out[i], s.Route)
			}
		}
		slices.SortFunc(out[i], func(a, b presence.Route) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Device, b.Device))
		})
	}
	if fault != nil {
		return out, p.fault("look up routes", fault)
	}
	return out, nil
}

// generationScript gives the generation of a shard, and makes it if it has none.
const generationScript = `
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then redis.call('DEL', KEYS[1]) end
if type(there) ~= 'string' then
  there = ARGV[1]
  redis.call('SET', KEYS[1], there)
end
return there
`

// Generation implements presence.Registry. Each master has a random value, which
// an emptied one has no more, and an ID of its history, which one that was a
// replica has anew.
func (p *Presence) Generation(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	owned, err := p.generationKeys(ctx)
	if err != nil {
		return "", p.fault("find the masters", err)
	}
	var mu sync.Mutex // guards all
	var all []string
	err = p.client.eachMaster(ctx, func(ctx context.Context, node *goredis.Client) error {
		key, ok := owned[node.Options().Addr]
		if !ok {
			return nil // it has no slots
		}
		b := &batch{Pipeliner: node.Pipeline()}
		b.run(ctx, p.client.scripts.generation, key, rand.Text())
		info := b.Info(ctx, "replication")
		if err := b.exec(ctx); err != nil {
			return err
		}
		text, err := b.runs[0].Text()
		if err != nil {
			return err
		}
		if !strings.Contains(info.Val(), "role:master") {
			return errors.New("a replica is taken for a master")
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, key+" "+text+" "+replicationID(info.Val()))
		return nil
	})
	if err != nil {
		return "", p.fault("ask for the generation", err)
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return hex.EncodeToString(sum[:8]), nil
}

// replicationID finds master_replid in INFO replication.
func replicationID(info string) string {
	_, rest, _ := strings.Cut(info, "master_replid:")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}

// maxProbes is how many keys are tried to find one in a slot of each master: a
// master with a hundredth of the slots is missed once in 10,000 layouts, and then
// only its loss is not noticed before the next census.
const maxProbes = 1024

// generationKeys gives the address of each master the key of its generation.
func (p *Presence) generationKeys(ctx context.Context) (map[string]string, error) {
	owned := make(map[string]string)
	cluster, ok := p.client.db.(*goredis.ClusterClient)
	if !ok {
		node, ok := p.client.db.(*goredis.Client)
		if !ok {
			return nil, fmt.Errorf("a %T is not expected", p.client.db)
		}
		owned[node.Options().Addr] = p.keys.generation(0)
		return owned, nil
	}
	var mu sync.Mutex // guards masters
	masters := 0
	err := cluster.ForEachMaster(ctx, func(context.Context, *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters++
		return nil
	})
	for n := 0; err == nil && len(owned) < masters && n < maxProbes; n++ {
		var node *goredis.Client
		key := p.keys.generation(n)
		if node, err = cluster.MasterForKey(ctx, key); err == nil && owned[node.Options().Addr] == "" {
			owned[node.Options().Addr] = key
		}
	}
	return owned, err
}
