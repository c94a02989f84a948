local on = {flood = {enabled = true, messages = 5, per = "10s"}}

test("flood: nothing before it is enabled", function(t)
  for _ = 1, 50 do
    assert(not t.message{text = "the same again and again"}.denied)
  end
end)

test("flood: a burst is let through, more is throttled, and each has his own", function(t)
  t.config(on)
  for i = 1, 5 do
    assert(not t.message{text = "ok " .. i}.denied)
  end
  local v = t.message{text = "ok 6"}
  assert(v.denied and v.code == "rate_limited" and v.rule == "flood.rate" and v.retry_after == 2000)
  assert(not t.message{user = "2", text = "hello"}.denied)
  t.wait(2000)
  assert(not t.message{text = "ok 7"}.denied)
end)

test("flood: repeats are found through case, width, look-alikes and small changes", function(t)
  t.config{flood = {enabled = true, messages = 1000}}
  local said = {"Buy cheap watches at my stall today", "BUY CHEAP WATCHES AT MY STALL TODAY", "buy cheap wаtches at my stаll today",
    "ｂｕｙ cheap watches at my stall today"}
  for _, text in ipairs(said) do
    assert(not t.message{text = text}.denied, text)
  end
  local v = t.message{text = "Buy cheap watches at my stall today!"}
  assert(v.denied and v.rule == "flood.repeats")
  assert(not t.message{text = "what are you all talking about?"}.denied)
end)

test("flood: 中文也一样", function(t)
  t.config{flood = {enabled = true, messages = 1000, repeats = 1}}
  assert(not t.message{text = "今天下午三点在门口集合大家不要迟到"}.denied)
  assert(not t.message{text = "今天下午三点在门口集合大家不要迟到"}.denied)
  assert(t.message{text = "今天下午三点在门口集合大家不要迟到啊"}.denied)
end)

test("flood: short answers and a conversation are no repeats", function(t)
  t.config{flood = {enabled = true, messages = 1000, repeats = 1}}
  for _ = 1, 10 do
    assert(not t.message{text = "好的"}.denied)
    assert(not t.message{text = "ok"}.denied)
  end
  for _, text in ipairs{"where shall we meet today?", "at the station, as always", "which of the two exits?", "the one by the river", "see you there at seven"} do
    assert(not t.message{text = text}.denied, text)
  end
end)

test("flood: what was said long ago may be said again", function(t)
  t.config{flood = {enabled = true, repeats = 1}}
  for _ = 1, 5 do
    assert(not t.message{text = "good morning everybody"}.denied)
    t.wait(200000)
  end
end)
