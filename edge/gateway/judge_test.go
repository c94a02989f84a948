package gateway_test

import (
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// doorman is rules about connections only.
type doorman struct {
	say func(*session.Arrival) *session.Refusal

	mu  sync.Mutex // guards all
	all []session.Arrival
}

func (d *doorman) Asks(q session.Questions) bool         { return q&session.AboutConnections != 0 }
func (d *doorman) Edition() string                       { return "edition" }
func (d *doorman) Frame(*session.Asked) *session.Refusal { return nil }
func (d *doorman) Route(*session.Asked) string           { return "" }
func (d *doorman) Connect(a *session.Arrival) ([]string, *session.Refusal) {
	d.mu.Lock()
	d.all = append(d.all, *a)
	d.mu.Unlock()
	return nil, d.say(a)
}

// A connection that a rule refuses is told so: by Quit over TCP, by the answer to its
// handshake as a WebSocket.
func TestRefusedConnections(t *testing.T) {
	var no atomic.Pointer[session.Refusal]
	no.Store(&session.Refusal{Code: idl.CodeRejected, Reason: "not from there"})
	e := newEdge(t, gateway.Options{}, session.Options{Rules: &doorman{say: func(*session.Arrival) *session.Refusal { return no.Load() }}})
	newPeer(t, e.TCPAddr().String()).wantClose(idl.CloseRemoved)
	newTLSPeer(t, e.TCPSAddr().String()).wantClose(idl.CloseRemoved)
	for code, want := range map[idl.Code]string{
		idl.CodeRejected: "HTTP/1.1 403 Forbidden\r\n", idl.CodeRateLimited: "HTTP/1.1 429 Too Many Requests\r\n", idl.CodeUnavailable: "HTTP/1.1 503 Service Unavailable\r\n",
	} {
		no.Store(&session.Refusal{Code: code, Reason: "not from there", RetryAfter: 1500 * time.Millisecond})
		for _, p := range []*peer{newPeer(t, e.HTTPAddr().String()), newTLSPeer(t, e.HTTPSAddr().String())} {
			p.write([]byte(upgrade))
			head := p.head()
			if !strings.HasPrefix(head, want) || strings.Contains(head, "Retry-After: 2\r\n") != (code != idl.CodeRejected) {
				t.Errorf("got %q, want %q", head, want)
			}
			if body, err := io.ReadAll(p.in); string(body) != "not from there\n" || err != nil {
				t.Errorf("got %q and %v", body, err)
			}
		}
	}
	dialEcho(t, e) // no rule is asked about that port
	eventually(t, "nothing is left over", func() bool { return e.Stats().Conns <= 1 && e.Stats().HTTP == 0 && e.hub.Stats().Sessions == 0 })
}

// What rules see of a connection: nothing by which somebody signs in.
func TestArrivals(t *testing.T) {
	d := &doorman{say: func(*session.Arrival) *session.Refusal { return nil }}
	e := newEdge(t, gateway.Options{}, session.Options{Rules: d})
	for _, dial := range []func() *peer{
		func() *peer { return dialTCP(t, e) }, func() *peer { return dialTLS(t, e) },
		func() *peer {
			p := newPeer(t, e.HTTPAddr().String())
			p.write([]byte(strings.Replace(strings.Replace(upgrade, "/ws ", "/ws?token=secret ", 1), "Host:",
				strings.Repeat("X-Of-The-Client: x\r\n", 200)+"Cookie: secret\r\nAuthorization: secret\r\nUser-Agent: a/1\r\nX-Long: "+strings.Repeat("x", 2000)+"\r\nX-Odd: \xff\r\nHost:", 1)))
			p.accepted()
			return p
		},
		func() *peer { return dialWSS(t, e) },
	} {
		p := dial()
		p.send(heartbeat(7))
		p.want(idl.ActionHeartbeat, 7)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var kinds []string
	for _, a := range d.all {
		kinds = append(kinds, a.Transport)
		if !strings.HasPrefix(a.Address, "127.0.0.1:") {
			t.Errorf("got address %q", a.Address)
		}
	}
	if want := []string{"tcp", "tls", "websocket", "wss"}; !slices.Equal(kinds, want) {
		t.Fatalf("got %q, want %q", kinds, want)
	}
	a := d.all[2]
	got := map[string]string{}
	for _, f := range a.Fields { // what comes late is not hidden by what comes first
		got[f.Name] = f.Value
	}
	if a.Path != "/ws" || len(got) != 5 || got["user-agent"] != "a/1" || got["host"] != "edge" || len(got["x-long"]) != 1024 || got["x-odd"] != "\ufffd" {
		t.Errorf("got %+v", a)
	}
}

// While rules take their time about one connection, others come in.
func TestSlowRuleHoldsUpNobody(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e := newEdge(t, gateway.Options{}, session.Options{Rules: &doorman{say: func(*session.Arrival) *session.Refusal {
		first := false
		once.Do(func() { first = true })
		if first {
			close(inside)
			<-leave
		}
		return nil
	}}})
	slow := dialTCP(t, e)
	<-inside
	for range 3 {
		p := dialTCP(t, e)
		p.send(heartbeat(7))
		p.want(idl.ActionHeartbeat, 7)
	}
	close(leave)
	slow.send(heartbeat(8))
	slow.want(idl.ActionHeartbeat, 8)
}
