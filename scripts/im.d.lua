---@meta im
-- Made by "make gen" from the table in scripts/engine: do not edit.

---@class im
local im = {}

---What a hook may return.
---@class im.Verdict

---The fields of the request, as the proto files name them.
---@class im.Request
---@field [string] any

---What the hooks said in a test.
---@class im.Told
---@field denied boolean
---@field shadowed boolean
---@field target string?
---@field held string?
---@field code string
---@field reason string
---@field retry_after number
---@field rule string
---@field text string
---@field rewritten boolean
---@field rewrites table<string, string>
---@field tags table<string, boolean>
---@field scores table<string, number>
---@field score number
---@field reply table?
---@field field string?

---@class im.Call
---@field action string Name of the action: "chat.send".
---@field user string? ID of the sender; nil before Auth.
---@field device string? ID of the sender's device; nil before Auth.
---@field device_type string? "web", "mobile", "desktop" or "tablet"; nil before Auth.
---@field client_addr string? Address and port of the client.
---@field trace string? The trace's ID; nil when the action is not traced.
---@field language string? What the client asked to be answered in, if that is known.
---@field account_age number? How old the account is in seconds, if that is known.
---@field req im.Request The request, with its fields as the proto files name them.
---@field code string? In after hooks: how the action was answered, "ok" or the lower-case name of a wire code.
---@field reply im.Request? In after hooks: the reply, if the action was not refused.
---@field text string? The text of a message; may be assigned: one that a client could send, not empty, UTF-8. Later hooks see it.
---@field conversation string? ID of the conversation of a message.
---@field conversation_type string? "chat", "group" or "room", of a message.
---@field kind string? What a message is: "text", "image", "place", "video", "voice", "file", "command" or "custom"; in rooms "text", "gift" or "announcement".
---@field transport string? At the edge: "tcp", "websocket" or "http".
---@field tls boolean? At the edge: whether the client came over TLS.
---@field path string? In on_connect: the path of an HTTP request, a WebSocket's too, without a query.
---@field size number? In on_frame: octets of the body.
---@field codec string? In on_frame: "protobuf" or "json".
---@field sequence number? In on_frame: the client's number of the frame.
---@field waiting number? In on_frame: frames of the session that wait behind it.
---@field excess number? In on_frame: frames of the session that the limits refused, less those let pass since.
local Call = {}

---@class im.log
im.log = {}

---@class im.kv
im.kv = {}

---@class im.count
im.count = {}

---@class im.text
im.text = {}

---@class im.Words
local Words = {}

---@class im.Re
local Re = {}

---@class im.json
im.json = {}

---@class im.Cidr
local Cidr = {}

---@class im.Set
local Set = {}

---@class im.http
im.http = {}

---@class im.shared
im.shared = {}

---@class im.Test
local Test = {}

---Registers a hook before actions, when they are valid and permitted.
---
---For loading.
---@param action string "chat.send", or several: "chat.*", "*"
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; higher priority runs first
function im.before(action, fn, options) end

---Registers a hook on messages, before they are stored.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, conversations?: string|string[], younger?: string, words?: im.Words, faster?: {than: string, per: string}, again?: {more: string, within: string, alike: string, longer: string}, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; conversations: "chat", "group" or "room", or several, which it is for; younger: a duration of im.config: it is for accounts that are younger; words: it is for texts with one of these words; faster: it is for messages of who sends more than so many per that time; again: it is for texts that their sender said, nearly, more often within that time; both name settings of im.config; higher priority runs first
function im.on_message(fn, options) end

---Registers a hook on people who sign in or connect, when their credentials were right.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; higher priority runs first
function im.on_login(fn, options) end

---Registers a hook on people who come into a room or a group, c.conversation, and may.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; higher priority runs first
function im.on_join(fn, options) end

---Is im.before("room.create", …).
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; higher priority runs first
function im.on_room_create(fn, options) end

---Is im.before("account.sign_up", …).
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as "flood.enabled", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing; higher priority runs first
function im.on_sign_up(fn, options) end

