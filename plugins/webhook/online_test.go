package webhook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
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
	"freeim/plugins/webhook"
)

// registry can be away.
type registry struct {
	presence.Registry
	away  atomic.Bool
	asked atomic.Int64 // how often of 7 while it was away
}

func (r *registry) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	if r.away.Load() {
		if slices.Contains(users, 7) {
			r.asked.Add(1)
		}
		return nil, errors.New("the registry does not answer")
	}
	return r.Registry.Routes(ctx, users...)
}

// presenceWorld is a world whose receiver is told who is online.
func presenceWorld(t *testing.T, cores int, change func(*webhook.Config), more ...plugin.Plugin) (*world, *registry) {
	t.Helper()
	return presenceWorldIn(t, nil, cores, change, more...)
}

// presenceWorldIn is presenceWorld over that store; nil: one of its own.
func presenceWorldIn(t *testing.T, timelines timeline.Store, cores int, change func(*webhook.Config), more ...plugin.Plugin) (*world, *registry) {
	t.Helper()
	w, there := &world{t: t, messages: &plugintest.Messages{}, receiver: newReceiver(t)}, &registry{Registry: presence.NewMemory()}
	set := func(c *webhook.Config) {
		c.Endpoints[0].Events, c.Lease, c.PresenceSweep = []string{"user.*"}, time.Second, time.Second
		if change != nil {
			change(c)
		}
	}
	w.hook = configured(t, w.receiver.server.URL, set)
	plugins := append([]plugin.Plugin{w.hook}, more...)
	if cores == 2 {
		plugins = append(plugins, second{configured(t, w.receiver.server.URL, set)})
	}
	w.Host = plugintest.New(t, plugintest.Options{Plugins: plugins, Stubs: []plugintest.Stub{w.messages.Outbox()}, Start: time.Now(), Presence: there, Timelines: timelines})
	w.receiver.clock.Store(w.Host)
	return w, there
}

// inside is a plugin that lends its host.
type inside struct{ plugin.Host }

func (*inside) Info() plugin.Info { return plugin.Info{Name: "inside", Version: "1"} }

func (*inside) Register(*plugin.Registrar) {}

func (i *inside) Provision(_ context.Context, h plugin.Host) error {
	i.Host = h
	return nil
}

// lives is what was told of a person, without what came twice: "online", "offline".
func (w *world) lives(u im.UserID) (all []string) {
	seen := map[string]bool{}
	for _, e := range w.receiver.taken() {
		if e.UserID == int64(u) && !seen[e.ID] {
			seen[e.ID] = true
			all = append(all, strings.TrimPrefix(e.Event, "user."))
		}
	}
	return all
}

// wantLives waits until that was told of a person; the clock goes on meanwhile.
func (w *world) wantLives(u im.UserID, want ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("of %d is told %v", u, want), func() bool {
		w.Advance(100 * time.Millisecond)
		return len(w.lives(u)) >= len(want)
	})
	if got := w.lives(u); !slices.Equal(got, want) {
		w.t.Errorf("of %d came %v, want %v", u, got, want)
	}
}

// rows waits until the rows of people are as wanted: "user state"; the clock goes on meanwhile.
func (w *world) rows(want ...string) {
	w.t.Helper()
	w.rowsAt(20*time.Millisecond, want...)
}

// rowsAt is rows with a clock that goes on by step, or stands still, with each look.
func (w *world) rowsAt(step time.Duration, want ...string) {
	w.t.Helper()
	var got []string
	eventually(w.t, fmt.Sprintf("the rows are %v", want), func() bool {
		w.Advance(step)
		rows, err := w.DB().QueryContext(w.t.Context(), "SELECT user_id, state FROM webhook_online ORDER BY user_id")
		if err != nil {
			w.t.Fatal(err)
		}
		defer rows.Close()
		for got = nil; rows.Next(); {
			var user, state int
			if err := rows.Scan(&user, &state); err != nil {
				w.t.Fatal(err)
			}
			got = append(got, fmt.Sprint(user, " ", state))
		}
		slices.Sort(got)
		return rows.Err() == nil && slices.Equal(got, want)
	})
}

