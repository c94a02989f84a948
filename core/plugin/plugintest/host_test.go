package plugintest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	actionPush idl.Action = 150 // pushes to the user named
	actionKick idl.Action = 151 // ends the caller's session, after its reply
)

// echo is a plugin that does what it is told.
type echo struct {
	host    plugin.Host
	started chan struct{}
}

func newEcho() *echo { return &echo{started: make(chan struct{})} }

func (e *echo) Info() plugin.Info { return plugin.Info{Name: "echo", Needs: []string{"greeting"}} }

func (e *echo) Provision(_ context.Context, h plugin.Host) error {
	e.host = h
	_, err := plugin.Need[string](h, "greeting")
	return err
}

func (e *echo) Start(context.Context) error {
	e.host.Go("panic", func(context.Context) { panic("planted panic") })
	e.host.Go("wait", func(ctx context.Context) { close(e.started); <-ctx.Done() })
	return nil
}

func (e *echo) Register(r *plugin.Registrar) {
	plugin.Handle(r, actionPush, "push", func(_ context.Context, call *plugin.Call, req *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
		e.host.Push(plugin.Push{Action: idl.ActionMessage, Users: []im.UserID{im.UserID(req.UserId)}, InboxSeqs: []int64{300},
			Body: &chatpb.InboxEntry{Message: &chatpb.Message{Id: "id", Text: "hello"}}, Except: call.Session})
		return &accountpb.FindUserReply{UserId: req.UserId}, nil
	})
	plugin.Handle(r, actionKick, "kick", func(_ context.Context, call *plugin.Call, _ *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
		route := call.Route(plugin.Identity{User: call.User, Device: call.Device})
		call.After(func() { e.host.Kick([]presence.Route{route}, idl.CloseKicked, "go") })
		return &accountpb.FindUserReply{Account: call.Address}, nil
	})
}

func newHost(t *testing.T) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{newEcho()}, Stubs: []plugintest.Stub{{Name: "greeting", Service: "hello"}}})
}

func TestPushReachesEverySessionButTheSenders(t *testing.T) {
	h := newHost(t)
	sender, phone, desk := h.As(1, "web", idl.CodecJSON), h.As(1, "phone", idl.CodecJSON), h.As(1, "desk", idl.CodecProtobuf)
	other, stranger := h.As(2, "phone", idl.CodecJSON), h.Connect(idl.CodecJSON)
	if err := sender.Call(actionPush, &accountpb.FindUserRequest{UserId: 1}, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*plugintest.Session{phone, desk} {
		got := s.Pushes()
		var entry chatpb.InboxEntry
		if len(got) != 1 || got[0].Action != idl.ActionMessage || got[0].InboxSeq != 300 {
			t.Fatalf("got %+v", got)
		}
		if err := got[0].Decode(&entry); err != nil || entry.InboxSeq != 300 || entry.Message.Text != "hello" {
			t.Errorf("got %+v, %v in %q", &entry, err, got[0].Body)
		}
		if len(s.Pushes()) != 0 {
			t.Error("a push was given twice")
		}
	}
	for name, s := range map[string]*plugintest.Session{"the sender": sender, "another user": other, "a stranger": stranger} {
		if got := s.Pushes(); len(got) != 0 {
			t.Errorf("%s got %+v", name, got)
		}
	}
}

func TestKickEndsTheSessionAfterItsReply(t *testing.T) {
	h := newHost(t)
	s := h.As(1, "phone", idl.CodecProtobuf).From("198.51.100.1:9")
	var rep accountpb.FindUserReply
	if err := s.Call(actionKick, nil, &rep); err != nil || rep.Account != "198.51.100.1:9" {
		t.Errorf("got %+v and %v", &rep, err)
	}
	if closed := s.Closed(); closed == nil || closed.Reason != idl.CloseKicked || closed.Message != "go" {
		t.Errorf("got %+v", closed)
	}
	if kicks := h.Kicks(); len(kicks) != 1 || kicks[0].Route.Device != "phone" {
		t.Errorf("got %+v", kicks)
	}
	if err := s.Call(actionKick, nil, nil); !errors.Is(err, plugintest.ErrClosed) {
		t.Errorf("a call on a closed session: got %v", err)
	}
	if routes, err := h.Presence().Routes(t.Context(), 1); err != nil || len(routes[0]) != 0 {
		t.Errorf("presence still has %+v, %v", routes, err)
	}
}

func TestRefusalsAreWhatTheClientSees(t *testing.T) {
	h := newHost(t)
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		if err := h.Connect(codec).Call(actionPush, nil, nil); im.CodeOf(err) != idl.CodeUnauthenticated {
			t.Errorf("%v before Auth: got %v", codec, err)
		}
		if err := h.As(1, "phone", codec).Call(200, nil, nil); im.CodeOf(err) != idl.CodeUnknownAction {
			t.Errorf("%v, no such action: got %v", codec, err)
		}
	}
}

func TestClockStandsStill(t *testing.T) {
	h := newHost(t)
	begin := h.Now()
	h.Advance(time.Hour)
	h.Advance(-time.Minute)
	if got := h.Now().Sub(begin); got != 59*time.Minute {
		t.Errorf("got %v", got)
	}
}

func TestStopWaitsForBackgroundWork(t *testing.T) {
	p := newEcho()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "greeting", Service: "hello"}}})
	<-p.started
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(h.Logs(), "planted panic") {
		t.Error("a panic in the background is not logged")
	}
}

func TestStartTellsWhatIsMissing(t *testing.T) {
	_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{newEcho()}})
	if err == nil || !strings.Contains(err.Error(), "greeting") {
		t.Errorf("got %v, want the missing service named", err)
	}
}

func TestHostileBodiesAreTheSameEachTime(t *testing.T) {
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		first, second := plugintest.HostileBodies(codec), plugintest.HostileBodies(codec)
		same := slices.EqualFunc(first, second, func(a, b []byte) bool { return string(a) == string(b) })
		if !same || len(first) < 100 {
			t.Errorf("%v: got %d and %d bodies, same %v", codec, len(first), len(second), same)
		}
	}
}
