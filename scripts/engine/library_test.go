package engine_test

import (
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// lua runs statements as a test of a bundle; each must hold.
func lua(t *testing.T, statements string) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"a.lua": `words = require("im").words([[
# a comment
spoiler
the end
坏话
坏话连篇
naïve
]])
few = require("im").words({"he", "she", "hers", "his", "c++"})`,
		"a_test.lua": `local im = require("im")
-- same(want…, call): the call gives exactly these values.
function same(...)
	local n = select("#", ...)
	if n % 2 == 1 then error("got " .. n .. " values", 2) end
	for i = 1, n / 2 do
		local want, got = (select(i, ...)), (select(i + n / 2, ...))
		if got ~= want then error("got " .. tostring(got) .. ", want " .. tostring(want), 2) end
	end
end
function fails(want, fn, ...)
	local ok, got = pcall(fn, ...)
	if ok then error("no error, want " .. want, 2) end
	if not string.find(got, want, 1, true) then error("got " .. got .. ", want " .. want, 2) end
end
test("statements", function(t)
` + statements + `
end)`})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
}

// Lua 5.1's manual, §5.4.1, item by item.
func TestPatterns(t *testing.T) {
	lua(t, `
same(3, 3, ("hello"):find("l"))
same(4, 4, ("hello"):find("l", 4))
same(4, 4, ("hello"):find("l", -2))
same(nil, (("hello"):find("x")))
same(2, 2, ("a.b"):find(".", 2, true))
same(1, 0, ("hello"):find(""))
same(6, 5, ("hello"):find("", 6))
same(6, 5, ("hello"):find("", 60))
same("hello", ("hello world"):match("^(%w+)"))
same("world", ("hello world"):match("(%w+)$"))
same(nil, (("hello"):match("^ello")))
same("a$b", ("a$b"):match("a$b"))
same("a^b", ("a^b"):match("a^b"))
same("key", "value", ("key = value"):match("(%w+)%s*=%s*(%w+)"))
same(1, 2, ("x"):match("()x()"))
same("ab", "a", "b", ("abc"):match("((a)(b))"))
same("hel", ("hello"):match(".-l"))
same("hell", ("hello"):match(".*l"))
same("ll", ("hello"):match("l+"))
same("helo", ("helo"):match("hel?l?o"))
same("x", ("[[x]]"):match("%[%[(.-)%]%]"))
same("(a(b)c)", ("f(a(b)c)d"):match("%b()"))
same(nil, (("f(a(b"):match("%b()")))
same("ab", ("abab"):match("(ab)%1"))
same('"', "it's", ([["it's"]]):match("([\"'])(.-)%1"))
same(5, 11, "quick", ("THE (quick) fox"):find("%((%a+)%)"))
same("w (w) w", 3, ("THE (quick) fox"):gsub("%f[%a]%a+", "w"))
same("-", ("x-y"):match("[a-]+"))
same("a-", ("a-b"):match("[a%-]+"))
same("a-", ("a-b"):match("[a-]+"))
same("]", ("]"):match("[]]"))
same("a", ("a]"):match("[^]]"))
same("^", ("^"):match("[%^]"))
same("b", ("b"):match("[a-c]"))
same("1F", ("0x1F"):match("%x+", 3))
same("\t", ("tab\tend"):match("%c"))
same("a", ("a b"):match("%S+"))
same(",", ("a,b"):match("%p"))
same("B", ("aB"):match("%u"))
same("a", ("aB"):match("%l"))
same("\0", ("a\0b"):match("%z"))
same(nil, ("é"):match("%a"))
same("a1", ("a1"):match("%D%d"))
same("hell0 w0rld", 2, ("hello world"):gsub("o", "0"))
same("-h-e-l-l-o-", 6, ("hello"):gsub("", "-"))
same("heLLo", 2, ("hello"):gsub("l", {l = "L"}))
same("h3llo", 5, ("hello"):gsub(".", {h = false, e = 3}))
same("helol", 1, ("hello"):gsub("(l)(o)", "%2%1"))
same("hellllo", 2, ("hello"):gsub("l", "%0%0"))
same("hello", 2, ("hello"):gsub("l", "%1"))
same("he%%o", 2, ("hello"):gsub("l", "%%"))
same("hexlo", 1, ("hello"):gsub("l", "x", 1))
same("hello", 0, ("hello"):gsub("l", "x", 0))
same("jello", 1, ("hello"):gsub("^h", "j"))
same("jhh", 1, ("hhh"):gsub("^h", "j"))
same("aBc", 3, ("abc"):gsub("%w", function(c) if c == "b" then return "B" end end))
same("xx", 2, ("abc"):gsub("%w*", "x"))
same("b a", 1, ("a b"):gsub("(%w) (%w)", "%2 %1"))
local seen = ""
for k, v in ("a=1, b=2"):gmatch("(%w)=(%w)") do seen = seen .. k .. v end
same("a1b2", seen)
seen = 0
for _ in ("abc"):gmatch("") do seen = seen + 1 end
same(4, seen)
for w in ("^x"):gmatch("^x") do seen = w end
same("^x", seen)
fails("missing ']'", string.find, "a", "[a")
fails("missing ']'", string.find, "a", "[]")
fails("ends with '%'", string.find, "a", "%")
fails("unfinished capture", string.find, "a", "(a")
fails("unexpected ')'", string.find, "a", "a)")
fails("invalid capture index", string.find, "a", "%1")
fails("invalid capture index", string.find, "a", "(%1)")
fails("missing arguments to '%b'", string.find, "a", "%bx")
fails("missing '[' after '%f'", string.find, "a", "%fx")
fails("too many captures", string.find, "a", ("()"):rep(33))
fails("invalid capture index", string.gsub, "a", "a", "%2")
fails("invalid replacement value (a table)", string.gsub, "a", "a", function() return {} end)
fails("string, table or function expected", string.gsub, "a", "a", true)
`)
}

