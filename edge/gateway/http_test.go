package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// page answers with the method, the path and how much body came.
func page(out http.ResponseWriter, in *http.Request) {
	n, err := io.Copy(io.Discard, in.Body)
	fmt.Fprintf(out, "%s %s %d %v", in.Method, in.URL.Path, n, err)
}

func newWeb(t *testing.T, o gateway.Options) *edge {
	o.Web = http.HandlerFunc(page)
	return newEdge(t, o, session.Options{})
}

// response reads one HTTP response.
func (p *peer) response() (status int, body string) {
	p.t.Helper()
	r, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestPlainRequests(t *testing.T) {
	e := newWeb(t, gateway.Options{})
	p := newPeer(t, e.HTTPAddr().String())
	const long = 4 << 20
	for _, row := range []struct {
		name, head string
		body       int
		want       string
	}{
		{"page", "GET /page HTTP/1.1\r\nHost: edge\r\n\r\n", 0, "GET /page 0 <nil>"},
		{"the same connection again", "GET /other HTTP/1.1\r\nHost: edge\r\n\r\n", 0, "GET /other 0 <nil>"},
		{"a long body", fmt.Sprintf("POST /up HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n", long), long, "POST /up 4194304 <nil>"},
	} {
		p.write([]byte(row.head + strings.Repeat("x", row.body)))
		if status, body := p.response(); status != 200 || body != row.want {
			t.Fatalf("%s: got %d %q, want %q", row.name, status, body, row.want)
		}
	}
	p.conn.Close()
	eventually(t, "the connection to be gone", func() bool { return e.Stats().HTTP == 0 })
}

func TestLongBodyInTheFirstWrite(t *testing.T) {
	e := newWeb(t, gateway.Options{})
	for range 20 {
		p := newPeer(t, e.HTTPAddr().String())
		p.write([]byte("POST /up HTTP/1.1\r\nHost: edge\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)))
		if status, body := p.response(); status != 200 || body != "POST /up 100000 <nil>" {
			t.Fatalf("got %d %q", status, body)
		}
	}
}

func TestBadHandshakes(t *testing.T) {
	e := newWeb(t, gateway.Options{AllowOrigin: func(origin, _ string) bool { return origin == "https://good" }})
	rows := []struct {
		name, in string
		want     int
	}{
		{"malformed", "nonsense\r\n\r\n", 400},
		{"no key", "GET /ws HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n", 400},
		{"an old version", strings.Replace(upgrade, "Version: 13", "Version: 8", 1), 426},
		{"a foreign page", strings.Replace(upgrade, "Host", "Origin: https://evil\r\nHost", 1), 403},
		{"too long", "GET /ws HTTP/1.1\r\nX: " + strings.Repeat("x", 8192), 431},
		{"too long in many writes", "GET /ws HTTP/1.1\r\n" + strings.Repeat("X: xxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 1000), 431},
		{"a plain request", "GET /ws HTTP/1.1\r\nHost: edge\r\n\r\n", 426},
		{"another path", strings.Replace(upgrade, "/ws", "/elsewhere", 1), 200},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t, e.HTTPAddr().String())
			p.write([]byte(row.in))
			if status, body := p.response(); status != row.want {
				t.Fatalf("got %d %q, want %d", status, body, row.want)
			}
			p.conn.Close()
		})
	}
	p := newPeer(t, e.HTTPAddr().String())
	p.write([]byte(strings.Replace(upgrade, "Host", "Origin: https://good\r\nHost", 1)))
	p.accepted()
	eventually(t, "the others to be gone", func() bool { return e.Stats().HTTP == 0 })
}

func TestSlowHeadIsCutOff(t *testing.T) {
	e := newWeb(t, gateway.Options{HeadTimeout: 100 * time.Millisecond})
	p := newPeer(t, e.HTTPAddr().String())
	p.write([]byte("GET / HTTP/1.1\r\n"))
	p.wantEnd() // dropping one more field now and then would not help: the deadline is the head's
	eventually(t, "it to be gone", func() bool { return e.Stats().HTTP == 0 })
}

func TestTooManyHeads(t *testing.T) {
	e := newWeb(t, gateway.Options{MaxHTTP: 1})
	first := newPeer(t, e.HTTPAddr().String())
	first.write([]byte("GET /page HTTP/1.1\r\n"))
	eventually(t, "the first", func() bool { return e.Stats().HTTP == 1 })
	second := newPeer(t, e.HTTPAddr().String())
	second.wantEnd()
	if got := e.Stats().TurnedAway; got != 1 {
		t.Fatalf("turned away: got %d, want 1", got)
	}
	first.write([]byte("Host: edge\r\nConnection: close\r\n\r\n"))
	if status, _ := first.response(); status != 200 {
		t.Fatalf("the first: got %d, want 200", status)
	}
	eventually(t, "the first to be gone", func() bool { return e.Stats().HTTP == 0 })
	dialWS(t, e).auth()
	if got := e.Stats().HTTP; got != 0 {
		t.Fatalf("a WebSocket counts as one: got %d", got)
	}
}

func TestHandshakeInPiecesAndWithFrames(t *testing.T) {
	e := newWeb(t, gateway.Options{})
	p := newPeer(t, e.HTTPAddr().String())
	for i := range upgrade {
		p.write([]byte{upgrade[i]})
	}
	p.accepted()
	p.auth()

	q := newPeer(t, e.HTTPAddr().String())
	q.write(append([]byte(upgrade), message(2, authFrame())...))
	q.accepted()
	q.want(idl.ActionAuth, 1)
}

func TestWebIsDrained(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	o := gateway.Options{Web: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-leave
		io.WriteString(out, "done")
	})}
	e := newEdge(t, o, session.Options{})
	p := newPeer(t, e.HTTPAddr().String())
	p.in = bufio.NewReader(p.conn)
	p.write([]byte("GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"))
	<-inside
	done := make(chan error, 1)
	go func() { done <- e.Drain(t.Context()) }()
	close(leave)
	if status, body := p.response(); status != 200 || body != "done" {
		t.Fatalf("got %d %q, want the answer under way", status, body)
	}
	p.conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
