package chat_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// asked is a store that counts what is asked of the announcements, and passes the answers through what a test sets.
type asked struct {
	timeline.Store
	heads, reads atomic.Int64
	head         func(n int64)                                                      // at the n-th look-up of where the log ends; nil: nothing
	read         func(timeline.Page[im.Message]) (timeline.Page[im.Message], error) // of a page of the log; nil: as it is
	failing      atomic.Bool                                                        // no message is taken
}

func (a *asked) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) ([]int64, []int64, error) {
	if slices.Equal(logs, []im.ConversationID{im.ToAll}) {
		n := a.heads.Add(1)
		if a.head != nil {
			a.head(n)
		}
	}
	return a.Store.Heads(ctx, logs, inboxes)
}

func (a *asked) Log(ctx context.Context, c im.ConversationID, after int64, limit int) (timeline.Page[im.Message], error) {
	page, err := a.Store.Log(ctx, c, after, limit)
	if c != im.ToAll || err != nil {
		return page, err
	}
	a.reads.Add(1)
	if a.read != nil {
		return a.read(page)
	}
	return page, nil
}

func (a *asked) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if a.failing.Load() {
		return timeline.Committed{}, errors.New("the store is away")
	}
	return a.Store.Append(ctx, d)
}

// newAsked is a station upon such a store, in which there are announcements already, of which its core knows nothing when it starts.
func newAsked(t *testing.T, announcements int, change func(*chat.Config, *asked)) (*station, *asked) {
	t.Helper()
	below := plugintest.New(t, plugintest.Options{}).Timelines()
	drafts := make([]timeline.Draft, announcements)
	for i := range drafts {
		body, err := (&chatpb.Content{Text: fmt.Sprint(i), Logged: true}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		drafts[i] = timeline.Draft{Conversation: im.ToAll, Sender: alice, Body: body}
	}
	if err := errors.Join(below.AppendAll(t.Context(), drafts)...); err != nil {
		t.Fatal(err)
	}
	store := &asked{Store: below}
	s := &station{T: t, chat: chat.New(), people: plugintest.NewPeople(alice, bob)}
	if change != nil {
		change(s.chat.Config().(*chat.Config), store)
	}
	s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat}, Stubs: s.people.Stubs(), Timelines: store})
	return s, store
}

// selecting is a context that counts who begins to wait for its end.
type selecting struct {
	context.Context
	waiters *atomic.Int64
}

func (s selecting) Done() <-chan struct{} {
	s.waiters.Add(1)
	return s.Context.Done()
}

