package room_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

func TestJoinSendLeave(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	rep := join(t, a, "lobby")
	if rep.Head != 0 || len(rep.Messages) != 0 || rep.HasMore || rep.Role != 0 || rep.Info.Room != "lobby" || rep.Info.OwnerId != 0 || rep.Info.CreatedMs == 0 {
		t.Errorf("the first join got %+v, %+v", rep, rep.Info)
	}
	first := say(t, a, "lobby", "m1", "hello")
	if first.Seq != 1 || len(first.MessageId) != 16 || first.Duplicate || first.TimeMs == 0 {
		t.Errorf("the sender got %+v", first)
	}
	rep = join(t, b, "lobby")
	if rep.Head != 1 || seqs(rep.Messages) != "[1]" || rep.HasMore {
		t.Errorf("the second join got %+v", rep)
	}
	m := rep.Messages[0]
	if m.Room != "lobby" || m.Id != first.MessageId || m.SenderId != int64(alice) || m.Nickname != "nick-100001" || m.ClientId != "m1" ||
		m.TimeMs != first.TimeMs || m.Kind != 0 || m.Text != "hello" {
		t.Errorf("got %+v", m)
	}
	say(t, b, "lobby", "m1", "hi")
	if got := heard(t, a); seqs(got) != "[1 2]" {
		t.Errorf("alice heard %s", seqs(got))
	}
	if got := heard(t, b); seqs(got) != "[2]" || got[0].Text != "hi" {
		t.Errorf("bob heard %s", seqs(got))
	}
	for _, was := range []bool{true, false} { // leaving twice
		var left roompb.LeaveRoomReply
		if err := b.Call(idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: "lobby"}, &left); err != nil || left.WasIn != was {
			t.Errorf("leave: got %+v and %v, want was_in %v", &left, err, was)
		}
	}
	say(t, a, "lobby", "m2", "alone")
	if got := heard(t, b); len(got) != 0 {
		t.Errorf("who has left heard %s", seqs(got))
	}
	_, err := said(b, &roompb.RoomSendRequest{Room: "lobby", ClientId: "m3", Text: "x"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
}

// TestJoinGivesTheEnd: what a join gives ends at its head and begins after what the
// client knows, if that is not too far back.
func TestJoinGivesTheEnd(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	for i := range 10 {
		say(t, a, "lobby", fmt.Sprint("m", i), "x")
	}
	for _, row := range []struct {
		name    string
		req     roompb.JoinRoomRequest
		want    string
		hasMore bool
	}{
		{"as many as usual", roompb.JoinRoomRequest{}, "[1 2 3 4 5 6 7 8 9 10]", false},
		{"the last", roompb.JoinRoomRequest{Last: 3}, "[8 9 10]", true},
		{"none", roompb.JoinRoomRequest{Last: -1}, "[]", true},
		{"after", roompb.JoinRoomRequest{AfterSeq: 7}, "[8 9 10]", false},
		{"after all", roompb.JoinRoomRequest{AfterSeq: 10}, "[]", false},
		{"after all, none", roompb.JoinRoomRequest{AfterSeq: 10, Last: -1}, "[]", false},
		{"after what is not there", roompb.JoinRoomRequest{AfterSeq: 99}, "[]", false},
		{"after, too far back", roompb.JoinRoomRequest{AfterSeq: 2, Last: 3}, "[8 9 10]", true},
		{"after, none", roompb.JoinRoomRequest{AfterSeq: 2, Last: -1}, "[]", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.req.Room = "lobby"
			for _, s := range []string{"new", "again"} { // a session that is in already gets the same
				b := h.As(bob, "web", idl.CodecJSON)
				if s == "again" {
					join(t, b, "lobby")
				}
				rep, err := joined(b, &row.req)
				if err != nil {
					t.Fatal(err)
				}
				if got := seqs(rep.Messages); got != row.want || rep.HasMore != row.hasMore || rep.Head != 10 {
					t.Errorf("%s: got %s, more %v, head %d; want %s, more %v, head 10", s, got, rep.HasMore, rep.Head, row.want, row.hasMore)
				}
				if len(b.Rooms()) != 1 {
					t.Errorf("%s: the session is in %v", s, b.Rooms())
				}
			}
		})
	}
}

func TestJoinRefusals(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.RoomsPerSession = 2 })
	a := h.As(alice, "phone", idl.CodecProtobuf)
	for _, row := range []struct {
		name, field string
		req         roompb.JoinRoomRequest
	}{
		{"no name", "room", roompb.JoinRoomRequest{}},
		{"65 characters", "room", roompb.JoinRoomRequest{Room: strings.Repeat("a", 65)}},
		{"129 octets", "room", roompb.JoinRoomRequest{Room: strings.Repeat("界", 43)}},
		{"10 kB", "room", roompb.JoinRoomRequest{Room: strings.Repeat("a", 10_000)}},
		{"10 kB of marks", "room", roompb.JoinRoomRequest{Room: "a" + strings.Repeat("\u0301", 5000)}},
		{"a control character", "room", roompb.JoinRoomRequest{Room: "a\nb"}},
		{"a NUL", "room", roompb.JoinRoomRequest{Room: "a\x00b"}},
		{"a line separator", "room", roompb.JoinRoomRequest{Room: "a\u2028b"}},
		{"text turned round", "room", roompb.JoinRoomRequest{Room: "a\u202eb"}},
		{"nothing to be seen", "room", roompb.JoinRoomRequest{Room: "\u200b"}},
		{"a mark before it", "room", roompb.JoinRoomRequest{Room: "\ufeffx"}},
		{"white space at the end", "room", roompb.JoinRoomRequest{Room: "a "}},
		{"white space at the beginning", "room", roompb.JoinRoomRequest{Room: "\u3000a"}},
		{"a negative cursor", "after_seq", roompb.JoinRoomRequest{Room: "a", AfterSeq: -1}},
		{"too many", "last", roompb.JoinRoomRequest{Room: "a", Last: 101}},
		{"less than none", "last", roompb.JoinRoomRequest{Room: "a", Last: -2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := joined(a, &row.req)
			wantRefusal(t, err, idl.CodeInvalidArgument, row.field)
		})
	}
	join(t, a, "one")
	join(t, a, strings.Repeat("界", 42))
	_, err := joined(a, &roompb.JoinRoomRequest{Room: "three"})
	wantRefusal(t, err, idl.CodeLimitExceeded, "room")
	join(t, a, "one") // again is no more
}

