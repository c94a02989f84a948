package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins"

	"github.com/prometheus/client_golang/prometheus"
)

// pooled is a real edge with two real pools of one core each, which share MySQL and Redis.
type pooled struct {
	*testing.T
	edge  *edge
	rules string                          // the directory of the edge's rules
	cores map[string]*prometheus.Registry // by pool
}

func newPooled(t *testing.T, rules string) *pooled {
	t.Helper()
	dsn, redis := engines.Database(t), engines.Redis(t).Addr()
	p := &pooled{T: t, rules: t.TempDir(), cores: map[string]*prometheus.Registry{}}
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	address := func(pool string) string { return "unix:" + filepath.Join(dir, pool+".sock") }
	for _, pool := range []string{"blue", "green"} {
		c := server.DefaultConfig()
		c.ID, c.Listen, c.Data, c.Scripts = pool, address(pool), filepath.Join(dir, pool), ""
		c.MySQL.DSN, c.Redis.Addresses = dsn, []string{redis}
		p.cores[pool] = prometheus.NewRegistry()
		core, err := server.New(t.Context(), server.Options{Config: c, Plugins: plugins.All(), Log: log, Figures: p.cores[pool]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { core.Close(context.WithoutCancel(t.Context())) })
		if err := core.Start(); err != nil {
			t.Fatal(err)
		}
	}
	p.save(rules)
	c := alone(t)
	c.Cores, c.Pools = []string{address("blue")}, map[string]poolConfig{"green": {Cores: []string{address("green")}}}
	c.Rules.Dir = p.rules
	var err error
	if p.edge, err = newEdge(c, log, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.edge.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.edge.close(context.WithoutCancel(t.Context())) })
	return p
}

// save saves the one file of the rules, as editors do.
func (p *pooled) save(text string) {
	p.Helper()
	path := filepath.Join(p.rules, "route.lua")
	if err := os.WriteFile(path+"~", []byte("local im = require('im')\n"+text), 0o644); err != nil {
		p.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		p.Fatal(err)
	}
}

// await polls; the deadline only ends a failed test.
func (p *pooled) await(what string, is func() bool) {
	p.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(late) {
			p.Fatalf("not in time: %s", what)
		}
	}
}

// sends is how many messages a pool's core has handled.
func (p *pooled) sends(pool string) (n float64) {
	p.Helper()
	all, err := p.cores[pool].Gather()
	if err != nil {
		p.Fatal(err)
	}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == "freeim_actions_total" && l.GetName() == "action" && l.GetValue() == "chat.send" {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func (p *pooled) tcp() string { return "tcp://" + p.edge.gateway.TCPAddr().String() }

// person is somebody who talks and listens.
type person struct {
	*client.Session
	id int64

	mu  sync.Mutex // guards got
	got []string
}

func (p *pooled) person(name string) *person {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{Address: p.tcp()})
	if err != nil {
		p.Fatal(err)
	}
	defer c.Close()
	who := new(person)
	if who.id, err = c.SignUp(ctx, name, "correct horse", ""); err != nil {
		p.Fatal(err)
	}
	in, err := c.SignIn(ctx, name, "correct horse", &accountpb.Device{Id: "laptop", Type: idl.DeviceDesktop})
	if err != nil {
		p.Fatal(err)
	}
	who.Session, err = client.Open(p.Context(), client.Options{Address: p.tcp(), Token: in.Token, Handler: client.Handler{
		Message: func(_ context.Context, e *client.Entry) error {
			who.mu.Lock()
			defer who.mu.Unlock()
			if !e.Mine {
				who.got = append(who.got, e.Text)
			}
			return nil
		}}})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { who.Close() })
	return who
}

