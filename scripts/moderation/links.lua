-- Links of new accounts: none but to hosts that are allowed.
local im = require("im")
local hosts = require("lib.hosts")

local cfg = im.config{
  name = "links",
  enabled = {type = "boolean", default = false},
  new_for = {type = "duration", default = "3d", max = "30d", doc = "how long an account is new"},
  allow = {type = "set", default = "", doc = "domains that all may link to, with what is below them"},
  verdict = {type = "string", default = "deny", one_of = {"deny", "score"}, doc = "score: 5 points of LINK, for core.rules.thresholds"},
}

-- example[.]com and example (dot) com
local disguised = im.re([[(?i)[a-z0-9-]{2,} ?[\[({] ?(?:dot|\.) ?[\])}] ?(?:com|net|org|info|cn|ru|io|me|xyz|top|shop|site|online)\b]])

-- linked is the first host in a text that is not allowed; nil: there is none.
local function linked(text)
  text = im.text.normalize(text)
  for _, url in ipairs(im.text.urls(text)) do
    if not hosts.within(cfg.allow, url.host) then
      return url.host
    end
  end
  return disguised:match(text)
end

im.on_message(function(c)
  local host = linked(c.text)
  if not host then
    return
  end
  if cfg.verdict == "score" then
    c:score("LINK", 5)
    return
  end
  return im.deny("rejected", "a new account may not link to " .. host)
end, {name = "links", when = "links.enabled", younger = "links.new_for", phase = "content", on_error = "open"})
