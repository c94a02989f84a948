-- Words: a few deny a message, others are masked. Edit the lists and save: the
-- next message obeys. One word or phrase per line; upper and lower case, and
-- full-width letters, are the same. English words match whole, Chinese anywhere.
-- Denied ones are also found s p a c e d and with look-alikes between.
local im = require("im")

local denied = im.words([[
freeim demo blocked word
演示屏蔽词
]], {spacing = true, confusables = true})

local masked = im.words([[
spoiler
spoilers
剧透
]])

-- Nothing that is denied may slip through when this rule fails: closed.
-- "words" asks it only about messages that have one, or are too long to tell: the others cost next to nothing.
im.on_message(function(c)
  local word = denied:find(c.text)
  if word then
    return im.deny("rejected", "the message contains: " .. word)
  end
end, {name = "words.deny", words = denied, priority = 10, on_error = "closed"})

-- A mask that fails is no reason to stop people from talking: open.
im.on_message(function(c)
  c.text = masked:mask(c.text)
end, {name = "words.mask", words = masked, on_error = "open"})
