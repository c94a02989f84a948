package chat_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

func schedule(s *plugintest.Session, m *chatpb.SendRequest, at time.Time) (*chatpb.Scheduled, error) {
	var rep chatpb.ScheduleReply
	err := s.Call(idl.ActionSchedule, &chatpb.ScheduleRequest{Message: m, AtMs: at.UnixMilli()}, &rep)
	return rep.Scheduled, err
}

// later schedules a text for bob an hour from now; it must be accepted.
func later(t *testing.T, h *plugintest.Host, s *plugintest.Session, clientID, text string) *chatpb.Scheduled {
	t.Helper()
	got, err := schedule(s, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Text: text}, h.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// waiting are a person's scheduled messages, as "client ID text state reason".
func waiting(t *testing.T, s *plugintest.Session) (all []string) {
	t.Helper()
	for after := ""; ; {
		var rep chatpb.ScheduledReply
		if err := s.Call(idl.ActionListScheduled, &chatpb.ScheduledRequest{AfterId: after, Limit: 2}, &rep); err != nil {
			t.Fatal(err)
		}
		for _, one := range rep.Scheduled {
			all = append(all, strings.TrimSpace(fmt.Sprint(one.Message.ClientId, " ", one.Message.Text, " ", int(one.State), " ", one.Reason)))
			after = one.Id
		}
		if !rep.HasMore {
			return all
		}
	}
}

func wantWaiting(t *testing.T, s *plugintest.Session, want ...string) {
	t.Helper()
	if got := waiting(t, s); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// without is a directory in which somebody is disabled, or has left for a while.
type without struct{ everybody }

func (without) Absent(_ context.Context, u im.UserID) (bool, error) { return u == alice, nil }

// TestScheduleOfWhoIsAbsent: nothing goes out in the name of somebody who is kept from his account by then.
func TestScheduleOfWhoIsAbsent(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{{Name: directory.Name, Service: without{}}}})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	later(t, h, alices, "1", "spam")
	h.Advance(time.Hour)
	eventually(t, "it is given up", func() bool { return strings.Contains(strings.Join(waiting(t, alices), ""), "PERMISSION_DENIED") })
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "" {
		t.Errorf("bob has %q", got)
	}
}

// A message is sent when its time comes, once, as it reads by then; its sender's devices know all along.
func TestSchedule(t *testing.T) {
	h := start(t, nil)
	phone, desk, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	first := later(t, h, phone, "one", "as it was")
	if again := later(t, h, desk, "one", "as it was"); again.Id != first.Id || again.Version != 1 {
		t.Errorf("got %+v, then %+v", first, again)
	}
	second := later(t, h, phone, "two", "tomorrow")
	third := later(t, h, phone, "three", "never")
	var changed chatpb.RescheduleReply
	if err := desk.Call(idl.ActionReschedule, &chatpb.RescheduleRequest{Id: first.Id, Text: new("as it is"), Version: 1}, &changed); err != nil || changed.Scheduled.Version != 2 {
		t.Fatalf("got %+v, %v", changed.Scheduled, err)
	}
	must(t, desk, idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: third.Id})
	wantWaiting(t, phone, "one as it is 0", "two tomorrow 0")
	entries(t, desk)
	h.Advance(time.Hour - time.Second)
	wantWaiting(t, phone, "one as it is 0", "two tomorrow 0")
	h.Advance(time.Second)
	eventually(t, "both are sent", func() bool { return len(waiting(t, phone)) == 0 })
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "2 tomorrow, 1 as it is" {
		t.Errorf("bob has %q", got)
	}
	toldAll(t, h)
	var seen []string
	for _, e := range entries(t, phone) {
		seen = append(seen, e.Message.ClientId+e.Message.Event)
	}
	if !slices.Contains(seen, "one") || !slices.Contains(seen, "two") {
		t.Errorf("the phone saw %v", seen)
	}
	var told []string
	for _, one := range heard(t, desk) {
		for _, state := range []string{"waiting", "canceled", "unsent"} {
			if strings.Contains(one, "chat.scheduled") && strings.Contains(one, `"state":"`+state+`"`) {
				told = append(told, state)
			}
		}
	}
	if want := []string{"waiting", "waiting", "waiting", "waiting", "canceled"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	// Whatever is sent was sent.
	err := desk.Call(idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: first.Id}, nil)
	wantRefusal(t, err, idl.CodeNotFound, "id")
	_, err = schedule(phone, &chatpb.SendRequest{ClientId: "one", ToUserId: int64(bob), Text: "as it was"}, h.Now().Add(time.Hour))
	wantRefusal(t, err, idl.CodeConflict, "message.client_id")
	// Whose answer was lost repeats what he asked for, and gets one that is as good.
	two, err := schedule(phone, &chatpb.SendRequest{ClientId: "two", ToUserId: int64(bob), Text: "tomorrow"}, time.UnixMilli(second.AtMs))
	if err != nil || two.State != chatpb.ScheduledState_SCHEDULED_STATE_SENT || two.Message.Text != "tomorrow" || two.Id != "" {
		t.Errorf("got %+v, %v", two, err)
	}
	wantWaiting(t, phone)
}

