package chat_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// feeder is a plugin that asks for feeds.
type feeder struct {
	messages plugin.Messages
	woken    atomic.Int64
}

func (*feeder) Info() plugin.Info {
	return plugin.Info{Name: "feeder", Version: "1", Needs: []string{plugin.ServiceMessages}}
}

func (*feeder) Register(*plugin.Registrar) {}

func (f *feeder) Provision(_ context.Context, h plugin.Host) (err error) {
	if f.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err == nil {
		f.messages.Feed(func(im.UserID) { f.woken.Add(1) })
	}
	return err
}

// fed reads the feed of a conversation, checks that it is dense, and gives "text (shadowed)" of each.
func (f *feeder) fed(t *testing.T, c im.ConversationID) (all []string) {
	t.Helper()
	page, err := f.messages.Fed(t.Context(), im.FeedOf(c), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range page.Items {
		m := item.Message.(*chatpb.Message)
		if item.Position != int64(i+1) || m.Id != item.ID.String() || m.ConversationId != string(c) {
			t.Errorf("at %d of the feed is %+v", i, item)
		}
		text := m.Text + m.Event
		if item.Shadowed {
			text += " (shadowed)"
		}
		all = append(all, text)
	}
	return all
}

// Everything that is committed is in its feed once, and nobody else sees anything of that.
func TestFeed(t *testing.T) {
	f, group := &feeder{}, &company{members: []im.UserID{alice, bob}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), group, f}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": diverting}, Targets: []plugin.Target{{Name: "support", User: carol}, {Name: "nobody", User: 5}}})
	a, b := h.As(alice, "a", idl.CodecJSON), h.As(bob, "b", idl.CodecProtobuf)
	first := send(t, a, bob, "1", "hello")
	if again := send(t, a, bob, "1", "hello"); !again.Duplicate || again.InboxSeq != first.InboxSeq || first.InboxSeq != 1 {
		t.Errorf("got %+v, then %+v", first, again)
	}
	send(t, a, bob, "2", "spam")
	if _, err := sendTo(a, "g_1", "3", "to all"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := group.messages.Post(t.Context(), plugin.Post{Conversation: "g_1", ClientID: "~1", Name: "company.renamed"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(f.fed(t, im.ChatOf(alice, bob))), "[hello SPAM (shadowed)]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(f.fed(t, "g_1")), "[to all company.renamed]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := f.woken.Load(); n != 4 {
		t.Errorf("woken %d times by 4 commits", n)
	}
	pushed := entries(t, b)
	for _, e := range pushed {
		if e.InboxSeq < 1 || e.InboxSeq > 3 {
			t.Errorf("pushed %+v", e)
		}
	}
	if n := len(pushed); n != 3 {
		t.Errorf("%d pushes, want 3", n)
	}
	for _, s := range []*plugintest.Session{a, b} {
		var rep chatpb.SyncReply
		if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{}, &rep); err != nil {
			t.Fatal(err)
		}
		for i, e := range rep.Entries {
			if e.InboxSeq != int64(i+1) {
				t.Errorf("got %+v", e)
			}
		}
	}
	for _, req := range []*chatpb.SendRequest{
		{ClientId: "x", ToUserId: -1, Text: "x"}, {ClientId: "x", ConversationId: "n_-1", Text: "x"}, {ClientId: "x", ConversationId: "c_-1_100001", Text: "x"},
	} {
		if err := a.Call(idl.ActionMessage, req, nil); err == nil {
			t.Errorf("somebody writes to a feed: %+v", req)
		}
	}
	for _, c := range []string{"n_-1", "c_-1_100001"} {
		if err := a.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: c}, nil); err == nil {
			t.Errorf("somebody reads %s", c)
		}
	}
}

// What was recalled is not told any more by who reads the feed later.
func TestFeedOfRecalled(t *testing.T) {
	f := &feeder{}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), f}, Stubs: []plugintest.Stub{directory}})
	a := h.As(alice, "a", idl.CodecJSON)
	sent := send(t, a, bob, "1", "a secret")
	if err := a.Call(idl.ActionRecall, &chatpb.RecallRequest{ConversationId: sent.ConversationId, Seq: sent.Seq, MessageId: sent.MessageId}, nil); err != nil {
		t.Fatal(err)
	}
	if got := f.fed(t, im.ChatOf(alice, bob)); len(got) == 0 || got[0] != "" {
		t.Errorf("got %q", got)
	}
}

// BenchmarkSendFed is a send with and without feeds.
func BenchmarkSendFed(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprint("feeds=", with), func(b *testing.B) {
			plugins := []plugin.Plugin{chat.New()}
			if with {
				plugins = append(plugins, &feeder{})
			}
			h := plugintest.New(b, plugintest.Options{Plugins: plugins, Stubs: []plugintest.Stub{directory}})
			s := h.As(alice, "a", idl.CodecProtobuf)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if err := s.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: fmt.Sprint(n), ToUserId: int64(bob), Text: "hello"}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
