-- These run before the rules become active; one failure keeps the old rules.

test("an ordinary message is left alone", function(t)
  local v = t.message{text = "hello, 你好"}
  assert(not v.denied and not v.rewritten)
end)

test("denied words deny, in any case and width", function(t)
  for _, text in ipairs{"FreeIM demo blocked word!", "ｆｒｅｅｉｍ demo blocked word", "这是演示屏蔽词。"} do
    local v = t.message{text = text}
    assert(v.denied and v.code == "rejected" and v.rule == "words.deny", text)
  end
end)

test("denied words are found behind spacing and look-alikes", function(t)
  for _, text in ipairs{"f r e e i m d e m o b l o c k e d w o r d", "freeim demo bl0cked w0rd", "freеim dеmo blockеd word", "演 示 屏 蔽 词", "演-示-屏-蔽-词"} do
    assert(t.message{text = text}.denied, text)
  end
end)

test("what only looks near is left alone", function(t)
  for _, text in ipairs{"the freeim demo", "a demo of blocked words in freeim", "演示一下屏蔽的词", "屏蔽词演示"} do
    assert(not t.message{text = text}.denied, text)
  end
end)

test("masked words are masked, and only they", function(t)
  assert(t.message{text = "no Spoilers, please"}.text == "no ********, please")
  assert(t.message{text = "别剧透啊"}.text == "别**啊")
  assert(not t.message{text = "an unspoilered ending"}.rewritten)
end)
