package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/presence"
	corerpc "freeim/core/rpc"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	coreservice "freeim/idl/kitex_gen/corepb/core"

	"github.com/cloudwego/kitex/server"
)

// later is a core of a later version: to everything that it says it adds fields
// that this edge does not know, and it has an action more.
type later struct{ said chan *corepb.Uplink }

// extended is a message with such fields behind it.
type extended struct{ corepb.Downlink }

func (x *extended) Marshal([]byte) ([]byte, error) {
	b, err := x.Downlink.Marshal(nil)
	return append(b, "\xc0\x3e\x01\xc2\x3e\x03new"...), err // 1000: a number, and octets
}

func (l *later) Link(stream corepb.Core_LinkServer) error {
	say := func(d corepb.Downlink) error { return stream.SendMsg(&extended{d}) }
	for listed := false; ; {
		up, err := stream.Recv()
		if err != nil {
			return err
		}
		switch {
		case up.Hello != nil:
			err = say(corepb.Downlink{})
		case !listed && len(up.Registers) == 0:
			listed = true
			err = say(corepb.Downlink{Welcome: &corepb.Welcome{CoreId: "later", Actions: []*corepb.ActionInfo{
				{Action: uint32(idl.ActionMessage), Name: "chat.send", MaxBody: 4096}, {Action: 250, Name: "later.action", MaxBody: 10}}}})
		}
		for _, c := range up.Calls {
			l.said <- up
			err = say(corepb.Downlink{Replies: []*corepb.Reply{{Session: c.Session, Action: c.Action, Sequence: c.Sequence, Body: c.Body}}})
		}
		if err != nil {
			return err
		}
	}
}

func (l *later) Exchange(context.Context, *corepb.CallBatch) (*corepb.ReplyBatch, error) {
	return nil, nil
}

// An edge serves with a core that is newer than it: what it does not know it
// passes over, and a new action reaches the core, since the core says what there is.
func TestNewerCore(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &later{said: make(chan *corepb.Uplink, 10)}
	exit := make(chan error)
	kitex := coreservice.NewServer(c, server.WithListener(listener), server.WithExitSignal(func() <-chan error { return exit }), server.WithExitWaitTime(time.Second))
	ended := make(chan error, 1)
	go func() { ended <- kitex.Run() }()
	h := newHub()
	l := startLinks(t, h, nil, listener.Addr().String())
	t.Cleanup(func() {
		l.Close()
		close(exit)
		<-ended
	})
	ready(t, l, true)
	if action, ok := l.ActionNamed("later.action"); !ok || action != 250 {
		t.Fatalf("the new action: got %d, %t", action, ok)
	}
	if _, ok := l.Action(251); ok {
		t.Error("an action that no core has is let pass")
	}
	l.Call(session.Call{Session: 7, Action: 250, Sequence: 1, Codec: idl.CodecJSON, Body: []byte("{}")})
	h.await(t, "the answer", func() bool { return len(h.replies[7]) == 1 && h.replies[7][0].Action == 250 })
	if up := <-c.said; len(up.Calls) != 1 || up.Calls[0].Action != 250 {
		t.Errorf("the core was sent %+v", up)
	}
}

// wanting is an echo whose calls of chat.send are to say the rooms, and which has an
// action more.
type wanting struct{ doing }

func (wanting) Actions() []plugin.Spec {
	return []plugin.Spec{{Action: idl.ActionMessage, Name: "chat.send", Rooms: true}, {Action: 250, Name: "later.action"}}
}

// While cores of two versions are linked, an edge gives each what it needs, whichever was
// linked last.
func TestMixedCores(t *testing.T) {
	start := func(address string, d corerpc.Dispatcher) {
		s, err := corerpc.New(corerpc.Options{Listen: address, CoreID: "c", Registry: presence.NewMemory(), Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := s.Start(d); err != nil {
			t.Fatal(err)
		}
	}
	newer, older := newAddress(t), newAddress(t)
	start(newer, wanting{doing(echo)})
	l := startLinks(t, newHub(), nil, newer, older)
	ready(t, l, true)
	if _, ok := l.Action(idl.ActionAuth); ok {
		t.Fatal("an action that no core has is let pass")
	}
	start(older, doing(echo))
	poll(t, "the older core's catalogue", func() bool { _, ok := l.Action(idl.ActionAuth); return ok })
	info, ok := l.Action(idl.ActionMessage)
	if !ok || !info.Rooms || info.MaxBody != 4096 {
		t.Errorf("got %+v: what was said last, with the rooms that the other wants", info)
	}
	if a, ok := l.ActionNamed("later.action"); !ok || a != 250 {
		t.Errorf("the newer core's own action: got %d, %t", a, ok)
	}
	if !info.Joins {
		t.Error("messages are not joined")
	}
	// Only the core that joins calls takes several; the other's sessions send one by one. (Its
	// catalogue is learned before it takes calls.)
	poll(t, "about half of the sessions' calls taken together", func() bool {
		took := 0
		for s := range session.ID(100) {
			if l.CallTogether([]session.Call{message(s+1, "a"), message(s+1, "b")}) {
				took++
			}
		}
		return took >= 20 && took <= 80
	})
}

// An edge links with the core's key, and not with another: it says why.
func TestLinkKey(t *testing.T) {
	const key = "0123456789abcdef"
	address := "unix:" + filepath.Join(t.TempDir(), "core.sock")
	s, err := corerpc.New(corerpc.Options{Listen: address, CoreID: "c", Registry: presence.NewMemory(), Log: quietLog(), LinkKey: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(doing(echo)); err != nil {
		t.Fatal(err)
	}
	log := make(said, 100)
	stranger, err := rpc.New(rpc.Options{Cores: []string{address}, EdgeID: "stranger", Epoch: 1, Key: "another",
		Backoff: func(int) time.Duration { return time.Millisecond }, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	stranger.Start(newHub())
	t.Cleanup(stranger.Close)
	friend, err := rpc.New(rpc.Options{Cores: []string{address}, EdgeID: "friend", Epoch: 1, Key: key, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	friend.Start(newHub())
	t.Cleanup(friend.Close)
	ready(t, friend, true)
	if stranger.Ready() {
		t.Error("an edge with another key is linked")
	}
	select {
	case line := <-log: // one in ten attempts is worth a warning
		if !strings.Contains(line, "edge.link_key must be the same") {
			t.Errorf("the log does not say why: %s", line)
		}
	case <-time.After(time.Minute):
		t.Error("the log says nothing")
	}
}

// said is the lines of a log, those that there is room for.
type said chan string

func (s said) Write(line []byte) (int, error) {
	select {
	case s <- string(line):
	default:
	}
	return len(line), nil
}
