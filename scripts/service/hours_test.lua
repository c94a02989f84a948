-- A test begins on Monday, 2024-01-01, at 00:00 UTC.
local hour = 60 * 60 * 1000
local day = 24 * hour

local function says(t, user, to, fields)
  local low, high = math.min(user, to), math.max(user, to)
  fields = fields or {}
  fields.action, fields.user = "chat.send", tostring(user)
  if not fields.code then
    fields.reply = fields.reply or {conversation_id = "c_" .. low .. "_" .. high}
  end
  t.after(fields)
  return t.effects()
end

test("hours: nothing before it is set", function(t)
  assert(#says(t, 17, 42) == 0)
end)

test("hours: one answer to each person in a closed time", function(t)
  t.config{hours = {accounts = "42 43", text = "closed"}}
  local sent = says(t, 17, 42)
  assert(#sent == 1 and sent[1].kind == "send" and sent[1].from == "42" and sent[1].user == "17" and sent[1].text == "closed")
  assert(sent[1].once == "2023-12-29") -- a Friday
  assert(#says(t, 17, 42) == 1)
  assert(#says(t, 18, 42) == 2)
  assert(#says(t, 17, 43) == 3)
  t.wait(9 * hour - 1)
  assert(#says(t, 17, 42) == 3)
  t.wait(1) -- 09:00
  assert(#says(t, 19, 42) == 3)
  t.wait(8 * hour - 1)
  assert(#says(t, 19, 42) == 3)
  t.wait(1) -- 17:00
  sent = says(t, 17, 42)
  assert(#sent == 4 and sent[4].once == "2024-01-01")
  t.wait(15 * hour) -- 08:00 on Tuesday
  assert(#says(t, 17, 42) == 4)
end)

test("hours: a weekend and a holiday are one closed time", function(t)
  t.config{hours = {accounts = "42", holidays = "2024-01-08"}}
  t.wait(4 * day + 20 * hour) -- Friday evening
  assert(says(t, 17, 42)[1].once == "2024-01-05")
  for _ = 1, 3 do
    t.wait(day) -- to Monday evening
    assert(#says(t, 17, 42) == 1)
  end
  t.wait(14 * hour) -- Tuesday, 10:00
  assert(#says(t, 18, 42) == 1)
end)

test("hours: where the account is", function(t)
  t.config{hours = {accounts = "42", zone = "Asia/Shanghai"}}
  assert(says(t, 17, 42)[1].once == "2023-12-29") -- 08:00 there
  t.wait(hour)
  assert(#says(t, 18, 42) == 1)
  t.config{hours = {accounts = "42", zone = "-05:00"}}
  assert(says(t, 19, 42)[2].once == "2023-12-29") -- 20:00 there, on Sunday
end)

test("hours: closed for weeks, once a month", function(t)
  t.config{hours = {accounts = "42", days = ""}}
  assert(says(t, 17, 42)[1].once == "2024-01")
  t.wait(20 * day)
  assert(#says(t, 17, 42) == 1)
end)

test("hours: who is not answered", function(t)
  t.config{hours = {accounts = "42 43"}}
  assert(#says(t, 42, 17) == 0, "the account itself")
  assert(#says(t, 42, 43) == 0, "another such account")
  assert(#says(t, 42, 42) == 0, "notes to oneself")
  assert(#says(t, 17, 18) == 0, "other people")
  assert(#says(t, 17, 42, {code = "rejected"}) == 0, "what was refused")
  assert(#says(t, 17, 42, {reply = {conversation_id = "c_17_42", duplicate = true}}) == 0, "what was answered before")
end)
