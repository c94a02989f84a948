-- Business hours: while nobody is there, an account of the operator's answers by itself, once
-- to each person and closed time. The account must be in core.rules.senders too.
local im = require("im")

local cfg = im.config{
  name = "hours",
  accounts = {type = "set", default = "", doc = "IDs of the accounts that answer"},
  text = {type = "string", default = "Nobody is here right now. We will read your message as soon as we are back."},
  zone = {type = "string", default = "UTC", doc = "Europe/Berlin, or +08:00"},
  days = {type = "set", default = "mon tue wed thu fri", doc = "on which somebody is there"},
  opens = {type = "string", default = "09:00"},
  closes = {type = "string", default = "17:00", doc = "later on the same day"},
  holidays = {type = "set", default = "", doc = "dates on which nobody is there: 2026-12-25"},
}

local weekdays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
local day_ms = 24 * 60 * 60 * 1000

local function minutes(time)
  local hour, minute = time:match("^(%d%d?):(%d%d)$")
  assert(hour and tonumber(hour) <= 24 and tonumber(minute) < 60, "hours: a time is written as 09:00")
  return hour * 60 + minute
end

assert(minutes(cfg.opens) < minutes(cfg.closes), "hours: opens must be before closes")

local function works(day)
  return cfg.days:has(weekdays[day.weekday]) and not cfg.holidays:has(day.date)
end

-- The name of the time in which nobody is there, the same to its end: the date of the last
-- day on which somebody was. Nil while somebody is there.
local function closed()
  local now = im.today(cfg.zone)
  local minute = now.hour * 60 + now.minute
  if works(now) and minute >= minutes(cfg.opens) then
    return minute >= minutes(cfg.closes) and now.date or nil
  end
  local noon = im.now() + (12 * 60 - minute) * 60000
  for back = 1, 14 do
    local day = im.today(cfg.zone, noon - back * day_ms)
    if works(day) then
      return day.date
    end
  end
  return now.date:sub(1, 7) -- closed for weeks: once a month
end

im.after("chat.send", function(c)
  if c.code ~= "ok" or c.reply.duplicate then
    return
  end
  local a, b = c.reply.conversation_id:match("^c_(%d+)_(%d+)$")
  local account = a == c.user and b or a
  if not a or not cfg.accounts:has(account) or cfg.accounts:has(c.user) then
    return
  end
  local since = closed()
  local key = "hours:" .. account .. ":" .. c.user
  if since and im.kv.get(key) ~= since then
    im.kv.set(key, since, "30d")
    im.send(account, c.user, cfg.text, {once = since})
  end
end, {name = "hours", when = "hours.accounts"})
