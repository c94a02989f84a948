local on = {links = {enabled = true, allow = "example.org freeim.example"}}

test("links: nothing before it is enabled", function(t)
  assert(not t.message{account_age = 60, text = "see https://shop.example.com/"}.denied)
end)

test("links: of new accounts are denied, however they are written", function(t)
  t.config(on)
  for _, text in ipairs{"see https://shop.example.com/x", "www.example.com", "HTTPS://EXAMPLE.COM", "ｈｔｔｐｓ：／／example．com/a",
    "example[.]com", "example (dot) com", "example [DOT] com", "快看 https://example.com 吧", "https://example.org.example.com/"} do
    local v = t.message{account_age = 60, text = text}
    assert(v.denied and v.code == "rejected" and v.rule == "links", text)
  end
end)

test("links: allowed hosts, and what is no link", function(t)
  t.config(on)
  for _, text in ipairs{"https://example.org/a", "https://www.Example.org", "see you at 10.30", "wait...what", "version 1.2.3 is out", "他说:好的.然后就走了",
    "the dot at the end", "put a dot (.) there", "a [dot] b"} do
    local v = t.message{account_age = 60, text = text}
    assert(not v.denied, text .. ": " .. v.reason)
  end
end)

test("links: older accounts, and those whose age is not known", function(t)
  t.config(on)
  assert(not t.message{account_age = 259200, text = "https://example.com"}.denied)
  assert(not t.message{text = "https://example.com"}.denied)
end)

test("links: points instead", function(t)
  t.config{links = {enabled = true, verdict = "score"}}
  local v = t.message{account_age = 60, text = "https://example.com"}
  assert(not v.denied and v.scores.LINK == 5)
end)