func TestStrings(t *testing.T) {
	lua(t, `
same("el", ("hello"):sub(2, 3))
same("llo", ("hello"):sub(-3))
same("he", ("hello"):sub(-30, 2))
same("", ("hello"):sub(4, 2))
same("hello", ("hello"):sub(0))
same("hello", ("hello"):sub(1, 1e300))
same(65, ("ABC"):byte())
same(66, ("ABC"):byte(2))
same(65, 66, 67, ("ABC"):byte(1, -1))
same(67, ("ABC"):byte(-1))
same(0, select("#", ("ABC"):byte(10)))
same("Hi", string.char(72, 105))
same("", string.char())
same("ababab", ("ab"):rep(3))
same("", ("ab"):rep(-1))
same("cba", ("abc"):reverse())
same("aé", ("aÉ"):lower())
same("AÉ", ("aé"):upper())
same(6, #"日本")
same("   42|42   |00042", ("%5d|%-5d|%05d"):format(42, 42, 42))
same("+1  2", ("%+d % d"):format(1, 2))
same("ff FF 0xff 10", ("%x %X %#x %o"):format(255, 255, 255, 8))
same("7", ("%u"):format(7))
same("3.14   2.2", ("%.2f %5.1f"):format(3.14159, 2.25))
same("100000 1e+20 0.1", ("%g %g %g"):format(100000, 1e20, 0.1))
same("1.234568e+04", ("%e"):format(12345.678))
same("Hi", ("%c%c"):format(72, 105))
same("a 1 nil", ("%s %s %s"):format("a", 1, nil))
same("   ab|ab   |ab", ("%5s|%-5s|%.2s"):format("ab", "ab", "abc"))
same('"a\\"b\\\n\\\\"', ("%q"):format('a"b\n\\'))
same("100%", ("100%%"):format())
same("10", ("%i"):format("10"))
fails("number expected", string.format, "%d", "x")
fails("value expected", string.format, "%s")
fails("invalid conversion", string.format, "%y", 1)
fails("invalid format", string.format, "%", 1)
fails("out of range", string.char, 256)
fails("string expected", string.rep)
fails("number expected", string.sub, "a")
`)
}

