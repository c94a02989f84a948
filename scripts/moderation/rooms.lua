-- Rooms: a pause between two messages of one person, and who may call everybody.
local im = require("im")

local cfg = im.config{
  name = "rooms",
  slow = {type = "set", default = "", doc = "rooms with slow mode"},
  pause = {type = "duration", default = "10s", min = "1s", max = "1h", doc = "between two messages of one person there"},
  gate_mention_all = {type = "boolean", default = false},
  callers = {type = "set", default = "", doc = "IDs of users who may call everybody"},
}

im.on_message(function(c)
  local room = c.conversation
  if not cfg.slow:has(room) then
    return
  end
  local ok, retry = im.rate("rooms.slow:" .. c.user .. ":" .. room:sub(1, 80), 1, cfg.pause)
  if not ok then
    return im.throttle(retry, "this room is slow")
  end
end, {name = "rooms.slow", when = "rooms.slow", conversations = "room", phase = "limits", on_error = "open"})

local everybody = {all = true, everyone = true, everybody = true, here = true, ["所有人"] = true, ["全体成员"] = true}

im.on_message(function(c)
  if cfg.callers:has(c.user) then
    return
  end
  for _, name in ipairs(im.text.mentions(im.text.normalize(c.text))) do
    if everybody[im.text.lower(name)] then
      return im.deny("rejected", "not everybody may call everybody")
    end
  end
end, {name = "rooms.mention_all", when = "rooms.gate_mention_all", conversations = {"group", "room"}, phase = "content", on_error = "open"})
