package redis

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Shared is what operators' scripts keep for all cores (im.shared): values and marks by
// key, each with an end, none durable. A key is one string or one hash, so all is right
// in a Cluster too. Each method answers within its time or fails: then nobody knows
// whether it happened. After several failures in a row nothing is asked for a while.
// Safe for concurrent use.
type Shared struct {
	client *Client
	keys   keys
	within time.Duration

	failures atomic.Int32 // in a row
	until    atomic.Int64 // no question before, unix ns; 0: any
}

const (
	sharedTime     = 10 * time.Millisecond
	sharedFailures = 5
	sharedPause    = time.Second

	maxMarked = 100_000 // members of one key
	maxMarks  = 32      // their values
)

// What Incr and Mark answer besides what went wrong on the way.
var (
	ErrNotANumber = errors.New("the value is no whole number within 2^53")
	ErrFull       = errors.New("full")
)

// NewShared uses the client's servers. Each question is answered within that time; 0:
// 10 ms, which is a part of what a script may take.
func NewShared(c *Client, within time.Duration) *Shared {
	return &Shared{client: c, keys: keys{c.config.Prefix}, within: cmp.Or(within, sharedTime)}
}

// incrScript adds to a whole number.
//
//	KEYS[1] the key; ARGV: what to add, ms that a new key lives.
//
// It returns the sum as text, or false when there is no whole number within 2^53.
const incrScript = `
local key, by, most = KEYS[1], tonumber(ARGV[1]), 9007199254740992
local there = redis.pcall('GET', key)
if type(there) == 'table' then return false end
local n = 0
if there then
  if not string.match(there, '^-?%d+$') then return false end
  n = tonumber(there)
end
if n < -most or n > most or by < -most - n or by > most - n then return false end
local sum = string.format('%.0f', n + by)
if there then
  redis.call('SET', key, sum, 'KEEPTTL') -- INCRBY fails at 007
else
  redis.call('SET', key, sum, 'PX', ARGV[2])
end
return sum
`

// casScript sets a key that holds something.
//
//	KEYS[1] the key; ARGV: 1 if it must be there, what it must hold then, the value, ms.
//
// It returns 1 if it did.
const casScript = `
local there = redis.pcall('GET', KEYS[1])
if type(there) == 'table' then return 0 end
if ARGV[1] == '1' then
  if there ~= ARGV[2] then return 0 end
elseif there then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
`

// markScript marks a member of a key, once. The hash has m + member: the value; i +
// value: its number; v: how many values there are; v + number: the value; c + number:
// how many members have it.
//
//	KEYS[1] the key; ARGV: member, value, ms that a new key lives, how many members and
//	values there may be.
//
// It returns what the member is marked with and 1 if this call did it; nothing when the
// key is full.
const markScript = `
local key, member, value = KEYS[1], 'm' .. ARGV[1], ARGV[2]
local there = redis.call('HGET', key, member)
if there then return {there, 0} end
local values = tonumber(redis.call('HGET', key, 'v') or 0)
if redis.call('HLEN', key) - 1 - 3 * values >= tonumber(ARGV[4]) then return {} end
local number = redis.call('HGET', key, 'i' .. value)
if not number then
  if values >= tonumber(ARGV[5]) then return {} end
  number = redis.call('HINCRBY', key, 'v', 1)
  redis.call('HSET', key, 'i' .. value, number, 'v' .. number, value)
  if values == 0 then redis.call('PEXPIRE', key, ARGV[3]) end
end
redis.call('HSET', key, member, value)
redis.call('HINCRBY', key, 'c' .. number, 1)
return {value, 1}
`

// marksScript counts marks.
//
//	KEYS[1] the key; ARGV: a member.
//
// It returns the member's value, empty for none, and then each value and its count.
const marksScript = `
local key = KEYS[1]
local out = {redis.call('HGET', key, 'm' .. ARGV[1]) or ''}
for number = 1, tonumber(redis.call('HGET', key, 'v') or 0) do
  local one = redis.call('HMGET', key, 'v' .. number, 'c' .. number)
  out[#out + 1] = one[1]
  out[#out + 1] = one[2]
end
return out
`

