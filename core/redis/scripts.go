package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// scripts are what Redis runs in one atomic step, each over one key, so that all
// of them work in a Cluster. A server that does not know one yet is told.
type scripts struct {
	add, keep, register, unregister, generation, room, roomReport, limit *goredis.Script
	incr, cas, mark, marks                                               *goredis.Script // of Shared
}

func newScripts() scripts {
	return scripts{
		add:        goredis.NewScript(addScript),
		keep:       goredis.NewScript(keepScript),
		register:   goredis.NewScript(registerScript),
		unregister: goredis.NewScript(unregisterScript),
		generation: goredis.NewScript(generationScript),
		room:       goredis.NewScript(roomScript),
		roomReport: goredis.NewScript(roomReportScript),
		limit:      goredis.NewScript(limitScript),
		incr:       goredis.NewScript(incrScript),
		cas:        goredis.NewScript(casScript),
		mark:       goredis.NewScript(markScript),
		marks:      goredis.NewScript(marksScript),
	}
}

// addScript puts entries into a timeline at their seqs.
//
//	KEYS[1] the sorted set; ARGV: how many to keep, age in ms, the timeline's newest
//	seq by the record or 0, then seq and member of each entry, seqs growing.
//
// It returns how many were added, or -1 when another member stood at a seq: one
// of the two is wrong, so the whole set goes, and readers ask the record. The
// same for a set that runs further ahead of the record than it could. But of one message
// the member that is erased stays, or comes in the place of that which is not.
const addScript = `
local function erased(member) return string.byte(member) == 2 end
local function message(member, seq)
  local last = 16
  while seq >= 128 do
    seq, last = math.floor(seq / 128), last + 1
  end
  return string.sub(member, 6, last)
end
local key, keep, head = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
if #ARGV == 5 and redis.pcall('ZCOUNT', key, ARGV[4], '+inf') == 0 then
  -- As nearly always: one entry, at the end.
  redis.call('ZADD', key, ARGV[4], ARGV[5])
  local floor = tonumber(ARGV[4]) - keep
  if floor > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', floor) end
  redis.call('PEXPIRE', key, ARGV[2])
  return 1
end
local top = redis.pcall('ZREVRANGE', key, 0, 0, 'WITHSCORES')
if top.err then
  redis.call('DEL', key)
  top = {}
end
local newest = tonumber(top[2] or 0)
if head > 0 and newest > head + keep then
  redis.call('DEL', key)
  newest = 0
end
local floor = math.max(newest, tonumber(ARGV[#ARGV - 1])) - keep
local added = 0
for i = 4, #ARGV, 2 do
  local seq = tonumber(ARGV[i])
  if seq > newest then
    if seq > floor then
      redis.call('ZADD', key, ARGV[i], ARGV[i + 1])
      added = added + 1
    end
    newest = seq
  elseif seq > floor then
    local there = redis.call('ZRANGEBYSCORE', key, ARGV[i], ARGV[i])
    if #there == 0 then
      redis.call('ZADD', key, ARGV[i], ARGV[i + 1])
      added = added + 1
    elseif #there == 1 and erased(there[1]) ~= erased(ARGV[i + 1]) and message(there[1], seq) == message(ARGV[i + 1], seq) then
      if erased(ARGV[i + 1]) then
        redis.call('ZREM', key, there[1])
        redis.call('ZADD', key, ARGV[i], ARGV[i + 1])
        added = added + 1
      end
    elseif #there > 1 or there[1] ~= ARGV[i + 1] then
      redis.call('DEL', key)
      return -1
    end
  end
end
if floor > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', floor) end
redis.call('PEXPIRE', key, ARGV[2])
return added
`

// batch is one pipeline of commands and runs of scripts.
type batch struct {
	goredis.Pipeliner
	runs []run
}

// run is one run of a script in a batch.
type run struct {
	*goredis.Cmd // its result after exec
	script       *goredis.Script
}

func (c *Client) batch() *batch { return &batch{Pipeliner: c.db.Pipeline()} }

// scriptArgs are the arguments of a run over one key, with room for n more.
func scriptArgs(script *goredis.Script, key string, n int) []any {
	return append(make([]any, 0, 4+n), "evalsha", script.Hash(), "1", key)
}

// run adds a run of a script over one key. Its result is that of the run of the
// same number in runs.
func (b *batch) run(ctx context.Context, script *goredis.Script, key string, args ...any) {
	b.start(ctx, script, append(scriptArgs(script, key, len(args)), args...))
}

// start is run with what scriptArgs began.
func (b *batch) start(ctx context.Context, script *goredis.Script, args []any) {
	cmd := goredis.NewCmd(ctx, args...)
	_ = b.Process(ctx, cmd) // a pipeline has its errors later
	b.runs = append(b.runs, run{cmd, script})
}

// exec sends the batch. What became of each command it says itself; the error is
// the first of them.
func (b *batch) exec(ctx context.Context) error {
	_, err := b.Exec(ctx)
	if err == nil {
		return nil
	}
	unknown := false
	for i, r := range b.runs {
		if goredis.HasErrorPrefix(r.Err(), "NOSCRIPT") {
			// The server is given the text, and keeps it.
			b.runs[i].Cmd = r.script.Eval(ctx, b.Pipeliner, []string{r.Args()[3].(string)}, r.Args()[4:]...)
			unknown = true
		}
	}
	if !unknown {
		return err
	}
	_, err = b.Exec(ctx)
	return err
}
