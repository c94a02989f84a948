package room_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
)

// reader is a plugin that asks for some events.
type reader struct {
	outbox plugin.Outbox

	mu    sync.Mutex // guards wants
	wants []string   // "*" is everything
}

func (*reader) Info() plugin.Info {
	return plugin.Info{Name: "reader", Version: "1", Needs: []string{plugin.ServiceOutbox}}
}

func (*reader) Register(*plugin.Registrar) {}

func (r *reader) Provision(_ context.Context, h plugin.Host) (err error) {
	if r.outbox, err = plugin.Need[plugin.Outbox](h, plugin.ServiceOutbox); err == nil {
		r.outbox.Feed(plugin.Feeding{Woken: func(im.UserID) {}, Wants: r.asked})
	}
	return err
}

func (r *reader) asked(event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.wants, event) || slices.Contains(r.wants, "*")
}

// of gives what is in the feed of a room: "event text", or the event and its data.
func (r *reader) of(t *testing.T, name string) (all []string) {
	t.Helper()
	page, err := r.outbox.Fed(t.Context(), im.FeedOf(im.ConversationID("r_"+name)), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Items {
		switch m := item.Message.(type) {
		case *roompb.RoomMessage:
			all = append(all, fmt.Sprintf("%s %d %s", item.Event, m.Seq, m.Text))
		case *chatpb.Message:
			all = append(all, item.Event+" "+m.Data)
		}
	}
	return all
}

// watched runs the plugin with a reader.
func watched(t *testing.T, wants ...string) (*plugintest.Host, *plugintest.Messages, *reader) {
	t.Helper()
	r, messages := &reader{wants: wants}, &plugintest.Messages{}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured(), r}, Stubs: []plugintest.Stub{directory, messages.Outbox()}})
	return h, messages, r
}

// What is said and done in a room comes into its feed, in the order of its log, each as what it is; and nothing of that
// which nobody asked for.
func TestToldToOtherPrograms(t *testing.T) {
	h, messages, r := watched(t, "room.message", "room.created", "room.muted", "room.banned", "room.closed")
	a, b := h.As(alice, "a", idl.CodecJSON), h.As(bob, "b", idl.CodecProtobuf)
	calls := []struct {
		s      *plugintest.Session
		action idl.Action
		req    idl.Message
	}{
		{a, idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Title: "The club"}},
		{a, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "club"}},
		{b, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "club"}},
		{b, idl.ActionRoomMessage, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "hello"}},
		{b, idl.ActionRoomMessage, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "hello"}},
		{a, idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"title"}, Title: "Club"}},
		{a, idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: "club", Moderation: &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_MUTE, UserId: int64(bob)}}},
		{a, idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: "club", Moderation: &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN, UserId: int64(bob)}}},
		{a, idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "club"}},
	}
	for _, c := range calls {
		if err := c.s.Call(c.action, c.req, nil); err != nil {
			t.Fatalf("%T: %v", c.req, err)
		}
	}
	want := []string{"room.message 1 hello", "room.muted 3 ", "room.banned 4 ", "room.closed 5 "} // 2 is room.updated
	if got := r.of(t, "club"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	filed := messages.Filed(t)
	if len(filed) != 1 || filed[0].Name != "room.created" || !strings.Contains(filed[0].Data, `"owner_id":100001`) {
		t.Errorf("filed %+v", filed)
	}
}

// What only its sender sees is told nobody, whatever is asked for.
func TestShadowIsNotTold(t *testing.T) {
	r := &reader{wants: []string{"*"}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured(), r}, Stubs: []plugintest.Stub{directory, new(plugintest.Messages).Outbox()},
		Scripts: map[string]string{"a.lua": `require("im").on_message(function(c) if c.text == "spam" then return require("im").shadow() end end, {name = "a", on_error = "closed"})`}})
	a := h.As(alice, "a", idl.CodecJSON)
	join(t, a, "club")
	for id, text := range []string{"one", "spam", "two"} {
		say(t, a, "club", fmt.Sprint(id), text)
	}
	if got, want := messagesOf(r.of(t, "club")), []string{"room.message 1 one", "room.message 2 two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// messagesOf is what of a feed is no size of a room.
func messagesOf(all []string) []string {
	return slices.DeleteFunc(all, func(one string) bool { return strings.HasPrefix(one, "room.members ") })
}

// The size of a room is told now and then, with who is in it while they are few; also when nobody is left.
func TestSizesToldToOtherPrograms(t *testing.T) {
	h, _, r := watched(t, "room.members")
	last := func(ok func(tally string) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
			if all := r.of(t, "club"); len(all) > 0 && ok(all[len(all)-1]) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("it was told %q", r.of(t, "club"))
			}
			h.Advance(time.Second)
		}
	}
	a, b := h.As(alice, "a", idl.CodecJSON), h.As(bob, "b", idl.CodecJSON)
	for _, s := range []*plugintest.Session{a, b} {
		if err := s.Call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "club"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	last(func(got string) bool {
		return got == `room.members {"room":"club","members":2,"user_ids":[100001,100002]}`
	})
	for _, s := range []*plugintest.Session{a, b} {
		if err := s.Call(idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: "club"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	last(func(got string) bool {
		var told struct{ Members int }
		_, data, _ := strings.Cut(got, " ")
		return json.Unmarshal([]byte(data), &told) == nil && told.Members == 0
	})
	before := len(r.of(t, "club"))
	if before > 6 {
		t.Errorf("%d times it was told of four changes", before)
	}
}
