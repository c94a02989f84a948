package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

const (
	me   = 1
	bob  = 2
	chat = "c_1_2"
)

// diary writes down what a handler was told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read gives the lines since the last read, when everything has settled. It
// works in a bubble only.
func (d *diary) read() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// messages gives only the lines of messages.
func (d *diary) messages() []string {
	return slices.DeleteFunc(d.read(), func(line string) bool { return !strings.HasPrefix(line, "message") })
}

func (d *diary) handler() client.Handler {
	return client.Handler{
		Message: func(_ context.Context, e *client.Entry) error {
			d.note("message %d %s", e.InboxSeq, e.Text)
			return nil
		},
		Delivered:    func(_ context.Context, r *chatpb.Receipt) { d.note("delivered %s %d", r.ConversationId, r.Seq) },
		Connected:    func(_ context.Context, who *accountpb.AuthReply) { d.note("connected %d", who.UserId) },
		Disconnected: func(_ context.Context, x client.Disconnect) { d.note("disconnected") },
		Notice:       func(_ context.Context, n *wirepb.Notice) { d.note("notice %s %s%s", n.Event, n.Text, n.Data) },
		Reset:        func(_ context.Context, r client.Reset) { d.note("reset %v %s %d", r.Reason, r.Epoch, r.Floor) },
		Ended:        func(_ context.Context, err error) { d.note("ended %v", err) },
	}
}

func (d *diary) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := d.read(); !slices.Equal(got, want) {
		t.Fatalf("the handler was told\n%q, want\n%q", got, want)
	}
}

// opened is a session that is about to connect to srv.
func opened(t *testing.T, f form, change func(*client.Options)) (*client.Session, *clienttest.Server, *diary) {
	t.Helper()
	srv := clienttest.NewServer(t, f.wire)
	d := new(diary)
	o := f.options(srv)
	o.Token, o.Handler = "token", d.handler()
	if change != nil {
		change(&o)
	}
	s, err := client.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, srv, d
}

// joined is a session that is connected and has synced an empty inbox.
func joined(t *testing.T, f form, change func(*client.Options)) (*client.Session, *clienttest.Server, *clienttest.Peer, *diary) {
	t.Helper()
	s, srv, d := opened(t, f, change)
	peer := srv.Accept()
	peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
	d.expect(t, "connected 1")
	return s, srv, peer, d
}

func auth(epoch string, head int64) *accountpb.AuthReply {
	return &accountpb.AuthReply{UserId: me, Epoch: epoch, InboxHead: head, HeartbeatMs: 30_000, MaxBody: 65536}
}

// entry is bob's message with that inbox_seq, the same as its seq.
func entry(seq int64) *chatpb.InboxEntry {
	return &chatpb.InboxEntry{InboxSeq: seq, Message: &chatpb.Message{
		Id: fmt.Sprintf("M%d", seq), ConversationId: chat, Seq: seq, SenderId: bob, Text: fmt.Sprintf("text %d", seq),
	}}
}

func entries(from, to int64) []*chatpb.InboxEntry {
	var all []*chatpb.InboxEntry
	for seq := from; seq <= to; seq++ {
		all = append(all, entry(seq))
	}
	return all
}

func told(from, to int64) []string {
	var all []string
	for _, e := range entries(from, to) {
		all = append(all, fmt.Sprintf("message %d %s", e.InboxSeq, e.Message.Text))
	}
	return all
}

// expectAck answers an ack, which must be for seq.
func expectAck(t *testing.T, p *clienttest.Peer, seq int64) {
	t.Helper()
	var a chatpb.AckRequest
	r := p.Expect(idl.ActionMessageAck, &a)
	if a.ConversationId != chat || a.Seq != seq {
		t.Fatalf("got ack %+v, want %s up to %d", &a, chat, seq)
	}
	p.Answer(r, new(chatpb.AckReply))
}

func TestSessionSyncsThenTakesPushes(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, d := opened(t, f, nil)
		peer := srv.Accept()
		var a accountpb.AuthRequest
		r := peer.Expect(idl.ActionAuth, &a)
		if a.Token != "token" {
			t.Errorf("got token %q", a.Token)
		}
		peer.Answer(r, auth("e1", 3))
		first := peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 2), HasMore: true, Head: 3})
		if first.AfterSeq != 0 || first.Epoch != "e1" || first.Limit != 100 {
			t.Errorf("first sync: got %+v", first)
		}
		var second chatpb.SyncRequest
		r = peer.Expect(idl.ActionSync, &second)
		if second.AfterSeq != 2 {
			t.Errorf("second sync: got %+v, want it after 2", &second)
		}
		expectAck(t, peer, 2)
		peer.Answer(r, &chatpb.SyncReply{Entries: entries(3, 3), Head: 3, Epoch: "e1"})
		expectAck(t, peer, 3)
		peer.Push(idl.ActionMessage, entry(4))
		expectAck(t, peer, 4)
		d.expect(t, append([]string{"connected 1"}, told(1, 4)...)...)
	})
}

func TestSessionDropsDuplicates(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		peer.Push(idl.ActionMessage, entry(1))
		again := entry(1)
		again.InboxSeq = 2 // the same message at another place
		peer.Push(idl.ActionMessage, again)
		peer.Push(idl.ActionMessage, &chatpb.InboxEntry{InboxSeq: 3, Message: entry(2).Message})
		expectAck(t, peer, 2)
		d.expect(t, "message 1 text 1", "message 3 text 2")
	})
}

