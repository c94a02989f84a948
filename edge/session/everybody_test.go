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
