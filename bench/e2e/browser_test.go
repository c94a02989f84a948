package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"freeim/bench/cluster"
	"freeim/bench/e2e/browser"
)

// shots makes TestTwoBrowsers leave pictures of what it sees:
// go test ./bench/e2e -run TestTwoBrowsers -shots DIR
var shots = flag.String("shots", "", "directory for screenshots")

// tab is a person at the demo chat.
type tab struct{ *browser.Page }

func (p tab) chatWith(account string) {
	p.Fill("#find", account)
	p.Press("Enter")
	p.WaitText("#peer-account", "@"+account)
}

func (p tab) say(text string) {
	p.Type("#text", text)
	p.Press("Enter")
	p.WaitFor(`document.querySelector("#text").value === ""`)
}

func (p tab) has(n int, state string) {
	p.WaitFor(fmt.Sprintf(`document.querySelectorAll('.own[data-state="%s"]').length === %d`, state, n))
}

func signUpInTab(t *testing.T, b *browser.Browser, url, account string) tab {
	p := tab{browser.OpenPage(t, b, account, url)}
	p.Click("#mode-sign-up")
	p.Fill("#account", account)
	p.Fill("#password", password)
	p.Press("Enter")
	p.WaitText("#connection", "Online")
	return p
}

// Two people chat in two browsers through the real edge, core and store, while an
// operator saves a rule and the next message obeys it, and core and edge restart.
func TestTwoBrowsers(t *testing.T) {
	b := browser.ForTest(t)
	for _, mode := range []string{"", "?mode=text"} {
		t.Run("mode"+mode, func(t *testing.T) {
			c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Rules: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			talkInBrowsers(t, b, c, c.Edges[0].Page()+mode)
		})
	}
}

func talkInBrowsers(t *testing.T, b *browser.Browser, c *cluster.Cluster, page string) {
	alice, bob := signUpInTab(t, b, page, "alice"), signUpInTab(t, b, page, "bob")
	alice.chatWith("bob")
	alice.say("Hello Bob")
	alice.has(1, "delivered")
	bob.WaitText(".preview", "Hello Bob")
	bob.Click(".row")
	bob.say("Hello Alice")
	alice.WaitText(".message:not(.own)", "Hello Alice")

	saveRule(t, c, `
		local im = require("im")
		im.on_message(function(c)
		  if c.text:find("secret", 1, true) then return im.deny("rejected", "no secrets here") end
		  c.text = c.text:gsub("damn", "****")
		end, {name = "manners", on_error = "closed"})`)
	alice.say("a secret")
	alice.has(1, "refused")
	alice.WaitText(".reason", "no secrets here")
	alice.say("damn rules")
	bob.WaitText(".message:not(.own):last-of-type .text", "**** rules")
	if *shots != "" {
		alice.Screenshot(filepath.Join(*shots, "alice.png"))
		bob.Screenshot(filepath.Join(*shots, "bob.png"))
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Cores[0].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	alice.say("while the core is away")
	if err := c.Cores[0].Start(ctx); err != nil {
		t.Fatal(err)
	}
	bob.WaitText(".message:not(.own):last-of-type .text", "while the core is away")
	if err := c.Edges[0].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Edges[0].Start(); err != nil {
		t.Fatal(err)
	}
	bob.say("after the edge")
	alice.WaitText(".message:not(.own):last-of-type .text", "after the edge")
	bob.has(2, "delivered")
}

// saveRule saves a rule and waits until it is active.
func saveRule(t *testing.T, c *cluster.Cluster, text string) {
	t.Helper()
	before := c.Cores[0].Server().Rules().Status().Bundle
	if err := os.WriteFile(filepath.Join(c.RulesDir(), "rules.lua"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := until(ctx, func() (bool, error) { return c.Cores[0].Server().Rules().Status().Bundle != before, nil }); err != nil {
		t.Fatalf("the rule is not active: %+v", c.Cores[0].Server().Rules().Status().Rejected)
	}
}
