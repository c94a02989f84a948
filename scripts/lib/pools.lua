-- What operators switch in routing/pools.txt: a line's first word says what, the others are for it.
local M = {}

-- parse gives the words behind the first one of each line, by that one; # begins a comment.
function M.parse(text)
  local out = {}
  for line in text:gmatch("[^\r\n]+") do
    local words = {}
    for word in line:gsub("#.*", ""):gmatch("%S+") do
      words[#words + 1] = word
    end
    if words[1] then
      out[table.remove(words, 1)] = words
    end
  end
  return out
end

return M