func TestSessionFillsGaps(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		peer.Push(idl.ActionMessage, entry(3))
		var asked chatpb.SyncRequest
		r := peer.Expect(idl.ActionSync, &asked)
		if asked.AfterSeq != 1 {
			t.Errorf("got sync after %d, want 1", asked.AfterSeq)
		}
		peer.Push(idl.ActionMessage, entry(4)) // while the sync is on its way
		d.expect(t, "message 1 text 1")
		peer.Answer(r, &chatpb.SyncReply{Entries: entries(2, 3), Head: 3, Epoch: "e1"})
		expectAck(t, peer, 4)
		d.expect(t, told(2, 4)...)
	})
}

// TestOwnAnswerFillsAGap: a push may overtake the answer to a send. No sync is needed.
func TestOwnAnswerFillsAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, d := joined(t, f, nil)
		send(t, s, "mine")
		r := peer.Expect(idl.ActionMessage, nil)
		peer.Push(idl.ActionMessage, entry(2))
		d.expect(t)
		peer.Answer(r, &chatpb.SendReply{MessageId: "M1", ConversationId: chat, Seq: 1, InboxSeq: 1})
		expectAck(t, peer, 2)
		d.expect(t, "message 1 mine", "message 2 text 2")
	})
}

func TestGapIsSyncedThoughASendFlies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[1], nil)
		send(t, s, "mine")
		peer.Expect(idl.ActionMessage, nil) // not answered
		peer.Push(idl.ActionMessage, entry(2))
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 2), Head: 2})
		expectAck(t, peer, 2)
		d.expect(t, told(1, 2)...)
	})
}

// TestWrongInboxSeqIsLetGo: an answer with an inbox_seq that is another entry's, or nobody's yet, is neither
// taken for that entry nor a gap for ever, and what is pushed meanwhile is not lost.
func TestWrongInboxSeqIsLetGo(t *testing.T) {
	tests := []struct {
		name   string
		wrong  int64
		pages  []*chatpb.SyncReply
		during []int64 // pushed while the last page is on its way
		again  bool    // a sync looks whether what was let go is there
	}{
		{"far ahead", 40, []*chatpb.SyncReply{{Entries: entries(1, 2), Head: 2}}, nil, true},
		{"far ahead, the next is pushed meanwhile", 40, []*chatpb.SyncReply{{Entries: entries(1, 2), Head: 2}}, []int64{3}, true},
		{"the next one's", 3, []*chatpb.SyncReply{{Entries: entries(1, 2), Head: 2}}, nil, true},
		{"the next one's, which is pushed meanwhile", 3, []*chatpb.SyncReply{{Entries: entries(1, 2), Head: 2}}, []int64{3}, false},
		{"behind a page", 2, []*chatpb.SyncReply{{Entries: entries(1, 1), HasMore: true, Head: 2}, {Entries: entries(2, 2), Head: 2}}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, peer, d := joined(t, forms()[1], nil)
				send(t, s, "text 1")
				peer.Answer(peer.Expect(idl.ActionMessage, nil), &chatpb.SendReply{MessageId: "M1", ConversationId: chat, Seq: 1, InboxSeq: tt.wrong})
				for i, page := range tt.pages {
					r := peer.Expect(idl.ActionSync, nil)
					if i == len(tt.pages)-1 {
						for _, seq := range tt.during {
							peer.Push(idl.ActionMessage, entry(seq))
						}
						synctest.Wait()
					}
					page.Epoch = "e1"
					peer.Answer(r, page)
				}
				known := int64(2 + len(tt.during))
				if len(tt.pages) > 1 {
					expectAck(t, peer, 1)
				}
				expectAck(t, peer, known)
				if tt.again { // once more, and no more
					if asked := peer.AnswerSync("e1", &chatpb.SyncReply{Head: known}); asked.AfterSeq != known {
						t.Errorf("synced after %d, want %d", asked.AfterSeq, known)
					}
				}
				synctest.Wait()
				time.Sleep(20 * time.Second) // in the bubble
				peer.Push(idl.ActionMessage, entry(known+1))
				expectAck(t, peer, known+1)
				d.expect(t, told(1, known+1)...)
			})
		})
	}
}

func TestSyncPushIsObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionSync, new(chatpb.SyncPush))
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		expectAck(t, peer, 1)
		d.expect(t, "message 1 text 1")
	})
}

func TestPushThatCannotBeReadIsSynced(t *testing.T) {
	tests := []struct {
		name   string
		action idl.Action
		body   string
	}{
		{"message", idl.ActionMessage, `{"inbox_seq":"x"}`},
		{"no message", idl.ActionMessage, `{"inbox_seq":1}`},
		{"no inbox_seq", idl.ActionMessage, `{"message":{"id":"x"}}`},
		{"receipt", idl.ActionMessageAck, `[`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, peer, _ := joined(t, forms()[0], nil)
				peer.Send(clienttest.Request{Action: 150}) // of a plugin that is not known here
				peer.Send(clienttest.Request{Action: tt.action, Body: []byte(tt.body)})
				peer.AnswerSync("e1", new(chatpb.SyncReply))
			})
		})
	}
}

func TestOpenNeedsATokenAndACursor(t *testing.T) {
	_, err := client.Open(t.Context(), client.Options{Address: "tcp://im.test:1"})
	if err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("got %v, want that a token is needed", err)
	}
	_, err = client.Open(t.Context(), client.Options{Address: "tcp://im.test:1", Token: "t", Store: brokenStore{}})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the store's error", err)
	}
}

var errBroken = errors.New("disk is gone")

// brokenStore fails always.
type brokenStore struct{}

func (brokenStore) Load(context.Context) (client.Cursor, error) { return client.Cursor{}, errBroken }

func (brokenStore) Save(context.Context, client.Cursor) error { return errBroken }
