package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// caller calls actions over HTTP.
type caller struct {
	url, token string
	http       *http.Client
}

// call sends a request and reads its answer into rep. What is refused is a client.Error.
func (c caller) call(ctx context.Context, action string, req, rep any) (*http.Response, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	in, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+action, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	in.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		in.Header.Set("Authorization", "Bearer "+c.token)
	}
	out, err := c.http.Do(in)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		return out, err
	}
	if out.StatusCode != http.StatusOK {
		var no wirepb.Error
		if err := json.Unmarshal(text, &no); err != nil {
			return out, fmt.Errorf("%s: %w: %s", out.Status, err, text)
		}
		if want := idl.HTTPStatus(no.Code); out.StatusCode != want {
			return out, fmt.Errorf("%v is answered %s, want %d", no.Code, out.Status, want)
		}
		return out, &client.Refusal{Code: no.Code, Message: no.Message, Field: no.Field, RetryAfter: time.Duration(no.RetryAfterMs) * time.Millisecond}
	}
	return out, json.Unmarshal(text, rep)
}

// join makes an account over HTTP, and signs a device in, when the edge has reached its core.
func (c caller) join(ctx context.Context, name, device string) (caller, int64, error) {
	err := until(ctx, func() (bool, error) {
		_, err := c.call(ctx, "account.sign_up", &accountpb.SignUpRequest{Account: name, Password: password}, &accountpb.SignUpReply{})
		if client.CodeOf(err) == idl.CodeUnavailable {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return c, 0, err
	}
	var in accountpb.SignInReply
	_, err = c.call(ctx, "account.sign_in", &accountpb.SignInRequest{Account: name, Password: password, Device: &accountpb.Device{Id: device, Type: idl.DeviceDesktop}}, &in)
	c.token = in.Token
	return c, in.UserId, err
}

func newCaller(t testing.TB, url string) caller {
	transport := &http.Transport{MaxIdleConnsPerHost: 1100}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{url: url, http: &http.Client{Transport: transport}}
}

// Two people write to each other, one over HTTP only: what is sent so is committed once,
// pushed to both's sessions, and kept for who asks.
func TestHTTP(t *testing.T) {
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Edges: 2})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	guest := newCaller(t, c.Edges[0].API())
	alice, aliceID, err := guest.join(ctx, "alice", "script")
	if err != nil {
		t.Fatal(err)
	}
	o := client.Options{Address: c.Edges[1].TCP()}
	bob, err := signUp(ctx, o, "bob")
	if err != nil {
		t.Fatal(err)
	}
	phone, err := newDevice(ctx, o, bob, "phone", idl.DeviceMobile)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.disconnect()
	tablet, err := newDevice(ctx, client.Options{Address: c.Edges[0].TCP()}, &person{name: "alice", id: aliceID}, "tablet", idl.DeviceTablet)
	if err != nil {
		t.Fatal(err)
	}
	defer tablet.disconnect()
	hello := &chatpb.SendRequest{ClientId: "h1", ToUserId: bob.id, Text: "over HTTP"}
	var sent, again chatpb.SendReply
	if _, err := alice.call(ctx, "chat.send", hello, &sent); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.call(ctx, "chat.send", hello, &again); err != nil || !again.Duplicate || again.MessageId != sent.MessageId {
		t.Errorf("sent again: got %+v, %v", &again, err)
	}
	for name, d := range map[string]*device{"bob's phone": phone, "alice's tablet": tablet} {
		if err := until(ctx, func() (bool, error) { return d.position() > 0, nil }); err != nil {
			t.Errorf("%s was not told: %v", name, err)
		}
	}
	var synced chatpb.SyncReply
	if _, err := alice.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &synced); err != nil || len(synced.Entries) != 1 {
		t.Errorf("sync: got %+v, %v", &synced, err)
	}
	other := *hello
	other.Text = "another text"
	_, err = alice.call(ctx, "chat.send", &other, &again)
	wantCode(t, "the same client_id for another text", err, idl.CodeConflict)
	out, err := caller{alice.url, "nonsense", alice.http}.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &synced)
	wantCode(t, "a token that is none", err, idl.CodeUnauthenticated)
	if out == nil || out.Header.Get("WWW-Authenticate") == "" {
		t.Error("a token that is none: no WWW-Authenticate")
	}
	_, err = alice.call(ctx, "chat.sync", json.RawMessage(`{"after_seq":"one"}`), &synced)
	wantCode(t, "a field of the wrong type", err, idl.CodeMalformedBody)
	_, err = alice.call(ctx, "account.auth", &accountpb.AuthRequest{Token: alice.token}, &synced)
	wantCode(t, "an action that needs a session", err, idl.CodeUnknownAction)
	_, err = alice.call(ctx, "chat.send", &chatpb.SendRequest{ClientId: "h2", ToUserId: bob.id, Text: strings.Repeat("x", 70_000)}, &again)
	wantCode(t, "a body that is too large", err, idl.CodeTooLarge)

	// The core goes and comes back: who asks meanwhile waits for it.
	if err := c.Cores[0].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := alice.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &chatpb.SyncReply{})
		waited <- err
	}()
	if err := c.Cores[0].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("asked while the core was away: %v", err)
	}

	// A token that is revoked lets nobody in, on no edge, though it was known at both.
	far := caller{c.Edges[1].API(), alice.token, alice.http}
	if _, err := far.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &synced); err != nil {
		t.Fatal(err)
	}
	var gone accountpb.SignOutReply
	if _, err := alice.call(ctx, "account.sign_out", &accountpb.SignOutRequest{}, &gone); err != nil || len(gone.DeviceIds) != 1 {
		t.Fatalf("sign out: got %+v, %v", &gone, err)
	}
	for _, c := range []caller{alice, far} {
		_, err = c.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &synced)
		wantCode(t, "a revoked token", err, idl.CodeUnauthenticated)
	}
}

