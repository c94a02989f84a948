package room_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

func TestSendRefusals(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, a, "club")
	join(t, b, "club")
	for _, row := range []struct {
		name, field string
		code        idl.Code
		req         roompb.RoomSendRequest
	}{
		{"no room", "room", idl.CodeInvalidArgument, roompb.RoomSendRequest{ClientId: "m", Text: "x"}},
		{"a room not joined", "room", idl.CodePermissionDenied, roompb.RoomSendRequest{Room: "other", ClientId: "m", Text: "x"}},
		{"no client ID", "client_id", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", Text: "x"}},
		{"a long client ID", "client_id", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: strings.Repeat("m", 65), Text: "x"}},
		{"an odd client ID", "client_id", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m m", Text: "x"}},
		{"no text", "text", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m"}},
		{"a long text", "text", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: strings.Repeat("界", 501)}},
		{"much data", "data", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: "x", Data: strings.Repeat("x", 2049)}},
		{"an announcement of a member", "kind", idl.CodePermissionDenied, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: "x", Kind: 2}},
		{"a moderation", "kind", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: "x", Kind: 3}},
		{"an escape", "text", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: "\x1b[2J"}},
		{"an unknown kind", "kind", idl.CodeInvalidArgument, roompb.RoomSendRequest{Room: "club", ClientId: "m", Text: "x", Kind: 4}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := said(b, &row.req)
			wantRefusal(t, err, row.code, row.field)
		})
	}
	if len(heard(t, a)) != 0 {
		t.Error("something was told all the same")
	}
}

func TestKindsAndLanes(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, a, "club")
	join(t, b, "club")
	for i, row := range []struct {
		by        *plugintest.Session
		req       roompb.RoomSendRequest
		important bool
	}{
		{b, roompb.RoomSendRequest{ClientId: "1", Text: "chat"}, false},
		{b, roompb.RoomSendRequest{ClientId: "2", Kind: roompb.RoomKind_ROOM_KIND_GIFT, Data: `{"roses":9}`}, true},
		{a, roompb.RoomSendRequest{ClientId: "3", Kind: roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT, Text: "hear"}, true},
	} {
		row.req.Room = "club"
		if _, err := said(row.by, &row.req); err != nil {
			t.Fatal(err)
		}
		if last, _ := lastTold(t, h); last.Important != row.important || last.Action != idl.ActionRoomMessage || last.Seq != int64(i+1) {
			t.Errorf("%+v went as %+v", &row.req, last)
		}
		got := heard(t, a)
		if len(got) != 1 || got[0].Kind != row.req.Kind || got[0].Text != row.req.Text || got[0].Data != row.req.Data {
			t.Errorf("alice heard %+v", got)
		}
	}
}

