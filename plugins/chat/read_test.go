package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// reads are those pushed to a session, as "user seq".
func reads(t *testing.T, s *plugintest.Session) (out []string) {
	t.Helper()
	for _, p := range s.Pushes() {
		if p.Action == idl.ActionRead {
			var r chatpb.Read
			if err := p.Decode(&r); err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(r.UserId, " ", r.Seq))
		}
	}
	return out
}

func read(s *plugintest.Session, c im.ConversationID, seq int64) (moved bool, err error) {
	var rep chatpb.ReadReply
	err = s.Call(idl.ActionRead, &chatpb.ReadRequest{ConversationId: string(c), Seq: seq}, &rep)
	return rep.Moved, err
}

// A read moves one position of the person's, which his other devices and the peer learn, at
// once and by sync, and which no delivery is.
func TestRead(t *testing.T) {
	h := start(t, nil)
	alices := h.As(alice, "phone", idl.CodecJSON)
	phone, desk := h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	for i := range 3 {
		send(t, alices, bob, fmt.Sprint("m", i), "hi")
	}
	c := im.ChatOf(alice, bob)
	for _, row := range []struct {
		seq   int64
		moved bool
	}{{2, true}, {2, false}, {1, false}, {3, true}} {
		if moved, err := read(phone, c, row.seq); err != nil || moved != row.moved {
			t.Errorf("read up to %d: moved %v, %v", row.seq, moved, err)
		}
	}
	want := []string{"100002 2", "100002 3"}
	for name, s := range map[string]*plugintest.Session{"the other device": desk, "the peer": alices} {
		if got := reads(t, s); !slices.Equal(got, want) {
			t.Errorf("%s got %v, want %v", name, got, want)
		}
		var rep chatpb.SyncReply
		if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{}, &rep); err != nil {
			t.Fatal(err)
		}
		if len(rep.Receipts) != 0 || len(rep.Reads) != 1 || rep.Reads[0].Seq != 3 || rep.Reads[0].UserId != int64(bob) || rep.Reads[0].ConversationId != string(c) {
			t.Errorf("sync of %s has %v and %v", name, rep.Receipts, rep.Reads)
		}
	}
	if got := reads(t, phone); len(got) != 0 {
		t.Errorf("the device itself got %v", got)
	}
	for _, row := range []struct {
		name  string
		s     *plugintest.Session
		c     im.ConversationID
		seq   int64
		code  idl.Code
		field string
	}{
		{"beyond the end", phone, c, 4, idl.CodeInvalidArgument, "seq"},
		{"nothing", phone, c, 0, idl.CodeInvalidArgument, "seq"},
		{"negative", phone, c, -1, idl.CodeInvalidArgument, "seq"},
		{"of others", h.As(carol, "phone", idl.CodecJSON), c, 1, idl.CodePermissionDenied, "conversation_id"},
		{"of nothing", phone, "", 1, idl.CodeInvalidArgument, "conversation_id"},
		{"of a mark", phone, c + "\x1e", 1, idl.CodePermissionDenied, "conversation_id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := read(row.s, row.c, row.seq)
			wantRefusal(t, err, row.code, row.field)
		})
	}
}

// In a group nobody but the reader's devices learn, and nobody reads what he may not see.
func TestReadInOwned(t *testing.T) {
	h, c := found(t, nil)
	alices := h.As(alice, "phone", idl.CodecJSON)
	phone, desk := h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	for i := range 3 {
		if _, err := sendTo(alices, "g_1", fmt.Sprint("m", i), "hi"); err != nil {
			t.Fatal(err)
		}
	}
	if moved, err := read(phone, "g_1", 2); err != nil || !moved {
		t.Errorf("got %v, %v", moved, err)
	}
	if got := reads(t, desk); !slices.Equal(got, []string{"100002 2"}) {
		t.Errorf("the other device got %v", got)
	}
	if got := reads(t, alices); len(got) != 0 {
		t.Errorf("another member got %v", got)
	}
	c.set(func() { c.reach[bob] = plugin.Reach{Through: 2} })
	_, err := read(phone, "g_1", 3)
	wantRefusal(t, err, idl.CodeInvalidArgument, "seq")
	_, err = read(h.As(carol, "phone", idl.CodecJSON), "g_1", 1)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
}

