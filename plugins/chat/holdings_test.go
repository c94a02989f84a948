package chat_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// A copy of what is kept of a person has what he wrote and said, and of others nothing; who is erased leaves
// nothing but what he sent.
func TestHoldings(t *testing.T) {
	all := plugintest.NewPeople(alice, bob, carol)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: all.Stubs(), Scripts: map[string]string{"a.lua": holding}})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	send(t, alices, bob, "m1", "hi")
	send(t, bobs, alice, "m1", "hello")
	send(t, alices, bob, "m2", "spam")
	send(t, alices, carol, "m3", "wait")
	if _, err := update(alices, &chatpb.UpdateConversationRequest{ConversationId: string(im.ChatOf(alice, bob)), Draft: new("and")}); err != nil {
		t.Fatal(err)
	}
	if err := alices.Call(idl.ActionChatSettings, &chatpb.ChatSettingsRequest{ReadReceipts: new(false)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := schedule(alices, &chatpb.SendRequest{ClientId: "later", ToUserId: int64(bob), Text: "later"}, h.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "his devices are told", func() bool { return left(t, h) == 0 })
	of := all.Holdings()["chat"]
	kept := func() string {
		t.Helper()
		got, err := of.Export(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var k struct {
			Read          bool `json:"read_receipts"`
			Conversations []struct{ Draft string }
			Held          []struct{ Text string }
			Scheduled     []struct{ Message struct{ Text string } }
			Messages      []struct{ Text string }
			More          bool
		}
		if err := json.Unmarshal(text, &k); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(k.Read, k.Conversations, k.Held, k.Scheduled, k.Messages, k.More)
	}
	if got, want := kept(), "false [{and}] [{wait}] [{{later}}] [{hi} {spam}] false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range 2 { // the second changes nothing
		if err := of.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"chat_held WHERE sender", "chat_scheduled WHERE sender", "chat_held_lines WHERE sender", "chat_conversations WHERE user_id", "chat_lists WHERE user_id", "chat_settings WHERE user_id", "chat_follows WHERE user_id"} {
		var n int
		if err := h.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table+" = ?", int64(alice)).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows are left, %v", table, n, err)
		}
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "2 hello, 1 hi" {
		t.Errorf("bob's history is %s", got)
	}
}
