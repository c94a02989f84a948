local function members(t, percent, salt)
  t.config{canary = {pool = "green", percent = percent, salt = salt}}
  local list, n = {}, 0
  for user = 900001, 900300 do
    local v = t.route{user = tostring(user)}
    if v.rule == "canary" then
      assert(v.target == "green")
      list[user], n = true, n + 1
    end
  end
  return list, n
end

test("canary: nobody and everybody", function(t)
  local _, none = members(t, 0, "")
  local _, all = members(t, 100, "")
  assert(none == 0 and all == 300)
end)

test("canary: about the share, always the same, and all of them still when it grows", function(t)
  local first, n = members(t, 10, "")
  assert(n > 10 and n < 60, n)
  local again = members(t, 10, "")
  local more, m = members(t, 50, "")
  assert(m > 100 and m < 200, m)
  for user in pairs(first) do
    assert(again[user] and more[user])
  end
end)

test("canary: another salt, other users", function(t)
  local first = members(t, 10, "")
  local other = members(t, 10, "july")
  local same, n = 0, 0
  for user in pairs(first) do
    n = n + 1
    if other[user] then
      same = same + 1
    end
  end
  assert(same < n)
end)

test("canary: who has not signed in is not in it", function(t)
  t.config{canary = {pool = "green", percent = 100}}
  assert(t.route{user = ""}.rule ~= "canary")
end)