func TestTables(t *testing.T) {
	lua(t, `
local t = {1, 2, 3}
table.insert(t, 4)
table.insert(t, 1, 0)
same("0,1,2,3,4", table.concat(t, ","))
same(4, table.remove(t))
same(0, table.remove(t, 1))
same(nil, table.remove({}))
same("123", table.concat(t))
same("2-3", table.concat(t, "-", 2, 3))
same("", table.concat({}))
same(3, table.maxn(t))
local words = {"b", "C", "a"}
table.sort(words)
same("Cab", table.concat(words))
table.sort(words, function(a, b) return a:lower() > b:lower() end)
same("Cba", table.concat(words))
same(3, select("#", unpack({1, nil, 3}, 1, 3)))
same("b", (select(2, "a", "b")))
fails("out of bounds", table.insert, {}, 5, 1)
fails("wrong number of arguments", table.insert, {})
fails("invalid value (table)", table.concat, {{}})
fails("attempt to compare", table.sort, {1, "x"})
local full = {}
for i = 1, 65535 do full[i] = i end
fails("table is full", table.insert, full, 1)
`)
}

func TestBase(t *testing.T) {
	lua(t, `
same(false, "x", pcall(error, "x", 0))
same(true, 1, 2, pcall(function(...) return ... end, 1, 2))
same(false, "x!", xpcall(function() error("x", 0) end, function(m) return m .. "!" end))
same(true, 1, 2, xpcall(function() return 1, 2 end, print))
same(false, (pcall(nil)))
same("table", tostring({}))
same("function", tostring(print))
same("1000000000000000", tostring(1e15))
same("me", tostring(setmetatable({}, {__tostring = function() return "me" end})))
same(nil, getmetatable(""))
same(false, getmetatable(string))
same("table", type(im))
same(16, tonumber("0x10"))
same(nil, rawget(setmetatable({}, {__index = {x = 1}}), "x"))
same(true, math.huge > 1e308)
local r = math.random(10)
same(true, r >= 1 and r <= 10)
same(3, math.random(3, 3))
fails("interval is empty", math.random, 0)
fails("__tostring", tostring, setmetatable({}, {__tostring = function() return {} end}))
local n = 0
for k, v in pairs({a = 1, b = 2, 3}) do n = n + v end
for i, v in ipairs({1, 2}) do n = n + v end
same(9, n)
fails("cannot change a protected metatable", setmetatable, setmetatable({}, {__metatable = 1}), {})
`)
}

func TestText(t *testing.T) {
	lua(t, `
same(8, im.text.len("héllo 日本"))
same("日本", im.text.sub("héllo 日本", 7))
same("é", im.text.sub("héllo", 2, 2))
same("àb", im.text.lower("ÀB"))
same("a b", im.text.trim("  a b \n"))
same("free im", im.text.fold("ＦＲＥＥ　Im"))
same(true, im.text.contains("Join ＦＲＥＥ now", "free"))
same(false, im.text.contains("Join now", "free"))
same(false, words:any("no SPOILERs here"))
same(true, words:any("a Spoiler!"))
same(true, words:any("ＳＰＯＩＬＥＲ"))
same(false, words:any("aspoiler"))
same("the end", 9, 15, words:find("this is the end."))
same("坏话连篇", 3, 6, words:find("他说坏话连篇了"))
same("坏话", 3, 4, words:find("他说坏话了"))
same(nil, words:find("nothing"))
same("a *******, **!", 2, words:mask("a spoiler, 坏话!"))
same("a ███████", 1, words:mask("a spoiler", "█"))
same("*****", 1, words:mask("NAÏVE"))
same(nil, few:find("ushers"))
same("she", 1, 3, few:find("she said"))
same("**, ***, *** ***.", 4, few:mask("he, she, his c++."))
fails("one character", words.mask, words, "x", "ab")
fails("not a word list", words.find, im.allow(), "x")
fails("too long to search", words.any, words, ("x"):rep(30000))
`)
}

func TestClock(t *testing.T) {
	e := load(t, map[string]string{
		"a.lua": `local im = require("im")
im.on_message(function(c)
	local first = im.now()
	for i = 1, 1000 do assert(im.now() == first) end
	c.text = tostring(first % 1000000)
end, {name = "clock", on_error = "closed"})`,
		"a_test.lua": `
test("the clock stands still and is moved by wait", function(t)
	local first = tonumber(t.message{}.text)
	assert(tonumber(t.message{}.text) == first)
	t.wait(1500)
	assert(tonumber(t.message{}.text) == first + 1500)
end)`}, func(o *engine.Options) { o.RequireTests = true })
	if e.Status().Tests != 1 {
		t.Errorf("got %d tests", e.Status().Tests)
	}
}