func wantCode(t *testing.T, what string, err error, want idl.Code) {
	t.Helper()
	if client.CodeOf(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// A thousand requests at once, of a hundred people and as many connections, under TLS.
func TestHTTPCrowd(t *testing.T) {
	id := newIdentity(t)
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), TLS: id.shown})
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	guest := newCaller(t, c.Edges[0].SecureAPI())
	guest.http.Transport.(*http.Transport).TLSClientConfig = id.trust
	alice, user, err := guest.join(ctx, "alice", "script")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			var rep chatpb.SendReply
			if _, err := alice.call(ctx, "chat.send", &chatpb.SendRequest{ClientId: fmt.Sprint("m", i), ToUserId: user, Text: "note"}, &rep); err != nil || rep.Seq == 0 {
				t.Errorf("message %d: got %+v, %v", i, &rep, err)
			}
		})
	}
	all.Wait()
	var synced chatpb.SyncReply
	if _, err := alice.call(ctx, "chat.sync", &chatpb.SyncRequest{}, &synced); err != nil || synced.Head != 1000 {
		t.Errorf("got head %d, %v, want 1,000", synced.Head, err)
	}
}

// What a rule says holds for requests too: of those who come in, of messages, and of what
// scripts define.
func TestHTTPRules(t *testing.T) {
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Rules: true})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	guest := newCaller(t, c.Edges[0].API())
	alice, user, err := guest.join(ctx, "alice", "script")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{cluster: c}
	if err := s.rule(ctx, "http.lua", "is", `local im = require("im")
im.on_message(function(c) if c.text == "bad" then return im.deny("rejected", "no") end end, {name = "words", on_error = "closed"})
im.on_login(function(c) if c.device == "banned" then return im.deny("permission_denied", "go away") end end, {name = "doors", on_error = "closed"})
im.action("lua.greet", {number = 250, request = {who = {type = "string"}}, reply = {text = {type = "string"}}},
	function(c) return {text = "hello " .. c.req.who} end)
`); err != nil {
		t.Fatal(err)
	}
	_, err = alice.call(ctx, "chat.send", &chatpb.SendRequest{ClientId: "m", ToUserId: user, Text: "bad"}, &chatpb.SendReply{})
	wantCode(t, "a message that a rule refuses", err, idl.CodeRejected)
	var greeting struct{ Text string }
	if _, err := alice.call(ctx, "lua.greet", map[string]string{"who": "you"}, &greeting); err != nil || greeting.Text != "hello you" {
		t.Errorf("a scripted action: got %+v, %v", greeting, err)
	}
}

