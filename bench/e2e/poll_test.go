package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/roompb"
)

// The shipped poll's actions, which scripts/actions/poll.lua defines.
const (
	createPoll idl.Action = 200
	votePoll   idl.Action = 201
	pollResult idl.Action = 202
)

// pollTime only ends a failed test: each account's password is hashed twice, which takes a
// busy machine its time.
const pollTime = 3 * time.Minute

type pollRequest struct {
	Poll         string   `json:"poll"`
	Conversation string   `json:"conversation,omitempty"`
	Question     string   `json:"question,omitempty"`
	Options      []string `json:"options,omitempty"`
	Seconds      int      `json:"seconds,omitempty"`
	Choice       int      `json:"choice,omitempty"`
}

type pollReply struct {
	Counts []int `json:"counts"`
	Total  int   `json:"total"`
	Closes int64 `json:"closes"`
	Choice int   `json:"choice"`
	Mine   int   `json:"mine"`
	Closed bool  `json:"closed"`
}

// polling starts a cluster whose rules are the shipped poll.
func polling(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	o.Dir, o.Rules = t.TempDir(), true
	text, err := os.ReadFile("../../scripts/actions/poll.lua")
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(o.Dir, "rules")
	if err := os.MkdirAll(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "poll.lua"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return startClusterWith(t, o)
}

// inRoom is a new account's connection that has passed Auth and is in the room.
func inRoom(ctx context.Context, t *testing.T, o client.Options, name string) *client.Client {
	t.Helper()
	if _, err := signUp(ctx, o, name); err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	in, err := c.SignIn(ctx, name, password, &accountpb.Device{Id: "d", Type: idl.DeviceDesktop})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Auth(ctx, in.Token); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(ctx, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "lobby"}, new(roompb.JoinRoomReply)); err != nil {
		t.Fatal(err)
	}
	return c
}

// insist calls until there is an answer, when the refusals say to: on a busy machine a
// script may not get one from the store in its time.
func insist(ctx context.Context, c *client.Client, action idl.Action, req pollRequest) (rep pollReply, err error) {
	var next time.Time
	err = until(ctx, func() (bool, error) {
		if time.Now().Before(next) {
			return false, nil
		}
		err := c.Scripted(ctx, action, req, &rep)
		no, refused := errors.AsType[*client.Refusal](err)
		if refused && (no.Code == idl.CodeUnavailable || no.Code == idl.CodeInternal || no.Code == idl.CodeRateLimited) {
			next = time.Now().Add(no.RetryAfter)
			return false, nil
		}
		return true, err
	})
	return rep, err
}

func lunch(poll string) pollRequest {
	return pollRequest{Poll: poll, Conversation: "r_lobby", Question: "Soup or bread?", Options: []string{"soup", "bread"}, Seconds: 60}
}

// A poll in a room, over real sockets, in every form of frames.
func TestPoll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pollTime)
	defer cancel()
	c := polling(t, cluster.Options{})
	for i, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			o := form.options(c.Edges[0])
			anna, bert := inRoom(ctx, t, o, fmt.Sprint("anna", i)), inRoom(ctx, t, o, fmt.Sprint("bert", i))
			req := lunch(fmt.Sprint("p", i))
			made, err := insist(ctx, anna, createPoll, req)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := insist(ctx, anna, createPoll, req); err != nil || again.Closes != made.Closes {
				t.Errorf("sent again: got %+v, %v, want %+v", again, err, made)
			}
			if _, err := insist(ctx, bert, createPoll, req); client.CodeOf(err) != idl.CodeConflict {
				t.Errorf("another's poll of that ID: got %v", err)
			}
			for _, who := range []*client.Client{anna, bert, bert} {
				if got, err := insist(ctx, who, votePoll, pollRequest{Poll: req.Poll, Choice: 2}); err != nil || got.Choice != 2 {
					t.Errorf("got %+v, %v", got, err)
				}
			}
			if _, err := insist(ctx, bert, votePoll, pollRequest{Poll: req.Poll, Choice: 1}); client.CodeOf(err) != idl.CodeAlreadyExists {
				t.Errorf("a second vote: got %v", err)
			}
			got, err := insist(ctx, anna, pollResult, pollRequest{Poll: req.Poll})
			if err != nil || got.Total != 2 || len(got.Counts) != 2 || got.Counts[1] != 2 || got.Mine != 2 || got.Closed {
				t.Errorf("got %+v, %v", got, err)
			}
			refused := map[string]struct {
				action idl.Action
				req    any
				code   idl.Code
				field  string
			}{
				"no such poll":   {votePoll, pollRequest{Poll: "none", Choice: 1}, idl.CodeNotFound, ""},
				"no choice":      {votePoll, pollRequest{Poll: req.Poll}, idl.CodeInvalidArgument, "choice"},
				"a choice of 11": {votePoll, pollRequest{Poll: req.Poll, Choice: 11}, idl.CodeInvalidArgument, "choice"},
				"a wrong type":   {votePoll, map[string]any{"poll": req.Poll, "choice": "2"}, idl.CodeMalformedBody, "choice"},
				"no object":      {votePoll, []int{1}, idl.CodeMalformedBody, ""},
				"a large body":   {votePoll, map[string]any{"poll": req.Poll, "choice": 2, "x": make([]int, 1000)}, idl.CodeTooLarge, ""},
				"no such action": {203, nil, idl.CodeUnknownAction, ""},
			}
			for name, row := range refused {
				err := bert.Scripted(ctx, row.action, row.req, nil)
				no, ok := err.(*client.Refusal)
				if !ok || no.Code != row.code || no.Field != row.field {
					t.Errorf("%s: got %v, want %v %s", name, err, row.code, row.field)
				}
			}
			// Five a minute: the edge refuses what is more, whoever the core is.
			code := idl.CodeUnknown
			for n := range 6 {
				code = client.CodeOf(anna.Scripted(ctx, createPoll, lunch(fmt.Sprint("more", i, n)), nil))
			}
			if code != idl.CodeRateLimited {
				t.Errorf("too often: got %v", code)
			}
		})
	}
}

