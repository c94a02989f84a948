package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"freeim/edge/gateway"
	"freeim/idl"
	"freeim/plugins"

	"go.uber.org/goleak"
)

// patience only ends a failed test.
const patience = 10 * time.Second

// alone is the configuration of an edge whose core cannot be reached.
func alone(t *testing.T) edgeConfig {
	t.Helper()
	c := defaults(plugins.All()).Edge
	c.ID, c.Cores, c.TCP, c.HTTP = "edge", []string{"unix:" + t.TempDir() + "/none.sock"}, "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// An edge that cannot be built leaves no goroutine behind.
func TestNewEdgeThatFails(t *testing.T) {
	for name, spoil := range map[string]func(*edgeConfig){
		"links":   func(c *edgeConfig) { c.Cores = []string{"no port"} },
		"hub":     func(c *edgeConfig) { c.MaxSessions = -1 },
		"gateway": func(c *edgeConfig) { c.MaxHTTP = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent(),
				goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/loadbalance/lbcache.(*BalancerFactory).watcher")) // Kitex's, one for each core for good
			c := alone(t)
			spoil(&c)
			if _, err := newEdge(c, slog.New(slog.DiscardHandler), nil); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// Clients are told to go while a page is still on its way to somebody.
func TestSlowPageDoesNotHoldUpSessions(t *testing.T) {
	c := alone(t)
	c.DrainTimeout = time.Hour
	e, err := newEdge(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(inside); <-leave })
	if e.gateway, err = gateway.New(gateway.Options{TCP: c.TCP, HTTP: c.HTTP, Hub: e.hub, Web: slow}); err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	session, page := dial(t, e.gateway.TCPAddr()), dial(t, e.gateway.HTTPAddr())
	session.Write([]byte{0, idl.Protocol, 0, 0, byte(idl.ActionHeartbeat), 0, 0, 0, 1, 0, 0, 0, 0})
	if a := next(t, session); a != idl.ActionHeartbeat {
		t.Fatalf("got %v, want Heartbeat", a)
	}
	io.WriteString(page, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- e.close(context.Background()) }()
	if a := next(t, session); a != idl.ActionQuit {
		t.Errorf("got %v, want Quit", a)
	}
	session.Close()
	close(leave)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// next is the action of the next frame, whose header alone is read.
func next(t *testing.T, conn net.Conn) idl.Action {
	t.Helper()
	var header [13]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		t.Fatalf("no frame came: %v", err)
	}
	return idl.Action(header[4])
}
