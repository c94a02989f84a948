package chat

import (
	"context"
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
)

// listSource is a list, the newest first, that is read at once.
type listSource struct {
	all []found
	at  int
}

func (l *listSource) start(_ context.Context, cursor string) error {
	_, err := fmt.Sscan(cursor, &l.at)
	return err
}

func (l *listSource) next(context.Context) (rest []found, err error) {
	rest, l.at = l.all[l.at:], len(l.all)
	return rest, nil
}

func (l *listSource) cursor(f *found) string {
	n := 0
	for n < len(l.all) && l.all[n].place >= f.place {
		n++
	}
	return fmt.Sprint(n)
}

// TestSearchOutOfTime: a search whose time is over looks at no more of what it has read, however much that is, and goes on
// behind it; what stands in one place is not divided.
func TestSearchOutOfTime(t *testing.T) {
	p := New()
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}})
	c := im.ChatOf(1, 2)
	list, want := &listSource{}, 0
	for place := int64(40); place > 0; place-- {
		for range 1 + place%2 {
			list.all = append(list.all, found{opened: opened{Message: im.Message{Time: time.UnixMilli(place), Sender: 1}, content: chatpb.Content{Text: "fox"}}, place: place, seq: place, conversation: c})
			want++
		}
	}
	got, calls := 0, 0
	for more, cursor := true, "0"; more; calls++ {
		if calls > 2*len(list.all) {
			t.Fatal("it does not end")
		}
		if err := list.start(t.Context(), cursor); err != nil {
			t.Fatal(err)
		}
		s := &searching{p: p, user: 1, req: &chatpb.SearchMessagesRequest{}, words: []string{"fox"}, limit: mostFound, until: time.Now(), reaches: map[im.ConversationID]*plugin.Reach{}}
		rep, err := s.run(t.Context(), list, idl.CodecProtobuf)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Messages) > 2 {
			t.Fatalf("it looked at %d more", len(rep.Messages))
		}
		got, more, cursor = got+len(rep.Messages), rep.HasMore, rep.Cursor
	}
	if got != want || calls != 41 {
		t.Errorf("found %d in %d calls, want %d in 41", got, calls, want)
	}
}

// clocks is a store of cores whose clocks differ: the times of messages are not in their order.
type clocks struct {
	timeline.Store
	begin time.Time
	read  *atomic.Int64 // messages of logs that were read backwards
}

// at is the time of a message, some places off.
func (c clocks) at(seq int64) time.Time {
	return c.begin.Add(time.Duration(seq/16*16+(seq*7)%16) * time.Minute)
}

func (c clocks) set(page timeline.Page[im.Message], err error) (timeline.Page[im.Message], error) {
	for i := range page.Items {
		m := &page.Items[i]
		m.Time = c.at(m.Seq)
		m.ID = im.MessageIDAt(m.Time)
	}
	return page, err
}

func (c clocks) Log(ctx context.Context, log im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	return c.set(c.Store.Log(ctx, log, after, limit))
}

func (c clocks) LogBefore(ctx context.Context, log im.ConversationID, before int64, limit int) (timeline.Page[im.Message], error) {
	page, err := c.set(c.Store.LogBefore(ctx, log, before, limit))
	c.read.Add(int64(len(page.Items)))
	return page, err
}

// TestSearchByTimesOutOfOrder: from and until a time all is found that is of that time, wherever it stands in the log.
func TestSearchByTimesOutOfOrder(t *testing.T) {
	p := New()
	p.config.SearchScan, p.config.PageBytes = 100, 1<<20 // each call reads a page, which is more
	below := plugintest.New(t, plugintest.Options{})
	store := clocks{below.Timelines(), time.UnixMilli(1_700_000_000_000), new(atomic.Int64)}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}}, Timelines: store})
	phone := h.As(1, "phone", idl.CodecProtobuf)
	const many = 1200
	for i := range many {
		if err := phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: fmt.Sprint(i), ToUserId: 2, Text: "fox"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	c := im.ChatOf(1, 2)
	for from := int64(0); from < many; from += 67 {
		for _, until := range []int64{from + 1, from + 15, from + 60, from + 600, many + 16} {
			req := &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "c_1_2", FromMs: store.begin.Add(time.Duration(from) * time.Minute).UnixMilli(), UntilMs: store.begin.Add(time.Duration(until) * time.Minute).UnixMilli()}
			want, got := 0, 0
			for seq := int64(1); seq <= many; seq++ {
				if at := store.at(seq).UnixMilli(); at >= req.FromMs && at < req.UntilMs {
					want++
				}
			}
			store.read.Store(0)
			calls := 0
			for more := true; more; calls++ {
				s := &searching{p: p, user: 1, req: req, words: []string{"fox"}, limit: many, until: time.Now().Add(time.Hour), reaches: map[im.ConversationID]*plugin.Reach{}, untimely: 16}
				in, err := s.in(t.Context(), c)
				if err == nil {
					err = in.start(t.Context(), req.Cursor)
				}
				if err != nil {
					t.Fatal(err)
				}
				rep, err := s.run(t.Context(), in, idl.CodecProtobuf)
				if err != nil {
					t.Fatal(err)
				}
				got, more, req.Cursor = got+len(rep.Messages), rep.HasMore, rep.Cursor
			}
			if got != want {
				t.Errorf("from %d until %d: found %d, want %d", from, until, got, want)
			}
			// It reads no page of which it needs nothing, but for one that tells that it is over.
			if most := until - from + 8*16 + 2*searchStep; store.read.Load() > most || calls > int(most/searchStep)+1 {
				t.Errorf("from %d until %d: it read %d messages in %d calls", from, until, store.read.Load(), calls)
			}
		}
	}
}
