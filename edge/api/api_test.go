package api_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/edge/api"
	"freeim/edge/gateway"
	"freeim/edge/limits"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pollers and their pool of idle workers live as long as the process.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
		goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/util/gopool.(*worker).run.func1"),
	)
}

// core echoes what it is called with, when it is let: each call takes a turn.
type core struct {
	hub     *session.Hub
	turns   chan struct{} // nil: nobody waits
	arrived chan struct{} // one for each call that waits
	blind   bool          // it was never reached
	wrong   bool          // no token is one
	panics  atomic.Bool   // once

	mu   sync.Mutex // guards last
	last session.Call
}

var actions = []session.ActionInfo{
	{Action: idl.ActionMessage, Name: "chat.send", Request: "chat.SendRequest", Reply: "chat.SendReply", MaxBody: 1000},
	{Action: idl.ActionSignIn, Name: "account.sign_in", Open: true, Request: "account.SignInRequest", Reply: "account.SignInReply"},
	{Action: idl.ActionJoinRoom, Name: "room.join", NeedsSession: true},
}

func (c *core) Call(call session.Call) {
	if c.panics.CompareAndSwap(true, false) {
		panic(http.ErrAbortHandler) // which net/http keeps to itself
	}
	go func() {
		if c.turns != nil {
			c.arrived <- struct{}{}
			<-c.turns
		}
		if call.Action == idl.ActionAuth && c.wrong {
			body, _ := idl.Append(nil, call.Codec, &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "no"})
			c.hub.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Body: body})
			return
		}
		if call.Action == idl.ActionAuth {
			c.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Caller: &session.Identity{User: 7}})
			return
		}
		c.mu.Lock()
		c.last = call
		c.mu.Unlock()
		c.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Body: call.Body})
	}()
}

func (c *core) called() session.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *core) CallTogether([]session.Call) bool  { return false }
func (c *core) Gone(session.ID, session.Identity) {}
func (c *core) RoomState(room.State)              {}
func (c *core) Action(a idl.Action) (i session.ActionInfo, ok bool) {
	for _, i = range actions {
		if i.Action == a && !c.blind {
			return i, true
		}
	}
	return session.ActionInfo{Open: true}, c.blind
}

func (c *core) ActionNamed(name string) (idl.Action, bool) {
	for _, i := range actions {
		if i.Name == name && !c.blind {
			return i.Action, true
		}
	}
	return 0, false
}

// serve starts a gateway with the API on a port of its own.
func serve(t *testing.T, c *core, hub session.Options, gate gateway.Options, o api.Options) (g *gateway.Gateway, url string) {
	t.Helper()
	hub.Core = c
	h, err := session.New(hub)
	if err != nil {
		t.Fatal(err)
	}
	c.hub, o.Hub = h, h
	o.Actions = func() []session.ActionInfo {
		if c.blind {
			return nil
		}
		return actions
	}
	handler, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	gate.HTTP, gate.Hub, gate.Web, gate.Limits = "127.0.0.1:0", h, handler, hub.Limits
	if g, err = gateway.New(gate); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); g.Close(); h.Close() })
	return g, "http://" + g.HTTPAddr().String() + api.Prefix
}

// request is one that is to be sent; what is empty is left out.
type request struct {
	method, path, kind, token, body string
	fields                          map[string]string
}

func (r request) send(t *testing.T, url string) (*http.Response, []byte) {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodPost
	}
	in, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.kind != "" {
		in.Header.Set("Content-Type", r.kind)
	}
	if r.token != "" {
		in.Header.Set("Authorization", "Bearer "+r.token)
	}
	for name, value := range r.fields {
		in.Header.Set(name, value)
	}
	out, err := http.DefaultClient.Do(in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return out, body
}

const jsonBody = "application/json"

