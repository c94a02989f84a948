-- A canary: a share of the users goes to a pool of its own. Who is in it is in it on every
-- edge and every device, and stays when the share grows. Write "canary green 5" into
-- routing/pools.txt, or set pool and percent.
local im = require("im")
local file = require("lib.pools").parse(im.file("routing/pools.txt")).canary

local cfg = im.config{
  name = "canary",
  pool = {type = "string", default = "", doc = "empty: as routing/pools.txt says"},
  percent = {type = "number", default = 0, min = 0, max = 100, doc = "of the users"},
  salt = {type = "string", default = "", doc = "another one, and it is other users"},
}

-- part is where a user stands, from 0 to 100.
local function part(user)
  return tonumber(im.hash("canary:" .. cfg.salt .. ":" .. user):sub(1, 8), 16) % 10000 / 100
end

im.on_route(function(c)
  local pool, percent = cfg.pool, cfg.percent
  if pool == "" and file then
    pool, percent = file[1], tonumber(file[2]) or 0
  end
  if pool ~= "" and c.user and part(c.user) < percent then
    return im.reroute(pool)
  end
end, {name = "canary", priority = 10})
