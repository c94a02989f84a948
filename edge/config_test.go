package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"freeim/conf"
	"freeim/core/server"
	"freeim/plugins"
)

func noEnv(string) (string, bool) { return "", false }

// The committed files hold every key, with the value it has when left out.
func TestCommittedFilesHoldEveryDefault(t *testing.T) {
	for _, name := range []string{"embedded.yaml", "edge.yaml"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("..", "conf", name)
			want := defaults(plugins.All())
			if name == "embedded.yaml" {
				core := server.DefaultConfig()
				want.Core, core.ID = &core, ""
				core.Listen = "unix:data/core.sock"
			} else {
				want.Plugins = nil
				want.Edge.Cores = []string{"127.0.0.1:7071"}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			missing, err := conf.Absent(data, &want)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range missing {
				if name == "edge.yaml" && strings.HasPrefix(key.Path, "core.") {
					continue // it has none
				}
				t.Errorf("%s is not in the file, its default is %s", key.Path, key.Default)
			}
			got := defaults(plugins.All())
			if name == "edge.yaml" {
				got.Plugins = nil
			}
			if err := conf.Load(path, noEnv, &got); err != nil {
				t.Fatal(err)
			}
			compare(t, conf.Keys(&want), conf.Keys(&got))
			if err := got.complete(); err != nil {
				t.Error(err)
			}
		})
	}
}

func compare(t *testing.T, want, got []conf.Key) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		for i := range min(len(want), len(got)) {
			if want[i] != got[i] {
				t.Errorf("the file says %s: %s, the default is %s: %s", got[i].Path, got[i].Default, want[i].Path, want[i].Default)
			}
		}
		if len(want) != len(got) {
			t.Errorf("the file has %d keys, the defaults %d", len(got), len(want))
		}
	}
}

func TestCompleteRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*config)
		want   string
	}{
		"no core":           {func(c *config) { c.Core = nil }, "edge.cores"},
		"no port":           {func(c *config) { c.Edge.TCP, c.Edge.HTTP = "", "" }, "edge.tcp"},
		"another heartbeat": {func(c *config) { c.Edge.Heartbeat = time.Second }, "heartbeat"},
		"another limit":     {func(c *config) { c.Edge.MaxBody = 1 << 10 }, "max_body"},
		"hasty":             {func(c *config) { c.Edge.Silence = time.Millisecond }, "edge.silence"},
		"patient":           {func(c *config) { c.Edge.Silence = time.Hour }, "edge.silence"},
		"restless":          {func(c *config) { c.Edge.Census = time.Millisecond }, "edge.census"},
		"drowsy":            {func(c *config) { c.Edge.Wakes = 39 }, "edge.wakes"},
		"frantic":           {func(c *config) { c.Edge.Wakes = 100_001 }, "edge.wakes"},
		"rules of nothing":  {func(c *config) { c.Edge.Rules.State = "x" }, "edge.rules.dir"},
		"routes that lapse": {func(c *config) { c.Edge.Census = 16 * time.Second }, "edge.census"},
	} {
		t.Run(name, func(t *testing.T) {
			c := defaults(plugins.All())
			c.Core = &server.Config{Listen: "unix:x"}
			row.change(&c)
			if err := c.complete(); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error about %s", err, row.want)
			}
		})
	}
}

// Two edges of one host must not bear one name: they would fence each other off.
func TestOwnIDIsOfThisEdgeAlone(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		edge edgeConfig
		want string
	}{
		"named":         {edgeConfig{ID: "edge-1", TCP: ":7070"}, "edge-1"},
		"tcp":           {edgeConfig{TCP: ":7070", HTTP: ":8080"}, host + "/:7070"},
		"http":          {edgeConfig{HTTP: "127.0.0.1:8080"}, host + "/127.0.0.1:8080"},
		"a chosen port": {edgeConfig{TCP: ":0", HTTPS: ":8443"}, host + "/:8443"},
		"nothing else":  {edgeConfig{TCP: ":0"}, fmt.Sprintf("%s/%d", host, os.Getpid())},
	} {
		c := config{Edge: row.edge, Core: &server.Config{Listen: "unix:x"}}
		if err := c.complete(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.Edge.ID != row.want {
			t.Errorf("%s: got %q, want %q", name, c.Edge.ID, row.want)
		}
	}
}

func TestAllowOrigin(t *testing.T) {
	if (&edgeConfig{}).allowOrigin() != nil {
		t.Error("without a list the gateway's own rule must hold")
	}
	listed := (&edgeConfig{Origins: []string{"https://Chat.example"}}).allowOrigin()
	for origin, want := range map[string]bool{
		"https://chat.example":           true,
		"HTTPS://CHAT.EXAMPLE":           true,
		"http://chat.example":            false,
		"https://chat.example.evil.test": false,
		"https://evilchat.example":       false,
		"null":                           false,
		"":                               false,
	} {
		if got := listed(origin, "chat.example"); got != want {
			t.Errorf("%q: got %v", origin, got)
		}
	}
	if !(&edgeConfig{Origins: []string{"*"}}).allowOrigin()("https://any.test", "x") {
		t.Error("* must allow all")
	}
}

// A port that is taken ends the start with its reason, and everything that was
// started before it.
func TestRunWithATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	for key, value := range map[string]string{
		"FREEIM_CORE_DATA": filepath.Join(dir, "data"), "FREEIM_CORE_LISTEN": "unix:" + filepath.Join(dir, "core.sock"),
		"FREEIM_CORE_SCRIPTS": "", "FREEIM_EDGE_TCP": taken.Addr().String(), "FREEIM_EDGE_HTTP": "127.0.0.1:0",
		"FREEIM_ADMIN_LISTEN": "", "FREEIM_LOG_LEVEL": "error",
	} {
		t.Setenv(key, value)
	}
	for range 2 { // again: the first left no lock behind
		if err := run(t.Context(), options{config: "../conf/embedded.yaml", process: -1}, io.Discard); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("got %v", err)
		}
	}
}

// The whole program starts from its file, says what to open, and stops cleanly.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for key, value := range map[string]string{
		"FREEIM_CORE_DATA": filepath.Join(dir, "data"), "FREEIM_CORE_LISTEN": "unix:" + filepath.Join(dir, "core.sock"),
		"FREEIM_CORE_SCRIPTS": "../scripts", "FREEIM_EDGE_TCP": "127.0.0.1:0", "FREEIM_EDGE_HTTP": "127.0.0.1:0",
		"FREEIM_ADMIN_LISTEN": "127.0.0.1:0", "FREEIM_LOG_LEVEL": "error",
	} {
		t.Setenv(key, value)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, options{config: "../conf/embedded.yaml", echo: "127.0.0.1:0", process: -1}, in)
		in.Close()
	}()
	var said strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(said.String(), "admin") {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("ended after %q: %v", said.String(), <-ended)
		}
	}
	go io.Copy(io.Discard, out)
	for _, want := range []string{"chat      http://localhost:", "websocket ws://localhost:", "tcp       tcp://localhost:", "ws echo", "rules", "data"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not said in:\n%s", want, said.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