// Edges hear of an action when a script that defines it is saved, and when it is removed.
func TestActionsComeAndGo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), pollTime)
	defer cancel()
	c := polling(t, cluster.Options{})
	anna := inRoom(ctx, t, forms[0].options(c.Edges[0]), "anna")
	file := filepath.Join(c.RulesDir(), "echo.lua")
	if err := os.WriteFile(file, []byte(`local im = require("im")
im.action("lua.echo", {number = 210, request = {text = {type = "string"}}, reply = {text = {type = "string"}}}, function(c) return {text = c.req.text} end)`), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := func() (string, error) {
		var rep struct{ Text string }
		err := anna.Scripted(ctx, 210, map[string]string{"text": "hi"}, &rep)
		return rep.Text, err
	}
	if err := until(ctx, func() (bool, error) { text, err := echo(); return err == nil && text == "hi", nil }); err != nil {
		t.Fatal("the edge does not learn of the action")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := until(ctx, func() (bool, error) { _, err := echo(); return client.CodeOf(err) == idl.CodeUnknownAction, nil }); err != nil {
		t.Fatal("the edge does not forget the action")
	}
}

// The votes of many, at two edges and two cores that share MySQL and Redis, are counted
// once each, also when each is sent several times.
func TestPollOverTwoCores(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), pollTime)
	defer cancel()
	o := production(t)
	stores := o.Core
	o.Core = func(i int, s *server.Options) {
		stores(i, s)
		s.Config.Data = filepath.Join(s.Config.Data, fmt.Sprint(i)) // each has bundles of its own
	}
	c := polling(t, o)
	const people = 16
	voters := make([]*client.Client, people)
	for i := range voters {
		voters[i] = inRoom(ctx, t, forms[i%len(forms)].options(c.Edges[i%2]), fmt.Sprint("voter", i))
	}
	if _, err := insist(ctx, voters[0], createPoll, lunch("p")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i, voter := range voters {
		all.Go(func() {
			for range 3 {
				if got, err := insist(ctx, voter, votePoll, pollRequest{Poll: "p", Choice: i%2 + 1}); err != nil || got.Choice != i%2+1 {
					t.Errorf("voter %d: got %+v, %v", i, got, err)
				}
			}
		})
	}
	all.Wait()
	for i, voter := range voters {
		got, err := insist(ctx, voter, pollResult, pollRequest{Poll: "p"})
		if err != nil || got.Total != people || got.Counts[0] != people/2 || got.Mine != i%2+1 {
			t.Errorf("voter %d sees %+v, %v", i, got, err)
		}
	}
	for i, core := range c.Cores {
		calls := int64(0)
		for _, h := range core.Server().Rules().Status().Hooks {
			calls += h.Calls
		}
		if calls == 0 {
			t.Errorf("core %d served nothing", i+1)
		}
	}
}
