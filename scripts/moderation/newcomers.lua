-- New accounts: so many messages and so many different people, until they are older. Who wrote to
-- more people within an hour is refused what he writes then, or it waits for a reviewer.
local im = require("im")

local cfg = im.config{
  name = "newcomers",
  enabled = {type = "boolean", default = false},
  new_for = {type = "duration", default = "1d", max = "30d", doc = "how long an account is new"},
  messages = {type = "integer", default = 30, min = 1, max = 10000, doc = "in an hour"},
  conversations = {type = "integer", default = 5, min = 0, max = 200, doc = "different ones in an hour"},
  beyond = {type = "string", default = "deny", one_of = {"deny", "hold"}, doc = "hold: it waits for a reviewer, in the queue newcomers; of rooms and of changes it is denied all the same"},
  hold_for = {type = "duration", default = "1d", min = "1m", max = "7d", doc = "what nobody has reviewed by then is denied"},
}

-- Whose account's age is not known is not new.
im.on_message(function(c)
  c:tag("newcomer")
  local key = "newcomers:" .. c.user
  local ok, retry = im.rate(key, cfg.messages, "1h")
  if not ok then
    return im.throttle(retry, "a new account sends too much")
  end
  if im.count.uniq(key, c.conversation, "1h") > cfg.conversations then
    if cfg.beyond == "hold" and c.action == "chat.send" then
      return im.hold("newcomers", {deadline = cfg.hold_for})
    end
    return im.deny("rate_limited", "a new account writes to too many", {retry_after = 3600000})
  end
end, {name = "newcomers", when = "newcomers.enabled", younger = "newcomers.new_for", phase = "limits", on_error = "open"})
