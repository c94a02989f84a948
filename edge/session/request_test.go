package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// do has a hub do a request aside, and gives the calls that it makes.
func do(t *testing.T, h *session.Hub, r session.Request) (answer func() session.Answer) {
	t.Helper()
	done := make(chan session.Answer, 1)
	go func() { done <- h.Do(t.Context(), &r) }()
	return func() session.Answer { return <-done }
}

func requestHub(t *testing.T, core *fakeCore, o session.Options) *session.Hub {
	t.Helper()
	o.Core = core
	h, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func find(t *testing.T, h *session.Hub, name string) session.ActionInfo {
	t.Helper()
	info, no := h.Find(name)
	if no != nil {
		t.Fatalf("find %s: %v", name, no)
	}
	return info
}

// next waits for the one call that the core has.
func (c *fakeCore) next(t *testing.T) session.Call {
	t.Helper()
	synctest.Wait()
	calls := c.take()
	if len(calls) != 1 {
		t.Fatalf("got %d calls, want 1", len(calls))
	}
	return calls[0]
}

func refused(code idl.Code) []byte {
	body, err := idl.Append(nil, idl.CodecJSON, &wirepb.Error{Code: code})
	if err != nil {
		panic(err)
	}
	return body
}

// A token that is new is asked for, then the request is made; the next one goes at once,
// until the core does not know the token any more.
func TestRequestOfAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fakeCore{}
		h := requestHub(t, core, session.Options{})
		defer h.Close()
		r := session.Request{Action: find(t, h, "chat.send"), Bearer: "token", Body: []byte(`{"text":"hi"}`), Visitor: session.Visitor{Address: "192.0.2.1:7"}}
		answer := do(t, h, r)
		who := core.next(t)
		if who.Action != idl.ActionAuth || who.Bearer != "token" || !who.Alone || len(who.Body) > 0 {
			t.Fatalf("got %+v, want who the token is", who)
		}
		h.Reply(session.Reply{Session: who.Session, Action: idl.ActionAuth, Caller: &session.Identity{User: 7}})
		call := core.next(t)
		if call.Action != idl.ActionMessage || call.Bearer != "token" || !call.Alone || call.Session == who.Session || string(call.Body) != string(r.Body) || call.Address != r.Address {
			t.Fatalf("got %+v", call)
		}
		h.Reply(session.Reply{Session: call.Session, Action: idl.ActionMessage, Body: []byte(`{}`)})
		if got := answer(); got.Refused != nil || string(got.Body) != "{}" {
			t.Fatalf("got %+v", got)
		}
		answer = do(t, h, r)
		call = core.next(t)
		if call.Action != idl.ActionMessage {
			t.Fatalf("the second request: got %v, want the action at once", call.Action)
		}
		h.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Body: refused(idl.CodeUnauthenticated)})
		if got := answer(); got.Refused == nil || got.Refused.Code != idl.CodeUnauthenticated {
			t.Fatalf("got %+v", got)
		}
		answer = do(t, h, r)
		who = core.next(t)
		if who.Action != idl.ActionAuth {
			t.Fatalf("after a refusal: got %v, want who the token is", who.Action)
		}
		h.Reply(session.Reply{Session: who.Session, Action: idl.ActionError, Body: refused(idl.CodeUnauthenticated)})
		if got := answer(); got.Refused == nil || got.Refused.Code != idl.CodeUnauthenticated {
			t.Fatalf("got %+v", got)
		}
		if s := h.Stats(); s.Stray != 0 || s.Sessions != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// What the edge refuses by itself makes no call.
func TestRequestsThatAreRefusedHere(t *testing.T) {
	core := &fakeCore{}
	h := requestHub(t, core, session.Options{MaxBodyFresh: 10, MaxBody: 20})
	defer h.Close()
	send := find(t, h, "chat.send")
	for name, row := range map[string]struct {
		r    session.Request
		want idl.Code
	}{
		"no token":       {session.Request{Action: send}, idl.CodeUnauthenticated},
		"too large":      {session.Request{Action: send, Bearer: "t", Body: make([]byte, 21)}, idl.CodeTooLarge},
		"before a token": {session.Request{Action: session.ActionInfo{Action: idl.ActionSignIn, Open: true}, Body: make([]byte, 11)}, idl.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got := h.Do(t.Context(), &row.r); got.Refused == nil || got.Refused.Code != row.want {
				t.Errorf("got %+v, want %v", got, row.want)
			}
			if calls := core.take(); len(calls) > 0 {
				t.Errorf("got calls %v", calls)
			}
		})
	}
	if _, no := h.Find("nobody.knows"); no == nil || no.Code != idl.CodeUnknownAction {
		t.Errorf("an unknown action: got %v", no)
	}
}