// TestNamesAreCompared: by what people read, and by nothing less.
func TestNamesAreCompared(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	if rep := join(t, a, "cafe\u0301"); rep.Info.Room != "caf\u00e9" {
		t.Errorf("got %q", rep.Info.Room)
	}
	say(t, a, "caf\u00e9", "m1", "x")
	for name, head := range map[string]int64{"cafe\u0301": 1, "caf\u00e9": 1, "cafe": 0, "Caf\u00e9": 0, "caf\u00e9}x{": 0, "👩‍🚀": 0} {
		if rep := join(t, a, name); rep.Head != head {
			t.Errorf("room %q has head %d, want %d", name, rep.Head, head)
		}
	}
}

func TestTooManyJoins(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.JoinsPerMinute, c.CreationsPerHour, c.RoomsPerSession = 10, 0, 1024 })
	refused := 0
	for i := range 10_000 / 64 {
		s := h.As(alice, "phone", idl.CodecProtobuf)
		if _, err := joined(s, &roompb.JoinRoomRequest{Room: fmt.Sprint("room-", i)}); err != nil {
			wantRefusal(t, err, idl.CodeRateLimited, "")
			refused++
		}
		s.Close()
	}
	if refused != 10_000/64-10 {
		t.Errorf("%d joins were refused", refused)
	}
}

func TestTooManyRoomsMade(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.CreationsPerHour = 2 })
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	join(t, a, "one")
	join(t, a, "two")
	_, err := joined(a, &roompb.JoinRoomRequest{Room: "three"})
	wantRefusal(t, err, idl.CodeRateLimited, "")
	join(t, b, "three")
	join(t, a, "three") // it is there now
}

// TestTooManyRoomsMadeByAll: a crowd of accounts makes no more rooms than the core's
// budget, each keeps its own, and who joins one that is there is not held up.
func TestTooManyRoomsMadeByAll(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.CreationsPerHour, c.CreationsPerSecond = 1, 5 })
	made := 0
	for i := range im.UserID(20) {
		s := h.As(alice+i, "phone", idl.CodecProtobuf)
		_, err := joined(s, &roompb.JoinRoomRequest{Room: fmt.Sprint("room-", i)})
		if err == nil {
			made++
			continue
		}
		wantRefusal(t, err, idl.CodeRateLimited, "")
		if no, ok := errors.AsType[*im.Error](err); !ok || no.RetryAfter <= 0 {
			t.Errorf("got %v, which does not say when", err)
		}
		join(t, s, "room-0")
	}
	if made != 5 {
		t.Errorf("%d rooms were made, want 5", made)
	}
	h.Advance(time.Second)
	join(t, h.As(alice+19, "phone", idl.CodecProtobuf), "room-19") // its own was given back
}

func TestRoomsMustBeMadeFirst(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.CreateOnJoin = false })
	_, err := joined(h.As(alice, "phone", idl.CodecProtobuf), &roompb.JoinRoomRequest{Room: "one"})
	wantRefusal(t, err, idl.CodeNotFound, "room")
}

func TestFullRoom(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.MaxMembers = 2 })
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	join(t, b, "lobby")
	_, err := joined(c, &roompb.JoinRoomRequest{Room: "lobby"})
	wantRefusal(t, err, idl.CodeLimitExceeded, "room")
	b.Close()
	join(t, c, "lobby")
}

// TestNoGapAndNoDouble: sessions join while others send; each must have everything
// from its first message on, once and in order, by its reply and its pushes.
func TestNoGapAndNoDouble(t *testing.T) {
	h := start(t, nil, func(c *room.Config) { c.SendsPerSecond, c.JoinsPerMinute = 0, 0 })
	join(t, h.As(alice, "first", idl.CodecProtobuf), "lobby")
	const senders, each, joiners = 4, 50, 20
	var all sync.WaitGroup
	for n := range senders {
		s := h.As(alice, "sender", idl.CodecProtobuf)
		join(t, s, "lobby")
		all.Go(func() {
			for i := range each {
				if _, err := said(s, &roompb.RoomSendRequest{Room: "lobby", ClientId: fmt.Sprintf("%d.%d", n, i), Text: "x"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range joiners {
		s := h.As(bob, "joiner", idl.CodecJSON)
		all.Go(func() {
			rep, err := joined(s, &roompb.JoinRoomRequest{Room: "lobby", Last: 5})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { checkStream(t, rep, heard(t, s), senders*each) })
		})
	}
	all.Wait()
}

func checkStream(t *testing.T, rep *roompb.JoinRoomReply, pushed []*roompb.RoomMessage, last int64) {
	t.Helper()
	next := rep.Head + 1 - int64(len(rep.Messages))
	for _, m := range append(rep.Messages, pushed...) {
		if m.Seq != next {
			t.Errorf("head %d: got seq %d, want %d", rep.Head, m.Seq, next)
			return
		}
		next++
	}
	if next != last+1 {
		t.Errorf("head %d: the stream ends before %d, want %d", rep.Head, next, last+1)
	}
}