// Each refusal has its status, and an Error of the code, in the codec of the request.
func TestRefusals(t *testing.T) {
	_, url := serve(t, &core{}, session.Options{}, gateway.Options{}, api.Options{})
	for name, row := range map[string]struct {
		request
		status int
		code   idl.Code
		field  string // of the head, that must be there
	}{
		"no token":          {request{path: "chat.send", kind: jsonBody, body: "{}"}, 401, idl.CodeUnauthenticated, "WWW-Authenticate"},
		"another scheme":    {request{path: "chat.send", fields: map[string]string{"Authorization": "Basic YTpi"}}, 401, idl.CodeUnauthenticated, "WWW-Authenticate"},
		"a scheme only":     {request{path: "chat.send", fields: map[string]string{"Authorization": "Bearer "}}, 401, idl.CodeUnauthenticated, ""},
		"unknown":           {request{path: "chat.nothing", token: "t"}, 404, idl.CodeUnknownAction, ""},
		"deeper":            {request{path: "chat.send/more", token: "t"}, 404, idl.CodeUnknownAction, ""},
		"needs a session":   {request{path: "room.join", token: "t"}, 404, idl.CodeUnknownAction, ""},
		"GET":               {request{method: "GET", path: "chat.send", token: "t"}, 405, idl.CodeUnknownAction, "Allow"},
		"DELETE":            {request{method: "DELETE", path: "chat.send", token: "t"}, 405, idl.CodeUnknownAction, "Allow"},
		"OPTIONS":           {request{method: "OPTIONS", path: "chat.send", fields: map[string]string{"Origin": "https://a.example"}}, 405, idl.CodeUnknownAction, "Allow"},
		"POST to read":      {request{path: "openapi.json"}, 405, idl.CodeUnknownAction, "Allow"},
		"a form":            {request{path: "chat.send", kind: "application/x-www-form-urlencoded", token: "t", body: "a=b"}, 415, idl.CodeMalformedBody, ""},
		"no kind":           {request{path: "chat.send", token: "t", body: "{}"}, 415, idl.CodeMalformedBody, ""},
		"another charset":   {request{path: "chat.send", kind: "application/json; charset=latin1", token: "t", body: "{}"}, 415, idl.CodeMalformedBody, ""},
		"compressed":        {request{path: "chat.send", kind: jsonBody, token: "t", body: "x", fields: map[string]string{"Content-Encoding": "gzip"}}, 415, idl.CodeMalformedBody, ""},
		"too large":         {request{path: "chat.send", kind: jsonBody, token: "t", body: strings.Repeat("x", 1001)}, 413, idl.CodeTooLarge, ""},
		"large for a guest": {request{path: "account.sign_in", kind: jsonBody, body: strings.Repeat("x", 4097)}, 413, idl.CodeTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, body := row.send(t, url)
			var no wirepb.Error
			if err := json.Unmarshal(body, &no); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if out.StatusCode != row.status || no.Code != row.code || no.Message == "" {
				t.Errorf("got %d %+v, want %d %v", out.StatusCode, &no, row.status, row.code)
			}
			if row.field != "" && out.Header.Get(row.field) == "" {
				t.Errorf("no %s in %v", row.field, out.Header)
			}
			if out.Header.Get("X-Content-Type-Options") != "nosniff" || out.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("got %v", out.Header)
			}
		})
	}
}

// A body goes to the core as it is, in both codecs; the answer has the request's.
func TestCodecs(t *testing.T) {
	c := &core{}
	_, url := serve(t, c, session.Options{}, gateway.Options{}, api.Options{})
	binary, err := idl.Append(nil, idl.CodecProtobuf, &chatpb.SendRequest{Text: "hi"})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		kind, body, want string
		codec            idl.Codec
	}{
		"json":     {"application/json; charset=UTF-8", `{"text":"hi"}`, `{"text":"hi"}`, idl.CodecJSON},
		"protobuf": {"application/x-protobuf", string(binary), string(binary), idl.CodecProtobuf},
		"empty":    {"", "", "{}", idl.CodecJSON},
	} {
		t.Run(name, func(t *testing.T) {
			out, body := request{path: "chat.send", kind: row.kind, token: "t", body: row.body}.send(t, url)
			kind, _, _ := strings.Cut(out.Header.Get("Content-Type"), ";")
			if out.StatusCode != 200 || string(body) != row.want || row.kind != "" && !strings.HasPrefix(row.kind, kind) {
				t.Errorf("got %d %s %q, want %q", out.StatusCode, kind, body, row.want)
			}
			if call := c.called(); call.Codec != row.codec || !call.Alone || call.Bearer != "t" || call.Identity != nil {
				t.Errorf("got %+v", call)
			}
		})
	}
}

