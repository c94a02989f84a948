package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// follow has the client sync, and the core answer that it follows logs.
func (c *client) follow(sequence uint32, logs ...session.Followed) {
	c.Helper()
	c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionSync, Sequence: sequence}, false)
	call := c.oneCall(idl.ActionSync)
	c.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: sequence, Follows: append([]session.Followed{}, logs...)})
}

func wake(log string, seq int64) session.Delivery {
	return session.Delivery{Wakes: []session.Wake{{Log: log, Seq: seq}}}
}

func TestFollowersAreAskedToSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{Heartbeat: time.Hour})
		a, b, stranger := w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)
		a.follow(2, session.Followed{Log: "g_1", Seq: 5})
		a.want(idl.ActionSync, 2)
		b.follow(2, session.Followed{Log: "g_1", Seq: 7}, session.Followed{Log: "g_2", Seq: 1})
		b.want(idl.ActionSync, 2)

		w.hub.Deliver(wake("g_1", 6))
		synctest.Wait()
		a.want(idl.ActionSync, 0)
		b.wantNothing() // it has more
		stranger.wantNothing()

		// What comes while it syncs wakes it once, and not at once again.
		for seq := int64(7); seq < 10; seq++ {
			w.hub.Deliver(wake("g_1", seq))
		}
		synctest.Wait()
		a.wantNothing()
		b.want(idl.ActionSync, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		a.want(idl.ActionSync, 0)

		// What grew while the core looked: it is heard of, whoever followed then.
		stranger.follow(2, session.Followed{Log: "g_1", Seq: 8})
		synctest.Wait()
		if out := stranger.line.take(); len(out) != 2 || out[0].Sequence != 2 || out[1].Action != idl.ActionSync {
			t.Errorf("sent: %+v", out)
		}

		// Who has what came by then is not asked.
		time.Sleep(time.Minute)
		a.follow(3, session.Followed{Log: "g_1", Seq: 9})
		a.want(idl.ActionSync, 3)
		synctest.Wait()
		a.wantNothing()

		// Who follows no more, or is gone, is not asked.
		a.follow(4)
		a.want(idl.ActionSync, 4)
		b.Closed()
		w.hub.Deliver(wake("g_1", 20))
		w.hub.Deliver(wake("g_2", 20))
		time.Sleep(10 * time.Minute)
		w.hub.Deliver(wake("g_3", 1)) // what nobody follows is forgotten
		synctest.Wait()
		a.wantNothing()
		b.wantNothing()
		stranger.want(idl.ActionSync, 0)
		w.hub.Close()
	})
}

// TestManyFollowersAreSpread has them not all sync at once.
func TestManyFollowersAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 450
		w := newWorld(t, session.Options{Heartbeat: time.Hour})
		all := make([]*client, many)
		for i := range all {
			all[i] = w.live(idl.CodecProtobuf, false)
			all[i].follow(2, session.Followed{Log: "g_1", Seq: 1})
			all[i].want(idl.ActionSync, 2)
		}
		w.hub.Deliver(wake("g_1", 2))
		asked := func() (n int) {
			synctest.Wait()
			for _, c := range all {
				n += len(c.line.take())
			}
			return n
		}
		if n := asked(); n == 0 || n > 100 {
			t.Errorf("%d are asked at once", n)
		}
		all[3].Closed() // whether it was asked or not
		time.Sleep(time.Second)
		if n := asked(); n < many-101 || n > many-100 {
			t.Errorf("%d are asked within a second, want the others of %d", n, many)
		}
		w.hub.Close()
	})
}
