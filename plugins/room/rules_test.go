package room_test

import (
	"context"
	"errors"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// doorkeeper is what an operator says about rooms: a room.Rules.
type doorkeeper struct{ asked []im.ConversationID }

func (d *doorkeeper) OnJoin(_ context.Context, call *plugin.Call, room im.ConversationID) error {
	d.asked = append(d.asked, room)
	if call.User == bob {
		return im.Errorf(idl.CodeRejected, "not bob")
	}
	return nil
}

func (*doorkeeper) OnRoomPolicy(_ context.Context, room im.ConversationID, p plugin.RoomPolicy) plugin.RoomPolicy {
	if room == "r_hot" {
		p.Overload, p.LowPerSecond = int32(roompb.RoomOverload_ROOM_OVERLOAD_BATCH), 3
	}
	return p
}

// TestRulesOnRooms: whoever provides rules is asked before a session comes in, and for
// each policy.
func TestRulesOnRooms(t *testing.T) {
	d := new(doorkeeper)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured()},
		Stubs: []plugintest.Stub{directory, {Name: "room.rules", Service: d}}})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	rep := join(t, a, "hot")
	join(t, a, "hot") // in it already: nothing to ask
	if rep.Info.Overload != roompb.RoomOverload_ROOM_OVERLOAD_BATCH || rep.Info.LowPerSecond != 3 {
		t.Errorf("got %+v", rep.Info)
	}
	_, err := joined(b, &roompb.JoinRoomRequest{Room: "hot"})
	wantRefusal(t, err, idl.CodeRejected, "")
	if len(b.Rooms()) != 0 || len(d.asked) != 2 || d.asked[1] != "r_hot" {
		t.Errorf("bob is in %v, the rules were asked about %v", b.Rooms(), d.asked)
	}
	if _, err := joined(b, &roompb.JoinRoomRequest{Room: "bobs"}); err == nil {
		t.Error("bob came in")
	}
	err = a.Call(idl.ActionRoomInfo, &roompb.RoomInfoRequest{Room: "bobs"}, nil)
	wantRefusal(t, err, idl.CodeNotFound, "room") // a join that the rules refused makes no room
	if piece, err := h.RoomSource().Since(t.Context(), "r_hot", 0); err != nil || piece.Policy.LowPerSecond != 3 {
		t.Errorf("got %+v, %v", piece.Policy, err)
	}
	if _, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{configured()},
		Stubs: []plugintest.Stub{directory, {Name: "room.rules", Service: "none"}}}); err == nil {
		t.Error("rules that are none are taken")
	}
}

// TestScriptsOnRooms is the same with rules in Lua, and on texts within the room's limit.
func TestScriptsOnRooms(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured(func(c *room.Config) { c.MaxText = 10 })},
		Stubs: []plugintest.Stub{directory}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_join(function(c)
	if c.user == "` + bob.String() + `" then return im.deny("rejected", c.conversation .. " " .. c.conversation_type .. " " .. c.req.room) end
end, {name = "join", on_error = "closed"})
im.on_room_create(function(c) if c.req.room == "forbidden" then return im.throttle(1000) end end, {name = "create", on_error = "closed"})
im.before("room.send", function(c) c.req.text = c.req.text .. "!" end, {name = "longer", on_error = {code = "rate_limited"}})`}})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, a, "hot")
	_, err := joined(b, &roompb.JoinRoomRequest{Room: "hot"})
	wantRefusal(t, err, idl.CodeRejected, "")
	if refused, _ := errors.AsType[*im.Error](err); refused == nil || refused.Reason != "r_hot room hot" || len(b.Rooms()) != 0 {
		t.Errorf("got %v", err)
	}
	wantRefusal(t, a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "forbidden"}, nil), idl.CodeRateLimited, "")
	if rep := say(t, a, "hot", "1", "123456789"); !rep.Rewritten || rep.Text != "123456789!" {
		t.Errorf("got %+v", rep)
	}
	_, err = said(a, &roompb.RoomSendRequest{Room: "hot", ClientId: "2", Text: "1234567890"})
	wantRefusal(t, err, idl.CodeRateLimited, "") // the rule failed: its text is longer than a room takes
}
