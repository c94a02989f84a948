package engine_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestEvasions(t *testing.T) {
	for _, test := range []struct {
		options string
		text    string
		want    string // what mask makes of it; empty: nothing is found
	}{
		{"", "s p o i l e r", ""},
		{"spacing = true", "a spoiler!", "a *******!"},
		{"spacing = true", "a s p o i l e r!", "a *************!"},
		{"spacing = true", "S.P.O.I.L.E.R", "*************"},
		{"spacing = true", "ｓ-ｐ-ｏ-ｉ-ｌ-ｅ-ｒ", "*************"},
		{"spacing = true", "sp\u200boil\u00ader", "*********"},
		{"spacing = true", "s p oiler", ""},
		{"spacing = true", "s    p    o    i    l    e    r", ""},
		{"spacing = true", "as he s aid", ""},
		{"spacing = true", "s h e", "*****"},
		{"spacing = true", "剧 透", "***"},
		{"spacing = true", "别剧-*-透啊", "别*****啊"},
		{"spacing = true", "the end", "*******"},
		{"spacing = true", "theend", "******"},
		{"spacing = true", "t h e e n d", "***********"},
		{"spacing = true", "th ee nd", ""},
		{"spacing = true", "spоiler", ""},
		{"confusables = true", "spоiler", "*******"}, // Cyrillic о
		{"confusables = true", "ЅР0ІLЕR!", "*******!"},
		{"confusables = true", "$po1l3r", "*******"},
		{"confusables = true", "@spoiler", "@*******"},
		{"confusables = true", "spöïlér", "*******"},
		{"confusables = true", "spo\u0308iler", "********"},
		{"confusables = true", "spo\u200biler", "********"},
		{"confusables = true", "aspoiler", ""},
		{"confusables = true", "s p o i l e r", ""},
		{"confusables = true", "$hells", ""},
		{"spacing = true, confusables = true", "$ р 0 і l 3 r", "*************"},
		{"spacing = true, confusables = true", "剧.透", "***"},
		{"spacing = true, confusables = true", "innocent text, 你好", ""},
	} {
		e := load(t, map[string]string{"rule.lua": `local im = require("im")
local list = im.words({"spoiler", "剧透", "the end", "she"}, {` + test.options + `})
im.on_message(function(c)
	local masked, n = list:mask(c.text)
	assert(list:any(c.text) == (n > 0) and (list:find(c.text) ~= nil) == (n > 0))
	if n > 0 then c.text = masked end
end, {name = "rule", on_error = "closed"})`}, nil)
		v, m := ask(t, e, test.text)
		if v.Err != nil {
			t.Fatal(v.Err)
		}
		if m.Rewritten != (test.want != "") || m.Rewritten && m.Text != test.want {
			t.Errorf("%s: %q became %q, want %q", test.options, test.text, m.Text, test.want)
		}
	}
}

func TestWordOptions(t *testing.T) {
	for options, want := range map[string]string{
		`{spacing = 1}`:    "bad value for spacing",
		`{space = true}`:   "unknown option 'space'",
		`{spacing = true}`: "letters, digits and spaces only",
	} {
		_, err := try(t, map[string]string{"a.lua": `require("im").words({"c++"}, ` + options + `)`})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", options, err, want)
		}
	}
}

func TestPeoplesTexts(t *testing.T) {
	lua(t, `
local function join(list, field)
	local out = {}
	for i, one in ipairs(list) do out[i] = field and one[field] or one end
	return table.concat(out, " ")
end
same("fi1 ABC ガ", im.text.normalize("ﬁ① ＡＢＣ ｶﾞ"))
same(im.text.skeleton("paypal"), im.text.skeleton("РАУ​РАL"))
same("oo", im.text.skeleton("о0"))
same("日本語", im.text.skeleton("日本語"))
same("", im.text.skeleton(""))
same(4, im.text.width("abcd"))
same(6, im.text.width("ｗ日ẃ​ "))
same("https://a.example/x?y=(1 a.example", join(im.text.urls("(https://a.example/x?y=(1)"), "url") .. " " .. im.text.urls("https://A.EXAMPLE:80/")[1].host)
same("a.com www.x.y b.CN https://c", join(im.text.urls("a.com, www.x.y。b.CN！https://c"), "url"))
same("evil.example", im.text.urls("https://good.com@evil.example/")[1].host)
same(0, #im.text.urls("e.g. this... a.b 1.5 you@mail.com ://x hello.World ..com -.com"))
same("free.com", im.text.urls("ｆｒｅｅ.ｃｏｍ")[1].host)
same(32, #im.text.urls(("a.com "):rep(40)))
same("all bob 小明 x_y-z", join(im.text.mentions("@all hi @bob, ＠小明！ (@x_y-z) a@b @ @!")))
same(64, #im.text.mentions(("@a "):rep(70)))
same(0, im.text.emoji("no 1 # * text ©"))
same(6, im.text.emoji("😀 👍🏽 👨‍👩‍👧 🇩🇪🇫🇷 ❤️"))
same(2, im.text.emoji("1️⃣ ©️"))
same(1, im.text.similarity("Hello there", "hello THERE"))
same(true, im.text.fold("a\255") == im.text.fold("A\255"))
same(0, im.text.similarity("abc", "xyz"))
same(0, im.text.similarity("a", "b"))
same(0, im.text.similarity("buy cheap watches at x", "buy cheap watches at y", 0.99))
same(true, im.text.similarity("buy cheap watches at x", "buy cheap watches at y") > 0.9)
for _, fn in ipairs{im.text.normalize, im.text.skeleton, im.text.width, im.text.urls, im.text.mentions, im.text.emoji, im.text.similarity} do
	fails("too long to search", fn, ("x"):rep(30000), "")
end
`)
}

// Each is stopped by its budget, and the text that costs most does not take long.
func TestTextBombs(t *testing.T) {
	for _, fn := range []string{"normalize", "skeleton", "width", "urls", "mentions", "emoji", "similarity"} {
		for _, text := range []string{"x", "\u0301", "@", "a.", "😀", "ﷺ", "\xff", "://"} {
			e := load(t, rule(`local s = c.text while true do im.text.`+fn+`(s, s) end`), nil)
			v, _ := ask(t, e, strings.Repeat(text, 20000/len(text)))
			if f := fault(t, v); f.Kind != "budget" {
				t.Errorf("%s of %q: got %+v", fn, text, f)
			}
		}
	}
	var words strings.Builder
	for i := range 64 {
		fmt.Fprintln(&words, strings.Repeat("a", i+1))
	}
	for _, text := range []string{"a", "a ", "a.", "剧", "\u200b"} {
		e := load(t, map[string]string{"rule.lua": `local im = require("im")
local list = im.words([[` + words.String() + `]], {spacing = true, confusables = true})
im.on_message(function(c) while true do list:mask(c.text) end end, {name = "rule", on_error = "closed"})`}, nil)
		v, _ := ask(t, e, strings.Repeat(text, 20000/len(text)))
		if f := fault(t, v); f.Kind != "budget" {
			t.Errorf("words in %q: got %+v", text, f)
		}
	}
}
