package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/webhook"
)

// away stands for the chat plugin: nobody has what was said, but for what was reached.
type away struct {
	mu      sync.Mutex // guards the fields below
	reached map[string]bool
	people  int // who hears of each message
	fault   error
}

func (a *away) Alerts(_ context.Context, items []plugin.Fed) (all []plugin.Alert, covered int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, item := range items {
		m := item.Message.(*chatpb.Message)
		if a.reached[m.Text] {
			continue
		}
		for u := range im.UserID(a.people) {
			all = append(all, plugin.Alert{Position: item.Position, User: u + 2, Conversation: im.ConversationID(m.ConversationId), CollapseKey: m.ConversationId, MessageID: m.Id,
				Seq: m.Seq, Sender: im.UserID(m.SenderId), TimeMs: m.TimeMs, Kind: "text", Text: m.Text, Name: "Ann", Badge: 3,
				Devices: []plugin.AlertDevice{{Device: "phone", Type: "mobile", Provider: "apns", Token: "t"}}})
		}
	}
	return all, len(items), a.fault
}

func (a *away) reach(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reached[text] = true
}

func (a *away) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = err
}

// startPush is a host whose endpoint is told of offline pushes.
func startPush(t *testing.T, a *away, push webhook.Push, change func(*webhook.Config)) *world {
	t.Helper()
	a.reached, a.people = map[string]bool{}, max(a.people, 1)
	w := &world{t: t, messages: &plugintest.Messages{}, receiver: newReceiver(t)}
	w.hook = configured(t, w.receiver.server.URL, func(c *webhook.Config) {
		c.Endpoints[0].Events, c.Endpoints[0].Push = nil, &push
		if change != nil {
			change(c)
		}
	})
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{w.hook}, Start: time.Now(),
		Stubs: []plugintest.Stub{w.messages.Outbox(), {Name: plugin.ServiceAlerts, Service: a}}})
	w.receiver.clock.Store(w.Host)
	return w
}

// sayTo has one text of 1's be committed to a chat.
func (w *world) sayTo(text string) {
	w.t.Helper()
	w.messages.Say(w.t, im.ChatOf(1, 2), 1, strings.ReplaceAll(text, " ", "-"), text, 1, 2)
}

// texts are those that were told, as often as they were.
func (w *world) texts() (all []string) {
	for _, e := range w.receiver.taken() {
		all = append(all, e.Push.Text)
	}
	return all
}

func (w *world) wantTexts(want ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%v is told", want), func() bool { return len(w.texts()) >= len(want) })
	if got := w.texts(); !slices.Equal(got, want) {
		w.t.Errorf("got %v, want %v", got, want)
	}
}

// A person hears when his devices had time, of what none of them has by then, signed as everything.
func TestPushes(t *testing.T) {
	a := &away{}
	w := startPush(t, a, webhook.Push{After: time.Minute, Content: true}, nil)
	w.sayTo("first")
	w.Advance(30 * time.Second)
	w.sayTo("seen")
	w.sayTo("second")
	w.Advance(30 * time.Second)
	w.wantTexts("first")
	a.reach("seen")
	w.Advance(30 * time.Second)
	w.wantTexts("first", "second")
	e := w.receiver.taken()[0]
	if e.Event != "push.offline" || e.UserID != 2 || e.ID != e.Push.MessageID+".2" || e.Push.Conversation != im.ChatOf(1, 2) || e.Push.Badge != 3 ||
		e.Push.Name != "Ann" || len(e.Push.Devices) != 1 || e.Message.Text != "" || e.Position == "" {
		t.Errorf("got %+v, %+v", e, e.Push)
	}
	eventually(t, "all is noted", func() bool { return w.status().Pending == 0 })
}

// What a message says goes to the makers of phones only if the operator wants it.
func TestPushesWithoutContent(t *testing.T) {
	w := startPush(t, &away{}, webhook.Push{After: time.Millisecond}, nil)
	w.sayTo("a secret")
	w.Advance(time.Second)
	w.wantTexts("")
	if e := w.receiver.taken()[0]; e.Push.Name != "" || e.Push.Text != "" {
		t.Errorf("got %+v", e.Push)
	}
}

// A clock that was set back holds nothing up for longer than devices have.
func TestPushesWhenTheClockIsSetBack(t *testing.T) {
	w := startPush(t, &away{}, webhook.Push{After: 50 * time.Millisecond, Content: true}, nil)
	w.sayTo("first")
	w.Advance(-time.Hour)
	w.sayTo("second")
	eventually(t, "both are told", func() bool { return len(w.texts()) >= 2 })
}

// What is old is no reason to wake anybody; what failed is looked at again before it is told again.
func TestPushesExpire(t *testing.T) {
	a := &away{}
	w := startPush(t, a, webhook.Push{After: time.Second, Expire: time.Minute, Content: true}, nil)
	w.receiver.set(func(_ int, _ []told, rw http.ResponseWriter) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.sayTo("old")
	w.Advance(2 * time.Second)
	eventually(t, "it was tried", func() bool { return w.receiver.called() > 1 })
	w.Advance(2 * time.Minute)
	w.sayTo("read meanwhile")
	w.sayTo("new")
	w.Advance(2 * time.Second)
	eventually(t, "the old one is given up", func() bool { return w.hook.Forwarded()["test"].Dead == 1 })
	a.reach("read meanwhile")
	calls := w.receiver.called()
	eventually(t, "it is tried without", func() bool { return w.receiver.called() > calls+1 })
	w.receiver.set(nil)
	w.wantTexts("new")
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("got %v: they are of no use", dead)
	}
}