// ask runs fn within that time, unless too much failed lately. goredis.Nil is an answer.
func (s *Shared) ask(ctx context.Context, fn func(ctx context.Context) error) error {
	if until := s.until.Load(); until != 0 {
		now := time.Now().UnixNano()
		if now < until || !s.until.CompareAndSwap(until, now+int64(sharedPause)) { // one may try
			return ErrAway
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	err := fn(ctx)
	if err == nil || errors.Is(err, goredis.Nil) {
		s.failures.Store(0)
		s.until.Store(0)
		return err
	}
	s.client.failed("shared", err)
	if s.failures.Add(1) >= sharedFailures {
		s.until.Store(time.Now().Add(sharedPause).UnixNano())
	}
	return err
}

// Get gives the value of a key.
func (s *Shared) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		value, err = s.client.db.Get(ctx, s.keys.shared(key)).Result()
		return err
	})
	if errors.Is(err, goredis.Nil) {
		return "", false, nil
	}
	return value, err == nil, err
}

// Set sets a key for ttl.
func (s *Shared) Set(ctx context.Context, key, value string, ttl time.Duration) error {
	return s.ask(ctx, func(ctx context.Context) error {
		return s.client.db.Set(ctx, s.keys.shared(key), value, ttl).Err()
	})
}

// Incr adds to a whole number and gives the sum; a new key lives for ttl. When an answer
// is lost on a connection that died it may add twice.
func (s *Shared) Incr(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error) {
	err = s.ask(ctx, func(ctx context.Context) error {
		text, err := s.client.scripts.incr.Run(ctx, s.client.db, []string{s.keys.shared(key)}, by, ttl.Milliseconds()).Text()
		if err != nil {
			return err
		}
		sum, err = strconv.ParseInt(text, 10, 64)
		return err
	})
	if errors.Is(err, goredis.Nil) {
		return 0, ErrNotANumber
	}
	return sum, err
}

// Del removes a key, with its marks.
func (s *Shared) Del(ctx context.Context, key string) (existed bool, err error) {
	err = s.ask(ctx, func(ctx context.Context) error {
		pipe := s.client.db.Pipeline()
		value, marks := pipe.Del(ctx, s.keys.shared(key)), pipe.Del(ctx, s.keys.marks(key))
		_, err := pipe.Exec(ctx)
		existed = value.Val()+marks.Val() > 0
		return err
	})
	return existed, err
}

// CAS sets a key if it holds *old, or if it is not there and old is nil.
func (s *Shared) CAS(ctx context.Context, key string, old *string, value string, ttl time.Duration) (set bool, err error) {
	must, held := 0, ""
	if old != nil {
		must, held = 1, *old
	}
	err = s.ask(ctx, func(ctx context.Context) error {
		n, err := s.client.scripts.cas.Run(ctx, s.client.db, []string{s.keys.shared(key)}, must, held, value, ttl.Milliseconds()).Int()
		set = n == 1
		return err
	})
	return set, err
}

// Mark marks a member of a key with value, unless it is marked, and gives what it is
// marked with, and whether it was this call. Done again, it changes nothing.
func (s *Shared) Mark(ctx context.Context, key, member, value string, ttl time.Duration) (marked string, fresh bool, err error) {
	full := false
	err = s.ask(ctx, func(ctx context.Context) error {
		said, err := s.client.scripts.mark.Run(ctx, s.client.db, []string{s.keys.marks(key)},
			member, value, ttl.Milliseconds(), maxMarked, maxMarks).Slice()
		if full = err == nil && len(said) < 2; err != nil || full {
			return err
		}
		marked, _ = said[0].(string)
		n, _ := said[1].(int64)
		fresh = n == 1
		return nil
	})
	if full {
		return "", false, ErrFull
	}
	return marked, fresh, err
}

// Marks counts the members of a key by value; mine is the value of member.
func (s *Shared) Marks(ctx context.Context, key, member string) (counts map[string]int64, mine string, err error) {
	var said []string
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		said, err = s.client.scripts.marks.Run(ctx, s.client.db, []string{s.keys.marks(key)}, member).StringSlice()
		return err
	})
	if err != nil || len(said) == 0 {
		return nil, "", err
	}
	counts = map[string]int64{}
	for i := 1; i+1 < len(said); i += 2 {
		if counts[said[i]], err = strconv.ParseInt(said[i+1], 10, 64); err != nil {
			return nil, "", err
		}
	}
	return counts, said[0], nil
}
