local function create(t, change)
  local request = {poll = "p1", conversation = "r_lobby", question = "Tea or coffee?", options = {"tea", "coffee", "neither"}, seconds = 60}
  for name, value in pairs(change or {}) do
    request[name] = value
  end
  return t.action{name = "lua.poll.create", user = "7", rooms = {"r_lobby"}, request = request}
end

local function vote(t, user, choice, rooms)
  return t.action{name = "lua.poll.vote", user = user, rooms = rooms or {"r_lobby"}, request = {poll = "p1", choice = choice}}
end

local function result(t, user)
  return t.action{name = "lua.poll.result", user = user, rooms = {"r_lobby"}, request = {poll = "p1"}}
end

test("poll: made, voted on and counted", function(t)
  local made = create(t)
  assert(not made.denied and made.reply.poll == "p1")
  assert(t.effects()[1].event == "poll.created" and t.effects()[1].data.by == "7")
  assert(vote(t, "7", 1).reply.choice == 1)
  assert(vote(t, "8", 2).reply.choice == 2)
  assert(vote(t, "9", 2).reply.choice == 2)
  local r = result(t, "9").reply
  assert(r.question == "Tea or coffee?" and #r.options == 3 and r.total == 3 and r.mine == 2 and not r.closed and r.closes == made.reply.closes)
  assert(r.counts[1] == 1 and r.counts[2] == 2 and r.counts[3] == 0)
  assert(result(t, "10").reply.mine == nil)
end)

test("poll: what is sent again gives the same answer, and counts once", function(t)
  local made = create(t)
  t.wait(5000)
  assert(create(t).reply.closes == made.reply.closes and #t.effects() == 1)
  assert(create(t, {question = "Something else?"}).code == "conflict")
  assert(vote(t, "8", 2).reply.choice == 2)
  assert(vote(t, "8", 2).reply.choice == 2)
  local again = vote(t, "8", 1)
  assert(again.denied and again.code == "already_exists" and again.reason == "you have chosen 2")
  assert(result(t, "8").reply.total == 1)
end)

test("poll: it closes by time, and can be read for a day", function(t)
  create(t)
  vote(t, "8", 2)
  t.wait(60000)
  assert(vote(t, "9", 1).code == "rejected" and vote(t, "8", 1).code == "rejected")
  assert(vote(t, "8", 2).reply.choice == 2) -- its answer was lost: it counted, and says so
  assert(result(t, "9").reply.closed and result(t, "9").reply.total == 1)
  t.wait(24 * 3600 * 1000)
  assert(result(t, "9").code == "not_found")
end)

test("poll: only for those who are in the conversation", function(t)
  create(t)
  assert(vote(t, "8", 2, {"r_other"}).code == "not_found")
  assert(t.action{name = "lua.poll.create", user = "8", request = {poll = "p2", conversation = "r_lobby", question = "?", options = {"a", "b"}, seconds = 60}}.code == "permission_denied")
  local chat = {poll = "p3", conversation = "c_7_8", question = "?", options = {"a", "b"}, seconds = 60}
  assert(t.action{name = "lua.poll.create", user = "9", request = chat}.code == "permission_denied")
  assert(not t.action{name = "lua.poll.create", user = "8", request = chat}.denied)
  assert(t.action{name = "lua.poll.vote", user = "7", request = {poll = "p3", choice = 1}}.reply.choice == 1)
  assert(t.action{name = "lua.poll.vote", user = "9", request = {poll = "p3", choice = 1}}.code == "not_found")
  assert(t.action{name = "lua.poll.vote", user = "", request = {poll = "p3", choice = 1}}.code == "unauthenticated")
end)

test("poll: what breaks a rule names the field", function(t)
  for field, value in pairs{poll = "", question = "", options = {"one"}, seconds = 5} do
    local v = create(t, {[field] = value})
    assert(v.denied and v.code == "invalid_argument" and v.field == field, field)
  end
  assert(create(t, {options = {"a", "a"}}).code == "invalid_argument")
  assert(create(t, {seconds = 8 * 24 * 3600}).code == "invalid_argument")
  create(t)
  assert(vote(t, "8", 4).code == "invalid_argument")
  assert(vote(t, "8", 0).field == "choice")
  t.config{poll = {enabled = false}}
  assert(create(t).code == "unknown_action" and vote(t, "8", 1).code == "unknown_action")
end)