func TestRequired(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*engine.Options)
		files  map[string]string
		want   string
	}{
		{"rules", func(o *engine.Options) { o.RequireRules = true }, map[string]string{"a.lua": "-- nothing"}, "register no hook"},
		{"tests", func(o *engine.Options) { o.RequireTests = true }, rule(""), "rule@rule.lua:2: no test calls this hook"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, test.files)
			o := options(dir, &logs{})
			test.change(&o)
			if e, err := engine.New(o); err == nil {
				e.Close()
				t.Error("got no error")
			} else if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestLogging(t *testing.T) {
	dir, log := t.TempDir(), &logs{}
	put(t, dir, rule(`for i = 1, 20 do im.log.warn("line" .. i, {user = c.user, n = i, t = {}}) end print("last", 1)`))
	e, err := engine.New(options(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ask(t, e, "hi")
	got := log.String()
	if !strings.Contains(got, "msg=line8 n=8 t=table user=17 script=rule.lua line=2 rule=rule@rule.lua:2") || strings.Contains(got, "line9") {
		t.Errorf("got %s, want eight lines with their fields", got)
	}
	if n := e.Status().Dropped; n != 13 {
		t.Errorf("got %d dropped, want 13", n)
	}
}

func TestModules(t *testing.T) {
	e := load(t, map[string]string{
		"lib/a.lua":      `return {name = "a", b = require("lib.deep.b")}`,
		"lib/deep/b.lua": `count = (rawget(_G, "x") or 0) + 1 return {name = "b"}`,
		"main.lua": `local im, a = require("im"), require("lib.a")
assert(require("lib.a") == a)
im.on_message(function(c) c.text = a.name .. a.b.name .. count .. require("lib.a").name end, {name = "m", on_error = "closed"})`}, nil)
	if v, m := ask(t, e, "hi"); m.Text != "ab1a" {
		t.Errorf("got %q (%v)", m.Text, v.Err)
	}
}

// Words in one another match again and again at the same character: who looks for
// them pays for each.
func TestWordsInOneAnotherAreCharged(t *testing.T) {
	const list = `local list = {} for i = 1, 64 do list[i] = ("a"):rep(i) end
local words = im.words(list%s) `
	for _, how := range []string{"", ", {spacing = true}", ", {spacing = true, confusables = true}"} {
		for _, method := range []string{"mask", "find", "any"} {
			source := "local im = require('im') " + strings.Replace(list, "%s", how, 1) +
				`im.on_message(function(c) words:` + method + `(("a"):rep(20000)) end, {name = "h", on_error = "open"})`
			v, _ := ask(t, load(t, map[string]string{"a.lua": source}, nil), "hi")
			if f := fault(t, v); f.Kind != engine.FaultBudget {
				t.Errorf("%s%s: got %v, want the budget spent", method, how, f)
			}
		}
	}
}

// A replacement may look at all that is left of a text for each match, and at all of
// what it puts there though nothing comes of it: both are paid for.
func TestReplacementsAreCharged(t *testing.T) {
	for _, test := range []struct{ name, expression, text, with string }{
		{"matches that look ahead", "<[^>]*>|<", `("<"):rep(16000)`, `"x"`},
		{"and of nothing", "(?:a*b)?", `("a"):rep(16000)`, `""`},
		{"what stands for nothing", "x", `("x"):rep(16000)`, `("$y"):rep(50000)`},
	} {
		e := load(t, map[string]string{"a.lua": `local im = require("im")
local re = im.re("` + test.expression + `")
im.on_message(function(c) re:replace(` + test.text + `, ` + test.with + `) end, {name = "h", on_error = "open"})`}, nil)
		v, _ := ask(t, e, "hi")
		if f := fault(t, v); f.Kind != engine.FaultBudget {
			t.Errorf("%s: got %v, want the budget spent", test.name, f)
		}
	}
	// A usual one of a long text is within the budget.
	e := load(t, map[string]string{"a.lua": `local im = require("im")
local re = im.re("[0-9]+")
im.on_message(function(c) c.text = re:replace(c.text, "#") end, {name = "h", on_error = "closed"})`}, nil)
	if v, m := ask(t, e, strings.Repeat("word 12345", 500)); v.Err != nil || m.Text != strings.Repeat("word #", 500) {
		t.Errorf("got %v, %q", v.Err, m.Text)
	}
}
