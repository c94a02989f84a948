test("newcomers: nothing before it is enabled", function(t)
  for i = 1, 40 do
    assert(not t.message{account_age = 60, conversation = "c_1_" .. i}.denied)
  end
end)

test("newcomers: a few people, and then no more", function(t)
  t.config{newcomers = {enabled = true, conversations = 3}}
  for i = 1, 3 do
    local v = t.message{account_age = 60, conversation = "c_1_" .. i}
    assert(not v.denied and v.tags.newcomer)
  end
  assert(not t.message{account_age = 60, conversation = "c_1_2"}.denied)
  local v = t.message{account_age = 60, conversation = "c_1_9"}
  assert(v.denied and v.code == "rate_limited" and v.rule == "newcomers")
end)

test("newcomers: so many messages", function(t)
  t.config{newcomers = {enabled = true, messages = 2}}
  for _ = 1, 2 do
    assert(not t.message{account_age = 60}.denied)
  end
  assert(t.message{account_age = 60}.denied)
  t.wait(3600000)
  assert(not t.message{account_age = 3660}.denied)
end)

test("newcomers: an older account, and one whose age is not known, are free", function(t)
  t.config{newcomers = {enabled = true, messages = 1, conversations = 1}}
  for i = 1, 10 do
    assert(not t.message{account_age = 86400, conversation = "c_1_" .. i}.denied)
    assert(not t.message{conversation = "c_1_" .. i}.denied)
  end
end)

test("newcomers: who wrote to too many waits for a reviewer", function(t)
  t.config{newcomers = {enabled = true, conversations = 1, beyond = "hold"}}
  assert(not t.message{account_age = 60, conversation = "c_1_2"}.held)
  local v = t.message{account_age = 60, conversation = "c_1_3"}
  assert(v.held == "newcomers" and v.rule == "newcomers" and not v.denied)
  assert(t.message{account_age = 60, conversation = "c_1_2"}.held)
  v = t.message{account_age = 60, action = "room.send", conversation = "r_lobby", conversation_type = "room"}
  assert(v.denied and not v.held)
  assert(not t.message{account_age = 86400, conversation = "c_1_4"}.held)
end)

test("newcomers: conversations = 0 reviews all that they write", function(t)
  t.config{newcomers = {enabled = true, conversations = 0, beyond = "hold"}}
  assert(t.message{account_age = 60}.held == "newcomers")
end)
