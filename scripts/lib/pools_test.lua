local pools = require("lib.pools")

test("pools: lines are read, comments are not", function()
  local set = pools.parse("# live blue\nlive green # now\n\n  vip fast 17 42\r\ncanary green 2.5\nempty\n")
  assert(#set.live == 1 and set.live[1] == "green")
  assert(#set.vip == 3 and set.vip[3] == "42")
  assert(set.canary[2] == "2.5" and #set.empty == 0 and set["#"] == nil)
end)