// The document that the edge serves is valid, and what each operation answers is as it says:
// to a good request where there is one below, and to an empty one.
func TestOpenAPI(t *testing.T) {
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	guest := newCaller(t, c.Edges[0].API())
	alice, user, err := guest.join(ctx, "alice", "script")
	if err != nil {
		t.Fatal(err)
	}
	out, err := guest.http.Get(guest.url + "openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out.Body)
	out.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(ctx); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{
		"chat.send":            fmt.Sprintf(`{"client_id":"a","to_user_id":%d,"text":"hi"}`, user),
		"chat.sync":            `{}`,
		"chat.history":         fmt.Sprintf(`{"conversation_id":"c_%d_%d"}`, user, user),
		"chat.get_message_id":  `{}`,
		"chat.held":            `{}`,
		"account.list_devices": `{}`,
		"account.find_user":    `{"account":"alice"}`,
		"room.create":          `{"room":"hall","title":"Hall"}`,
		"room.info":            `{"room":"hall"}`,
	}
	operations := 0
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) { // a room is created before it is looked at
		name := strings.TrimPrefix(path, "/v1/")
		if name == "account.sign_out" { // it would end the others
			continue
		}
		operations++
		for _, body := range []string{"{}", good[name]} {
			if body == "" {
				continue
			}
			status := exercise(ctx, t, doc, alice, name, body)
			if body == good[name] && status != http.StatusOK {
				t.Errorf("%s %s: got %d", name, body, status)
			}
		}
	}
	// idl/openapi tests that no action of any plugin is left out; here, what the edge leaves out of them.
	for _, name := range []string{"account.auth", "room.join", "room.leave", "room.send", "room.history", "room.members"} {
		if doc.Paths.Value("/v1/"+name) != nil {
			t.Errorf("%s needs a session, and is described", name)
		}
	}
	for _, name := range []string{"account.export", "social.presence", "moment.feed", "file.upload", "group.create", "room.moderate", "chat.recall"} {
		if doc.Paths.Value("/v1/"+name) == nil {
			t.Errorf("%s is not described", name)
		}
	}
	if operations < 95 {
		t.Errorf("only %d operations are described", operations)
	}
	exercise(ctx, t, doc, alice, "account.sign_out", "{}")
}

// exercise makes one request and holds it and its answer to the document.
func exercise(ctx context.Context, t *testing.T, doc *openapi3.T, c caller, name, body string) (status int) {
	t.Helper()
	in, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Content-Type", "application/json")
	in.Header.Set("Authorization", "Bearer "+c.token)
	asked := in.Clone(ctx)
	asked.Body = io.NopCloser(strings.NewReader(body))
	path := doc.Paths.Value("/v1/" + name)
	checked := &openapi3filter.RequestValidationInput{Request: asked,
		Route:   &routers.Route{Spec: doc, Path: "/v1/" + name, PathItem: path, Method: http.MethodPost, Operation: path.Post},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if err := openapi3filter.ValidateRequest(ctx, checked); err != nil {
		t.Errorf("%s: the request: %v", name, err)
	}
	out, err := c.http.Do(in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: checked, Status: out.StatusCode, Header: out.Header, Body: out.Body, Options: checked.Options}
	if err := openapi3filter.ValidateResponse(ctx, answer); err != nil {
		t.Errorf("%s: the answer %d: %v", name, out.StatusCode, err)
	}
	return out.StatusCode
}

// BenchmarkHTTP is what an action costs over HTTP, on connections that are kept, beside the
// same action in frames of one session each.
func BenchmarkHTTP(b *testing.B) {
	c, err := cluster.Start(b.Context(), cluster.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.WithoutCancel(b.Context())) })
	ctx := b.Context()
	alice, user, err := newCaller(b, c.Edges[0].API()).join(ctx, "alice", "script")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("http", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := alice.call(ctx, "account.find_user", &accountpb.FindUserRequest{UserId: user}, &accountpb.FindUserReply{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	sessions := make(chan *client.Client, 16*runtime.GOMAXPROCS(0))
	for i := range cap(sessions) {
		conn, err := enter(ctx, c.Edges[0], fmt.Sprint("person", i))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		sessions <- conn
	}
	b.Run("frames", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			conn := <-sessions
			defer func() { sessions <- conn }()
			for pb.Next() {
				if _, err := conn.FindUserID(ctx, user); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// enter opens a session of a new account.
func enter(ctx context.Context, e *cluster.Edge, name string) (*client.Client, error) {
	conn, err := client.Dial(ctx, client.Options{Address: e.TCP(), Codec: idl.CodecJSON})
	if err != nil {
		return nil, err
	}
	if _, err = conn.SignUp(ctx, name, password, ""); err == nil {
		var in *accountpb.SignInReply
		if in, err = conn.SignIn(ctx, name, password, &accountpb.Device{Id: "bench", Type: idl.DeviceDesktop}); err == nil {
			_, err = conn.Auth(ctx, in.Token)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