func TestSendAgain(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "one")
	join(t, a, "two")
	req := &roompb.RoomSendRequest{Room: "one", ClientId: "m1", Text: "x", Data: "d"}
	first, err := said(a, req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := said(a, req)
	if err != nil || !again.Duplicate || again.Seq != first.Seq || again.MessageId != first.MessageId || again.TimeMs != first.TimeMs {
		t.Errorf("got %+v, %v; want as %+v", again, err, first)
	}
	for _, other := range []*roompb.RoomSendRequest{
		{Room: "one", ClientId: "m1", Text: "y", Data: "d"}, {Room: "two", ClientId: "m1", Text: "x", Data: "d"},
		{Room: "one", ClientId: "m1", Text: "x", Data: "e"}, {Room: "one", ClientId: "m1", Text: "x", Data: "d", Kind: 1},
		{Room: "one", ClientId: "m1", Text: "xd"},
	} {
		_, err := said(a, other)
		wantRefusal(t, err, idl.CodeConflict, "client_id")
	}
	if got := heard(t, a); seqs(got) != "[1]" {
		t.Errorf("alice heard %s", seqs(got))
	}
	if err := a.Call(idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := said(a, req); err != nil || !again.Duplicate {
		t.Errorf("after leaving: got %+v, %v", again, err)
	}
}

// rules judge texts, as the operator's scripts do.
type rules struct{}

func (rules) Wants(_ *plugin.Call, message bool) bool { return message }

func (rules) Bundle(*plugin.Call) string { return "" }

func (rules) Answered(*plugin.Call, string) {}

func (rules) Review(_ context.Context, _ *plugin.Call, m plugin.Reviewed) error {
	if m.Conversation != "r_lobby" || m.Kind != "text" {
		return im.Errorf(idl.CodeRejected, "%s of kind %s", m.Conversation, m.Kind)
	}
	if strings.Contains(*m.Text, "spam") {
		return im.Errorf(idl.CodeRejected, "spam")
	}
	*m.Text = strings.ReplaceAll(*m.Text, "damn", "****")
	return nil
}

func TestRulesOnMessages(t *testing.T) {
	h := start(t, rules{})
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	_, err := said(a, &roompb.RoomSendRequest{Room: "lobby", ClientId: "m1", Text: "spam"})
	wantRefusal(t, err, idl.CodeRejected, "")
	for _, duplicate := range []bool{false, true} {
		rep := say(t, a, "lobby", "m2", "damn it")
		if rep.Seq != 1 || !rep.Rewritten || rep.Text != "**** it" || rep.Duplicate != duplicate {
			t.Errorf("got %+v", rep)
		}
	}
	if got := heard(t, a); len(got) != 1 || got[0].Text != "**** it" {
		t.Errorf("heard %+v", got)
	}
}

func TestFloodOfOneMember(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond = 10 })
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, a, "lobby")
	join(t, a, "other")
	join(t, b, "lobby")
	refused := 0
	for i := range 1000 {
		if _, err := said(a, &roompb.RoomSendRequest{Room: "lobby", ClientId: fmt.Sprint(i), Text: "x"}); err != nil {
			wantRefusal(t, err, idl.CodeRateLimited, "")
			refused++
		}
	}
	if refused != 950 {
		t.Errorf("%d of 1,000 were refused, want 950", refused)
	}
	say(t, a, "other", "o", "another room")
	say(t, b, "lobby", "o", "another member")
	h.Advance(100 * time.Millisecond)
	say(t, a, "lobby", "again", "x")
	if got := heard(t, b); len(got) != 52 {
		t.Errorf("bob heard %d messages", len(got))
	}
}

func TestSlowMode(t *testing.T) {
	h := start(t, nil)
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON), h.As(carol, "web", idl.CodecJSON)
	if err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", SlowModeMs: 10_000}, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*plugintest.Session{a, b, c} {
		join(t, s, "club")
	}
	say(t, b, "club", "1", "x")
	_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "x"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
	if refused := err.(*im.Error); refused.RetryAfter != 10*time.Second {
		t.Errorf("to try again after %v", refused.RetryAfter)
	}
	say(t, c, "club", "1", "another")
	say(t, a, "club", "1", "the owner")
	say(t, a, "club", "2", "at once again")
	h.Advance(10 * time.Second)
	say(t, b, "club", "2", "x")
	// Who waits when the wait is made shorter waits for that, and may write then.
	if err := a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"slow_mode_ms"}, SlowModeMs: 2_000}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "3", Text: "x"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
	if refused := err.(*im.Error); refused.RetryAfter != 2*time.Second {
		t.Errorf("to try again after %v", refused.RetryAfter)
	}
	h.Advance(2 * time.Second)
	say(t, b, "club", "3", "x")
}

// TestSlowedRoom: where the rule for overload is to slow senders, chat beyond the
// bound is refused, whoever sends; what is important is not.
func TestSlowedRoom(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	err := a.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "club", Overload: roompb.RoomOverload_ROOM_OVERLOAD_SLOW, LowPerSecond: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	join(t, a, "club")
	taken := 0
	var last *plugintest.Session
	for i := range 20 {
		last = h.As(bob+im.UserID(i), "web", idl.CodecJSON)
		join(t, last, "club")
		switch _, err := said(last, &roompb.RoomSendRequest{Room: "club", ClientId: "1", Text: "x"}); im.CodeOf(err) {
		case idl.CodeUnknown:
			taken++
		case idl.CodeRateLimited:
		default:
			t.Error(err)
		}
	}
	if taken != 5 {
		t.Errorf("%d of 20 were taken, want 5", taken)
	}
	if _, err := said(last, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Kind: roompb.RoomKind_ROOM_KIND_GIFT}); err != nil {
		t.Errorf("a gift: %v", err)
	}
	say(t, a, "club", "1", "the owner")
	h.Advance(time.Second)
	say(t, last, "club", "3", "x")
}