// TestPushesExpireUntried: what nobody had time for is counted.
func TestPushesExpireUntried(t *testing.T) {
	w := startPush(t, &away{}, webhook.Push{After: 50 * time.Second, Expire: time.Minute, Content: true}, nil)
	w.receiver.set(func(_ int, _ []told, rw http.ResponseWriter) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.sayTo("tried")
	w.Advance(51 * time.Second)
	eventually(t, "it was tried", func() bool { return w.receiver.called() > 0 })
	w.sayTo("second")
	w.sayTo("third")
	w.Advance(2 * time.Minute)
	eventually(t, "all are over", func() bool {
		of := w.hook.Forwarded()["test"]
		return of.Dead+of.Expired == 3
	})
	if of := w.hook.Forwarded()["test"]; of.Delivered != 0 {
		t.Errorf("got %+v", of)
	}
	was := w.hook.Forwarded()["test"].Expired
	w.sayTo("fourth")
	w.Advance(2 * time.Minute)
	eventually(t, "it is counted", func() bool { return w.hook.Forwarded()["test"].Expired == was+1 })
}

// One that is refused by itself holds nobody up; several deliveries for one message tell everybody once.
func TestPushesOfMany(t *testing.T) {
	a := &away{people: 50}
	w := startPush(t, a, webhook.Push{After: time.Millisecond, Content: true}, func(c *webhook.Config) { c.Batch, c.Tries = 7, 2 })
	names := map[string][]string{}
	w.receiver.set(func(_ int, events []told, rw http.ResponseWriter) {
		for _, e := range events {
			if e.UserID == 30 {
				rw.WriteHeader(http.StatusUnprocessableEntity)
			}
			names[e.ID] = append(names[e.ID], e.Push.Text)
		}
	})
	w.sayTo("to all")
	w.Advance(time.Second)
	eventually(t, "all but one are told", func() bool { return len(w.receiver.taken()) >= 49 })
	eventually(t, "all is noted", func() bool { return w.status().Pending == 0 })
	seen := map[int64]int{}
	for _, e := range w.receiver.taken() {
		seen[e.UserID]++
	}
	for u := range int64(50) {
		if want := map[bool]int{true: 0, false: 1}[u+2 == 30]; seen[u+2] != want {
			t.Errorf("%d was told %d times, want %d", u+2, seen[u+2], want)
		}
	}
	if n := w.hook.Forwarded()["test"].Dead; n != 1 {
		t.Errorf("%d were given up", n)
	}
}

// While nobody can say whom messages reached, they wait.
func TestPushesWait(t *testing.T) {
	a := &away{}
	a.fault = im.Unavailable(0, nil)
	w := startPush(t, a, webhook.Push{After: time.Millisecond, Content: true}, nil)
	w.sayTo("waits")
	w.Advance(time.Second)
	eventually(t, "it is said", func() bool { return strings.Contains(w.Logs(), "a feed waits to be delivered") })
	a.fail(nil)
	w.wantTexts("waits")
}

// TestPushesAfterAPause: an endpoint that failed is left alone for a while; whoever read meanwhile is not told
// of it when it is tried again, on whatever feed.
func TestPushesAfterAPause(t *testing.T) {
	a := &away{}
	w := startPush(t, a, webhook.Push{After: time.Millisecond, Content: true}, func(c *webhook.Config) {
		c.Pause, c.MostPause = 3*time.Second, 3*time.Second // longer than what was looked up is believed
	})
	w.receiver.set(func(_ int, _ []told, out http.ResponseWriter) { out.WriteHeader(http.StatusServiceUnavailable) })
	for i := range 12 { // of as many feeds
		w.messages.Say(t, im.ChatOf(1, im.UserID(2+i)), 1, fmt.Sprint(i), fmt.Sprint("t", i), 1, 2)
	}
	w.Advance(time.Second)
	calls, quiet := 0, 0
	eventually(t, "it is left alone", func() bool { // all that were on their way when that began have failed
		if now := w.receiver.called(); now != calls {
			calls, quiet = now, 0
		}
		quiet++
		return calls >= 5 && quiet > 50
	})
	for i := range 12 {
		a.reach(fmt.Sprint("t", i))
	}
	w.receiver.set(nil)
	w.sayTo("last")
	w.Advance(time.Second)
	w.wantTexts("last")
}

func TestPushConfiguration(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*webhook.Endpoint)
		field  string
	}{
		"events beside": {func(e *webhook.Endpoint) { e.Events = []string{"*"} }, "webhook.endpoints[0].events"},
		"too late":      {func(e *webhook.Endpoint) { e.Push.After = time.Hour }, "webhook.endpoints[0].push.after"},
		"at once":       {func(e *webhook.Endpoint) { e.Push.After = -1 }, "webhook.endpoints[0].push.after"},
		"over before":   {func(e *webhook.Endpoint) { e.Push.Expire = time.Second }, "webhook.endpoints[0].push.expire"},
		"for ever":      {func(e *webhook.Endpoint) { e.Push.Expire = 1000 * time.Hour }, "webhook.endpoints[0].push.expire"},
	} {
		t.Run(name, func(t *testing.T) {
			hook := configured(t, "http://127.0.0.1", func(c *webhook.Config) {
				c.Endpoints[0].Events, c.Endpoints[0].Push = nil, &webhook.Push{}
				row.change(&c.Endpoints[0])
			})
			err := hook.Validate()
			if refused, ok := err.(*im.Error); !ok || refused.Code != idl.CodeInvalidArgument || refused.Field != row.field {
				t.Errorf("got %v, want of %s", err, row.field)
			}
		})
	}
}
