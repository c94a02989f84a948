package webhook_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/webhook"
)

// What is said in rooms does not keep all else waiting: when more than room_backlog waits behind a message of a room, it is told
// nobody, and counted; what else is in that feed comes, and what an operator has replayed.
func TestRoomBacklog(t *testing.T) {
	const backlog, batch, before, behind = 10, 4, 30, 30
	w := start(t, func(c *webhook.Config) {
		c.RoomBacklog, c.Batch = backlog, batch
		c.Endpoints[0].Events = []string{"*", "room.*"}
	})
	w.messages.Show(im.Room, func(m im.Message) (string, idl.Message, error) {
		var content chatpb.Content
		err := content.Unmarshal(m.Body)
		name := "room.message"
		if content.Text == "hush" {
			name = "room.muted"
		}
		return name, &chatpb.Message{ConversationId: string(m.Conversation), Seq: m.Seq, Text: content.Text}, err
	})
	var up atomic.Bool
	w.receiver.set(func(_ int, _ []told, out http.ResponseWriter) {
		if !up.Load() {
			out.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	const lobby = im.ConversationID("r_lobby")
	beside := im.UserID(2) // a chat in the same feed
	for im.FeedOf(im.ChatOf(1, beside)) != im.FeedOf(lobby) {
		beside++
	}
	say := func(c im.ConversationID, text string) {
		w.messages.Say(t, c, 1, strings.ReplaceAll(text, " ", "-"), text)
	}
	for i := range before {
		say(lobby, fmt.Sprint("early ", i))
	}
	eventually(t, "it fails", func() bool { return w.receiver.called() > 0 })
	say(lobby, "hush")
	say(im.ChatOf(1, beside), "hello")
	for i := range behind {
		say(lobby, fmt.Sprint("late ", i))
	}
	up.Store(true)
	texts := func(from int) (all []string) {
		for _, e := range w.receiver.taken()[from:] {
			all = append(all, e.Message.Text)
		}
		return all
	}
	want := []string{"hush", "hello"}
	for i := behind - backlog - 1; i < behind; i++ {
		want = append(want, fmt.Sprint("late ", i))
	}
	last := want[len(want)-1]
	eventually(t, "the last comes", func() bool { return slices.Contains(texts(0), last) })
	got := texts(0)
	under := slices.Index(got, want[0]) // how many were in the delivery that was under way when the end of the feed was far
	if under < 0 || under > batch || !slices.Equal(got[under:], want) {
		t.Errorf("got %q, want %q", got, want)
	}
	eventually(t, "what was told nobody is counted", func() bool { return w.hook.Forwarded()["test"].Crowded == int64(before+behind-backlog-1-under) })

	mark := len(w.receiver.taken())
	w.Advance(time.Millisecond)
	w.asked("POST /webhooks/replay", nil, "all", "1")
	eventually(t, "all that is replayed", func() bool { return len(texts(mark)) >= before+behind+2 })
}