---Registers a hook that follows actions aside, when they are answered. It decides nothing.
---
---For loading.
---@param action string "chat.send", or several: "chat.*", "*"
---@param fn fun(c: im.Call)
---@param options {name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; when: as of im.before
function im.after(action, fn, options) end

---Is im.after("room.leave", …).
---
---For loading.
---@param fn fun(c: im.Call)
---@param options {name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; when: as of im.before
function im.on_leave(fn, options) end

---Registers a function that is called again and again, by every core, while the bundle is active.
---
---For loading.
---@param every string "1s" or more, as "30s", "5m", "1h30m"
---@param fn fun()
---@param options {name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; when: as of im.before
function im.on_tick(every, fn, options) end

---The verdict to go on with the next hook; returning nothing is the same.
---@return im.Verdict
function im.allow() end

---The verdict to allow, and ask no further hook.
---@return im.Verdict
function im.pass() end

---The verdict to refuse. The first denial ends the chain.
---
---For hooks and tests.
---@param code string lower-case name of a wire code that rules may use, mostly "rejected" or "rate_limited"
---@param reason? string for operators and the client's developer
---@param options? {retry_after?: number} retry_after: advice in milliseconds
---@return im.Verdict
function im.deny(code, reason, options) end

---The verdict to refuse for now, as rate_limited.
---
---For hooks and tests.
---@param ms number when to come again
---@param reason? string
---@return im.Verdict
function im.throttle(ms, reason) end

---The verdict to have a message succeed for its sender, who sees it on all his devices, and keep it from everybody else for ever. Of messages only. It ends the chain.
---
---For hooks in the core.
---@return im.Verdict
function im.shadow() end

---The verdict to send a message elsewhere, of which the answer tells its sender; in on_route to send a session's actions to a pool of cores. It ends the chain.
---
---For hooks.
---@param target string a name of core.rules.targets in the server's configuration: of a user for messages of chats, of a room for those of rooms; in on_route a pool of edge.pools, or "default"
---@return im.Verdict
function im.reroute(target) end

---The verdict to have a message wait until a reviewer decides, or the deadline does. Its sender sees it wait, and what he sends to the same conversation meanwhile waits behind it. Of messages of chats. It ends the chain.
---
---For hooks in the core.
---@param queue string for the reviewers to tell them apart: `[a-z][a-z0-9_.-]*`
---@param options? {deadline?: string|number, otherwise?: "allow"|"deny"} deadline: "30m", 7 days at most, 24h if left out; otherwise: what happens then, deny if left out
---@return im.Verdict
function im.hold(queue, options) end

---Marks the action; 16 times at most.
---
---For hooks.
---@param name string
function Call:tag(name) end

---Adds to the action's score; 32 times at most.
---
---For hooks in the core.
---@param name string
---@param points number
function Call:score(name, points) end

---Writes a line to the log at level debug: 8 lines per call, the rest is counted.
---@param text string
---@param fields? table<string, any> 8 at most
function im.log.debug(text, fields) end

---Writes a line to the log at level info: 8 lines per call, the rest is counted.
---@param text string
---@param fields? table<string, any> 8 at most
function im.log.info(text, fields) end

---Writes a line to the log at level warn: 8 lines per call, the rest is counted.
---@param text string
---@param fields? table<string, any> 8 at most
function im.log.warn(text, fields) end

---Writes a line to the log at level error: 8 lines per call, the rest is counted.
---@param text string
---@param fields? table<string, any> 8 at most
function im.log.error(text, fields) end

---Milliseconds since 1970; stands still during a call.
---
---For hooks and tests.
---@return integer ms
function im.now() end

---Is im.log.info of its arguments as one text.
---@param ... any
function print(...) end

---The value of a key; nil when there is none. Values are shared by all hooks and survive a reload, not a restart; when 32 MiB are full, rarely used ones are forgotten. A call may ask im.kv, im.rate and im.count 16 times together.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@return string? value
function im.kv.get(key) end

---Sets a key.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param value string|number at most 64 KiB; a number is kept as its text
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
function im.kv.set(key, value, ttl) end

---Adds to a whole number and gives the sum. A new key begins at 0 and lives for ttl; adding does not prolong it.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
---@param by? integer 1 if left out
---@return integer sum
function im.kv.incr(key, ttl, by) end

---Removes a key.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@return boolean existed
function im.kv.del(key) end

---Sets a key if it holds old. Whoever gets true was the only one.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param old string|number|nil nil: the key must not be there
---@param value string|number
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
---@return boolean set
function im.kv.cas(key, old, value, ttl) end

---Takes one of n tokens, which come back evenly over per. A refused call takes nothing. 100,000 buckets are kept, each by key, n and per.
---
---For hooks and tests.
---@param key string at most 128 octets
---@param n integer from 1 to 1,000,000
---@param per string|number "10s", "5m", "1h" or milliseconds
---@return boolean ok
---@return integer retry_ms # 0 when ok
function im.rate(key, n, per) end

---Counts, and gives how many were counted within the last span; what is older than its beginning weighs in by its share. 100,000 counters are kept.
---
---For hooks and tests.
---@param key string at most 128 octets
---@param span string|number "10s", "5m", "1h" or milliseconds
---@param add? number 1 if left out, 0 to look
---@return integer n
function im.count.window(key, span, add) end

---Adds a member, and gives how many different ones were added within the last span. 32 MiB of sets are kept.
---
---For hooks and tests.
---@param key string at most 128 octets
---@param member string|number
---@param span string|number "10s", "5m", "1h" or milliseconds
---@return integer n # 256 means 256 or more
function im.count.uniq(key, member, span) end

---Holds a text against the last one of the key, and gives how often nearly the same was said again within the last span. Of another text it remembers how its first 300 characters look (im.text.skeleton), for span. 32 MiB are kept.
---
---For hooks and tests.
---@param key string at most 128 octets
---@param text string
---@param span string|number "10s", "5m", "1h" or milliseconds
---@param least? number from which similarity on it is the same; 0.85 if left out
---@return integer n # 0 when it is another text
function im.count.alike(key, text, span, least) end

---How many characters a text has.
---@param text string
---@return integer n
function im.text.len(text) end

---Is string.sub by characters.
---@param text string
---@param from integer counts from 1, or from the end when negative
---@param to? integer -1 if left out
---@return string
function im.text.sub(text, from, to) end

---Lower case, of all scripts.
---@param text string
---@return string
function im.text.lower(text) end

---Without the white space around it.
---@param text string
---@return string
function im.text.trim(text) end

---Lower case, full-width to ASCII: compare folded texts.
---@param text string
---@return string
function im.text.fold(text) end

---Whether part occurs, both folded.
---@param text string
---@param part string
---@return boolean
function im.text.contains(text, part) end

---The text in NFKC: composed letters, and compatible forms made plain.
---@param text string
---@return string
function im.text.normalize(text) end

---What the text looks like: NFKD without marks and invisible characters, lower case, look-alikes of Latin letters (Cyrillic, Greek, digits) made Latin. Compare skeletons, do not show them: i, l and 1 are one.
---@param text string
---@return string
function im.text.skeleton(text) end

---How many columns the text takes: wide characters 2, marks and invisible ones 0.
---@param text string
---@return integer columns
function im.text.width(text) end

---The links of a text: with a scheme, with www., or a bare name under a common top-level domain.
---@param text string
---@return {url: string, host: string}[] # 32 at most
function im.text.urls(text) end

---The names after an @ that does not follow a letter or digit.
---@param text string
---@return string[] names # 64 at most
function im.text.mentions(text) end

---How many emoji a text shows; a joined sequence, a flag and a skin tone are part of one.
---@param text string
---@return integer n
function im.text.emoji(text) end

---From 0 to 1: the share of pairs of neighbouring characters that both folded texts have (Dice).
---@param a string
---@param b string
---@param least? number what is less alike gives 0, sooner
---@return number
function im.text.similarity(a, b, least) end

---Builds a list of words. One pass over a text finds them all, however long the list; case and width do not matter. Lists are shared by content across VMs and reloads.
---
---For loading.
---@param list string|string[] words, or a text with a word per line, where # begins a comment; at most 50,000 of 64 characters
---@param options? {spacing?: boolean, confusables?: boolean} spacing: also s p o i l e r, 剧-透; confusables: also ѕр0ïler, as im.text.skeleton; both: also with invisible characters between
---@return im.Words
function im.words(list, options) end

---Whether any word occurs.
---@param text string
---@return boolean found
function Words:any(text) end

---The leftmost word, the longest of those, and its first and last character.
---@param text string
---@return string? word # as in the list; nil: none occurs
---@return integer? first
---@return integer? last
function Words:find(text) end

---The text with the words masked, and how many there were.
---@param text string
---@param with? string one character, "*" if left out
---@return string masked
---@return integer count
function Words:mask(text, with) end

---A regular expression in RE2's syntax, without back references: no text can make it slow. A call costs a unit per 8 octets of the text and step of the program, and replace for each match of a long text a part of that, so prefer short patterns for long texts.
---
---For loading.
---@param pattern string at most 1 KiB, with a program of 500 steps at most
---@return im.Re
function im.re(pattern) end

---The leftmost match.
---@param text string
---@return string ... # the captures, or the match if the pattern has none; nil: no match. A capture that took no part is empty
function Re:match(text) end

---The first and last octet of the leftmost match, as string.find.
---@param text string
---@param from? integer octet to begin at, 1 if left out
---@return integer? first
---@return integer? last
function Re:find(text, from) end

---The text with all matches replaced, and how many there were.
---@param text string
---@param with string where ${1} stands for a capture, $$ for $
---@return string replaced
---@return integer count
function Re:replace(text, with) end

---A JSON text as a Lua value. Whole numbers from 2^53 on become strings. null is left out of objects and is false in arrays.
---@param text string 64 KiB, 32 levels and 4,096 values at most
---@return any value # nil when it is no JSON or beyond a limit
---@return string? problem # what is wrong then
function im.json.decode(text) end

---A Lua value as JSON. A table with the keys 1 to n is an array, others and the empty one are objects with sorted keys.
---@param value any the same limits
---@return string text
function im.json.encode(value) end

---A set of networks.
---
---For loading.
---@param list string|string[] prefixes or addresses, or a text with one per line, where # begins a comment; 10,000 at most
---@return im.Cidr
function im.cidr(list) end

---Whether an address is in one of the networks.
---@param addr string an address, or address and port
---@return boolean # false for what is no address
function Cidr:has(addr) end

---SHA-256: a short name for a long text, the same on every server.
---@param text string
---@return string hex # 64 digits
function im.hash(text) end

---The time of im.now as date and clock; weekday is 1 on Monday.
---
---For hooks and tests.
---@param zone? string a name, as "Europe/Berlin", or an offset to the east of UTC, as "+08:00"; UTC if left out
---@param at? number another time, as im.now gives it
---@return {date: string, year: integer, month: integer, day: integer, hour: integer, minute: integer, weekday: integer}
function im.today(zone, at) end

---The content of a data file. It belongs to the bundle: a change is a new bundle.
---
---For loading.
---@param path string of a *.txt or *.json file of the bundle, from its root: "moderation/words.txt"
---@return string text
function im.file(path) end

---Declares what operators may set, in the server's configuration below core.rules.config. What is wrong there refuses the scripts. Read values in hooks: tests, which see the defaults, can set others for them by t.config, but not for what was read while loading.
---
---For loading.
---@param declared table<string, any> name, `[a-z][a-z0-9_]*`, and by its key what each value is: {type = "number", default = 24, min = 0, max = 720, doc = "…"}. Types are boolean, number, integer, duration ("5m"; min and max are written so too; read as milliseconds), string (with one_of = {…}, if it is one of several) and set (words, separated by spaces, commas or lines)
---@return table<string, any> # read-only; a key that is not declared is an error; pairs and # find nothing in it
function im.config(declared) end

---Whether a word is in the set, in upper or lower case.
---@param word string
---@return boolean
function Set:has(word) end

---Tells operators of something: it is in the log, and on the administrative port's page /rules/events. Like all effects it happens when the action's hooks have run, and not if they denied it; 16 effects per action. To tell of denials use im.after and c.code.
---
---For hooks in the core.
---@param event string `[a-z][a-z0-9_.-]*`
---@param data? table<string, any> 4 KiB as JSON at most
function im.emit(event, data) end

---Ends all sessions of a person, with the close reason REMOVED: clients do not come back by themselves, but their sign-ins hold. An effect, as im.emit.
---
---For hooks in the core.
---@param user string an ID
---@param reason? string for operators and the client's developer
function im.kick(user, reason) end

---Tells a person something beside messages: a notice goes to all devices of his that are connected, to whichever server. It is not kept: who is not connected never gets it. An effect, as im.emit.
---
---For hooks in the core.
---@param user string an ID
---@param notice string|table<string, any> a text for people of 1,000 characters at most, or a table of text, data (a table for programs, 4 KiB as JSON at most; one of them may be left out) and event (what it is about, `[a-z][a-z0-9_.-]*`; "notice" if left out)
function im.push(user, notice) end

---Posts JSON to a URL that the operator has named, after everything and aside. Nobody waits for it, and its answer is not seen; what an endpoint does not take in time is lost and counted. An effect, as im.emit.
---
---For hooks in the core.
---@param endpoint string a name in the server's configuration, core.rules.http; in tests any
---@param body table<string, any> 16 KiB as JSON at most
function im.http.post(endpoint, body) end

---Sends a message to a person, from an account that is the operator's: as durable as any, but no rule is asked about it, so rules cannot answer rules. The same rule, sender, receiver and key send once, also on several servers and after a restart, for at least 24 hours. An action without a client_id needs a key. An effect, as im.emit.
---
---For hooks in the core.
---@param from string ID of an account that the server's configuration lists in core.rules.senders; in tests any
---@param to string ID of a person
---@param text string 2,000 characters at most
---@param options? {once?: string} once: what the message is sent once for, 128 octets at most; the action, if left out
function im.send(from, to, text, options) end

---Defines an action that clients can call.
---
---For loading.
---@param name string "lua.poll.create": begins with lua.
---@param options {number: integer, auth?: boolean, rate?: string, max_body?: integer, rooms?: boolean, request?: table, reply?: table} number is the action's on the wire, 200 to 254, and for good; auth = false allows it before Auth; rate = "5/m" is how often one user may call it (s, m, h or d); max_body is in octets, 4,096 if left out; rooms = true tells c:in_room; request and reply are schemas
---@param fn fun(c: im.Call): table|im.Verdict? gives the reply, or im.deny(…)
function im.action(name, options, fn) end

---Whether the session is in a room; only of an action that says rooms = true, and of those of the server that do.
---
---For hooks in the core.
---@param conversation string "r_lobby"
---@return boolean
function Call:in_room(conversation) end

---As im.kv.get, of keys that all cores of the system share, where they have something to share them by (core.redis); one core alone keeps them in its memory. Each takes a way to a server and back, 10 ms at most, and may fail: then it gives nil and the reason, and raises nothing. Nothing here is durable: a server that loses its memory loses it. Counts among the 16 operations of im.kv.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@return string? value
---@return string? problem # why there is no answer: then the first is nil, and it may have happened or not
function im.shared.get(key) end

---Sets a key.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param value string|number at most 64 KiB
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
---@return boolean? ok
---@return string? problem # why there is no answer: then the first is nil, and it may have happened or not
function im.shared.set(key, value, ttl) end

---As im.kv.incr. It may count twice when an answer was lost.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
---@param by? integer 1 if left out
---@return integer? sum
---@return string? problem # why there is no answer: then the first is nil, and it may have happened or not
function im.shared.incr(key, ttl, by) end

---Removes a key, with its marks.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@return boolean? existed
---@return string? problem # why there is no answer: then the first is nil, and it may have happened or not
function im.shared.del(key) end

---Sets a key if it holds old: of all cores, whoever gets true was the only one.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param old string|number|nil nil: the key must not be there
---@param value string|number
---@param ttl string|number how long it is kept, 30 days at most: "90s", "5m", "1h", "7d" or milliseconds
---@return boolean? set
---@return string? problem # why there is no answer: then the first is nil, and it may have happened or not
function im.shared.cas(key, old, value, ttl) end

---Marks a member of a key with a value, once: a member that is marked stays so, and the same call again gives the same. Exact over all cores, also when answers are lost: for votes, and who takes part. 100,000 members of a key, "full" beyond. Keys of marks are others than those of values.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param member string|number at most 128 octets
---@param value string|number at most 64 octets, 32 different ones of a key
---@param ttl string|number from the first mark of the key
---@return string? value # what the member is marked with, by this call or an earlier one
---@return boolean|string fresh # whether it was this call; the problem when there is no value
function im.shared.mark(key, member, value, ttl) end

---Counts the marks of a key.
---
---For hooks in the core and tests.
---@param key string at most 128 octets
---@param member? string|number
---@return table<string, integer>? counts # how many members have each value
---@return string? value # the member's, or the problem when there are no counts
function im.shared.marks(key, member) end

---Registers a hook at the edge, on connections before they become sessions. A denial closes with the reason, or refuses a WebSocket's handshake; tags stay with the session.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} as those of im.before
function im.on_connect(fn, options) end

---Registers a hook at the edge, on the frames of actions before they go to a core: their sizes, not their bodies. It has a fifth of the usual work and two fifths of the usual time.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} as those of im.before
function im.on_frame(fn, options) end

---Registers a hook at the edge that chooses a pool of cores by im.reroute. It is asked about a session's first action, again when it has signed in and when the rules change, and its answer holds for all actions until then. It has the budget of im.on_frame.
---
---For loading.
---@param fn fun(c: im.Call): im.Verdict?
---@param options {name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]} name is unique; when: as of im.before; there is no on_error: when the hook fails the action goes where it goes without it
function im.on_route(fn, options) end

---In on_connect: a field of an HTTP request, a WebSocket's too: host, origin, user-agent, accept-language, referer, sec-websocket-protocol, or one that begins with x-.
---
---For hooks at the edge.
---@param name string in lower case
---@return string? value # 1 KiB of each line at most, joined by ", "; nil: it was not sent, or is not shown
function Call:header(name) end

---Whether on_connect gave the session's connection a tag.
---
---For hooks at the edge.
---@param name string
---@return boolean
function Call:tagged(name) end

---Declares a test. It runs before the bundle is activated; a failure refuses the bundle.
---
---For loading.
---@param name string
---@param fn fun(t: im.Test)
function test(name, fn) end

---What all hooks say about such a message. A hook that fails makes the test fail.
---
---For tests.
---@param fields table<string, any> fields of im.Call; those left out have defaults
---@return im.Told
function Test.message(fields) end

---What the hooks say about any action. A hook that fails makes the test fail.
---
---For tests.
---@param fields table<string, any> action, other fields of im.Call, and req, a table of the request's fields
---@return im.Told
function Test.call(fields) end

---What the hooks say about somebody who signs in.
---
---For tests.
---@param fields table<string, any> fields of im.Call
---@return im.Told
function Test.login(fields) end

---What the hooks say about somebody who comes into a room.
---
---For tests.
---@param fields table<string, any> fields of im.Call; conversation is the room
---@return im.Told
function Test.join(fields) end

---Runs the after hooks of an answered action.
---
---For tests.
---@param fields table<string, any> action, other fields of im.Call, code, and req and reply as tables
function Test.after(fields) end

---Runs an on_tick hook.
---
---For tests.
---@param name string of the hook
function Test.tick(name) end

---Sets values of im.config for hooks, to the test's end; all others have their defaults.
---
---For tests.
---@param values table<string, table<string, any>> by name and key
function Test.config(values) end

---What im.emit, im.kick, im.push, im.http.post and im.send would have done since the test began; kind is "emit", "kick", "push", "post" or "send".
---
---For tests.
---@return {kind: string, rule: string, event: string?, data: table?, user: string?, reason: string?, text: string?, endpoint: string?, from: string?, once: string?}[]
function Test.effects() end

---Moves the clock, which otherwise stands still.
---
---For tests.
---@param ms number
function Test.wait(ms) end

---Calls a scripted action: its schema, the before hooks and its function, not its rate. What it gives has the reply, and the field that breaks the schema, besides what the hooks said.
---
---For tests.
---@param fields table<string, any> name, request as a table, rooms as a list, and other fields of im.Call
---@return im.Told
function Test.action(fields) end

---What the hooks say about somebody who connects.
---
---For tests.
---@param fields table<string, any> fields of im.Call, and headers, a table by name
---@return im.Told
function Test.connect(fields) end

---What the hooks say about a frame.
---
---For tests.
---@param fields table<string, any> fields of im.Call, and tags, a list
---@return im.Told
function Test.frame(fields) end

---Where a session's actions go: target of the result is the pool.
---
---For tests.
---@param fields table<string, any> fields of im.Call, and tags, a list
---@return im.Told
function Test.route(fields) end

return im