// Who is out of a conversation reads what he got of it before, so that it is not unread for good; not a seq more.
func TestReadOfWhatWasLeft(t *testing.T) {
	h, c := found(t, nil)
	alices := h.As(alice, "phone", idl.CodecJSON)
	phone, desk := h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	for i := range 3 {
		if _, err := sendTo(alices, "g_1", fmt.Sprint("m", i), "hi"); err != nil {
			t.Fatal(err)
		}
	}
	c.set(func() { c.members = []im.UserID{alice} })
	if _, err := sendTo(alices, "g_1", "m3", "not for bob"); err != nil {
		t.Fatal(err)
	}
	_, err := read(phone, "g_1", 4)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	_, err = read(h.As(carol, "phone", idl.CodecJSON), "g_1", 1)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	wantList(t, phone, "g_1 3 hi")
	if moved, err := read(phone, "g_1", 3); err != nil || !moved {
		t.Errorf("got %v, %v", moved, err)
	}
	if got := reads(t, desk); !slices.Equal(got, []string{"100002 3"}) {
		t.Errorf("the other device got %v", got)
	}
	wantList(t, desk, "g_1 0 hi")
}

// Who keeps from others what he has read tells his own devices only.
func TestReadReceiptsOff(t *testing.T) {
	h := start(t, nil)
	alices := h.As(alice, "phone", idl.CodecJSON)
	phone, desk := h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	for i := range 2 {
		send(t, alices, bob, fmt.Sprint("m", i), "hi")
	}
	set := func(to *bool) bool {
		var rep chatpb.ChatSettingsReply
		if err := phone.Call(idl.ActionChatSettings, &chatpb.ChatSettingsRequest{ReadReceipts: to}, &rep); err != nil {
			t.Fatal(err)
		}
		return rep.Settings.ReadReceipts
	}
	if !set(nil) || !set(new(true)) || set(new(false)) || set(new(false)) || set(nil) {
		t.Error("the setting is not what it was set to")
	}
	c := im.ChatOf(alice, bob)
	if _, err := read(phone, c, 1); err != nil {
		t.Fatal(err)
	}
	if got := reads(t, alices); len(got) != 0 {
		t.Errorf("the peer got %v", got)
	}
	if got := reads(t, desk); !slices.Equal(got, []string{"100002 1"}) {
		t.Errorf("the other device got %v", got)
	}
	if !set(new(true)) {
		t.Error("it is not on again")
	}
	if _, err := read(phone, c, 2); err != nil {
		t.Fatal(err)
	}
	if got := reads(t, alices); !slices.Equal(got, []string{"100002 2"}) {
		t.Errorf("the peer got %v", got)
	}
	eventually(t, "his devices hear of the setting", func() bool {
		return slices.Equal(heard(t, desk), []string{`100002 chat.settings {"read_receipts":false}`, `100002 chat.settings {"read_receipts":true}`})
	})
}

func TestTyping(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	typing := func(req *chatpb.TypingRequest) error { return alices.Call(idl.ActionTyping, req, nil) }
	seen := func() (out []string) {
		for _, p := range bobs.Pushes() {
			var m chatpb.Typing
			if err := p.Decode(&m); err != nil || p.Action != idl.ActionTyping {
				t.Fatalf("got %v, %v", p, err)
			}
			out = append(out, fmt.Sprint(m.ConversationId, " ", m.UserId, " ", m.Stopped))
		}
		return out
	}
	for _, req := range []*chatpb.TypingRequest{{ToUserId: int64(bob)}, {ConversationId: string(im.ChatOf(alice, bob)), Stopped: true}, {ToUserId: int64(alice)}} {
		if err := typing(req); err != nil {
			t.Error(err)
		}
	}
	if got := seen(); !slices.Equal(got, []string{"c_100001_100002 100001 false", "c_100001_100002 100001 true"}) {
		t.Errorf("bob saw %q", got)
	}
	wantRefusal(t, typing(&chatpb.TypingRequest{ConversationId: string(im.NoticesOf(alice))}), idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, typing(&chatpb.TypingRequest{}), idl.CodeInvalidArgument, "to_user_id")
	for _, verdict := range []error{plugin.ErrUnseen, im.Errorf(idl.CodePermissionDenied, "blocked")} {
		c.set(func() { c.guard = func(_, _ im.UserID) error { return verdict } })
		if err := typing(&chatpb.TypingRequest{ToUserId: int64(bob)}); err != nil {
			t.Error(err)
		}
	}
	if got := seen(); len(got) != 0 {
		t.Errorf("bob saw %q", got)
	}
	var last error
	for range 61 {
		last = typing(&chatpb.TypingRequest{ToUserId: int64(bob)})
	}
	wantRefusal(t, last, idl.CodeRateLimited, "")
}
