package room_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// The people of these tests.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002
	carol im.UserID = 100003
	root  im.UserID = 100099 // an operator
)

type everybody struct{}

func (everybody) Nickname(_ context.Context, u im.UserID) (string, bool, error) {
	return fmt.Sprint("nick-", u), u >= 100, nil
}

var directory = plugintest.Stub{Name: "account.directory", Service: everybody{}}

// start runs the plugin with root as an operator, and what change makes of the
// configuration.
func start(t *testing.T, hooks dispatch.Hooks, change ...func(*room.Config)) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{
		Plugins: []plugin.Plugin{configured(change...)}, Stubs: []plugintest.Stub{directory}, Hooks: hooks})
}

func configured(change ...func(*room.Config)) *room.Room {
	p := room.New()
	c := p.Config().(*room.Config)
	c.Admins = []int64{int64(root)}
	for _, set := range change {
		set(c)
	}
	return p
}

func TestConformance(t *testing.T) {
	plugintest.Conform(t, func() plugin.Plugin { return room.New() }, directory)
}

func wantRefusal(t *testing.T, err error, code idl.Code, field string) {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != code || refused.Field != field {
		t.Errorf("got %v, want %v of field %q", err, code, field)
	}
}

// join takes a session into a room; it must be let in.
func join(t *testing.T, s *plugintest.Session, name string) *roompb.JoinRoomReply {
	t.Helper()
	rep, err := joined(s, &roompb.JoinRoomRequest{Room: name})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func joined(s *plugintest.Session, req *roompb.JoinRoomRequest) (*roompb.JoinRoomReply, error) {
	rep := new(roompb.JoinRoomReply)
	return rep, s.Call(idl.ActionJoinRoom, req, rep)
}

// say sends a text; it must be taken.
func say(t *testing.T, s *plugintest.Session, name, clientID, text string) *roompb.RoomSendReply {
	t.Helper()
	rep, err := said(s, &roompb.RoomSendRequest{Room: name, ClientId: clientID, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func said(s *plugintest.Session, req *roompb.RoomSendRequest) (*roompb.RoomSendReply, error) {
	rep := new(roompb.RoomSendReply)
	return rep, s.Call(idl.ActionRoomMessage, req, rep)
}

// heard decodes the messages that were pushed to a session.
func heard(t *testing.T, s *plugintest.Session) (out []*roompb.RoomMessage) {
	t.Helper()
	for _, p := range s.Pushes() {
		if p.Action != idl.ActionRoomMessage {
			continue
		}
		m := new(roompb.RoomMessage)
		if err := p.Decode(m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// lastTold is the last message that was broadcast.
func lastTold(t *testing.T, h *plugintest.Host) (plugin.Broadcast, *roompb.RoomMessage) {
	t.Helper()
	for _, b := range slices.Backward(h.Broadcasts()) {
		if m, ok := b.Body.(*roompb.RoomMessage); ok {
			return b, m
		}
	}
	t.Fatal("no message was broadcast")
	return plugin.Broadcast{}, nil
}

// seqs are the messages' places, as text.
func seqs(all []*roompb.RoomMessage) string {
	var out []int64
	for _, m := range all {
		out = append(out, m.Seq)
	}
	return fmt.Sprint(out)
}
