-- Blue and green: everybody goes to the pool that is live, testers to the next one. To
-- switch, write "live green" into routing/pools.txt, or set live and start again.
local im = require("im")
local file = require("lib.pools").parse(im.file("routing/pools.txt")).live

local cfg = im.config{
  name = "bluegreen",
  live = {type = "string", default = "", doc = "the pool that all go to; empty: as routing/pools.txt says"},
  next = {type = "string", default = "", doc = "the pool that testers go to"},
  testers = {type = "set", default = "", doc = "IDs of users"},
}

im.on_route(function(c)
  if cfg.next ~= "" and c.user and cfg.testers:has(c.user) then
    return im.reroute(cfg.next)
  end
  if cfg.live ~= "" then
    return im.reroute(cfg.live)
  end
  if file then
    return im.reroute(file[1])
  end
end, {name = "bluegreen"})