// Somebody comes online with his first device, and goes with the last, once the grace is over.
func TestOnline(t *testing.T) {
	w, _ := presenceWorld(t, 1, nil)
	phone := w.As(7, "phone", idl.CodecJSON)
	w.wantLives(7, "online")
	desk := w.As(7, "desk", idl.CodecJSON)
	phone.Close()
	w.rows("7 2")
	w.Advance(time.Hour)
	other := w.As(8, "phone", idl.CodecJSON)
	w.wantLives(8, "online")
	other.Close()
	w.rowsAt(0, "7 2", "8 3") // from here on graces are measured
	w.Advance(25 * time.Second)
	desk.Close()
	w.rowsAt(0, "7 3", "8 3")
	w.Advance(10 * time.Second)
	eventually(t, "8 is gone", func() bool { return len(w.lives(8)) == 2 }) // the sweep was here, and leaves who is not away for long
	w.rowsAt(0, "7 3")
	desk = w.As(7, "desk", idl.CodecJSON) // back in time
	w.rowsAt(0, "7 2")
	w.Advance(time.Hour)
	desk.Close()
	w.rows("7 3")
	w.Advance(31 * time.Second)
	w.wantLives(7, "online", "offline")
	w.rows()
	w.As(7, "phone", idl.CodecJSON)
	w.wantLives(7, "online", "offline", "online")
	got := slices.DeleteFunc(w.receiver.taken(), func(e told) bool { return e.UserID != 7 })
	var data struct {
		Device  string `json:"device_id"`
		Kind    string `json:"device_type"`
		SinceMs int64  `json:"since_ms"`
		SeenMs  int64  `json:"last_seen_ms"`
	}
	if err := json.Unmarshal([]byte(got[1].Message.Data), &data); err != nil {
		t.Fatal(err)
	}
	if data.Device != "desk" || data.Kind != "desktop" || data.SeenMs-data.SinceMs < 2*time.Hour.Milliseconds() {
		t.Errorf("got %+v", data)
	}
}

// A registry that does not answer has nobody go, nor come.
func TestOnlineWithoutRegistry(t *testing.T) {
	w, there := presenceWorld(t, 1, nil)
	w.As(7, "phone", idl.CodecJSON)
	w.wantLives(7, "online")
	there.away.Store(true)
	w.As(8, "phone", idl.CodecJSON)
	w.Advance(10 * time.Minute) // the grace is over
	until := there.asked.Load() + 3
	eventually(t, "the rounds look for 7 in vain, again and again", func() bool {
		w.Advance(time.Minute)
		return there.asked.Load() >= until
	})
	w.rows("7 2")
	there.away.Store(false)
	w.wantLives(8, "online")
	w.wantLives(7, "online")
}

// What nobody says, since an edge died, the rounds find; and who has a session that nobody was told of, a census.
func TestOnlineSwept(t *testing.T) {
	w, there := presenceWorld(t, 1, nil)
	for u := im.UserID(1); u <= 600; u++ {
		w.As(u, "phone", idl.CodecProtobuf)
	}
	eventually(t, "600 are online", func() bool { return len(w.receiver.taken()) >= 600 })
	life := presence.Life{Edge: "other", Epoch: 5}
	if err := there.Attach(t.Context(), life); err != nil {
		t.Fatal(err)
	}
	lone := presence.Route{SessionRef: presence.SessionRef{Edge: life.Edge, Epoch: life.Epoch, Session: 1}, User: 1000, Device: "phone", Since: time.Now()}
	if _, _, err := there.Register(t.Context(), lone); err != nil { // behind the host's back: its core ended before it was noted
		t.Fatal(err)
	}
	if _, err := w.Presence().Restore(t.Context(), []presence.Route{lone}); err != nil {
		t.Fatal(err)
	}
	w.wantLives(1000, "online")
	if err := there.Attach(t.Context(), presence.Life{Edge: life.Edge, Epoch: 6}); err != nil { // it died
		t.Fatal(err)
	}
	w.wantLives(1000, "online", "offline")
	for u := im.UserID(1); u <= 600; u++ {
		if got := w.lives(u); !slices.Equal(got, []string{"online"}) {
			t.Errorf("of %d came %v", u, got)
		}
	}
}

// corrupt has what is told of a person be unreadable where it is looked whether it was told before.
type corrupt struct {
	timeline.Store
	of im.ConversationID
}

func (c corrupt) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if d.Conversation == c.of {
		return timeline.Committed{}, timeline.ErrCorrupt
	}
	return c.Store.Append(ctx, d)
}

// One person of whom nothing can be told keeps nobody waiting: neither those who came with him nor those of later pages.
func TestOnlineCorrupt(t *testing.T) {
	const people = 300 // more than a page
	w, there := presenceWorldIn(t, corrupt{plugintest.New(t, plugintest.Options{}).Timelines(), im.NoticesOf(1).Aside()}, 1, nil)
	life := presence.Life{Edge: "other", Epoch: 5}
	if err := there.Attach(t.Context(), life); err != nil {
		t.Fatal(err)
	}
	for u := im.UserID(1); u <= people; u++ {
		r := presence.Route{SessionRef: presence.SessionRef{Edge: life.Edge, Epoch: life.Epoch, Session: uint64(u)}, User: u, Device: "phone", Since: time.Now()}
		if _, _, err := there.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Presence().Restore(t.Context(), []presence.Route{r}); err != nil {
			t.Fatal(err)
		}
	}
	w.wantLives(people, "online")
	if err := there.Attach(t.Context(), presence.Life{Edge: life.Edge, Epoch: 6}); err != nil { // it died: rounds find that
		t.Fatal(err)
	}
	w.wantLives(people, "online", "offline")
	if got := w.lives(1); len(got) != 0 {
		t.Errorf("of 1 came %v", got)
	}
}

