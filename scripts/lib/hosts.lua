-- Hosts and the domains that they belong to.
local hosts = {}

-- within reports whether a set of domains has the host, or a domain above it.
function hosts.within(set, host)
  while host ~= "" do
    if set:has(host) then
      return true
    end
    local dot = host:find(".", 1, true)
    host = dot and host:sub(dot + 1) or ""
  end
  return false
end

return hosts
