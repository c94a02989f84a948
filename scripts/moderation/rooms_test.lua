local room = {conversation = "r_lobby", conversation_type = "room"}

local function said(t, text, user)
  return t.message{conversation = room.conversation, conversation_type = room.conversation_type, text = text, user = user or "1"}
end

test("rooms: nothing before it is set", function(t)
  for _ = 1, 5 do
    assert(not said(t, "@all hello").denied)
  end
end)

test("rooms: slow mode is for each person, there only", function(t)
  t.config{rooms = {slow = "r_lobby", pause = "5s"}}
  assert(not said(t, "one").denied)
  local v = said(t, "two")
  assert(v.denied and v.rule == "rooms.slow" and v.retry_after == 5000)
  assert(not said(t, "three", "2").denied)
  assert(not t.message{text = "in a chat"}.denied)
  assert(not t.message{conversation = "r_other", conversation_type = "room"}.denied)
  t.wait(5000)
  assert(not said(t, "four").denied)
end)

test("rooms: only callers call everybody", function(t)
  t.config{rooms = {gate_mention_all = true, callers = "7 8"}}
  for _, text in ipairs{"@all look", "look @Everyone", "＠ＡＬＬ look", "大家好 @所有人"} do
    local v = said(t, text)
    assert(v.denied and v.rule == "rooms.mention_all", text)
  end
  assert(not said(t, "@all look", "7").denied)
end)

test("rooms: other mentions, addresses and words are left alone", function(t)
  t.config{rooms = {gate_mention_all = true}}
  for _, text in ipairs{"@alleria look", "write to me@all.example", "all of you", "@bob and all", "所有人都好"} do
    assert(not said(t, text).denied, text)
  end
  assert(not t.message{text = "@all in a chat"}.denied)
end)

test("rooms: of groups too, callers call everybody", function(t)
  t.config{rooms = {gate_mention_all = true, callers = "7"}}
  local function told(user, text)
    return t.message{conversation = "g_12", conversation_type = "group", user = user, text = text}
  end
  local v = told("1", "@all look")
  assert(v.denied and v.rule == "rooms.mention_all" and v.code == "rejected")
  assert(not told("7", "@all look").denied)
  assert(not told("1", "@alleria look").denied)
end)

test("rooms: slow mode is not of groups", function(t)
  t.config{rooms = {slow = "g_12", pause = "5s"}}
  for _ = 1, 3 do
    assert(not t.message{conversation = "g_12", conversation_type = "group"}.denied)
  end
end)
