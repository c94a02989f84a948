package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"freeim/core/command"
	"freeim/idl"
	"freeim/plugins"
)

const adminKey = "0123456789abcdef"

// door is a rule of the edge beside one of the core.
func door(reason string) string {
	return `local im = require("im")
im.on_connect(function(c) return im.deny("rejected", "` + reason + `") end, {name = "door", on_error = "open"})
im.on_message(function(c) return im.pass end, {name = "talk", on_error = "open"})
`
}

// opened is what lets everybody in.
var opened = strings.Replace(door(""), `return im.deny("rejected", "")`, `c:tag("in")`, 1)

// operated is an embedded server, with the rules of both sides, as its operator sees it.
type operated struct {
	*testing.T
	rules string // the directory
	admin string // HOST:PORT
	tcp   net.Addr
}

func newOperated(t *testing.T) *operated {
	t.Helper()
	w := &operated{T: t, rules: t.TempDir()}
	w.save(w.rules, door("not today"))
	dir := t.TempDir()
	for key, value := range map[string]string{
		"FREEIM_CORE_DATA": filepath.Join(dir, "data"), "FREEIM_CORE_LISTEN": "unix:" + filepath.Join(dir, "core.sock"),
		"FREEIM_CORE_SCRIPTS": w.rules, "FREEIM_EDGE_TCP": "127.0.0.1:0", "FREEIM_EDGE_HTTP": "127.0.0.1:0", "FREEIM_EDGE_ID": "door-1",
		"FREEIM_ADMIN_LISTEN": "127.0.0.1:0", "FREEIM_ADMIN_KEY": adminKey, "FREEIM_LOG_LEVEL": "error",
	} {
		t.Setenv(key, value)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, options{config: "../conf/embedded.yaml", process: -1}, in)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for lines := bufio.NewScanner(out); w.admin == "" && lines.Scan(); {
		at := regexp.MustCompile(`^  (tcp|admin) +\w+://([^/ ]+)`).FindStringSubmatch(lines.Text())
		switch {
		case at == nil:
		case at[1] == "admin":
			w.admin = at[2]
		default:
			var err error
			if w.tcp, err = net.ResolveTCPAddr("tcp", at[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	go io.Copy(io.Discard, out)
	if w.admin == "" || w.tcp == nil {
		t.Fatalf("it does not serve: %+v", w)
	}
	return w
}

// save writes rules into a directory, and gives the directory.
func (w *operated) save(dir, text string) string {
	w.Helper()
	path := filepath.Join(dir, "door.lua")
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		w.Fatal(err)
	}
	return dir
}

// hooks runs "edge hooks …" with the server's address.
func (w *operated) hooks(args ...string) (code int, said string) {
	var out bytes.Buffer
	code = command.Run(w.Context(), command.Options{Program: "edge", Config: "../conf/embedded.yaml", Plugins: plugins.All(),
		Args: append(append([]string{"hooks"}, args...), "--server", w.admin), In: strings.NewReader(""), Out: &out, Err: &out})
	return code, out.String()
}

func (w *operated) want(code int, pattern string, args ...string) string {
	w.Helper()
	got, said := w.hooks(args...)
	if got != code || !regexp.MustCompile("(?s)"+pattern).MatchString(said) {
		w.Errorf("hooks %s: exit code %d, want %d; want %q in:\n%s", strings.Join(args, " "), got, code, pattern, said)
	}
	return said
}

// until runs it until what it says has the pattern.
func (w *operated) until(pattern string, args ...string) {
	w.Helper()
	want, said := regexp.MustCompile("(?s)"+pattern), ""
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); <-tick.C {
		if _, said = w.hooks(args...); want.MatchString(said) {
			return
		}
	}
	w.Errorf("hooks %s: want %q in:\n%s", strings.Join(args, " "), pattern, said)
}

// shut reports what somebody who connects is told, if he is not let in.
func (w *operated) shut(reason string) {
	w.Helper()
	conn := dial(w.T, w.tcp)
	conn.SetDeadline(time.Now().Add(time.Minute))
	if said, err := io.ReadAll(conn); err != nil || !strings.Contains(string(said), reason) {
		w.Errorf("who connects is told %q, %v; want %q", said, err, reason)
	}
}

func (w *operated) letIn() {
	w.Helper()
	conn := dial(w.T, w.tcp)
	conn.Write([]byte{0, idl.Protocol, 0, 0, byte(idl.ActionHeartbeat), 0, 0, 0, 1, 0, 0, 0, 0})
	if a := next(w.T, conn); a != idl.ActionHeartbeat {
		w.Errorf("who connects gets %v, want Heartbeat", a)
	}
}

// page asks for a page and gives the status and the body.
func (w *operated) page(method, path, key string) (int, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, "http://"+w.admin+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The edge's rules have a kill switch, and what the core's have beside it. Neither
// side's reaches the other.
func TestRulesOfTheEdgeAreOperated(t *testing.T) {
	w := newOperated(t)
	first := regexp.MustCompile(`[0-9a-f]{12}`).FindString(w.want(0, `edge door-1: bundle [0-9a-f]{12}.*door@door\.lua:2 .*talk@door\.lua:3 .*of cores: never asked here`, "status", "--edge"))
	w.want(0, "bundle "+first+`.*door@door\.lua:2 .*of edges \(--edge\): never asked here`, "status")

	w.shut("not today")
	w.want(0, `edge door-1: all hooks are off`, "off", "--edge", "--who", "ann", "--why", "everybody is shut out")
	w.letIn()
	if out := w.want(0, "bundle", "status"); strings.Contains(out, "OFF") {
		t.Errorf("the core's are off too:\n%s", out)
	}
	if _, figures := w.page("GET", "/metrics", adminKey); !strings.Contains(figures, "\nfreeim_edge_rules_off 1\n") || !strings.Contains(figures, "\nfreeim_rules_off 0\n") {
		t.Error("the metrics do not say which are off")
	}
	w.want(0, `all hooks are on`, "on", "--edge")
	w.shut("not today")
	w.want(0, `door is off`, "off", "--edge", "--hook", "door")
	w.letIn()
	w.want(0, `door is on`, "on", "--edge", "--hook", "door")
	w.want(1, `talk@door\.lua:3 is registered by im\.on_message, and only cores ask it`, "off", "--edge", "--hook", "talk")
	w.want(1, `door@door\.lua:2 is registered by im\.on_connect, and only edges ask it: .*--edge`, "off", "--hook", "door")

	w.want(2, `name the directory`, "push", "--edge")
	bad := w.save(t.TempDir(), "x = = 1")
	w.want(1, regexp.QuoteMeta(bad)+`/door\.lua:1:\d+: .*did not take .*nothing was activated`, "push", "--edge", bad, "--activate")
	w.shut("not today")
	pushed := w.save(t.TempDir(), door("nor tomorrow"))
	w.want(0, `edge door-1: activated [0-9a-f]{12}, before `+first, "push", "--edge", pushed, "--activate", "--why", "tomorrow neither")
	w.shut("nor tomorrow")
	w.want(0, "bundle "+first, "status")
	w.want(0, `ON DISK is bundle `+first+`, which is NOT ACTIVE`, "status", "--edge")
	w.want(0, `tomorrow neither.* off .*ann from 127\.0\.0\.1 \(everybody is shut out\).*started`, "store", "log", "--edge")
	if out := w.want(0, "started", "store", "log"); strings.Contains(out, "ann") {
		t.Errorf("it is in the core's journal:\n%s", out)
	}
	w.want(0, `activated `+first, "rollback", "--edge")
	w.shut("not today")

	// On trial: in shadow it is compared; as a canary it is for users, and who connects is none.
	third := regexp.MustCompile(`[0-9a-f]{12}`).FindString(w.want(0, `is kept.*Next: edge hooks shadow --edge [0-9a-f]{12}`, "push", "--edge", w.save(t.TempDir(), opened)))
	w.want(0, `is on trial`, "shadow", "--edge", third)
	w.shut("not today")
	w.until(`would decide otherwise about 1;.*1 × door: deny rejected -> allow`, "status", "--edge")
	w.want(0, `is on trial`, "canary", "--edge", "100")
	w.shut("not today")
	w.want(0, `activated `+third, "activate", "--edge")
	w.letIn()
	w.want(0, `activated `+first, "resume", "--edge")
	w.shut("not today")

	w.save(w.rules, door("saved"))
	w.until(`is active, as before|activated`, "reload", "--edge")
	w.shut("saved")
	w.want(0, `1 +door@door\.lua:2 +im\.on_connect`, "order", "im.on_connect", "--edge")
	w.want(0, `no hook has failed`, "errors", "--edge")
	for _, command := range [][]string{{"tail"}, {"trace", "--user", "1"}, {"spans"}} {
		w.want(1, `only cores do`, append(command, "--edge")...)
	}
}

func TestPagesOfTheEdgesRules(t *testing.T) {
	w := newOperated(t)
	for _, one := range []struct {
		method, path, key string
		status            int
	}{
		{"GET", "/edge/hooks/status", adminKey, 200},
		{"GET", "/edge/hooks/status", "", 401},
		{"POST", "/edge/hooks/off", "", 401},
		{"POST", "/edge/hooks/off", "wrong", 401},
		{"GET", "/edge/hooks/off", adminKey, 405},
		{"POST", "/edge/hooks/off?hok=door", adminKey, 400},
		{"GET", "/edge/hooks/nothing", adminKey, 404},
		{"GET", "/edge/hooks/tail", adminKey, 404},
		{"GET", "/edge/hooks/recording", adminKey, 404},
		{"POST", "/edge/hooks/rollback", adminKey, 409},
	} {
		if status, body := w.page(one.method, one.path, one.key); status != one.status {
			t.Errorf("%s %s: got %d, want %d: %s", one.method, one.path, status, one.status, body)
		}
	}
	w.shut("not today")
	if _, index := w.page("GET", "/", adminKey); strings.Count(index, "/edge/hooks/") != 15 || !strings.Contains(index, "GET /hooks/status ") {
		t.Errorf("the index is:\n%s", index)
	}
	t.Setenv("FREEIM_ADMIN_KEY", "")
	w.want(1, `wants the administrative key`, "off", "--edge")
	w.shut("not today")
}
