-- Floods: too many messages of one person, or nearly the same one again and again.
local im = require("im")

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
  local ok, retry = im.rate("flood:" .. c.user, cfg.messages, cfg.per)
  if not ok then
    return im.throttle(retry, "too many messages")
  end
end, {name = "flood.rate", when = "flood.enabled", phase = "limits", on_error = "open"})

im.on_message(function(c)
  local text, user = c.text, c.user
  if #text <= cfg.short or im.text.len(text) <= cfg.short then
    return
  end
  text = im.text.skeleton(text)
  if #text > 300 then
    text = im.text.sub(text, 1, 300)
  end
  local key = "flood.said:" .. user
  local before = im.kv.get(key)
  if not before or before ~= text and im.text.similarity(before, text, cfg.alike) < cfg.alike then
    im.kv.set(key, text, cfg.within)
    return
  end
  if im.count.window("flood.again:" .. user, cfg.within) > cfg.repeats then
    return im.deny("rate_limited", "the same message again", {retry_after = cfg.within})
  end
end, {name = "flood.repeats", when = "flood.enabled", phase = "limits", on_error = "open"})
