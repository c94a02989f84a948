-- The VIP queue: some users have a pool of cores to themselves. Write "vip fast 17 42" into
-- routing/pools.txt, or set pool and users.
local im = require("im")
local file = require("lib.pools").parse(im.file("routing/pools.txt")).vip

local cfg = im.config{
  name = "vip",
  pool = {type = "string", default = "vip"},
  users = {type = "set", default = "", doc = "IDs; beside those of routing/pools.txt"},
}

local listed = {}
for i = 2, file and #file or 0 do
  listed[file[i]] = true
end

im.on_route(function(c)
  if not c.user then
    return
  end
  if cfg.users:has(c.user) then
    return im.reroute(cfg.pool)
  end
  if listed[c.user] then
    return im.reroute(file[1])
  end
end, {name = "vip", priority = 20})