func (w *person) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// Users are routed by a rule that a saved file changes while they talk: each message goes
// to a core of the pool that holds, and nothing is lost, doubled or out of order.
func TestRulesRouteSessions(t *testing.T) {
	route := func(pool string) string {
		return fmt.Sprintf(`im.on_route(function(c) if c.user then return im.reroute(%q) end end, {name = "route"})`, pool)
	}
	p := newPooled(t, route("default"))
	p.await("both cores are linked", func() bool { return p.edge.links.Up("green") && p.edge.links.Up("") })
	alice, bob := p.person("alice"), p.person("bob")
	var over atomic.Bool
	var talking sync.WaitGroup
	sent := make([]int, 2)
	for i, who := range []*person{alice, bob} {
		to := []*person{bob, alice}[i]
		talking.Go(func() {
			for !over.Load() {
				var last *client.Pending
				for range 5 { // ahead of their answers
					var err error
					if last, err = who.Send(t.Context(), client.Outgoing{To: to.id, Text: fmt.Sprint(sent[i])}); err != nil {
						t.Error(err)
						return
					}
					sent[i]++
				}
				if _, err := last.Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, pool := range []string{"green", "default", "green"} {
		goes, stays := "blue", "green"
		if pool == "green" {
			goes, stays = "green", "blue"
		}
		before := p.edge.rules.Edition()
		p.save(route(pool))
		p.await("the saved file", func() bool { return p.edge.rules.Edition() != before })
		n := p.sends(goes)
		p.await("messages by the pool "+goes, func() bool { return p.sends(goes) > n+20 })
		quiet := p.sends(stays) // by now each session has seen the change
		n = p.sends(goes)
		p.await("more of them", func() bool { return p.sends(goes) > n+20 })
		if more := p.sends(stays) - quiet; more != 0 {
			t.Errorf("%v messages went to %s", more, stays)
		}
	}
	if err := p.edge.rules.Engine().Off(); err != nil { // the kill switch: back to the default pool
		t.Fatal(err)
	}
	n := p.sends("blue")
	p.await("messages by the default pool", func() bool { return p.sends("blue") > n+20 })
	over.Store(true)
	talking.Wait()
	for i, who := range []*person{bob, alice} {
		p.await("all arrived", func() bool { return len(who.heard()) >= sent[i] })
		for n, text := range who.heard() {
			if text != fmt.Sprint(n) {
				t.Fatalf("message %d is %q", n, text)
			}
		}
	}
	t.Logf("%d messages; %v by blue, %v by green", sent[0]+sent[1], p.sends("blue"), p.sends("green"))
}

// Rules that loop do not keep clients from being served, those that refuse are heard.
func TestHostileRules(t *testing.T) {
	c := alone(t)
	c.Rules.Dir = t.TempDir()
	const source = `local im = require('im')
im.on_connect(function(c) if c.path == "/ws" and c:header("x-test") == "bad" then return im.deny("rejected", "not today") end if not c.path then while true do end end end, {name = "connect", on_error = "open"})
im.on_frame(function(c) while true do end end, {name = "frame", on_error = "open"})
im.on_route(function(c) while true do end end, {name = "route"})`
	if err := os.WriteFile(filepath.Join(c.Rules.Dir, "a.lua"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	defer e.close(context.WithoutCancel(t.Context()))
	for range 30 { // each connection and action pays for the loops until their breakers open
		conn := dial(t, e.gateway.TCPAddr())
		conn.Write([]byte{0, idl.Protocol, 0, 0, byte(idl.ActionHeartbeat), 0, 0, 0, 1, 0, 0, 0, 0})
		if a := next(t, conn); a != idl.ActionHeartbeat {
			t.Fatalf("got %v, want Heartbeat", a)
		}
	}
	in, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+e.gateway.HTTPAddr().String()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "X-Test": "bad"} {
		in.Header.Set(name, value)
	}
	// By now on_connect may not be called for a while, since it failed too often.
	for _, h := range e.rules.Engine().Status().Hooks {
		if h.Name == "connect" && !h.Tripped {
			t.Errorf("got %+v, want the breaker open", h)
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(in)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("got %s, want on_error to let the connection in", answer.Status)
	}
}

// A connection that a rule refuses gets a clear answer over both transports.
func TestRuleRefusesConnection(t *testing.T) {
	c := alone(t)
	c.Rules.Dir = t.TempDir()
	const source = `local im = require('im')
im.on_connect(function(c) return im.deny("rejected", "not today") end, {name = "connect", on_error = "open"})`
	if err := os.WriteFile(filepath.Join(c.Rules.Dir, "a.lua"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	defer e.close(context.WithoutCancel(t.Context()))
	if said, err := io.ReadAll(dial(t, e.gateway.TCPAddr())); err != nil || !strings.Contains(string(said), "not today") {
		t.Errorf("over TCP: got %q and %v", said, err)
	}
	page := dial(t, e.gateway.HTTPAddr())
	io.WriteString(page, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if said, err := io.ReadAll(page); err != nil || !strings.HasPrefix(string(said), "HTTP/1.1 403 ") || !strings.HasSuffix(string(said), "not today\n") {
		t.Errorf("as a WebSocket: got %q and %v", said, err)
	}
	if s := e.hub.Stats(); s.Barred != 2 || s.Sessions != 0 {
		t.Errorf("got %+v", s)
	}
}
