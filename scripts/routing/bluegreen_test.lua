local im = require("im")
local file = require("lib.pools").parse(im.file("routing/pools.txt")).live

test("bluegreen: without a word of anybody's all go where pools.txt says", function(t)
  assert(t.route{user = "900001", action = "chat.send"}.target == (file and file[1]))
end)

test("bluegreen: all go to the live pool, also before they have signed in", function(t)
  t.config{bluegreen = {live = "green"}}
  for user = 900001, 900010 do
    local v = t.route{user = tostring(user)}
    assert(v.target == "green" and v.rule == "bluegreen")
  end
  assert(t.route{user = ""}.target == "green")
end)

test("bluegreen: testers go to the next one", function(t)
  t.config{bluegreen = {live = "blue", next = "green", testers = "900007 900008"}}
  assert(t.route{user = "900007"}.target == "green")
  assert(t.route{user = "900001"}.target == "blue")
end)