// Past the places for requests the answer is "not now", at once; those that have a place
// are answered when the core is, also while the gateway drains.
func TestSlowCore(t *testing.T) {
	c := &core{turns: make(chan struct{}), arrived: make(chan struct{}, 2)}
	g, url := serve(t, c, session.Options{}, gateway.Options{}, api.Options{Requests: 2})
	var answered sync.WaitGroup
	for range 2 {
		answered.Go(func() {
			if out, body := (request{path: "account.sign_in", kind: jsonBody, body: `{"account":"a"}`}).send(t, url); out.StatusCode != 200 || string(body) != `{"account":"a"}` {
				t.Errorf("got %d %s", out.StatusCode, body)
			}
		})
	}
	for range 2 {
		<-c.arrived
	}
	if out, body := (request{path: "account.sign_in", kind: jsonBody, body: "{}"}).send(t, url); out.StatusCode != 503 || out.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %v %s", out.StatusCode, out.Header, body)
	}
	drained := make(chan error, 1)
	go func() { drained <- g.Drain(t.Context()) }()
	close(c.turns)
	answered.Wait()
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}

// A request that panics gives its place back.
func TestPanicGivesThePlaceBack(t *testing.T) {
	c := &core{}
	_, url := serve(t, c, session.Options{}, gateway.Options{}, api.Options{Requests: 1})
	c.panics.Store(true)
	in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"account.sign_in", nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := http.DefaultClient.Do(in); err == nil {
		out.Body.Close()
		t.Errorf("a panic is answered %d", out.StatusCode)
	}
	if out, body := (request{path: "account.sign_in", kind: jsonBody, body: "{}"}).send(t, url); out.StatusCode != 200 {
		t.Errorf("got %d %s", out.StatusCode, body)
	}
}

// Nobody has a large body read for a token that is none: it is refused before the body is
// there, which here never comes.
func TestLargeBodyNeedsAToken(t *testing.T) {
	_, url := serve(t, &core{wrong: true}, session.Options{}, gateway.Options{}, api.Options{})
	for name, length := range map[string]string{"said": "Content-Length: 60000", "unknown": "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), api.Prefix))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /v1/account.sign_in HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\n"+length+"\r\n\r\n")
		out, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || out.StatusCode != 401 || !out.Close {
			t.Errorf("%s: got %+v, %v", name, out, err)
		}
		conn.Close()
	}
}

// Before a core was ever reached nothing is known, and nothing is unknown.
func TestNoCoreYet(t *testing.T) {
	_, url := serve(t, &core{blind: true}, session.Options{}, gateway.Options{}, api.Options{})
	for _, r := range []request{{path: "chat.send", token: "t"}, {method: "GET", path: "openapi.json"}, {method: "GET"}} {
		if out, body := r.send(t, url); out.StatusCode != 503 || out.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %v %s", r.path, out.StatusCode, out.Header, body)
		}
	}
}

// Pages of other hosts may call when they are listed, and no others.
func TestOrigins(t *testing.T) {
	_, url := serve(t, &core{}, session.Options{}, gateway.Options{}, api.Options{Origins: []string{"https://chat.example"}})
	for origin, want := range map[string]string{"https://chat.example": "https://chat.example", "https://other.example": ""} {
		ask := request{method: "OPTIONS", path: "chat.send", fields: map[string]string{"Origin": origin, "Access-Control-Request-Method": "POST"}}
		out, _ := ask.send(t, url)
		if got := out.Header.Get("Access-Control-Allow-Origin"); got != want || (out.StatusCode == 204) != (want != "") {
			t.Errorf("%s asks: got %d %q", origin, out.StatusCode, got)
		}
		out, _ = request{path: "chat.send", kind: jsonBody, token: "t", body: "{}", fields: map[string]string{"Origin": origin}}.send(t, url)
		if got := out.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s calls: got %q", origin, got)
		}
	}
}

