package chat_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// feeder is a plugin that asks for feeds.
type feeder struct {
	host   plugin.Host
	outbox plugin.Outbox
	woken  atomic.Int64
	wants  func(event string) bool
}

func (*feeder) Info() plugin.Info {
	return plugin.Info{Name: "feeder", Version: "1", Needs: []string{plugin.ServiceOutbox}}
}

func (*feeder) Register(*plugin.Registrar) {}

func (f *feeder) Provision(_ context.Context, h plugin.Host) (err error) {
	f.host = h
	if f.outbox, err = plugin.Need[plugin.Outbox](h, plugin.ServiceOutbox); err == nil {
		f.outbox.Feed(plugin.Feeding{Woken: func(im.UserID) { f.woken.Add(1) }, Wants: f.wants})
	}
	return err
}

// fed reads the feed of a conversation, checks that it is dense, and gives "text (shadowed)" of each.
func (f *feeder) fed(t *testing.T, c im.ConversationID) (all []string) {
	t.Helper()
	page, err := f.outbox.Fed(t.Context(), im.FeedOf(c), 0, 100)
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

// What is told to other programs alone is in the feed of what it is about, once and in order, if somebody asked for it;
// and no person sees anything of that.
func TestToldOtherPrograms(t *testing.T) {
	f := &feeder{wants: func(event string) bool { return event == "poll.opened" || event == "poll.closed" }}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), f}, Stubs: []plugintest.Stub{directory}})
	a := h.As(alice, "a", idl.CodecJSON)
	about := im.NoticesOf(alice)
	for range 2 {
		faults := f.outbox.Tell(t.Context(), plugin.Notice{About: about, ID: "~1", Name: "poll.opened", Data: `{"n":1}`},
			plugin.Notice{About: about, ID: "~2", Name: "poll.seen"}, plugin.Notice{About: about, ID: "~3", Name: "poll.closed"},
			plugin.Notice{About: "x", ID: "~4", Name: "poll.closed"}, plugin.Notice{About: about, ID: "~5", Name: "poll.closed", Data: "[]"})
		faults = append(f.outbox.Tell(t.Context(), plugin.Notice{About: "x", Name: "poll.seen", Data: "[]"}), faults...) // nobody asks, nothing is made of it
		for i, err := range faults {
			if (err != nil) != (i >= 4) {
				t.Errorf("notice %d: %v", i, err)
			}
		}
	}
	if got, want := fmt.Sprint(f.fed(t, about)), "[poll.opened poll.closed]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	refused := errors.New("the transaction is undone")
	for _, fault := range []error{refused, nil} {
		err := f.host.Tx(t.Context(), func(tx *sql.Tx) error {
			return errors.Join(f.outbox.Note(t.Context(), tx, plugin.Notice{About: about, Name: "poll.closed"}), fault)
		})
		if !errors.Is(err, fault) {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); len(f.fed(t, about)) < 3; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was noted is not told")
		}
		h.Advance(time.Second)
	}
	if got := f.fed(t, about); len(got) != 3 {
		t.Errorf("got %s", got)
	}
	if got := entries(t, a); len(got) > 0 {
		t.Errorf("somebody is told: %+v", got)
	}
	var rep chatpb.SyncReply
	if err := a.Call(idl.ActionSync, &chatpb.SyncRequest{}, &rep); err != nil || len(rep.Entries) > 0 {
		t.Errorf("somebody syncs %+v, %v", rep.Entries, err)
	}
	if err := a.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(about.Aside())}, nil); err == nil {
		t.Error("somebody reads it")
	}
}

// What a plugin commits to conversations of its own is in the feed as it shows it, if somebody asked for that.
func TestShown(t *testing.T) {
	f := &feeder{wants: func(event string) bool { return event == "game.moved" }}
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), f}, Stubs: []plugintest.Stub{directory}})
	f.outbox.Show(im.Room, func(m im.Message) (string, idl.Message, error) {
		return "game.moved", &chatpb.Message{Id: m.ID.String(), ConversationId: string(m.Conversation), Text: string(m.Body)}, nil
	})
	for _, event := range []string{"game.moved", "game.watched"} {
		done, err := f.outbox.Append(t.Context(), event, timeline.Draft{Conversation: "r_chess", Sender: alice, ClientID: event, Body: []byte(event),
			OnCommit: func(timeline.Committed) {}})
		if err != nil || len(done.InboxSeqs) > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	if got, want := fmt.Sprint(f.fed(t, "r_chess")), "[game.moved]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What only its sender sees is in no feed though somebody asks for everything; where an earlier version fed it, it is
// told as what it is.
func TestShownShadowed(t *testing.T) {
	f := &feeder{wants: func(string) bool { return true }}
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), f}, Stubs: []plugintest.Stub{directory}})
	f.outbox.Show(im.Room, func(m im.Message) (string, idl.Message, error) {
		return "game.moved", &chatpb.Message{Id: m.ID.String(), ConversationId: "r_chess", Text: string(m.Body)}, nil
	})
	for _, event := range []string{"", "game.moved"} {
		_, err := f.outbox.Append(t.Context(), event, timeline.Draft{Conversation: im.ConversationID("r_chess").Shadow(alice), Sender: alice,
			ClientID: "m" + event, Body: []byte("as " + event), OnCommit: func(timeline.Committed) {}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(f.fed(t, "r_chess")), "[as game.moved (shadowed)]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	page, err := f.outbox.Fed(t.Context(), im.FeedOf("r_chess"), 0, 1)
	if err != nil || len(page.Items) != 1 || page.Items[0].Event != "message.shadowed" {
		t.Errorf("got %+v, %v", page, err)
	}
}
