local hosts = require("lib.hosts")

test("hosts: a domain has itself and what is below it", function()
  local set = {has = function(_, word) return word == "example.org" end}
  assert(hosts.within(set, "example.org") and hosts.within(set, "a.b.example.org"))
  for _, host in ipairs{"org", "badexample.org", "example.org.evil.net", "", ".", "example.org."} do
    assert(not hosts.within(set, host), host)
  end
end)