// A client that goes is not waited for, and its reply is nobody's.
func TestRequestThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := &fakeCore{}
		h := requestHub(t, core, session.Options{})
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan session.Answer, 1)
		go func() {
			done <- h.Do(ctx, &session.Request{Action: session.ActionInfo{Action: idl.ActionSignIn, Open: true}})
		}()
		call := core.next(t)
		cancel()
		if got := <-done; got.Refused == nil {
			t.Errorf("got %+v", got)
		}
		h.Reply(session.Reply{Session: call.Session, Action: idl.ActionSignIn})
		if got := h.Stats().Stray; got != 1 {
			t.Errorf("stray replies: got %d, want 1", got)
		}
	})
}

// An address that floods is told to wait, in the end banned; one whose tokens are wrong has to wait too.
func TestRequestsOfAFlood(t *testing.T) {
	guard, err := limits.New(limits.Options{Frames: 10, AuthFailures: 3, Ban: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("192.0.2.1")
	peer, ok := guard.Connect(address)
	if !ok {
		t.Fatal("not let in")
	}
	h := requestHub(t, &fakeCore{}, session.Options{Limits: guard, Patience: 20})
	defer h.Close()
	limited, ended := 0, false
	for range 200 {
		got := h.Do(t.Context(), &session.Request{Action: find(t, h, "chat.send"), Visitor: session.Visitor{Peer: peer}})
		if got.Refused.Code == idl.CodeRateLimited && got.Refused.RetryAfterMs > 0 {
			limited++
		}
		ended = ended || got.Ended
	}
	if limited < 100 || !ended || len(guard.Bans()) != 1 {
		t.Errorf("got %d limited, ended %v, bans %v", limited, ended, guard.Bans())
	}
}

func TestWrongTokensMakeAnAddressWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard, err := limits.New(limits.Options{AuthFailures: 3})
		if err != nil {
			t.Fatal(err)
		}
		peer, _ := guard.Connect(netip.MustParseAddr("192.0.2.1"))
		core := &fakeCore{}
		h := requestHub(t, core, session.Options{Limits: guard})
		defer h.Close()
		for n := range 4 {
			answer := do(t, h, session.Request{Action: find(t, h, "chat.send"), Bearer: fmt.Sprint("guess ", n), Visitor: session.Visitor{Peer: peer}})
			call := core.next(t)
			h.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Body: refused(idl.CodeUnauthenticated)})
			answer()
		}
		got := h.Do(t.Context(), &session.Request{Action: find(t, h, "chat.send"), Bearer: "one more", Visitor: session.Visitor{Peer: peer}})
		if got.Refused.Code != idl.CodeRateLimited || got.Refused.RetryAfterMs == 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// Replies find their requests, however many there are at once.
func TestManyRequests(t *testing.T) {
	core := &fakeCore{}
	h := requestHub(t, core, session.Options{})
	defer h.Close()
	action := session.ActionInfo{Action: idl.ActionSignIn, Open: true}
	const n = 1000
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			body := fmt.Sprintf(`{"n":%d}`, i)
			got := h.Do(t.Context(), &session.Request{Action: action, Body: []byte(body)})
			if string(got.Body) != body {
				t.Errorf("got %s, want %s", got.Body, body)
			}
		})
	}
	for answered := 0; answered < n; {
		for _, c := range core.take() {
			answered++
			go h.Reply(session.Reply{Session: c.Session, Action: c.Action, Body: c.Body})
		}
	}
	all.Wait()
}

// Rules are asked about a request as about a frame, with whose it is, and choose its pool.
func TestRulesOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen session.Asked
		rules := &fakeRules{
			connect: func(*session.Arrival) ([]string, *session.Refusal) { return []string{"tester"}, nil },
			frame: func(f *session.Asked) *session.Refusal {
				seen = *f
				if f.Size > 3 {
					return &session.Refusal{Code: idl.CodeRejected, Reason: "long"}
				}
				return nil
			},
			route: func(*session.Asked) string { return "green" },
		}
		core := &fakeCore{}
		h := requestHub(t, core, session.Options{Rules: rules})
		defer h.Close()
		r := session.Request{Action: find(t, h, "chat.send"), Bearer: "token", Body: []byte("abc"), Visitor: session.Visitor{Address: "192.0.2.1:7", Secure: true},
			Said: h.Admit(&session.Arrival{})}
		answer := do(t, h, r)
		h.Reply(session.Reply{Session: core.next(t).Session, Action: idl.ActionAuth, Caller: &session.Identity{User: 7}})
		call := core.next(t)
		if call.Pool != "green" {
			t.Errorf("pool: got %q", call.Pool)
		}
		h.Reply(session.Reply{Session: call.Session, Action: call.Action})
		answer()
		if seen.Who == nil || seen.Who.User != 7 || seen.Size != 3 || seen.Transport != "https" || len(seen.Tags) != 1 {
			t.Errorf("asked about %+v", seen)
		}
		r.Body = []byte("abcd")
		if got := h.Do(t.Context(), &r); got.Refused == nil || got.Refused.Code != idl.CodeRejected {
			t.Errorf("got %+v", got)
		}
	})
}
