package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"freeim/edge/gateway"
	"freeim/idl"
	"freeim/plugins"

	"go.uber.org/goleak"
)

// patience only ends a failed test.
const patience = time.Minute

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
			if _, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// Clients are told to go while a page is still on its way to somebody.
func TestSlowPageDoesNotHoldUpSessions(t *testing.T) {
	c := alone(t)
	c.DrainTimeout = time.Hour
	e, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil)
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
	closed := make(chan struct{})
	go func() { defer close(closed); e.close(context.Background()) }()
	if a := next(t, session); a != idl.ActionQuit {
		t.Errorf("got %v, want Quit", a)
	}
	session.Close()
	close(leave)
	<-closed
}

// A page that is still open when the time is up holds up nothing.
func TestDrainEndsInTime(t *testing.T) {
	c := alone(t)
	c.DrainTimeout = 200 * time.Millisecond
	e, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	session, page := dial(t, e.gateway.TCPAddr()), dial(t, e.gateway.HTTPAddr())
	io.WriteString(page, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nnot all")
	tick, late := time.NewTicker(time.Millisecond), time.Now().Add(patience)
	defer tick.Stop()
	for ; e.gateway.Stats().HTTP == 0 || e.hub.Stats().Sessions == 0; <-tick.C {
		if time.Now().After(late) {
			t.Fatal("the page is not there")
		}
	}
	e.close(context.Background())
	if a := next(t, session); a != idl.ActionQuit {
		t.Errorf("got %v, want Quit", a)
	}
	if got := e.gateway.Stats(); got.Conns != 0 || got.HTTP != 0 {
		t.Errorf("left over: %+v", got)
	}
}

// TestSignals: SIGTERM drains, another one ends the process at once. While it drains the
// edge says that it is not ready, and lets clients in for DrainDelay. It is this test
// binary that is run, as the program.
func TestSignals(t *testing.T) {
	if os.Getenv("TEST_AS_EDGE") != "" {
		os.Args = []string{"edge", "-config", "../conf/embedded.yaml"}
		main()
		return
	}
	for _, row := range []struct {
		name  string
		twice bool
		want  string
	}{{"once", false, "exit status 0"}, {"twice", true, "signal: terminated"}} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			program := exec.Command(os.Args[0], "-test.run=^TestSignals$")
			delay := "0s"
			if row.twice {
				delay = "1h"
			}
			program.Env = append(os.Environ(), "TEST_AS_EDGE=1",
				"FREEIM_CORE_DATA="+dir, "FREEIM_CORE_LISTEN=unix:"+dir+"/core.sock", "FREEIM_CORE_SCRIPTS=",
				"FREEIM_EDGE_TCP=127.0.0.1:0", "FREEIM_EDGE_HTTP=127.0.0.1:0", "FREEIM_ADMIN_LISTEN=", "FREEIM_EDGE_DRAIN_DELAY="+delay)
			program.Stderr = os.Stderr
			out, err := program.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			defer program.Process.Kill()
			lines := bufio.NewScanner(out)
			await := func(what string) (line string) {
				for lines.Scan() {
					if line = lines.Text(); strings.Contains(line, what) {
						return line
					}
				}
				t.Fatalf("it did not say %q", what)
				return ""
			}
			page := strings.Fields(await("chat "))[1] + "healthz"
			tcp := strings.TrimPrefix(strings.Fields(await("tcp "))[1], "tcp://")
			await("data ")
			awaitHealth(t, page, http.StatusOK)
			program.Process.Signal(syscall.SIGTERM)
			if row.twice {
				await("stopping")
				awaitHealth(t, page, http.StatusServiceUnavailable)
				session := dialAt(t, tcp)
				session.Write([]byte{0, idl.Protocol, 0, 0, byte(idl.ActionHeartbeat), 0, 0, 0, 1, 0, 0, 0, 0})
				if a := next(t, session); a != idl.ActionHeartbeat {
					t.Errorf("a client that comes while it drains got %v, want Heartbeat", a)
				}
				program.Process.Signal(syscall.SIGTERM)
			}
			io.Copy(io.Discard, out)
			program.Wait()
			if got := program.ProcessState.String(); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// awaitHealth asks the page until it answers so.
func awaitHealth(t *testing.T, page string, want int) {
	t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.Now().Add(patience)
	defer tick.Stop()
	for ; ; <-tick.C {
		rep, err := http.Get(page)
		if err == nil {
			rep.Body.Close()
		}
		if err == nil && rep.StatusCode == want {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%s: got %+v, %v, want %d", page, rep, err, want)
		}
	}
}

func dial(t *testing.T, to net.Addr) net.Conn { t.Helper(); return dialAt(t, to.String()) }

func dialAt(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
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
