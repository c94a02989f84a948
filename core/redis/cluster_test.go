package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/redis"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
)

// talk is alice sending to bob, one message after another, each twice as a client does
// that missed the answer, and bob reading.
type talk struct {
	h    *house
	acks atomic.Int64
	ids  []im.MessageID // of what was answered, by seq; of its goroutine until it ends
	stop context.CancelFunc
	done chan struct{} // closed at its end
}

func startTalk(h *house) *talk {
	ctx, cancel := context.WithCancel(h.t.Context())
	k := &talk{h: h, stop: cancel, done: make(chan struct{})}
	h.t.Cleanup(func() { // a test that fails does not come to its end
		k.stop()
		<-k.done
	})
	go func() {
		defer close(k.done)
		for ctx.Err() == nil && k.turn() {
			select {
			case <-time.After(time.Millisecond): // so that what is read stays short
			case <-ctx.Done():
			}
		}
	}()
	return k
}

// turn sends one message and reads it, and reports whether all was as it should be.
func (k *talk) turn() bool {
	ctx, n := k.h.t.Context(), int64(len(k.ids)+1)
	text := fmt.Sprint(n)
	d := timeline.Draft{Conversation: chat, Sender: alice, ClientID: text, Body: []byte(text), Inboxes: []im.UserID{alice, bob}}
	c, err := k.h.store.Append(ctx, d)
	if err != nil || c.Seq != n || c.Duplicate {
		return k.wrong("message %d: got seq %d, twice %t, %v", n, c.Seq, c.Duplicate, err)
	}
	k.ids = append(k.ids, c.ID)
	again, _, found, err := k.h.store.Find(ctx, alice, text)
	if err != nil || !found || again.Seq != n || again.ID != c.ID {
		return k.wrong("the client ID of message %d: got seq %d, %t, %v", n, again.Seq, found, err)
	}
	p, err := k.h.store.Inbox(ctx, bob, max(0, n-5), 10)
	if err != nil || len(p.Items) != int(min(n, 5)) || p.Items[len(p.Items)-1].ID != c.ID {
		return k.wrong("bob's inbox after message %d: got %d entries, %v", n, len(p.Items), err)
	}
	k.acks.Add(1)
	return true
}

// wrong says what is not as it should be, unless the test is over: then its context is what is wrong.
func (k *talk) wrong(format string, args ...any) bool {
	if k.h.t.Context().Err() == nil {
		k.h.t.Errorf(format, args...)
	}
	return false
}

// more waits for n more messages.
func (k *talk) more(n int64) {
	k.h.t.Helper()
	from := k.acks.Load()
	k.h.until(fmt.Sprint(n, " more messages are sent"), func() bool { return k.h.t.Failed() || k.acks.Load() >= from+n })
}

// end stops it, and checks that what was answered is there, once and in order.
func (k *talk) end() {
	k.h.t.Helper()
	k.stop()
	<-k.done
	var got []im.MessageID
	for {
		p, err := k.h.store.Log(k.h.t.Context(), chat, int64(len(got)), 100)
		if err != nil {
			k.h.t.Fatal(err)
		}
		for _, m := range p.Items {
			if got = append(got, m.ID); m.Seq != int64(len(got)) {
				k.h.t.Fatalf("got seq %d in place %d", m.Seq, len(got))
			}
		}
		if !p.HasMore {
			break
		}
	}
	if !slices.Equal(got, k.ids) {
		k.h.t.Errorf("%d messages are there, not the %d that were answered", len(got), len(k.ids))
	}
}

// hot waits until the newest are read from Redis alone.
func (k *talk) hot() {
	k.h.t.Helper()
	k.h.until("nothing is asked of the record", func() bool {
		before := k.h.record.asked()
		if _, err := k.h.store.LogBefore(k.h.t.Context(), chat, 0, 20); err != nil {
			k.h.t.Fatal(err)
		}
		return k.h.record.asked() == before
	})
}

// clusterHouse is a house over a Cluster with replicas.
func clusterHouse(t *testing.T) (*house, *engines.Cluster, *goredis.ClusterClient) {
	t.Helper()
	c := engines.RedisCluster(t)
	if err := c.Replicate(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, reg: prometheus.NewRegistry(), record: openRecord(t, pebble.Options{Dir: t.TempDir()})}
	h.store = timelines(t, connect(t, redis.Options{Config: redis.Config{Addresses: c.Addrs()}, Figures: h.reg}), h.record)
	past := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { past.Close() })
	return h, c, past
}

// owner is the place of the master that has a key.
func owner(t *testing.T, c *engines.Cluster, past *goredis.ClusterClient, key string) int {
	t.Helper()
	master, err := past.MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return slices.IndexFunc(c.Nodes, func(n *engines.RedisServer) bool { return n.Addr() == master.Options().Addr })
}

// asking counts what a master holds of a key in a slot that is coming to it.
func asking(t *testing.T, target *goredis.Client, key string) int64 {
	t.Helper()
	var n *goredis.IntCmd
	if _, err := target.Pipelined(t.Context(), func(p goredis.Pipeliner) error {
		p.Do(t.Context(), "ASKING")
		n = p.ZCard(t.Context(), key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n.Val()
}

// TestClusterFailsOver: the master of a conversation that is being used dies, and its
// replica takes its place. Nobody is told anything wrong meanwhile, and what is new is
// hot again.
func TestClusterFailsOver(t *testing.T) {
	h, c, past := clusterHouse(t)
	k := startTalk(h)
	k.more(50)
	at := owner(t, c, past, h.logKey())
	if err := c.Nodes[at].Kill(); err != nil {
		t.Fatal(err)
	}
	replica := goredis.NewClient(&goredis.Options{Addr: c.Replicas[at].Addr()})
	defer replica.Close()
	h.until("the replica is a master", func() bool {
		return strings.Contains(replica.Info(t.Context(), "replication").Val(), "role:master")
	})
	k.more(50)
	h.until("the new master is used", func() bool { return replica.ZCard(t.Context(), h.logKey()).Val() > 50 })
	k.more(50)
	k.end()
	k.hot()
}

// TestClusterMovesASlot: the slot of a conversation that is being used goes to another
// master and back; while it is between the two, whoever asks is sent on (ASK), then the
// old one says where it is (MOVED).
func TestClusterMovesASlot(t *testing.T) {
	h, c, past := clusterHouse(t)
	k := startTalk(h)
	k.more(50)
	slot, err := past.ClusterKeySlot(t.Context(), h.logKey()).Result()
	if err != nil {
		t.Fatal(err)
	}
	at := owner(t, c, past, h.logKey())
	from, to := c.Nodes[at], c.Nodes[(at+1)%len(c.Nodes)]
	for range 2 {
		target := goredis.NewClient(&goredis.Options{Addr: to.Addr()})
		defer target.Close()
		between := func() {
			before := asking(t, target, h.logKey())
			k.more(50)
			h.until("who is sent on writes", func() bool { return asking(t, target, h.logKey()) > before })
		}
		if err := c.Move(t.Context(), int(slot), from, to, between); err != nil {
			t.Fatal(err)
		}
		before := target.ZCard(t.Context(), h.logKey()).Val()
		k.more(50)
		h.until("the slot's new master is written to", func() bool { return target.ZCard(t.Context(), h.logKey()).Val() > before })
		from, to = to, from
	}
	k.end()
	k.hot()
	for _, name := range []string{"conflicts_total", "corrupt_total"} {
		if got := h.figure(name); got != 0 {
			t.Errorf("%s: got %v, want 0", name, got)
		}
	}
}