// TestAnnouncementsReadOnce: however many ask a core that has just begun, it reads the log once, and who does not wait for it
// any more goes.
func TestAnnouncementsReadOnce(t *testing.T) {
	const callers, many, pages = 50, 1200, 3
	free := make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	s, store := newAsked(t, many, func(_ *chat.Config, a *asked) {
		a.read = func(page timeline.Page[im.Message]) (timeline.Page[im.Message], error) { <-free; return page, nil }
	})
	eventually(t, "the core reads by itself", func() bool { return store.reads.Load() == 1 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	var waiters atomic.Int64
	var asking sync.WaitGroup
	for range callers {
		asking.Go(func() {
			if n, err := s.chat.AnnouncementTimes(selecting{t.Context(), &waiters}, many); n != many || err != nil {
				t.Errorf("%d are known, %v", n, err)
			}
		})
	}
	eventually(t, "all wait, or more than one reads", func() bool { return waiters.Load() == callers || store.reads.Load() > 1 })
	if _, err := s.chat.AnnouncementTimes(gone, many); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone gets %v", err)
	}
	release()
	asking.Wait()
	s.want("pages read", store.reads.Load(), fmt.Sprint(pages))
}

// TestAnnouncementsReadOn: where one who read could not go on, the next does; a log with a hole is no log.
func TestAnnouncementsReadOn(t *testing.T) {
	var panicked, hole atomic.Bool
	const many = 1200
	s, store := newAsked(t, many, func(_ *chat.Config, a *asked) {
		a.read = func(page timeline.Page[im.Message]) (timeline.Page[im.Message], error) {
			switch {
			case page.Items[0].Seq > 1 && panicked.CompareAndSwap(false, true):
				panic("planted")
			case hole.Load():
				page.Items = slices.Delete(page.Items, 3, 4)
			}
			return page, nil
		}
	})
	eventually(t, "the core panics at the second page", panicked.Load)
	hole.Store(true)
	if _, err := s.chat.AnnouncementTimes(t.Context(), many); !errors.Is(err, timeline.ErrCorrupt) {
		t.Errorf("with a hole: %v", err)
	}
	hole.Store(false)
	if n, err := s.chat.AnnouncementTimes(t.Context(), many); n != many || err != nil {
		t.Errorf("%d are known, %v", n, err)
	}
	s.want("pages read", store.reads.Load(), "5")
}

// TestAnnouncementsAskedTogether: those who sync at the same time ask once where announcements end, and who syncs alone once.
func TestAnnouncementsAskedTogether(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		const syncs = 50
		free := make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		s, store := newAsked(t, 0, func(_ *chat.Config, a *asked) {
			a.head = func(n int64) {
				if n > 1 { // that is the core's own, when it starts
					<-free
				}
			}
		})
		eventually(t, "the core asks by itself", func() bool { return store.heads.Load() == 1 })
		var syncing sync.WaitGroup
		begin := func(n int) {
			device := s.As(bob, im.DeviceID(fmt.Sprint("device", n)), idl.CodecProtobuf)
			syncing.Go(func() {
				if err := device.Call(idl.ActionSync, &chatpb.SyncRequest{}, &chatpb.SyncReply{}); err != nil {
					t.Error(err)
				}
			})
		}
		for n := range 2 { // so many look-ups run at a time
			begin(n)
			eventually(t, "a look-up", func() bool { return store.heads.Load() == int64(n)+2 })
		}
		for n := range syncs {
			begin(n + 2)
		}
		eventually(t, "all ask", func() bool { return s.chat.AnnouncementHeadsAsked() == syncs || store.heads.Load() > 3 })
		release()
		syncing.Wait()
		s.want("look-ups, with the core's own", store.heads.Load(), "4")
	})
	t.Run("alone", func(t *testing.T) {
		s, store := newAsked(t, 1, nil)
		eventually(t, "the core has read by itself", func() bool { return store.reads.Load() == 1 })
		device, before := s.As(bob, "phone", idl.CodecProtobuf), store.heads.Load()
		s.want("what comes", entryTexts(s.sync(device, 0, 0).Entries), "[1 a_all 1 0]")
		s.want("look-ups of one with an announcement to come", store.heads.Load()-before, "1")
		s.sync(device, 1, 0)
		s.want("look-ups of one without", store.heads.Load()-before, "2")
	})
}

// TestAnnouncementsThatFail: they are none of the hour's.
func TestAnnouncementsThatFail(t *testing.T) {
	s, store := newAsked(t, 0, func(c *chat.Config, _ *asked) { c.AnnouncementsPerHour = 1 })
	post := func(clientID string) (p posted, status int) {
		status = s.page("POST /announcements", "", url.Values{"from": {alice.String()}, "client_id": {clientID}, "text": {"hi"}}, &p)
		return p, status
	}
	store.failing.Store(true)
	for range 2 {
		if p, status := post("a1"); status != http.StatusServiceUnavailable {
			t.Errorf("without a store: %d, %+v", status, p)
		}
	}
	store.failing.Store(false)
	if p, status := post("a1"); status != http.StatusOK || p.Seq != 1 {
		t.Errorf("with it again: %d, %+v", status, p)
	}
	if p, status := post("a2"); status != http.StatusTooManyRequests {
		t.Errorf("one more: %d, %+v", status, p)
	}
}
