package engine_test

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// loading runs statements while a file loads.
func loading(t *testing.T, files map[string]string, statements string) {
	t.Helper()
	all := map[string]string{"lib/same.lua": `function same(want, got)
	if got ~= want then error("got " .. tostring(got) .. ", want " .. tostring(want), 2) end
end
function fails(want, fn, ...)
	local ok, got = pcall(fn, ...)
	if ok then error("no error, want " .. want, 2) end
	if not string.find(got, want, 1, true) then error("got " .. got .. ", want " .. want, 2) end
end`, "a.lua": `require("lib.same") local im = require("im")
` + statements}
	maps.Copy(all, files)
	if _, err := try(t, all); err != nil {
		t.Error(err)
	}
}

func TestRe(t *testing.T) {
	loading(t, nil, `
local mail = im.re([[(?i)\b([a-z0-9.]+)@([a-z0-9.-]+)\b]])
local user, host = mail:match("write to Bob@Example.com!")
same("Bob", user) same("Example.com", host)
same(nil, (mail:match("nobody")))
same(10, mail:find("write to Bob@Example.com!"))
same(24, select(2, mail:find("write to Bob@Example.com!")))
same(nil, (mail:find("a@b", 4)))
same("<b> at <c>, <e> at <f>", (mail:replace("b@c, e@f", "<$1> at <$2>")))
same(2, select(2, mail:replace("b@c, e@f", "")))
same("-a-b-", (im.re(""):replace("ab", "-")))
same("", (im.re("(a)|(b)"):match("b")))
same("b", select(2, im.re("(a)|(b)"):match("b")))
same("日本", (im.re([[\p{Han}+]]):match("xx日本")))
same("$", (im.re("x"):replace("x", "$$")))
fails("missing closing", im.re, "(a")
fails("invalid or unsupported Perl syntax", im.re, [[(?=a)]])
fails("at most 1 KiB", im.re, ("a"):rep(1025))
fails("too large", im.re, [[a{501}]])
fails("invalid repeat", im.re, [[(a{100}){100}]])
fails("not a regular expression", mail.match, "x", "y")
`)
	if _, err := try(t, map[string]string{"a.lua": `for i = 1, 1001 do require("im").re("a") end`}); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("got %v", err)
	}
}

func TestReBombs(t *testing.T) {
	for _, pattern := range []string{"(a?){26}a{26}", "(a|aa)*b", "(.*)(.*)(.*)(.*)x", `(\pL{100}){4}`, "(((((((((((a)))))))))))", ""} {
		for _, call := range []string{"match(c.text)", "find(c.text)", `replace(c.text, ("x"):rep(1000))`, `replace(c.text, ("$0"):rep(1000))`} {
			e := load(t, map[string]string{"rule.lua": `local im = require("im")
local re = im.re([[` + pattern + `]])
im.on_message(function(c) if c.text == "ok" then return end while true do re:` + call + ` end end, {name = "rule", on_error = "closed"})`}, nil)
			v, _ := ask(t, e, strings.Repeat("a", 20000))
			if f := fault(t, v); f.Kind != "budget" && !strings.Contains(f.Msg, "string would have") {
				t.Errorf("%s: got %+v", pattern, f)
			}
			if v, _ := ask(t, e, "ok"); v.Err != nil {
				t.Errorf("%s: the next call got %v", pattern, v.Err)
			}
		}
	}
}

