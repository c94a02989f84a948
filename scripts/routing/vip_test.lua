local im = require("im")
local file = require("lib.pools").parse(im.file("routing/pools.txt")).vip

test("vip: those who are named go to their pool, before anything else is asked", function(t)
  t.config{vip = {users = "900017 900042", pool = "fast"}, canary = {pool = "green", percent = 100}, bluegreen = {live = "blue"}}
  assert(t.route{user = "900017"}.target == "fast")
  assert(t.route{user = "900042", device = "other"}.target == "fast")
  assert(t.route{user = "900043"}.target == "green")
  assert(t.route{user = ""}.target == "blue")
end)

test("vip: those of pools.txt", function(t)
  for i = 2, file and #file or 0 do
    assert(t.route{user = file[i]}.target == file[1])
  end
  assert(t.route{user = "900001"}.rule ~= "vip")
end)
