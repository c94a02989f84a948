package webhook_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/plugins/webhook"
)

// What is wrong with the configuration is said at the start, by its key.
func TestWrongConfiguration(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := func(change func(*webhook.Endpoint)) func(*webhook.Config) {
		return func(c *webhook.Config) { change(&c.Endpoints[0]) }
	}
	events := func(all ...string) func(*webhook.Config) {
		return one(func(e *webhook.Endpoint) { e.Events = all })
	}
	url := func(text string) func(*webhook.Config) {
		return one(func(e *webhook.Endpoint) { e.URL, e.Private = text, false })
	}
	for _, row := range []struct {
		name   string
		change func(*webhook.Config)
		want   string
	}{
		{"an event that there is not", events("message.commited"), `"message.commited" is not known: of message there are committed, shadowed`},
		{"a family that there is not", events("groups.*"), "there are no events of groups"},
		{"no pattern", events("group"), "no family"},
		{"half a pattern", events("group.re*"), "is not known"},
		{"none", events(), "events"},
		{"no name", one(func(e *webhook.Endpoint) { e.Name = "A b" }), "endpoints[0].name"},
		{"the same name twice", func(c *webhook.Config) { c.Endpoints = append(c.Endpoints, c.Endpoints[0]) }, "two are named test"},
		{"http to the world", url("http://example.com/"), "must be https"},
		{"another scheme", url("ftp://example.com/"), "must be https"},
		{"no host", url("https:///x"), "url"},
		{"no URL", url("example.com"), "url"},
		{"a password in it", url("https://me:secret@example.com/"), "must not hold"},
		{"no secret", one(func(e *webhook.Endpoint) { e.SecretFiles = nil }), "secret_files"},
		{"three", one(func(e *webhook.Endpoint) { e.SecretFiles = []string{"a", "b", "c"} }), "secret_files"},
		{"one that is not there", one(func(e *webhook.Endpoint) { e.SecretFiles = []string{empty + "x"} }), "the secret"},
		{"one that is too short", one(func(e *webhook.Endpoint) { e.SecretFiles = []string{empty} }), "has 5 octets"},
		{"a status of success", one(func(e *webhook.Endpoint) { e.StopOn = []int{200} }), "stop_on"},
		{"its time", one(func(e *webhook.Endpoint) { e.Timeout = 1 }), "endpoints[0].timeout"},
		{"more events that are no names", func(c *webhook.Config) { c.MoreEvents = []string{"poll.*"} }, "more_events"},
		{"no time", func(c *webhook.Config) { c.Timeout = 0 }, "webhook.timeout"},
		{"no batch", func(c *webhook.Config) { c.Batch = 0 }, "webhook.batch"},
		{"a pause that is too long", func(c *webhook.Config) { c.Pause = c.MostPause + 1 }, "webhook.pause"},
		{"no tries", func(c *webhook.Config) { c.Tries = 0 }, "webhook.tries"},
	} {
		t.Run(row.name, func(t *testing.T) {
			hook := configured(t, "https://example.com/im", row.change)
			_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{hook}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret@") {
				t.Errorf("a password is in %v", err)
			}
		})
	}
	own := configured(t, "https://example.com/im", func(c *webhook.Config) {
		c.MoreEvents = []string{"poll.closed"}
		c.Endpoints[0].Events = []string{"poll.*", "poll.closed", "message.*"}
	})
	if _, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{own}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}}); err != nil {
		t.Error(err)
	}
}

// The receiver in README.md is the one that these tests receive by.
func TestReadmeReceiver(t *testing.T) {
	code, err := os.ReadFile("receiver_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(code), "// receiver:begin\n")
	part, _, _ = strings.Cut(part, "// receiver:end")
	if part = strings.TrimSpace(part); part == "" || !strings.Contains(string(page), part) {
		t.Error("README.md shows another receiver")
	}
}