func TestMutedRoom(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, a, "club")
	join(t, b, "club")
	say(t, b, "club", "1", "x")
	if err := a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "club", Fields: []string{"muted"}, Muted: true}, nil); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []roompb.RoomKind{0, roompb.RoomKind_ROOM_KIND_GIFT} {
		_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "2", Text: "x", Kind: kind})
		wantRefusal(t, err, idl.CodePermissionDenied, "room")
	}
	say(t, a, "club", "1", "x")
}

func TestHistory(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	join(t, a, "lobby")
	for i := range 5 {
		say(t, a, "lobby", fmt.Sprint(i), strings.Repeat("<", 400))
	}
	for _, row := range []struct {
		name    string
		req     roompb.RoomHistoryRequest
		want    string
		hasMore bool
	}{
		{"from the end", roompb.RoomHistoryRequest{}, "[5 4 3 2 1]", false},
		{"the last", roompb.RoomHistoryRequest{Limit: 2}, "[5 4]", true},
		{"before", roompb.RoomHistoryRequest{BeforeSeq: 4, Limit: 2}, "[3 2]", true},
		{"after", roompb.RoomHistoryRequest{AfterSeq: 2, Limit: 2}, "[3 4]", true},
		{"after the last", roompb.RoomHistoryRequest{AfterSeq: 5}, "[]", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.req.Room = "lobby"
			var rep roompb.RoomHistoryReply
			if err := a.Call(idl.ActionRoomHistory, &row.req, &rep); err != nil || seqs(rep.Messages) != row.want || rep.HasMore != row.hasMore || rep.Floor != 1 {
				t.Errorf("got %s, more %v, floor %d, %v", seqs(rep.Messages), rep.HasMore, rep.Floor, err)
			}
		})
	}
	for field, req := range map[string]*roompb.RoomHistoryRequest{
		"room": {}, "limit": {Room: "lobby", Limit: 101}, "before_seq": {Room: "lobby", BeforeSeq: -1}, "after_seq": {Room: "lobby", AfterSeq: 1, BeforeSeq: 2},
	} {
		wantRefusal(t, a.Call(idl.ActionRoomHistory, req, nil), idl.CodeInvalidArgument, field)
	}
	wantRefusal(t, b.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "lobby"}, nil), idl.CodePermissionDenied, "room")
}

// TestPagesAreBoundedInOctets: a page fits a session's queue, as it is encoded.
func TestPagesAreBoundedInOctets(t *testing.T) {
	const most = 8 << 10
	h := start(t, nil, func(c *room.Config) { c.PageBytes = most })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	for i := range 20 {
		say(t, a, "lobby", fmt.Sprint(i), strings.Repeat("<", 500))
	}
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		s := h.As(bob, "web", codec)
		rep := join(t, s, "lobby")
		if n := len(rep.Messages); n == 0 || rep.Messages[n-1].Seq != 20 || !rep.HasMore || sizeOf(t, codec, rep) > most {
			t.Errorf("%v: a join gave %s in %d octets", codec, seqs(rep.Messages), sizeOf(t, codec, rep))
		}
		var page roompb.RoomHistoryReply
		if err := s.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "lobby"}, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) == 0 || page.Messages[0].Seq != 20 || !page.HasMore || sizeOf(t, codec, &page) > most {
			t.Errorf("%v: history gave %s in %d octets", codec, seqs(page.Messages), sizeOf(t, codec, &page))
		}
	}
}

func sizeOf(t *testing.T, c idl.Codec, m idl.Message) int {
	t.Helper()
	body, err := idl.Append(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	return len(body)
}