// The client is whom a trusted proxy names; nobody else is believed.
func TestBehindAProxy(t *testing.T) {
	c := &core{}
	for trusted, want := range map[string]string{"127.0.0.0/8": "203.0.113.9", "198.51.100.0/24": "127.0.0.1"} {
		_, url := serve(t, c, session.Options{}, gateway.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix(trusted)}}, api.Options{})
		request{path: "chat.send", kind: jsonBody, token: "t", body: "{}", fields: map[string]string{"X-Forwarded-For": "203.0.113.9"}}.send(t, url)
		if host, _, _ := net.SplitHostPort(c.called().Address); host != want {
			t.Errorf("trusting %s: got %s, want %s", trusted, host, want)
		}
	}
}

// One address that floods is told when to come again; in the end its connection is closed,
// and the next is not let in.
func TestFlood(t *testing.T) {
	guard, err := limits.New(limits.Options{Frames: 5, Ban: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, &core{}, session.Options{Limits: guard, Patience: 10}, gateway.Options{}, api.Options{})
	limited := false
	for range 100 {
		out, _ := request{path: "chat.nothing", token: "t"}.send(t, url)
		limited = limited || out.StatusCode == 429 && out.Header.Get("Retry-After") != ""
		if out.Close {
			break
		}
	}
	if !limited || len(guard.Bans()) != 1 {
		t.Errorf("limited %v, bans %v", limited, guard.Bans())
	}
	in, _ := http.NewRequestWithContext(t.Context(), "POST", url+"chat.send", nil)
	if out, err := http.DefaultClient.Do(in); err == nil {
		out.Body.Close()
		t.Errorf("a banned address was answered %d", out.StatusCode)
	}
}

// The description counts for an address's limits too.
func TestDescriptionIsLimited(t *testing.T) {
	guard, err := limits.New(limits.Options{Frames: 5, Ban: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, &core{}, session.Options{Limits: guard, Patience: 1000}, gateway.Options{}, api.Options{})
	for range 100 {
		if out, _ := (request{method: "GET", path: "openapi.json"}).send(t, url); out.StatusCode == 429 && out.Header.Get("Retry-After") != "" {
			return
		}
	}
	t.Error("a hundred descriptions were given at once")
}

// A body that does not come, or is cut off, is nobody's request.
func TestBodyCutOff(t *testing.T) {
	c := &core{}
	_, url := serve(t, c, session.Options{}, gateway.Options{}, api.Options{})
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), api.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST /v1/chat.send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"text\"")
	conn.(*net.TCPConn).CloseWrite()
	said, _ := io.ReadAll(conn)
	conn.Close()
	if !strings.HasPrefix(string(said), "HTTP/1.1 400") && len(said) > 0 {
		t.Errorf("got %q", said)
	}
	if call := c.called(); call.Action != 0 || call.Bearer != "" {
		t.Errorf("the core was called: %+v", call)
	}
}

// The description lists what can be called, for programs and for people.
func TestDescription(t *testing.T) {
	_, url := serve(t, &core{}, session.Options{}, gateway.Options{}, api.Options{})
	out, body := request{method: "GET", path: "openapi.json"}.send(t, url)
	var doc struct{ Paths map[string]any }
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	if out.StatusCode != 200 || len(doc.Paths) != 2 || doc.Paths["/v1/chat.send"] == nil || doc.Paths["/v1/room.join"] != nil {
		t.Errorf("got %d %v", out.StatusCode, doc.Paths)
	}
	out, body = request{method: "GET"}.send(t, url)
	if out.StatusCode != 200 || !strings.Contains(string(body), "account.sign_in") {
		t.Errorf("got %d %s", out.StatusCode, body)
	}
}
