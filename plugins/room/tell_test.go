package room

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/roompb"
)

// lateLog commits what it is given when nobody waits for it any more.
type lateLog struct{ timeline.Store }

func (lateLog) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	go func() {
		time.Sleep(time.Second)
		d.OnCommit(timeline.Committed{Message: im.Message{Conversation: d.Conversation, Seq: 7, Body: d.Body}})
	}()
	<-ctx.Done()
	return timeline.Committed{}, ctx.Err()
}

type notedRooms struct {
	plugin.Rooms
	mu   sync.Mutex // guards seqs
	seqs []int64    // of the expulsions
}

func (*notedRooms) Broadcast(plugin.Broadcast) {}

func (r *notedRooms) Expel(e plugin.Expulsion) {
	time.Sleep(time.Millisecond) // e is looked at while the caller goes on
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seqs = append(r.seqs, e.Seq)
}

type quietHost struct{ plugin.Host }

func (quietHost) Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestToldTooLate: when a ban is told only after its caller has gone, the person is put
// out at once and behind the message, and the two do not disturb each other.
func TestToldTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rooms := new(notedRooms)
		p := &Room{host: quietHost{}, rooms: rooms, timelines: lateLog{}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // just as it is committed
		defer cancel()
		out := implied("club", &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN, UserId: 5})
		if _, err := p.tellOf(ctx, 1, "club", roompb.ModerationVerb_MODERATION_BAN, nil, out); err == nil {
			t.Error("it was told")
		}
		synctest.Wait()
		time.Sleep(time.Second)
		slices.Sort(rooms.seqs)
		if !slices.Equal(rooms.seqs, []int64{0, 7}) || out.Seq != 0 {
			t.Errorf("put out with the seqs %v, and %d is left", rooms.seqs, out.Seq)
		}
	})
}
