package chat_test

import (
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/plugins/chat"
)

// A message that a rule sends is one like any other, once, and no rule is asked about it.
func TestSendFor(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": `require("im").before("*", function() return require("im").deny("rejected") end, {name = "no", on_error = "closed"})`}})
	bobs, alices := h.As(bob, "phone", idl.CodecProtobuf), h.As(alice, "web", idl.CodecJSON)
	service, _ := h.Service("chat.sender")
	sender := service.(*chat.Chat)
	for range 2 { // the second changes nothing
		if err := sender.SendFor(t.Context(), alice, bob, "rule-1", "We are closed."); err != nil {
			t.Fatal(err)
		}
	}
	if err := sender.SendFor(t.Context(), alice, bob, "rule-1", "Another text."); err != nil {
		t.Errorf("an ID that was used: %v", err)
	}
	for _, s := range []*plugintest.Session{bobs, alices} {
		got := entries(t, s)
		if len(got) != 1 || got[0].Message.Text != "We are closed." || got[0].Message.SenderId != int64(alice) || got[0].Message.ClientId != "rule-1" || got[0].InboxSeq != 1 {
			t.Errorf("got %v", got)
		}
	}
	for _, row := range []struct {
		name     string
		from, to im.UserID
		text     string
		code     idl.Code
		field    string
	}{
		{"from nobody", 5, bob, "hi", idl.CodeNotFound, "to_user_id"},
		{"to nobody", alice, 5, "hi", idl.CodeNotFound, "to_user_id"},
		{"nothing", alice, bob, "", idl.CodeInvalidArgument, "text"},
		{"too much", alice, bob, strings.Repeat("x", 5001), idl.CodeInvalidArgument, "text"},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefusal(t, sender.SendFor(t.Context(), row.from, row.to, "rule-2", row.text), row.code, row.field)
		})
	}
}
