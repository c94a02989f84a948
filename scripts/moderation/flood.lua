-- Floods: too many messages of one person, or nearly the same one again and again.
local im = require("im")
local rate, len, alike = im.rate, im.text.len, im.count.alike

local cfg = im.config{
  name = "flood",
  enabled = {type = "boolean", default = false},
  messages = {type = "integer", default = 20, min = 1, max = 10000, doc = "so many at once"},
  per = {type = "duration", default = "10s", min = "1s", max = "1d", doc = "in which they come back"},
  repeats = {type = "integer", default = 3, min = 1, max = 1000, doc = "how often one may say the same again"},
  within = {type = "duration", default = "1m", min = "1s", max = "1d"},
  alike = {type = "number", default = 0.85, min = 0.5, max = 1, doc = "from which similarity on it is the same"},
  short = {type = "integer", default = 6, min = 0, max = 1000, doc = "texts up to so many characters may be repeated: ok, 好的"},
}

im.on_message(function(c)
  local ok, retry = rate("flood:" .. c.user, cfg.messages, cfg.per)
  if not ok then
    return im.throttle(retry, "too many messages")
  end
end, {name = "flood.rate", when = "flood.enabled", phase = "limits", on_error = "open"})

im.on_message(function(c)
  local text, short = c.text, cfg.short
  if #text <= 4 * short and len(text) <= short then -- a character has 4 octets at most
    return
  end
  local within = cfg.within
  if alike("flood:" .. c.user, text, within, cfg.alike) > cfg.repeats then
    return im.deny("rate_limited", "the same message again", {retry_after = within})
  end
end, {name = "flood.repeats", when = "flood.enabled", phase = "limits", on_error = "open"})
