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

// followIn is follow by seqs of a store's life.
func (c *client) followIn(epoch string, sequence uint32, logs ...session.Followed) {
	c.Helper()
	c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionSync, Sequence: sequence}, false)
	call := c.oneCall(idl.ActionSync)
	c.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: sequence, Follows: append([]session.Followed{}, logs...), Epoch: epoch})
	c.want(idl.ActionSync, sequence)
}

func wake(log string, seq int64) session.Delivery { return wakeIn("", log, seq) }

func wakeIn(epoch, log string, seq int64) session.Delivery {
	return session.Delivery{Wakes: []session.Wake{{Log: log, Seq: seq, Epoch: epoch}}}
}

// TestFollowersOfAnotherLife: what an edge heard of a log before the store was restored has nobody sync again and
// again, and who follows by seqs of before is asked once the log grows, however short it is.
func TestFollowersOfAnotherLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{Heartbeat: time.Hour})
		a, b := w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)
		a.followIn("before", 2, session.Followed{Log: "g_1", Seq: 100})
		b.followIn("before", 2, session.Followed{Log: "g_1", Seq: 100})
		w.hub.Deliver(wakeIn("before", "g_1", 101))
		synctest.Wait()
		for _, c := range []*client{a, b} {
			c.want(idl.ActionSync, 0)
			c.followIn("before", 3, session.Followed{Log: "g_1", Seq: 101})
		}

		// Restored: a syncs, and has all of a log that is shorter.
		a.followIn("after", 4, session.Followed{Log: "g_1", Seq: 60})
		quiet := func(who string, c *client) {
			t.Helper()
			for range 20 {
				time.Sleep(time.Second)
				synctest.Wait()
				if n := len(c.line.take()); n > 0 {
					t.Fatalf("%s is asked %d times, and nothing grows", who, n)
				}
			}
		}
		quiet("who has all", a)
		quiet("who has not synced since", b)

		// It grows: both are asked, once; b by seqs of before.
		w.hub.Deliver(wakeIn("after", "g_1", 61))
		synctest.Wait()
		a.want(idl.ActionSync, 0)
		b.want(idl.ActionSync, 0)
		a.followIn("after", 5, session.Followed{Log: "g_1", Seq: 61})
		b.followIn("after", 4, session.Followed{Log: "g_1", Seq: 61})
		quiet("who has it", a)
		quiet("who has it too", b)

		// The word may be what says that there is another life.
		w.hub.Deliver(wakeIn("third", "g_1", 3))
		synctest.Wait()
		a.want(idl.ActionSync, 0)
		b.want(idl.ActionSync, 0)
		a.followIn("third", 6, session.Followed{Log: "g_1", Seq: 3})
		quiet("who has the third", a)
		w.hub.Close()
	})
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