// doubtful is a store of which nobody knows, while it fails, what it took: it takes messages, and says that it does not.
type doubtful struct {
	timeline.Store
	fails atomic.Bool
	lost  atomic.Int64
}

func (d *doubtful) Append(ctx context.Context, m timeline.Draft) (timeline.Committed, error) {
	done, err := d.Store.Append(ctx, m)
	if err == nil && d.fails.Load() && strings.HasPrefix(m.ClientID, "doubtful") {
		d.lost.Add(1)
		return timeline.Committed{}, context.DeadlineExceeded
	}
	return done, err
}

// newDoubtful is a host upon such a store.
func newDoubtful(t *testing.T, people plugintest.Stub, plugins ...plugin.Plugin) (*plugintest.Host, *doubtful) {
	t.Helper()
	below := plugintest.New(t, plugintest.Options{})
	store := &doubtful{Store: below.Timelines()}
	return plugintest.New(t, plugintest.Options{Plugins: plugins, Stubs: []plugintest.Stub{people}, Timelines: store}), store
}

// unheard is a directory that cannot be asked for a while who is absent.
type unheard struct {
	everybody
	fails atomic.Bool
}

func (u *unheard) Absent(context.Context, im.UserID) (bool, error) {
	if u.fails.Load() {
		return false, im.Unavailable(0, nil)
	}
	return false, nil
}

// TestScheduleThatMayHaveArrived: what may have arrived is neither canceled nor changed, nor said to be unsent, whatever a later
// try comes to.
func TestScheduleThatMayHaveArrived(t *testing.T) {
	people := &unheard{}
	h, store := newDoubtful(t, plugintest.Stub{Name: directory.Name, Service: people}, chat.New())
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	arrived := later(t, h, alices, "doubtful", "arrived")
	store.fails.Store(true)
	h.Advance(time.Hour)
	eventually(t, "it seems to fail", func() bool { return store.lost.Load() == 1 })
	eventually(t, "its core has noted that", func() bool { return rows(t, h, "SELECT COUNT(*) FROM chat_scheduled WHERE state = 3") == 1 })
	wantRefusal(t, alices.Call(idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: arrived.Id}, nil), idl.CodeNotFound, "id")
	err := alices.Call(idl.ActionReschedule, &chatpb.RescheduleRequest{Id: arrived.Id, Text: new("other")}, nil)
	wantRefusal(t, err, idl.CodeNotFound, "id")
	people.fails.Store(true)
	h.Advance(3 * time.Second)
	eventually(t, "another try came to nothing", func() bool {
		return rows(t, h, "SELECT COUNT(*) FROM chat_scheduled WHERE tries = 2 AND state <> 2") == 1
	})
	wantRefusal(t, alices.Call(idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: arrived.Id}, nil), idl.CodeNotFound, "id")
	people.fails.Store(false)
	h.Advance(25 * time.Hour)
	eventually(t, "it is over", func() bool { return len(waiting(t, alices)) == 0 })
	toldAll(t, h)
	if got := strings.Join(heard(t, alices), "\n"); strings.Contains(got, "unsent") || strings.Contains(got, "canceled") {
		t.Errorf("alice heard %s", got)
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "1 arrived" {
		t.Errorf("bob has %q", got)
	}
}

// TestScheduleOfWhatIsHeld: the rules hold it when it is sent; who repeats his request then, since the answer was lost, hears that it
// was sent, whatever becomes of it.
func TestScheduleOfWhatIsHeld(t *testing.T) {
	r := reviewed(t, "")
	phone := r.As(alice, "phone", idl.CodecProtobuf)
	at := r.Now().Add(time.Hour)
	again := func(text string) (*chatpb.Scheduled, error) {
		return schedule(phone, &chatpb.SendRequest{ClientId: "1", ToUserId: int64(bob), Text: text}, at)
	}
	if _, err := again("late"); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Hour)
	for _, until := range []struct {
		what string
		done func() bool
	}{
		{"it is held", func() bool {
			return rows(t, r.Host, "SELECT COUNT(*) FROM chat_held") == 1 && len(waiting(t, phone)) == 0
		}},
		{"it is sent", func() bool {
			r.Advance(time.Hour)
			return inbox(t, r.As(bob, "phone", idl.CodecProtobuf)) != ""
		}},
	} {
		eventually(t, until.what, until.done)
		if got, err := again("late"); err != nil || got.State != chatpb.ScheduledState_SCHEDULED_STATE_SENT {
			t.Errorf("when %s: got %v, %v", until.what, got, err)
		}
		_, err := again("late, another")
		wantRefusal(t, err, idl.CodeConflict, "message.client_id")
	}
}