// A few octets of a replacement may stand for the whole text: a result that is too
// long is refused before it is made.
func TestReplacementIsBoundedBeforeItIsMade(t *testing.T) {
	e := load(t, map[string]string{"rule.lua": `local im = require("im")
local all = im.re("(?s).*")
im.on_message(function(c) all:replace(c.text, ("$0"):rep(100000)) end, {name = "rule", on_error = "closed"})`}, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v, _ := ask(t, e, strings.Repeat("a", 20000)) // 2 GB
	runtime.ReadMemStats(&after)
	if f := fault(t, v); !strings.Contains(f.Msg, "string would have") {
		t.Errorf("got %+v", f)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
		t.Errorf("%d MiB were made", made>>20)
	}
}

func TestCidr(t *testing.T) {
	loading(t, map[string]string{"nets.txt": "# ours\n192.0.2.0/24\n\n2001:db8::1\n"}, `
local nets = im.cidr(im.file("nets.txt"))
same(true, nets:has("192.0.2.255"))
same(true, nets:has("192.0.2.1:4000"))
same(true, nets:has("::ffff:192.0.2.1"))
same(true, nets:has("[2001:db8::1]:80"))
same(false, nets:has("2001:db8::2"))
same(false, nets:has("192.0.3.1"))
same(false, nets:has(""))
same(false, nets:has("example.com:80"))
local all = im.cidr({"0.0.0.0/0", "10.1.0.0/16"})
same(true, all:has("8.8.8.8"))
same(false, all:has("::1"))
same(true, im.cidr({"10.1.2.3/8"}):has("10.9.9.9"))
same(false, im.cidr({}):has("10.9.9.9"))
fails("no network", im.cidr, {"10.0.0.0/33"})
fails("no network", im.cidr, {"fe80::1%eth0"})
fails("write \"::ffff:1.2.3.4\" as IPv4", im.cidr, {"::ffff:1.2.3.4"})
fails("entry 1 is a number", im.cidr, {1})
fails("needs a table", im.cidr, 1)
local many = {}
for i = 1, 10001 do many[i] = "10.0.0.1" end
fails("limit is 10000", im.cidr, many)
`)
}

func TestJSON(t *testing.T) {
	lua(t, `
local j = im.json
same(nil, "the text ends too early", j.decode(""))
for _, text in ipairs{"{", "[1", "[1}", '{"a":1,}', "[1,]", "1 2", "nul", '"a', '{1:2}', "01", "'a'", ("["):rep(33) .. ("]"):rep(33), "[" .. ("1,"):rep(4096) .. "1]", "1e999", ("x"):rep(65537)} do
	local value, problem = j.decode(text)
	if value ~= nil or type(problem) ~= "string" then error(text) end
end
same(1.5, j.decode(" 1.5 "))
same("x", j.decode('"x"'))
same(true, j.decode("true"))
same(nil, (j.decode("null")))
same("9007199254740993", j.decode("9007199254740993"))
same(-9007199254740991, j.decode("-9007199254740991"))
same("-9007199254740992", j.decode("-9007199254740992"))
same(1e300, j.decode("1e300"))
local v = j.decode('{"a":[1,null,{"b":"é\\u0041"}],"n":null}')
same(false, v.a[2])
same("éA", v.a[3].b)
same(nil, v.n)
same('{"a":[1,false,{"b":"éA"}]}', j.encode(v))
same('[1,2.5,"<&>\\n",true]', j.encode({1, 2.5, "<&>\n", true}))
same("{}", j.encode({}))
same("null", j.encode(nil))
same("1e+300", j.encode(1e300))
same('{"9007199254740993":"x"}', j.encode({["9007199254740993"] = "x"}))
local loop = {} loop[1] = loop
fails("more than 32 levels", j.encode, loop)
fails("no number of JSON", j.encode, 0/0)
fails("a function has no form", j.encode, print)
fails("both an array and keys", j.encode, {1, a = 2})
fails("not of an array", j.encode, {[1.5] = 1})
same("[null,1]", j.encode({[2] = 1}))
fails("a key is a boolean", j.encode, {[true] = 1})
fails("longer than 64 KiB", j.encode, ("x"):rep(65536))
local wide = {}
for i = 1, 5000 do wide[i] = i end
fails("more than 4096 values", j.encode, wide)
local deep = {}
for i = 1, 200 do deep[i] = ("x"):rep(1000) end
fails("longer than 64 KiB", j.encode, deep)
fails("value expected", j.encode)
`)
}

func TestHashAndToday(t *testing.T) {
	lua(t, `
same("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", im.hash("abc"))
local d = im.today()
same("2024-01-01 1 0 0", d.date .. " " .. d.weekday .. " " .. d.hour .. " " .. d.minute)
d = im.today("-00:30")
same("2023-12-31 7 23 30", d.date .. " " .. d.weekday .. " " .. d.hour .. " " .. d.minute)
same("202311231", im.today("-01:00").year .. im.today("-00:01").month - 1 .. "231")
t.wait(86400000)
same(2, im.today("+08:00").weekday)
d = im.today("Europe/Berlin", 1711846800000)
same("2024-03-31 3 0", d.date .. " " .. d.hour .. " " .. d.minute)
same(1, im.today("Europe/Berlin", 1711846800000 - 1).hour)
for _, no in ipairs{"Europe/Nowhere", "Local", "../UTC", "/etc/localtime", "+8", ("a"):rep(100)} do fails("a zone is written", im.today, no) end
for _, no in ipairs{1e15, -1e15, 0/0} do fails("must be milliseconds", im.today, "UTC", no) end
`)
}

// Data belongs to the bundle: it changes the hash and activates like code.
func TestDataFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"mod/words.txt": "# list\nspoiler\n", "mod/limits.json": `{"max": 3}`, ".hidden.txt": "x", "notes.md": "x", "rule.lua": `local im = require("im")
local list, limits = im.words(im.file("mod/words.txt")), im.json.decode(im.file("mod/limits.json"))
im.on_message(function(c) if list:any(c.text) or #c.text > limits.max then return im.deny("rejected") end end, {name = "rule", on_error = "closed"})`})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got := e.Status().Files; !slices.Equal(got, []string{"mod/limits.json", "mod/words.txt", "rule.lua"}) {
		t.Errorf("got files %v", got)
	}
	denied := func(text string) bool { v, _ := ask(t, e, text); return v.Denied() }
	if denied("ok") || !denied("long") {
		t.Error("want the limit of the file")
	}
	put(t, dir, map[string]string{"mod/words.txt": "ok\n"})
	r, err := e.Reload(t.Context())
	if err != nil || !slices.Equal(r.Files, []string{"~mod/words.txt"}) || !denied("ok") {
		t.Errorf("got %+v, %v", r, err)
	}
	put(t, dir, map[string]string{"mod/words.txt": ""})
	if _, err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "mod/words.txt:1: file is empty") {
		t.Errorf("got %v for an emptied list", err)
	}
	if err := os.Remove(filepath.Join(dir, "mod/words.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `no data file "mod/words.txt"`) {
		t.Errorf("got %v for a missing list", err)
	}
	for _, name := range []string{"rule.lua", "../../etc/passwd", "/etc/passwd", "mod", ""} {
		if _, err := try(t, map[string]string{"rule.lua": `require("im").file("` + name + `")`}); err == nil || !strings.Contains(err.Error(), "no data file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
