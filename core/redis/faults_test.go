package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// The people and the conversation of these tests.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002

	chat im.ConversationID = "c_100001_100002"
)

// house is Timelines over one server, and what a test needs to break in.
type house struct {
	t      *testing.T
	server *engines.RedisServer
	record *record
	redis  *goredis.Client // past the package
	store  *redis.Timelines
	reg    *prometheus.Registry
}

func newHouse(t *testing.T, o redis.Config) *house {
	h := &house{t: t, server: engines.Redis(t), reg: prometheus.NewRegistry()}
	h.redis = goredis.NewClient(&goredis.Options{Addr: h.server.Addr()})
	t.Cleanup(func() { h.redis.Close() })
	h.record = openRecord(t, pebble.Options{Dir: t.TempDir()})
	o.Addresses = []string{h.server.Addr()}
	h.store = timelines(t, connect(t, redis.Options{Config: o, Figures: h.reg}), h.record)
	return h
}

func (h *house) logKey() string   { return "freeim:" + h.record.Epoch() + ":l:{" + string(chat) + "}" }
func (h *house) inboxKey() string { return "freeim:" + h.record.Epoch() + ":i:{" + bob.String() + "}" }

// send commits n messages of alice's to bob, and waits until Redis has them if it
// is to.
func (h *house) send(from, n int) {
	h.t.Helper()
	for i := range n {
		text := fmt.Sprint(from + i)
		if _, err := h.store.Append(h.t.Context(), timeline.Draft{
			Conversation: chat, Sender: alice, ClientID: text, Body: []byte(text), Inboxes: []im.UserID{alice, bob},
		}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// until polls for what happens aside.
func (h *house) until(what string, done func() bool) {
	h.t.Helper()
	until(h.t, what, done)
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (h *house) cards(n int64) {
	h.t.Helper()
	h.until(fmt.Sprintf("both timelines hold %d entries", n), func() bool {
		return h.redis.ZCard(h.t.Context(), h.logKey()).Val() == n && h.redis.ZCard(h.t.Context(), h.inboxKey()).Val() == n
	})
}

// check reads everything, and says how often the record was asked beside for heads.
func (h *house) check(n int) (asked int64) {
	h.t.Helper()
	before := h.record.asked()
	inbox, err := h.store.Inbox(h.t.Context(), bob, 0, n+5)
	if err != nil {
		h.t.Fatal(err)
	}
	forward, err := h.store.Log(h.t.Context(), chat, 0, n+5)
	if err != nil {
		h.t.Fatal(err)
	}
	backward, err := h.store.LogBefore(h.t.Context(), chat, 0, n+5)
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(backward.Items)
	var seqs []int64
	var places []timeline.Ref
	for seq := int64(1); seq <= int64(n); seq++ {
		seqs, places = append(seqs, seq), append(places, timeline.Ref{Conversation: chat, Seq: seq})
	}
	entries, err := h.store.InboxAt(h.t.Context(), bob, seqs)
	if err != nil {
		h.t.Fatal(err)
	}
	messages, err := h.store.Messages(h.t.Context(), places)
	if err != nil {
		h.t.Fatal(err)
	}
	asked = h.record.asked() - before
	want, err := h.record.Store.Inbox(h.t.Context(), bob, 0, n+5)
	if err != nil || len(want.Items) != n {
		h.t.Fatalf("the record has %d entries, not %d: %v", len(want.Items), n, err)
	}
	if len(inbox.Items) != n || len(forward.Items) != n || len(backward.Items) != n {
		h.t.Fatalf("got %d, %d and %d items, want %d", len(inbox.Items), len(forward.Items), len(backward.Items), n)
	}
	for i, e := range want.Items {
		if inbox.Items[i].InboxSeq != e.InboxSeq || entries[i].InboxSeq != e.InboxSeq {
			h.t.Errorf("entry %d: got inbox seqs %d, %d", e.InboxSeq, inbox.Items[i].InboxSeq, entries[i].InboxSeq)
		}
		for _, got := range []im.Message{inbox.Items[i].Message, forward.Items[i], backward.Items[i], entries[i].Message, messages[i]} {
			if got.ID != e.ID || got.Seq != e.Seq || got.Sender != e.Sender || string(got.Body) != string(e.Body) ||
				got.ClientID != e.ClientID || !got.Time.Equal(e.Time) || got.Conversation != e.Conversation {
				h.t.Errorf("entry %d: got %+v, want %+v", e.InboxSeq, got, e.Message)
			}
		}
	}
	return asked
}

// hot checks that everything is read from Redis, as soon as it is back there.
func (h *house) hot(n int) {
	h.t.Helper()
	h.until("nothing is asked of the record", func() bool { return h.check(n) == 0 })
}

func (h *house) figure(name string) float64 {
	h.t.Helper()
	all, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range all {
		if family.GetName() == "freeim_redis_"+name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestHotReadsDoNotAskTheRecord(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 40)
	h.cards(40)
	if asked := h.check(40); asked != 0 {
		t.Errorf("the record was asked %d times for what Redis has", asked)
	}
	found, _, ok, err := h.store.Find(t.Context(), alice, "7")
	if err != nil || !ok || found.Seq != 7 || found.Duplicate || !slices.Equal(found.InboxSeqs, []int64{7, 7}) {
		t.Errorf("Find: got %+v, %t, %v", found, ok, err)
	}
	if h.record.finds.Load() != 0 {
		t.Error("the record was asked for a client ID that Redis has")
	}
	if _, _, ok, err := h.store.Find(t.Context(), alice, "unknown"); ok || err != nil || h.record.finds.Load() != 1 {
		t.Errorf("Find of nothing: got %t, %v, and the record was asked %d times", ok, err, h.record.finds.Load())
	}
	for _, name := range []string{"dropped_total", "conflicts_total", "corrupt_total", "errors_total"} {
		if got := h.figure(name); got != 0 {
			t.Errorf("%s: got %v, want 0", name, got)
		}
	}
}

func TestTrimsToCountAndAge(t *testing.T) {
	h := newHouse(t, redis.Config{Keep: 10, Age: time.Hour})
	h.send(1, 25)
	h.cards(10)
	oldest := h.redis.ZRangeWithScores(t.Context(), h.logKey(), 0, 0).Val()
	if len(oldest) != 1 || oldest[0].Score != 16 {
		t.Errorf("the oldest kept: got %v, want seq 16", oldest)
	}
	if ttl := h.redis.PTTL(t.Context(), h.logKey()).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("age: got %s, want an hour", ttl)
	}
	h.check(25) // what was trimmed comes from the record
	h.cards(10) // and is not put back
}

// What is not among the newest of its log is not put into Redis, whoever asks for it by its place.
func TestColdPlaces(t *testing.T) {
	h := newHouse(t, redis.Config{Keep: 10})
	h.send(1, 25)
	h.cards(10)
	h.redis.Del(t.Context(), h.logKey())
	for _, seqs := range [][]int64{{15, 3}, {15, 25, 3, 16, 26}} {
		places := make([]timeline.Ref, len(seqs))
		for i, seq := range seqs {
			places[i] = timeline.Ref{Conversation: chat, Seq: seq}
		}
		all, err := h.store.Messages(t.Context(), places)
		if err != nil || len(all) != len(seqs) {
			t.Fatalf("got %v, %v", all, err)
		}
		for i, m := range all {
			if seqs[i] <= 25 && string(m.Body) != fmt.Sprint(seqs[i]) || seqs[i] > 25 && m.Seq != 0 {
				t.Errorf("at %d: got %v", seqs[i], m)
			}
		}
	}
	h.until("the newest are back", func() bool {
		return h.redis.ZCount(t.Context(), h.logKey(), "25", "25").Val() == 1 && h.figure("fills_total") >= 2
	})
	if got := h.figure("fills_total"); got != 2 {
		t.Errorf("%v messages were put into Redis, want 2", got)
	}
}

// Redis starts again with nothing in it: readers fill it, and no cursor is void.
func TestWiped(t *testing.T) {
	h := newHouse(t, redis.Config{})
	epoch := h.store.Epoch()
	h.send(1, 20)
	h.cards(20)
	if err := h.server.RestartEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.check(20)
	h.send(21, 5)
	h.hot(25)
	if got := h.store.Epoch(); got != epoch {
		t.Errorf("epoch: got %s, want %s as before", got, epoch)
	}
}

// A replica that lagged has taken over: it has a hole at the end, and later
// entries come after the hole.
func TestStale(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 20)
	h.cards(20)
	for _, key := range []string{h.logKey(), h.inboxKey()} {
		h.redis.ZRemRangeByScore(t.Context(), key, "12", "20")
	}
	if asked := h.check(20); asked == 0 {
		t.Error("the record was not asked for what Redis had lost")
	}
	h.hot(20)
	for _, key := range []string{h.logKey(), h.inboxKey()} {
		h.redis.ZRemRangeByScore(t.Context(), key, "15", "20")
	}
	h.send(21, 3)
	h.check(23)
	h.hot(23)
}

// Whatever stands in Redis, the answers are the record's, and in the end Redis is
// right again.
func TestLies(t *testing.T) {
	ctx := t.Context()
	for _, lie := range []struct {
		name string
		tell func(h *house, key string)
	}{
		{"cut values", func(h *house, key string) {
			for _, z := range h.redis.ZRangeWithScores(ctx, key, 0, -1).Val() {
				value := z.Member.(string)
				h.redis.ZRem(ctx, key, value)
				h.redis.ZAdd(ctx, key, goredis.Z{Score: z.Score, Member: value[:len(value)-1]})
			}
		}},
		{"a changed bit", func(h *house, key string) {
			for _, z := range h.redis.ZRangeWithScores(ctx, key, 0, -1).Val() {
				value := []byte(z.Member.(string))
				value[len(value)-1] ^= 1
				h.redis.ZRem(ctx, key, z.Member)
				h.redis.ZAdd(ctx, key, goredis.Z{Score: z.Score, Member: value})
			}
		}},
		{"wrong scores", func(h *house, key string) {
			for _, z := range h.redis.ZRangeWithScores(ctx, key, 0, -1).Val() {
				h.redis.ZAdd(ctx, key, goredis.Z{Score: 21 - z.Score, Member: z.Member})
			}
		}},
		{"garbage between", func(h *house, key string) {
			for i := range 20 {
				h.redis.ZAdd(ctx, key, goredis.Z{Score: float64(i + 1), Member: fmt.Sprint("garbage ", i)})
			}
		}},
		{"far ahead", func(h *house, key string) {
			h.redis.ZAdd(ctx, key, goredis.Z{Score: 1 << 50, Member: "ahead"})
			h.redis.ZRemRangeByScore(ctx, key, "1", "20")
		}},
		{"another type", func(h *house, key string) {
			h.redis.Del(ctx, key)
			h.redis.Set(ctx, key, "a string", 0)
		}},
	} {
		t.Run(lie.name, func(t *testing.T) {
			h := newHouse(t, redis.Config{})
			h.send(1, 20)
			h.cards(20)
			lie.tell(h, h.logKey())
			lie.tell(h, h.inboxKey())
			h.check(20)
			h.send(21, 2)
			h.hot(22)
		})
	}
}

// An inbox that names messages which are not there, whole values all of them: of
// another store, or of a record that was restored and did not say so.
func TestLiesOfAnotherRecord(t *testing.T) {
	h := newHouse(t, redis.Config{})
	other := newHouse(t, redis.Config{})
	other.send(1, 30)
	other.cards(30)
	h.send(1, 20)
	h.cards(20)
	for from, to := range map[string]string{other.inboxKey(): h.inboxKey(), other.logKey(): h.logKey()} {
		h.redis.Del(t.Context(), to)
		h.redis.ZAdd(t.Context(), to, other.redis.ZRangeWithScores(t.Context(), from, 0, -1).Val()...)
	}
	// Nothing tells these apart from the record's own until they meet it.
	h.send(21, 1)
	h.until("both have met a message of the record", func() bool { return h.figure("conflicts_total") >= 2 })
	h.check(21)
	h.hot(21)
}

// A hint that is a lie is not believed.
func TestLyingHint(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 3)
	h.cards(3)
	window := func(id string) string {
		return "freeim:" + h.record.Epoch() + ":w:{" + alice.String() + "}:" + id
	}
	ctx := t.Context()
	h.redis.Set(ctx, window("1"), "garbage", 0)
	h.redis.Set(ctx, window("2"), h.redis.Get(ctx, window("3")).Val(), 0)
	h.redis.Set(ctx, window("4"), h.redis.Get(ctx, window("3")).Val(), 0)
	for id, want := range map[string]int64{"1": 1, "2": 2, "3": 3, "4": 0} {
		found, _, ok, err := h.store.Find(ctx, alice, id)
		if err != nil || ok != (want > 0) || found.Seq != want {
			t.Errorf("Find %s: got seq %d, %t, %v, want %d", id, found.Seq, ok, err, want)
		}
	}
}

// Many look up client IDs at once, and each gets the answer to its own question;
// after Close nobody waits for one.
func TestHintsOfManyCallers(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 50)
	h.cards(50)
	var all sync.WaitGroup
	ask := func(ended bool) {
		for i := range int64(400) {
			all.Go(func() {
				found, _, ok, err := h.store.Find(t.Context(), alice, strconv.FormatInt(i%100, 10))
				want := i % 100 // 1 to 50 are there
				if want > 50 {
					want = 0
				}
				if ended && errors.Is(err, timeline.ErrClosed) {
					return
				}
				if err != nil || ok != (want > 0) || found.Seq != want {
					t.Errorf("Find %d: got seq %d, %t, %v, want %d", i%100, found.Seq, ok, err, want)
				}
			})
		}
	}
	ask(false)
	all.Wait()
	if got := h.figure("hits_total"); got < 50 {
		t.Errorf("%v hits of the window, want most of 200", got)
	}
	ask(true)
	if err := h.store.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

// Redis stops answering: after the first few nobody waits for it, and it is used
// again when it is back. It is frozen, which is worse than killed.
func TestFrozen(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 10)
	h.cards(10)
	if err := h.server.Pause(); err != nil {
		t.Fatal(err)
	}
	h.check(10) // finds out
	h.until("the server is taken for away", func() bool { return h.figure("servers_away") == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 200 { // a quarter of a second each would be too long
		if _, err := h.store.Inbox(ctx, bob, 0, 10); err != nil {
			t.Fatalf("read %d while Redis is frozen: %v", i, err)
		}
	}
	h.send(11, 10)
	if err := h.server.Resume(); err != nil {
		t.Fatal(err)
	}
	h.until("the server is back", func() bool { return h.figure("servers_away") == 0 })
	h.hot(20)
}

func TestKilled(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 10)
	h.cards(10)
	if err := h.server.Kill(); err != nil {
		t.Fatal(err)
	}
	h.check(10)
	h.send(11, 10)
	h.check(20)
	if err := h.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.hot(20)
}

// One master of a Cluster dies: nobody waits, answers stay right, and the Cluster is
// used again when it is whole.
func TestClusterLosesAMaster(t *testing.T) {
	cluster := engines.RedisCluster(t)
	h := &house{t: t, reg: prometheus.NewRegistry(), record: openRecord(t, pebble.Options{Dir: t.TempDir()})}
	h.store = timelines(t, connect(t, redis.Options{
		Config: redis.Config{Addresses: cluster.Addrs()}, Figures: h.reg,
	}), h.record)
	h.send(1, 10)
	h.hot(10)
	for _, node := range cluster.Nodes {
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			h.check(10)
		}
		if err := node.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.hot(10)
	}
}

// cutReplica stops the replica and its link: what the primary does from then on, it
// never sees.
func cutReplica(t *testing.T, group *engines.SentinelGroup) {
	t.Helper()
	if err := group.Replica.Pause(); err != nil {
		t.Fatal(err)
	}
	primary := goredis.NewClient(&goredis.Options{Addr: group.Primary.Addr()})
	defer primary.Close()
	if err := primary.Do(t.Context(), "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		t.Fatal(err)
	}
}

// The primary dies with what it had not replicated, and the Sentinels make a
// replica the primary.
func TestFailover(t *testing.T) {
	group := engines.Sentinel(t)
	h := &house{t: t, reg: prometheus.NewRegistry(), record: openRecord(t, pebble.Options{Dir: t.TempDir()})}
	h.store = timelines(t, connect(t, redis.Options{
		Config: redis.Config{Addresses: group.Addrs(), Master: group.Name}, Figures: h.reg,
	}), h.record)
	h.send(1, 10)
	h.hot(10)
	cutReplica(t, group)
	h.send(11, 10) // the replica never sees these
	h.hot(20)
	if err := group.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := group.Replica.Resume(); err != nil {
		t.Fatal(err)
	}
	h.check(20)
	h.until("the replica is the primary", func() bool {
		addr, err := group.PrimaryAddr(t.Context())
		return err == nil && addr == group.Replica.Addr()
	})
	h.send(21, 10)
	h.hot(30)
}

// A reset record has another epoch, and with it other keys.
func TestResetRecord(t *testing.T) {
	h := newHouse(t, redis.Config{})
	h.send(1, 10)
	h.cards(10)
	fresh := openRecord(t, pebble.Options{Dir: t.TempDir()})
	h.store = timelines(t, connect(t, redis.Options{Config: redis.Config{Addresses: []string{h.server.Addr()}}}), fresh)
	h.record = fresh
	h.send(1, 3)
	h.check(3)
	h.hot(3)
}

// A full queue drops, and what was dropped is found all the same.
func TestOverflow(t *testing.T) {
	h := newHouse(t, redis.Config{})
	if err := h.server.Pause(); err != nil {
		t.Fatal(err)
	}
	defer h.server.Resume()
	small, err := redis.NewTimelines(redis.TimelinesOptions{
		Client: connect(t, redis.Options{Config: redis.Config{Addresses: []string{h.server.Addr()}}, Figures: nil}), Record: h.record, Queue: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.store = small
	h.send(1, 50) // commits wait for nobody
	if err := h.server.Resume(); err != nil {
		t.Fatal(err)
	}
	h.check(50)
}

// What is erased is so in the set that is there, and in one that is not: a reader who has asked the record before, and is slow to
// bring Redis what he got, brings nothing back.
func TestErasedStays(t *testing.T) {
	for _, row := range []struct {
		name string
		less func(h *house)
	}{
		{"the set has it", nil},
		{"there is no set", func(h *house) { h.redis.Del(t.Context(), h.logKey()) }},
		{"the set has others", func(h *house) { h.redis.ZRemRangeByScore(t.Context(), h.logKey(), "3", "3") }},
		{"the set has another message there", func(h *house) {
			h.redis.ZRemRangeByScore(t.Context(), h.logKey(), "3", "3")
			h.redis.ZAdd(t.Context(), h.logKey(), goredis.Z{Score: 3, Member: "not that one"})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHouse(t, redis.Config{})
			h.send(1, 5)
			h.cards(5)
			third := &goredis.ZRangeBy{Min: "3", Max: "3"}
			read := func() im.Message {
				page, err := h.store.Log(t.Context(), chat, 2, 1)
				if err != nil || len(page.Items) != 1 {
					t.Errorf("got %v, %v", page, err)
					return im.Message{}
				}
				return page.Items[0]
			}
			m := read()
			var late sync.WaitGroup
			on := make(chan struct{})
			if row.less != nil {
				row.less(h)
				asked := make(chan struct{})
				h.record.slow.Store(new(func() {
					close(asked)
					<-on
				}))
				late.Go(func() { read() })
				<-asked
				h.record.slow.Store(nil)
			}
			if err := h.store.Erase(t.Context(), []timeline.Erasure{{Ref: timeline.Ref{Conversation: chat, Seq: 3}, ID: m.ID, Left: []byte("gone")}}); err != nil {
				t.Fatal(err)
			}
			close(on)
			late.Wait()
			h.send(6, 1) // comes to Redis behind what the reader brings
			h.until("it is there", func() bool { return h.redis.ZCount(t.Context(), h.logKey(), "6", "6").Val() == 1 })
			if there := h.redis.ZRangeByScore(t.Context(), h.logKey(), third).Val(); len(there) != 1 || !strings.HasSuffix(there[0], "gone") {
				t.Errorf("redis has %q", there)
			}
			asked := h.record.asked()
			if got := read(); string(got.Body) != "gone" || got.ID != m.ID || got.ClientID != m.ClientID || h.record.asked() != asked {
				t.Errorf("got %v", got)
			}
		})
	}
}