// Over two cores everybody who comes and goes, again and again, is told in turns, once each, and as he is in the end.
func TestOnlineOverTwoCores(t *testing.T) {
	// The clock runs faster than leases are renewed: they are long.
	w, _ := presenceWorld(t, 2, func(c *webhook.Config) { c.PresenceGrace, c.Lease = time.Second, 5*time.Minute })
	const people, rounds = 20, 6
	for round := range rounds {
		sessions := make([]*plugintest.Session, people)
		for i := range sessions {
			sessions[i] = w.As(im.UserID(i+1), im.DeviceID(fmt.Sprint("d", round%2)), idl.CodecJSON)
		}
		for i, s := range sessions {
			if round == rounds-1 && i%2 == 0 {
				continue // these stay
			}
			s.Close()
		}
		w.Advance(time.Duration(round%3) * time.Second)
	}
	var stay []string
	for u := 1; u <= people; u += 2 {
		stay = append(stay, fmt.Sprint(u, " 2"))
	}
	slices.Sort(stay)
	w.rows(stay...)
	for u := im.UserID(1); u <= people; u++ {
		stays := (u-1)%2 == 0
		eventually(t, fmt.Sprintf("%d stays: %v, and is told so in the end", u, stays), func() bool {
			got := w.lives(u) // who was gone before a core looked at him was never there
			return len(got) == 0 && !stays || len(got) > 0 && (got[len(got)-1] == "online") == stays
		})
		for i, one := range w.lives(u) {
			if want := []string{"online", "offline"}[i%2]; one != want {
				t.Errorf("of %d came %v", u, w.lives(u))
				break
			}
		}
	}
}

// Without an endpoint that asks, nothing is noted.
func TestOnlineUnasked(t *testing.T) {
	w := start(t, nil) // it asks for "*"
	w.As(7, "phone", idl.CodecJSON)
	said := w.say(1, 3, "m")
	w.wantTold(said)
	w.rows()
	if got := len(w.receiver.taken()); got != 3 {
		t.Errorf("%d events came", got)
	}
}

// What a core that ended left half done, the sweep does: once, also if the event was committed before.
func TestOnlineLeftHalfDone(t *testing.T) {
	in := new(inside)
	w, there := presenceWorld(t, 1, nil, in)
	life := presence.Life{Edge: "other", Epoch: 1}
	if err := there.Attach(t.Context(), life); err != nil {
		t.Fatal(err)
	}
	for u := im.UserID(1); u <= 2; u++ { // their sessions, of which nobody hears
		r := presence.Route{SessionRef: presence.SessionRef{Edge: life.Edge, Epoch: life.Epoch, Session: uint64(u)}, User: u, Device: "d", Since: time.Now()}
		if _, _, err := there.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	told := plugin.Notice{About: im.NoticesOf(2), ID: "~online.B", Name: "user.online", Data: `{"device_id":"d","since_ms":1}`}
	if err := errors.Join(w.messages.Tell(t.Context(), told)...); err != nil {
		t.Fatal(err)
	}
	err := in.Tx(t.Context(), func(tx *sql.Tx) (err error) {
		for _, row := range []struct {
			user, state int
			tag         string
		}{{1, 1, "A"}, {2, 1, "B"}, {3, 4, "C"}} {
			_, fault := tx.Exec("INSERT INTO webhook_online (user_id, state, tag, at_ms, since_ms, device, device_type) VALUES (?, ?, ?, 1, 1, 'd', 1)", row.user, row.state, row.tag)
			err = errors.Join(err, fault)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.wantLives(1, "online")
	w.wantLives(3, "offline")
	w.rows("1 2", "2 2")
	w.wantLives(2, "online")
}

// What is kept of somebody is given to him, and goes with him; nobody is told that he went.
func TestOnlineOfErased(t *testing.T) {
	people := plugintest.NewPeople(7)
	w := &world{t: t, messages: &plugintest.Messages{}, receiver: newReceiver(t)}
	w.hook = configured(t, w.receiver.server.URL, func(c *webhook.Config) { c.Endpoints[0].Events = []string{"user.*"} })
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{w.hook}, Stubs: append(people.Stubs(), w.messages.Outbox()), Start: time.Now()})
	w.receiver.clock.Store(w.Host)
	phone := w.As(7, "phone", idl.CodecJSON)
	w.wantLives(7, "online")
	w.rows("7 2")
	kept := people.Holdings()["webhook"]
	out, err := kept.Export(t.Context(), 7)
	text, fault := json.Marshal(out)
	if err := errors.Join(err, fault); err != nil || !strings.Contains(string(text), `"device_id":"phone"`) {
		t.Errorf("got %s, %v", text, err)
	}
	for range 2 {
		if err := kept.Erase(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
	}
	phone.Close()
	w.rows()
	if out, err = kept.Export(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(out); err != nil || string(text) != `{"online":[]}` {
		t.Errorf("got %s, %v", text, err)
	}
	if got := w.lives(7); !slices.Equal(got, []string{"online"}) {
		t.Errorf("of him came %v", got)
	}
}
