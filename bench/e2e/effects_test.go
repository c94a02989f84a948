package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/wirepb"
)

// effectsRule tells, posts and answers; the first account is the service's.
const effectsRule = `local im = require("im")
im.on_message(function(c)
  im.push(c.user, {event = "heard", text = "You said: " .. c.text, data = {to = c.conversation}})
end, {name = "heard", on_error = "closed"})
im.after("*", function(c)
  if c.action ~= "chat.send" or c.code ~= "ok" then return end
  im.http.post("audit", {user = c.user, text = c.req.text})
  im.send("100001", c.user, "You said: " .. c.req.text)
end, {name = "answer"})
`

// What rules do beside their verdicts, over two edges: a notice reaches every device and
// no other person, a message is committed once however often its cause comes again and
// no rule is asked about it, and what is posted arrives.
func TestEffectsOfRules(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	posted := make(chan string, 10)
	audit := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted <- string(body) + " " + r.Header.Get("Authorization")
	}))
	defer audit.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules", "a.lua"), []byte(effectsRule), 0o644); err != nil {
		t.Fatal(err)
	}
	c := startClusterWith(t, cluster.Options{Dir: dir, Rules: true, Edges: 2, Core: func(_ int, o *server.Options) {
		o.Config.Rules.Senders = []int64{100001}
		o.Config.Rules.HTTP = map[string]server.Endpoint{"audit": {URL: audit.URL, Headers: map[string]string{"Authorization": "Bearer x"}}}
	}})
	at := func(edge int) client.Options { return forms[edge].options(c.Edges[edge]) }
	for i, name := range []string{"service", "alice", "bob"} {
		if p, err := signUp(ctx, at(0), name); err != nil || p.id != int64(100001+i) {
			t.Fatalf("got %+v and %v", p, err)
		}
	}
	phone, web := listening(ctx, t, at(0), "alice", idl.DeviceMobile), listening(ctx, t, at(1), "alice", idl.DeviceWeb)
	bob := listening(ctx, t, at(1), "bob", idl.DeviceWeb)

	for range 2 { // the second is a resend
		p, err := phone.session.Send(ctx, client.Outgoing{To: 100003, Text: "hello", ClientID: "m1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := hear(ctx, t, posted), `{"text":"hello","user":"100002"} Bearer x`; got != want {
			t.Errorf("got the post %s, want %s", got, want)
		}
	}
	for _, d := range []*listener{phone, web} {
		if got, want := hear(ctx, t, d.notices), `heard You said: hello {"to":"c_100002_100003"}`; got != want {
			t.Errorf("got the notice %s, want %s", got, want)
		}
	}
	for _, d := range []*listener{phone, web} {
		for _, want := range []string{"100002 hello", "100001 You said: hello"} {
			if got := hear(ctx, t, d.messages); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	if got, want := hear(ctx, t, bob.messages), "100002 hello"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	// What is behind it in every inbox shows that there was nothing else.
	if _, err := bob.session.Send(ctx, client.Outgoing{To: 100002, Text: "end"}); err != nil {
		t.Fatal(err)
	}
	if got, want := hear(ctx, t, bob.notices), `heard You said: end {"to":"c_100002_100003"}`; got != want {
		t.Errorf("got the notice %s, want %s", got, want)
	}
	for _, d := range []*listener{phone, web} {
		if got, want := hear(ctx, t, d.messages), "100003 end"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if len(d.notices) != 0 {
			t.Errorf("got the notice %s", <-d.notices)
		}
	}
}

// listener is a device that is told of notices too.
type listener struct {
	session           *client.Session
	notices, messages chan string
}

func listening(ctx context.Context, t *testing.T, o client.Options, name string, kind idl.DeviceType) *listener {
	t.Helper()
	conn, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in, err := conn.SignIn(ctx, name, password, &accountpb.Device{Id: fmt.Sprint(name, kind), Type: kind})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{notices: make(chan string, 10), messages: make(chan string, 10)}
	o.Token = in.Token
	o.Handler = client.Handler{
		Message: func(_ context.Context, e *client.Entry) error {
			l.messages <- fmt.Sprint(e.SenderId, " ", e.Text)
			return nil
		},
		Notice: func(_ context.Context, n *wirepb.Notice) { l.notices <- n.Event + " " + n.Text + " " + n.Data },
	}
	if l.session, err = client.Open(ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.session.Close() })
	if err := l.session.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return l
}

// hear waits for the next.
func hear(ctx context.Context, t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case one := <-from:
		return one
	case <-ctx.Done():
	case <-time.After(patience):
	}
	t.Fatal("it never comes")
	return ""
}
