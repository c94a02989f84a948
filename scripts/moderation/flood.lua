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

-- Messages are counted before a hook is asked: it is asked about those that are too many.
im.on_message(function()
  return im.throttle(cfg.per / cfg.messages, "too many messages")
end, {name = "flood.rate", when = "flood.enabled", faster = {than = "flood.messages", per = "flood.per"},
  phase = "limits", on_error = "open"})

im.on_message(function()
  return im.deny("rate_limited", "the same message again", {retry_after = cfg.within})
end, {name = "flood.repeats", when = "flood.enabled",
  again = {more = "flood.repeats", within = "flood.within", alike = "flood.alike", longer = "flood.short"},
  phase = "limits", on_error = "open"})
