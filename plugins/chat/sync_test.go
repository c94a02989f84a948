package chat_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

func synced(t *testing.T, s *plugintest.Session, req *chatpb.SyncRequest) *chatpb.SyncReply {
	t.Helper()
	var rep chatpb.SyncReply
	if err := s.Call(idl.ActionSync, req, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

func TestSyncPages(t *testing.T) {
	h := start(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	if rep := synced(t, bobs, &chatpb.SyncRequest{}); len(rep.Entries) != 0 || rep.HasMore || rep.Head != 0 || rep.Floor != 1 || rep.Epoch == "" || rep.Restarted {
		t.Errorf("an empty inbox gave %+v", rep)
	}
	const n = 25
	for i := range n {
		send(t, phone, bob, fmt.Sprint("m", i), fmt.Sprint("text ", i))
	}
	var got []*chatpb.InboxEntry
	for after, pages := int64(0), 0; ; pages++ {
		rep := synced(t, bobs, &chatpb.SyncRequest{AfterSeq: after, Limit: 10})
		got = append(got, rep.Entries...)
		if rep.Head != n || pages > 3 {
			t.Fatalf("page %d: head %d", pages, rep.Head)
		}
		if !rep.HasMore {
			break
		}
		after = rep.Entries[len(rep.Entries)-1].InboxSeq
	}
	if len(got) != n {
		t.Fatalf("got %d entries, want %d", len(got), n)
	}
	for i, e := range got {
		if e.InboxSeq != int64(i+1) || e.Message.Seq != int64(i+1) || e.Message.Text != fmt.Sprint("text ", i) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}

// A page never outgrows what a session may have queued, as it is encoded: in JSON
// a bracket takes six octets.
func TestSyncPagesAreBoundedInOctets(t *testing.T) {
	for name, text := range map[string]string{"15 kB": strings.Repeat("界", 5000), "escaped": strings.Repeat("<", 5000)} {
		t.Run(name, func(t *testing.T) { testSyncPagesAreBounded(t, text) })
	}
}

func testSyncPagesAreBounded(t *testing.T, text string) {
	h := start(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	for i := range 20 {
		send(t, phone, bob, fmt.Sprint("m", i), text)
	}
	seen := 0
	for after := int64(0); ; {
		rep := synced(t, bobs, &chatpb.SyncRequest{AfterSeq: after, Limit: 500})
		size := 0
		for _, e := range rep.Entries {
			body, err := idl.Append(nil, idl.CodecJSON, e)
			if err != nil {
				t.Fatal(err)
			}
			size += len(body)
			after = e.InboxSeq
		}
		if size > 128<<10 {
			t.Errorf("a page holds %d octets", size)
		}
		if seen += len(rep.Entries); !rep.HasMore {
			break
		}
	}
	if seen != 20 {
		t.Errorf("got %d entries, want 20", seen)
	}
}

func TestSyncByMessageID(t *testing.T) {
	h := start(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	var ids []string
	for i := range 10 {
		ids = append(ids, send(t, phone, bob, fmt.Sprint("m", i), "hi").MessageId)
	}
	for i, id := range ids {
		missing := map[string]bool{}
		for _, later := range ids[i+1:] {
			missing[later] = true
		}
		for _, e := range synced(t, bobs, &chatpb.SyncRequest{AfterMessageId: id}).Entries {
			delete(missing, e.Message.Id)
		}
		if len(missing) > 0 {
			t.Errorf("after message %d: %d later messages are missing", i, len(missing))
		}
	}
}

// A cursor that means nothing here is answered from the start, and said to be.
func TestSyncRestarts(t *testing.T) {
	h := start(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	send(t, phone, bob, "m1", "hi")
	epoch := synced(t, bobs, &chatpb.SyncRequest{}).Epoch
	for _, row := range []struct {
		name      string
		req       *chatpb.SyncRequest
		restarted bool
		entries   int
	}{
		{"first sync", &chatpb.SyncRequest{}, false, 1},
		{"up to date", &chatpb.SyncRequest{AfterSeq: 1, Epoch: epoch}, false, 0},
		{"another epoch", &chatpb.SyncRequest{AfterSeq: 1, Epoch: "another"}, true, 1},
		{"beyond the end", &chatpb.SyncRequest{AfterSeq: 7, Epoch: epoch}, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if rep := synced(t, bobs, row.req); rep.Restarted != row.restarted || len(rep.Entries) != row.entries {
				t.Errorf("got %+v", rep)
			}
		})
	}
}

// trimmed is a store whose inboxes have lost what is below a floor.
type trimmed struct {
	timeline.Store
	floor int64
}

func (s trimmed) Inbox(ctx context.Context, user im.UserID, after int64, limit int) (timeline.Page[timeline.Entry], error) {
	page, err := s.Store.Inbox(ctx, user, max(after, s.floor-1), limit)
	page.Floor = s.floor
	return page, err
}

func (trimmed) Epoch() string { return "of the trimmed" }

// TestSyncBelowTheFloor: a device that lacks what an inbox has lost is told that it begins anew, and where; one that lacks nothing
// of that goes on. Head, floor and epoch are the store's.
func TestSyncBelowTheFloor(t *testing.T) {
	whole := plugintest.New(t, plugintest.Options{})
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Timelines: trimmed{whole.Timelines(), 4}})
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	for i := range 6 {
		send(t, phone, bob, fmt.Sprint("m", i), "hi")
	}
	for _, row := range []struct {
		name      string
		req       *chatpb.SyncRequest
		restarted bool
		more      bool
		seqs      []int64
	}{
		{"first sync", &chatpb.SyncRequest{}, false, false, []int64{4, 5, 6}},
		{"far below", &chatpb.SyncRequest{AfterSeq: 1}, true, false, []int64{4, 5, 6}},
		{"one is missing", &chatpb.SyncRequest{AfterSeq: 2, Epoch: "of the trimmed"}, true, false, []int64{4, 5, 6}},
		{"one is missing, in pages", &chatpb.SyncRequest{AfterSeq: 2, Limit: 2}, true, true, []int64{4, 5}},
		{"none is missing", &chatpb.SyncRequest{AfterSeq: 3}, false, false, []int64{4, 5, 6}},
		{"above", &chatpb.SyncRequest{AfterSeq: 5, Epoch: "of the trimmed"}, false, false, []int64{6}},
		{"up to date", &chatpb.SyncRequest{AfterSeq: 6}, false, false, nil},
		{"beyond the end", &chatpb.SyncRequest{AfterSeq: 7}, true, false, []int64{4, 5, 6}},
		{"another epoch", &chatpb.SyncRequest{AfterSeq: 5, Epoch: "of the whole"}, true, false, []int64{4, 5, 6}},
	} {
		t.Run(row.name, func(t *testing.T) {
			rep := synced(t, bobs, row.req)
			var seqs []int64
			for _, e := range rep.Entries {
				seqs = append(seqs, e.InboxSeq)
			}
			if rep.Restarted != row.restarted || rep.HasMore != row.more || !slices.Equal(seqs, row.seqs) {
				t.Errorf("got %v, restarted %t, more %t", seqs, rep.Restarted, rep.HasMore)
			}
			if rep.Head != 6 || rep.Floor != 4 || rep.Epoch != "of the trimmed" {
				t.Errorf("got head %d, floor %d, epoch %q", rep.Head, rep.Floor, rep.Epoch)
			}
		})
	}
}

func TestSyncFields(t *testing.T) {
	h := start(t, nil)
	bobs := h.As(bob, "tab", idl.CodecJSON)
	for _, row := range []struct {
		name, field string
		req         *chatpb.SyncRequest
	}{
		{"negative limit", "limit", &chatpb.SyncRequest{Limit: -1}},
		{"large limit", "limit", &chatpb.SyncRequest{Limit: 501}},
		{"negative cursor", "after_seq", &chatpb.SyncRequest{AfterSeq: -1}},
		{"two cursors", "after_message_id", &chatpb.SyncRequest{AfterSeq: 1, AfterMessageId: "2222222222222222"}},
		{"short message ID", "after_message_id", &chatpb.SyncRequest{AfterMessageId: "22"}},
		{"message ID of other characters", "after_message_id", &chatpb.SyncRequest{AfterMessageId: "222222222222222O"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefusal(t, bobs.Call(idl.ActionSync, row.req, nil), idl.CodeInvalidArgument, row.field)
		})
	}
}

func TestAckTellsTheSender(t *testing.T) {
	h := start(t, nil)
	phone, desk, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "tab", idl.CodecJSON)
	send(t, phone, bob, "m1", "one")
	rep := send(t, phone, bob, "m2", "two")
	ack := &chatpb.AckRequest{ConversationId: rep.ConversationId, Seq: rep.Seq}
	for range 2 { // again changes nothing
		if err := bobs.Call(idl.ActionMessageAck, ack, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range map[string]*plugintest.Session{"phone": phone, "desk": desk} {
		got := receipts(t, s)
		if len(got) != 1 || got[0].Seq != 2 || got[0].UserId != int64(bob) || got[0].ConversationId != rep.ConversationId {
			t.Errorf("%s got %+v", name, got)
		}
	}
	// A device that was away learns it with its sync, once.
	first := synced(t, phone, &chatpb.SyncRequest{AfterSeq: 2})
	if len(first.Receipts) != 1 || first.Receipts[0].Seq != 2 {
		t.Errorf("got %+v", first.Receipts)
	}
	if again := synced(t, phone, &chatpb.SyncRequest{AfterSeq: 2, ReceiptsAfter: first.ReceiptsHead}); len(again.Receipts) != 0 {
		t.Errorf("got %+v again", again.Receipts)
	}
}

// Who was away has more receipts than an answer holds: they come in answers that say so, all of them.
func TestSyncOfManyReceipts(t *testing.T) {
	h := start(t, nil)
	phone := h.As(alice, "phone", idl.CodecJSON)
	rep := send(t, phone, bob, "m1", "one")
	const people = 2100
	for i := range people {
		r := timeline.Receipt{Conversation: im.ConversationID(rep.ConversationId), By: im.UserID(10_000 + i), Seq: 1}
		if _, err := h.Timelines().Acknowledge(t.Context(), r, []im.UserID{alice}); err != nil {
			t.Fatal(err)
		}
	}
	told := map[int64]bool{}
	var sizes []int
	for req := (&chatpb.SyncRequest{}); ; {
		page := synced(t, phone, req)
		for _, r := range page.Receipts {
			told[r.UserId] = true
		}
		sizes = append(sizes, len(page.Receipts))
		if page.HasMore {
			t.Error("it says that there are more entries")
		}
		if !page.MoreReceipts {
			break
		}
		req = &chatpb.SyncRequest{AfterSeq: page.Head, Epoch: page.Epoch, ReceiptsAfter: page.ReceiptsHead}
	}
	if len(told) != people || !slices.Equal(sizes, []int{1000, 1000, 100}) {
		t.Errorf("told of %d people in answers of %d", len(told), sizes)
	}
}

func receipts(t *testing.T, s *plugintest.Session) (out []*chatpb.Receipt) {
	t.Helper()
	for _, p := range s.Pushes() {
		if p.Action != idl.ActionMessageAck {
			continue
		}
		r := new(chatpb.Receipt)
		if err := p.Decode(r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestAckFields(t *testing.T) {
	h := start(t, nil)
	phone, bobs, carols := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON), h.As(carol, "tab", idl.CodecJSON)
	c := send(t, phone, bob, "m1", "hi").ConversationId
	for _, row := range []struct {
		name  string
		by    *plugintest.Session
		req   *chatpb.AckRequest
		code  idl.Code
		field string
	}{
		{"seq 0", bobs, &chatpb.AckRequest{ConversationId: c}, idl.CodeInvalidArgument, "seq"},
		{"negative seq", bobs, &chatpb.AckRequest{ConversationId: c, Seq: -1}, idl.CodeInvalidArgument, "seq"},
		{"beyond the end", bobs, &chatpb.AckRequest{ConversationId: c, Seq: 2}, idl.CodeInvalidArgument, "seq"},
		{"another's chat", carols, &chatpb.AckRequest{ConversationId: c, Seq: 1}, idl.CodePermissionDenied, "conversation_id"},
		{"no conversation", bobs, &chatpb.AckRequest{Seq: 1}, idl.CodePermissionDenied, "conversation_id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefusal(t, row.by.Call(idl.ActionMessageAck, row.req, nil), row.code, row.field)
		})
	}
}

func TestHistory(t *testing.T) {
	h := start(t, nil)
	phone, carols := h.As(alice, "phone", idl.CodecProtobuf), h.As(carol, "tab", idl.CodecJSON)
	for i := range 5 {
		send(t, phone, bob, fmt.Sprint("m", i), fmt.Sprint(i+1))
	}
	const c = "c_100001_100002"
	for _, row := range []struct {
		name    string
		req     *chatpb.HistoryRequest
		want    string
		hasMore bool
	}{
		{"from the end", &chatpb.HistoryRequest{ConversationId: c}, "54321", false},
		{"with a person", &chatpb.HistoryRequest{WithUserId: int64(bob), Limit: 2}, "54", true},
		{"before", &chatpb.HistoryRequest{ConversationId: c, BeforeSeq: 4, Limit: 2}, "32", true},
		{"before the first", &chatpb.HistoryRequest{ConversationId: c, BeforeSeq: 1}, "", false},
		{"after", &chatpb.HistoryRequest{ConversationId: c, AfterSeq: 2, Limit: 2}, "34", true},
		{"after the last", &chatpb.HistoryRequest{ConversationId: c, AfterSeq: 5}, "", false},
		{"a chat that never was", &chatpb.HistoryRequest{WithUserId: int64(carol)}, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var rep chatpb.HistoryReply
			if err := phone.Call(idl.ActionHistory, row.req, &rep); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, m := range rep.Messages {
				got.WriteString(m.Text)
			}
			if got.String() != row.want || rep.HasMore != row.hasMore || rep.Floor != 1 {
				t.Errorf("got %q, has_more %v, floor %d", got.String(), rep.HasMore, rep.Floor)
			}
		})
	}
	wantRefusal(t, carols.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: c}, nil), idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, phone.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: c, AfterSeq: 1, BeforeSeq: 2}, nil), idl.CodeInvalidArgument, "after_seq")
	wantRefusal(t, phone.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: c, BeforeSeq: -1}, nil), idl.CodeInvalidArgument, "before_seq")
	wantRefusal(t, phone.Call(idl.ActionHistory, &chatpb.HistoryRequest{}, nil), idl.CodeInvalidArgument, "with_user_id")
}

func TestGetMessageID(t *testing.T) {
	h := start(t, nil)
	phone := h.As(alice, "phone", idl.CodecProtobuf)
	last := ""
	for range 100 {
		var rep chatpb.GetMessageIdReply
		if err := phone.Call(idl.ActionGetMessageID, nil, &rep); err != nil {
			t.Fatal(err)
		}
		if _, err := im.ParseMessageID(rep.MessageId); err != nil || rep.MessageId <= last {
			t.Fatalf("got %q after %q: %v", rep.MessageId, last, err)
		}
		last = rep.MessageId
	}
}
