package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

func announced(seq int64) session.Delivery {
	return session.Delivery{Wakes: []session.Wake{{Log: "a_all", Seq: seq, Everybody: true}}}
}

// TestEverybodyIsAskedToSync: a word about an announcement reaches every session once, however many words come before its
// turn, and one that passes Auth meanwhile too; who follows a log has his turn beside them.
func TestEverybodyIsAskedToSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{Heartbeat: time.Hour, AuthTimeout: time.Hour})
		const many = 450
		clients := make([]*client, many)
		for i := range clients {
			clients[i] = w.live(idl.CodecProtobuf, false)
		}
		asked := func() (n int) {
			t.Helper()
			for _, c := range clients {
				for _, f := range c.line.take() {
					if f.Action != idl.ActionSync || f.Sequence != 0 {
						t.Fatalf("got %+v", f)
					}
					n++
				}
			}
			return n
		}
		late := w.open()
		late.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1}, false)
		auth := late.oneCall(idl.ActionAuth)
		w.hub.Deliver(announced(1))
		synctest.Wait()
		first := asked()
		if first < 90 || first > 100 { // late may be among the first
			t.Errorf("%d are asked at once", first)
		}
		time.Sleep(20 * time.Millisecond * many / 100)
		synctest.Wait()
		if n := asked(); n == 0 || n >= many-first {
			t.Errorf("some time later %d", n)
		} else {
			first += n
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := first + asked(); n != many {
			t.Errorf("%d are asked, want each once: %d", n, many)
		}
		// The answer to that Auth is of before the announcement, perhaps.
		w.hub.Reply(session.Reply{Session: auth.Session, Action: auth.Action, Sequence: 1, Bind: &session.Identity{User: 6, Device: "d"}})
		if got := late.line.take(); len(got) != 2 || got[0].Action != idl.ActionAuth || got[1].Action != idl.ActionSync {
			t.Errorf("who passed Auth meanwhile got %+v", got)
		}
		clients = append(clients, late)

		// Two words in a round: all are asked anew after it, and nobody three times.
		w.hub.Deliver(announced(2))
		synctest.Wait()
		w.hub.Deliver(announced(3))
		w.hub.Deliver(announced(4))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := asked(); n != 2*len(clients) {
			t.Errorf("by three words %d are asked, want %d", n, 2*len(clients))
		}
		time.Sleep(time.Hour / 2)
		synctest.Wait()
		if n := asked(); n != 0 {
			t.Errorf("later %d", n)
		}

		// The same announcement sent again, or a word that came late, has nobody be asked.
		w.hub.Deliver(announced(4))
		w.hub.Deliver(announced(2))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := asked(); n != 0 {
			t.Errorf("by words that are not new %d are asked", n)
		}
	})
}

// TestWakesWaiting: an edge asks as many a second as it is configured to, and says how many wait: all at first, then fewer, then none.
func TestWakesWaiting(t *testing.T) {
	for _, bad := range []int{-1, 39, 100_001} {
		if _, err := session.New(session.Options{Core: new(fakeCore), Wakes: bad}); err == nil {
			t.Errorf("%d wakes a second are taken", bad)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{Heartbeat: time.Hour, AuthTimeout: time.Hour, Wakes: 110})
		const many, perSecond = 200, 110
		clients := make([]*client, many)
		for i := range clients {
			clients[i] = w.live(idl.CodecProtobuf, false)
			clients[i].follow(2, session.Followed{Log: "g_1", Seq: 1})
			clients[i].want(idl.ActionSync, 2)
		}
		asked := 0
		take := func() {
			t.Helper()
			synctest.Wait()
			for _, c := range clients {
				for _, f := range c.line.take() {
					if f.Action == idl.ActionSync && f.Sequence == 0 {
						asked++
					}
				}
			}
		}
		for name, how := range map[string]struct {
			say     session.Delivery
			waiting func(s session.Stats) int64
			about   int64 // how far off it may be: parts of the hub's table are of different sizes
		}{
			"a log has grown":         {wake("g_1", 2), func(s session.Stats) int64 { return s.WakesOfLogs }, 0},
			"something was announced": {announced(1), func(s session.Stats) int64 { return s.WakesOfAll }, many / 4},
		} {
			asked = 0
			w.hub.Deliver(how.say)
			for ticks := int64(1); asked < many; ticks++ {
				take()
				if want := min(ticks*perSecond/20, many); int64(asked) < want || int64(asked) > want+1 {
					t.Fatalf("%s: by %d ticks %d are asked, want %d", name, ticks, asked, want)
				}
				if got, want := how.waiting(w.hub.Stats()), int64(many-asked); got < want-how.about || got > want+how.about {
					t.Errorf("%s: %d are asked, %d wait, want %d", name, asked, got, want)
				}
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if s := w.hub.Stats(); s.WakesOfLogs != 0 || s.WakesOfAll != 0 {
				t.Errorf("%s: in the end %d and %d wait", name, s.WakesOfLogs, s.WakesOfAll)
			}
		}
	})
}