// TestScheduleBehindOneThatWaits: what is refused for a while has not arrived, and may be canceled.
func TestScheduleBehindOneThatWaits(t *testing.T) {
	r := reviewed(t, "", func(c *chat.Config) { c.HeldOfOne, c.HeldOfAll = 1, 10 })
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "phone", idl.CodecProtobuf)
	send(t, phone, bob, "first", "late one")
	refused := later(t, r.Host, phone, "second", "behind it")
	r.Advance(time.Hour)
	eventually(t, "its core has noted that", func() bool {
		return rows(t, r.Host, "SELECT COUNT(*) FROM chat_scheduled WHERE tries = 1 AND state <> 2") == 1
	})
	must(t, phone, idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: refused.Id})
	wantWaiting(t, phone)
	r.Advance(time.Hour)
	eventually(t, "the first is sent", func() bool { return inbox(t, bobs) == "1 late one" })
}

// TestSchedulePanics: whatever breaks while one is sent, the core goes on, and others are sent.
func TestSchedulePanics(t *testing.T) {
	p := &breaking{everybody: everybody{}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{{Name: directory.Name, Service: p}}})
	alices, carols := h.As(alice, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecJSON)
	later(t, h, alices, "1", "breaks")
	later(t, h, carols, "2", "goes")
	p.breaks.Store(true)
	h.Advance(time.Hour)
	eventually(t, "the other is sent, and it is logged", func() bool {
		return len(waiting(t, carols)) == 0 && strings.Contains(h.Logs(), "sending a message panicked")
	})
	p.breaks.Store(false)
	h.Advance(2 * time.Minute) // its core was believed to send it
	eventually(t, "it is sent", func() bool { return len(waiting(t, alices)) == 0 })
}

// breaking is a directory that panics about alice.
type breaking struct {
	everybody
	breaks atomic.Bool
}

func (b *breaking) Absent(_ context.Context, u im.UserID) (bool, error) {
	if u == alice && b.breaks.Load() {
		panic("no directory")
	}
	return false, nil
}

