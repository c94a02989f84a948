-- Polls in chats and rooms: whoever is in a room, or in a chat, asks its people to choose. The numbers 200 to 202 are these actions' for good.
local im = require("im")

local cfg = im.config{
  name = "poll",
  enabled = {type = "boolean", default = true},
  longest = {type = "duration", default = "7d", min = "1m", max = "14d", doc = "that a poll may be open"},
}

-- How long a poll can be read after it has closed.
local kept = 24 * 3600 * 1000

-- An ID may be longer than a key.
local function key(id)
  return "poll:" .. im.hash(id)
end

-- Of the votes: another poll with the ID of one that is gone begins anew.
local function votes(id, poll)
  return key(id) .. ":" .. poll.closes
end

-- What the store answers is for operators.
local function later(problem)
  im.log.warn("a poll got no answer from the store", {problem = problem})
  return im.deny("unavailable", "try again", {retry_after = 1000})
end

-- A chat is between the two people that its ID names, and a session says which rooms it is in.
local function takes_part(c, conversation)
  local one, other = conversation:match("^c_(%d+)_(%d+)$")
  if one then
    return c.user == one or c.user == other
  end
  return c:in_room(conversation)
end

-- The poll of that ID as a table, if there is one; otherwise nil, and what went wrong.
local function read(id)
  local text, problem = im.shared.get(key(id))
  return text and im.json.decode(text), problem
end

-- The poll of that ID, for whoever takes part in it; otherwise nil and the refusal.
local function find(c, id)
  if not cfg.enabled then
    return nil, im.deny("unknown_action", "there are no polls here")
  end
  local poll, problem = read(id)
  if problem then
    return nil, later(problem)
  end
  if not poll or not takes_part(c, poll.conversation) then
    return nil, im.deny("not_found", "no such poll")
  end
  return poll
end

local id = {type = "string", min = 1, max = 40, doc = "chosen by whoever makes the poll"}

-- Made once: a client that got no answer sends the same again, and gets the same.
im.action("lua.poll.create", {
  number = 200, rate = "5/m", max_body = 4096, rooms = true,
  request = {
    poll = id,
    conversation = {type = "string", min = 1, max = 64},
    question = {type = "string", min = 1, max = 200},
    options = {type = "list", of = {type = "string", min = 1, max = 60}, min = 2, max = 10},
    seconds = {type = "integer", min = 10, max = 14 * 24 * 3600},
  },
  reply = {poll = {type = "string"}, closes = {type = "integer", doc = "milliseconds since 1970"}},
}, function(c)
  local req = c.req
  if not cfg.enabled then
    return im.deny("unknown_action", "there are no polls here")
  end
  if req.seconds * 1000 > cfg.longest then
    return im.deny("invalid_argument", "a poll may not be open for so long")
  end
  if not takes_part(c, req.conversation) then
    return im.deny("permission_denied", "come into the conversation first")
  end
  local options, seen = {}, {}
  for i = 1, #req.options do
    local option = req.options[i]
    if seen[option] then
      return im.deny("invalid_argument", "an option is there twice")
    end
    options[i], seen[option] = option, true
  end
  local poll = {by = c.user, conversation = req.conversation, question = req.question, options = options, seconds = req.seconds,
    closes = im.now() + req.seconds * 1000}
  local made, problem = im.shared.cas(key(req.poll), nil, im.json.encode(poll), req.seconds * 1000 + kept)
  if problem then
    return later(problem)
  end
  if not made then
    local before, why = read(req.poll)
    if not before then
      return later(why or "it has just ended")
    end
    poll.closes = before.closes
    if im.json.encode(poll) ~= im.json.encode(before) then
      return im.deny("conflict", "another poll has this ID")
    end
    return {poll = req.poll, closes = before.closes}
  end
  im.emit("poll.created", {poll = req.poll, conversation = req.conversation, by = c.user})
  return {poll = req.poll, closes = poll.closes}
end)

-- One vote per user: the first holds, and sent again it gives the same answer, also when the poll has closed meanwhile.
im.action("lua.poll.vote", {
  number = 201, rate = "30/m", max_body = 256, rooms = true,
  request = {poll = id, choice = {type = "integer", min = 1, max = 10, doc = "place among the options"}},
  reply = {choice = {type = "integer", doc = "the one that holds"}},
}, function(c)
  local poll, refusal = find(c, c.req.poll)
  if not poll then
    return refusal
  end
  if c.req.choice > #poll.options then
    return im.deny("invalid_argument", "there is no such option")
  end
  if im.now() >= poll.closes then
    local counts, mine = im.shared.marks(votes(c.req.poll, poll), c.user)
    if not counts then
      return later(mine)
    end
    if mine ~= tostring(c.req.choice) then
      return im.deny("rejected", "the poll is closed")
    end
    return {choice = c.req.choice}
  end
  local left = poll.closes - im.now() + kept
  local choice, problem = im.shared.mark(votes(c.req.poll, poll), c.user, c.req.choice, left)
  if problem == "full" then
    return im.deny("rejected", "this poll takes no more votes")
  end
  if not choice then
    return later(problem)
  end
  if choice ~= tostring(c.req.choice) then
    return im.deny("already_exists", "you have chosen " .. choice)
  end
  return {choice = tonumber(choice)}
end)

im.action("lua.poll.result", {
  number = 202, rate = "60/m", max_body = 256, rooms = true,
  request = {poll = id},
  reply = {
    question = {type = "string"}, options = {type = "list", of = "string"}, counts = {type = "list", of = "integer"},
    total = {type = "integer"}, closes = {type = "integer"}, closed = {type = "boolean"},
    mine = {type = "integer", optional = true, doc = "what this user chose"},
  },
}, function(c)
  local poll, refusal = find(c, c.req.poll)
  if not poll then
    return refusal
  end
  local marks, mine = im.shared.marks(votes(c.req.poll, poll), c.user)
  if not marks then
    return later(mine)
  end
  local counts, total = {}, 0
  for i = 1, #poll.options do
    counts[i] = marks[tostring(i)] or 0
    total = total + counts[i]
  end
  return {question = poll.question, options = poll.options, counts = counts, total = total,
    closes = poll.closes, closed = im.now() >= poll.closes, mine = mine and tonumber(mine)}
end)