// Rules, guards and owners say what they say when it is sent; who is refused hears why, and may try again.
func TestScheduleIsAskedWhenItIsSent(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
	if c.text == "darn" then return im.deny("rejected", "mind your words") end
	if c.text == "wait" then return im.hold("newcomers", {deadline = "24h"}) end
	if c.text == "spam" then return im.shadow() end
	c.text = c.text:gsub("bad", "good")
end, {name = "x", on_error = "closed"})`})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	darn := later(t, h, alices, "1", "darn")
	later(t, h, alices, "2", "bad and bad")
	later(t, h, alices, "3", "wait")
	later(t, h, alices, "4", "spam")
	at := h.Now().Add(2 * time.Hour)
	if _, err := schedule(alices, &chatpb.SendRequest{ClientId: "5", ConversationId: "g_1", Text: "to the group"}, at); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Hour)
	eventually(t, "all went their ways", func() bool { return len(waiting(t, alices)) == 2 })
	wantWaiting(t, alices, "1 darn 1 REJECTED: mind your words", "5 to the group 0")
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "1 good and good" {
		t.Errorf("bob has %q", got)
	}
	var held chatpb.HeldReply
	if err := alices.Call(idl.ActionHeld, &chatpb.HeldRequest{}, &held); err != nil || len(held.Held) != 2 { // "spam" stands behind
		t.Errorf("got %+v, %v", held.Held, err)
	}
	toldAll(t, h)
	if got := strings.Join(heard(t, alices), "\n"); !strings.Contains(got, "mind your words") {
		t.Errorf("alice heard %s", got)
	}
	c.set(func() { c.members = []im.UserID{bob} })
	h.Advance(time.Hour)
	eventually(t, "she is out by then", func() bool {
		return slices.Contains(waiting(t, alices), "5 to the group 1 PERMISSION_DENIED: not a member")
	})
	err := alices.Call(idl.ActionReschedule, &chatpb.RescheduleRequest{Id: darn.Id, Text: new("well")}, nil)
	wantRefusal(t, err, idl.CodeInvalidArgument, "at_ms")
	must(t, alices, idl.ActionReschedule, &chatpb.RescheduleRequest{Id: darn.Id, Text: new("well"), AtMs: h.Now().Add(time.Minute).UnixMilli()})
	wantWaiting(t, alices, "1 well 0", "5 to the group 1 PERMISSION_DENIED: not a member")
	h.Advance(8 * 24 * time.Hour) // it is late for the one, and the other was kept for long enough
	eventually(t, "nothing is left to wait", func() bool { return len(waiting(t, alices)) == 0 || len(held.Held) == 0 })
}

func TestScheduleRefuses(t *testing.T) {
	p := chat.New()
	p.Config().(*chat.Config).ScheduledOfOne = 2
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	send(t, alices, bob, "used", "hi")
	mine := later(t, h, alices, "mine", "mine")
	hour := h.Now().Add(time.Hour).UnixMilli()
	text := func(id string) *chatpb.SendRequest {
		return &chatpb.SendRequest{ClientId: id, ToUserId: int64(bob), Text: "hi"}
	}
	for name, test := range map[string]struct {
		by     *plugintest.Session
		action idl.Action
		req    idl.Message
		code   idl.Code
		field  string
	}{
		"nothing":            {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour}, idl.CodeInvalidArgument, "message"},
		"no text":            {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: &chatpb.SendRequest{ClientId: "x", ToUserId: int64(bob)}}, idl.CodeInvalidArgument, "message.text"},
		"nobody":             {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: &chatpb.SendRequest{ClientId: "x", Text: "hi"}}, idl.CodeInvalidArgument, "message.to_user_id"},
		"no client ID":       {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: text("")}, idl.CodeInvalidArgument, "message.client_id"},
		"another's chat":     {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: &chatpb.SendRequest{ClientId: "x", ConversationId: "c_100002_100003", Text: "hi"}}, idl.CodePermissionDenied, "message.conversation_id"},
		"now":                {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: h.Now().UnixMilli(), Message: text("x")}, idl.CodeInvalidArgument, "at_ms"},
		"in another life":    {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: h.Now().Add(400 * 24 * time.Hour).UnixMilli(), Message: text("x")}, idl.CodeInvalidArgument, "at_ms"},
		"an ID of a message": {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: &chatpb.SendRequest{ClientId: "used", ToUserId: int64(bob), Text: "another"}}, idl.CodeConflict, "message.client_id"},
		"an ID of another":   {alices, idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: hour, Message: text("mine")}, idl.CodeConflict, "message.client_id"},
		"another's":          {bobs, idl.ActionReschedule, &chatpb.RescheduleRequest{Id: mine.Id, Text: new("his")}, idl.CodeNotFound, "id"},
		"another's, away":    {bobs, idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: mine.Id}, idl.CodeNotFound, "id"},
		"no ID":              {bobs, idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: "x"}, idl.CodeInvalidArgument, "id"},
		"another version":    {alices, idl.ActionReschedule, &chatpb.RescheduleRequest{Id: mine.Id, Version: 7}, idl.CodeConflict, "version"},
		"to the past":        {alices, idl.ActionReschedule, &chatpb.RescheduleRequest{Id: mine.Id, AtMs: 5}, idl.CodeInvalidArgument, "at_ms"},
		"to nothing":         {alices, idl.ActionReschedule, &chatpb.RescheduleRequest{Id: mine.Id, Text: new("")}, idl.CodeInvalidArgument, "text"},
		"a page of too many": {alices, idl.ActionListScheduled, &chatpb.ScheduledRequest{Limit: 51}, idl.CodeInvalidArgument, "limit"},
		"behind nothing":     {alices, idl.ActionListScheduled, &chatpb.ScheduledRequest{AfterId: "x"}, idl.CodeInvalidArgument, "after_id"},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, test.by.Call(test.action, test.req, nil), test.code, test.field)
		})
	}
	wantWaiting(t, bobs)
	later(t, h, alices, "second", "hi")
	_, err := schedule(alices, text("third"), h.Now().Add(time.Hour))
	wantRefusal(t, err, idl.CodeLimitExceeded, "")
}

// TestScheduleBounds: nobody schedules, changes or lists without end.
func TestScheduleBounds(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*chat.Config)
		do     func(s *plugintest.Session, at int64) error
	}{
		"schedule": {func(c *chat.Config) { c.ChangesPerMinute = 3 }, func(s *plugintest.Session, at int64) error {
			return s.Call(idl.ActionSchedule, &chatpb.ScheduleRequest{AtMs: at, Message: &chatpb.SendRequest{ClientId: "again", ToUserId: int64(bob), Text: "hi"}}, nil)
		}},
		"reschedule": {func(c *chat.Config) { c.ChangesPerMinute = 3 }, func(s *plugintest.Session, at int64) error {
			return s.Call(idl.ActionReschedule, &chatpb.RescheduleRequest{Id: "2222222222222222", AtMs: at}, nil)
		}},
		"unschedule": {func(c *chat.Config) { c.ChangesPerMinute = 3 }, func(s *plugintest.Session, _ int64) error {
			return s.Call(idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: "2222222222222222"}, nil)
		}},
		"readers": {func(c *chat.Config) { c.LooksPerMinute = 3 }, func(s *plugintest.Session, _ int64) error {
			return s.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: "g_1", Seq: 9}, nil)
		}},
		"versions": {func(c *chat.Config) { c.LooksPerMinute = 3 }, func(s *plugintest.Session, _ int64) error {
			return s.Call(idl.ActionVersions, &chatpb.VersionsRequest{ConversationId: "g_1", Seq: 9, MessageId: "2222222222222222"}, nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := finding(t, test.change)
			phone, at := h.As(alice, "phone", idl.CodecJSON), h.Now().Add(time.Hour).UnixMilli()
			for i := range 4 {
				if err := test.do(phone, at); (im.CodeOf(err) == idl.CodeRateLimited) != (i == 3) {
					t.Fatalf("call %d: %v", i, err)
				}
			}
		})
	}
}

// Two cores, and one that ended behind the commit, send each once and in order of time.
func TestScheduleOnce(t *testing.T) {
	dir, there := t.TempDir(), presence.NewMemory()
	core := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir, Presence: there})
	}
	cores := []*plugintest.Host{core(), core()}
	if os.Getenv(plugintest.Stores) != "production" { // cores of the embedded stores share no timelines
		cores[1] = cores[0]
	}
	alices, bobs := cores[0].As(alice, "phone", idl.CodecJSON), cores[1].As(bob, "phone", idl.CodecProtobuf)
	at := cores[0].Now().Add(time.Hour)
	var want []string
	for i := range 40 {
		m := &chatpb.SendRequest{ClientId: fmt.Sprint(i), ToUserId: int64(bob), Text: fmt.Sprint(i)}
		if _, err := schedule(alices, m, at.Add(time.Duration(-i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	send(t, alices, bob, "39", "39") // it is committed, and its row is there still
	for _, h := range cores {
		if h.Now().Before(at) {
			h.Advance(time.Hour)
		}
	}
	eventually(t, "all are sent", func() bool { return len(waiting(t, alices)) == 0 })
	page, _ := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice), AfterSeq: 0, Limit: 500})
	var got []string
	for _, m := range page.Messages {
		got = append([]string{m.Text}, got...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// unruly are rules that fail, and break.
type unruly struct{ plugin.Rules }

func (unruly) Wants(*plugin.Call, bool) bool { return true }

func (unruly) Review(_ context.Context, _ *plugin.Call, r plugin.Reviewed) error {
	switch *r.Text {
	case "broken":
		panic("broken")
	case "later":
		return &im.Error{Code: idl.CodeRateLimited, RetryAfter: time.Minute}
	}
	return nil
}

func (unruly) Answered(*plugin.Call, string) {}

func (unruly) Opened() <-chan struct{} {
	opened := make(chan struct{})
	close(opened)
	return opened
}

// What cannot be sent now is tried again, for a day; it holds up no other.
func TestScheduleTriesAgain(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory, {Name: "chat.rules", Service: unruly{}}}})
	alices := h.As(alice, "phone", idl.CodecJSON)
	later(t, h, alices, "1", "broken")
	later(t, h, alices, "2", "later")
	later(t, h, alices, "3", "fine")
	h.Advance(time.Hour)
	eventually(t, "one is sent", func() bool { return len(waiting(t, alices)) == 2 })
	wantWaiting(t, alices, "1 broken 0", "2 later 0")
	h.Advance(25 * time.Hour)
	eventually(t, "the others are given up", func() bool {
		return slices.Equal(waiting(t, alices), []string{"1 broken 1 not possible in time", "2 later 1 not possible in time"})
	})
	h.Advance(8 * 24 * time.Hour)
	eventually(t, "and forgotten", func() bool { return len(waiting(t, alices)) == 0 })
}
