package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/presence"
	"freeim/core/timeline"
)

// meter tells how much processor time this process and redis-server spend.
type meter struct {
	b           *testing.B
	client      *Client
	ours, redis float64 // µs so far
}

func newMeter(b *testing.B, c *Client) *meter {
	m := &meter{b: b, client: c}
	m.ours, m.redis = m.read()
	return m
}

func (m *meter) read() (ours, redis float64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		m.b.Fatal(err)
	}
	info, err := m.client.db.Info(context.Background(), "cpu").Result()
	if err != nil {
		m.b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				m.b.Fatal(err)
			}
			redis += seconds * 1e6
		}
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e3, redis
}

// report gives both for one of n things.
func (m *meter) report(n int) {
	ours, redis := m.read()
	m.b.ReportMetric((ours-m.ours)/float64(n), "ours-µs/each")
	m.b.ReportMetric((redis-m.redis)/float64(n), "redis-µs/each")
}

// still is a Record that has nothing but heads.
type still struct {
	timeline.Store
	logs, inboxes int64
}

func (s *still) Epoch() string { return "bench" }

func (s *still) Close() error { return nil }

func (s *still) Find(context.Context, im.UserID, string) (c timeline.Committed, _ [32]byte, found bool, err error) {
	return c, [32]byte{}, false, nil
}

func (s *still) Heads(_ context.Context, logs []im.ConversationID, inboxes []im.UserID) (logSeqs, inboxSeqs []int64, err error) {
	for range logs {
		logSeqs = append(logSeqs, s.logs)
	}
	for range inboxes {
		inboxSeqs = append(inboxSeqs, s.inboxes)
	}
	return logSeqs, inboxSeqs, nil
}

func (s *still) Messages(context.Context, []timeline.Ref) ([]im.Message, error) {
	return nil, timeline.ErrClosed
}

func (s *still) Entries(context.Context, im.UserID, int64, int) (timeline.Page[timeline.EntryRef], error) {
	return timeline.Page[timeline.EntryRef]{}, timeline.ErrClosed
}

func benchClient(b *testing.B) *Client {
	c, err := Open(Options{
		Config: Config{Addresses: []string{engines.Redis(b).Addr()}}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func benchTimelines(b *testing.B, r *still) *Timelines {
	t, err := NewTimelines(TimelinesOptions{Client: benchClient(b), Record: r})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { t.Close() })
	return t
}

// messageAt is a commit of a 1:1 message of 128 octets, in one of 1,000 chats.
func messageAt(ids *im.IDGenerator, n int64) work {
	chat, seq := n%1000, n/1000+1
	from, to := im.UserID(2*chat+1), im.UserID(2*chat+2)
	m := im.Message{
		Conversation: im.ChatOf(from, to), Seq: seq, Sender: from, ClientID: "0123456789-" + strconv.FormatInt(n, 10), Body: make([]byte, 128),
	}
	m.ID = ids.Next(m.Conversation)
	return work{epoch: "bench", messages: []im.Message{m}, inboxes: []im.UserID{from, to}, inboxSeqs: []int64{seq, seq}}
}

// BenchmarkWrite is what a commit costs after the record: three sorted sets and a
// hint for a 1:1 message, by how many were committed while the last pipeline was
// under way; and 501 sorted sets for a message to a group.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("chats=", n), func(b *testing.B) {
			t := benchTimelines(b, &still{})
			ids, next := im.NewIDGenerator(nil), int64(0)
			b.ReportAllocs()
			m := newMeter(b, t.client)
			for b.Loop() {
				some := make([]work, n)
				for i := range some {
					some[i] = messageAt(ids, next)
					next++
				}
				t.writer.write(some)
			}
			m.report(b.N * n)
		})
	}
	b.Run("group=500", func(b *testing.B) {
		t := benchTimelines(b, &still{})
		ids, seq := im.NewIDGenerator(nil), int64(0)
		b.ReportAllocs()
		m := newMeter(b, t.client)
		for b.Loop() {
			seq++
			one := messageAt(ids, seq*1000)
			one.inboxes, one.inboxSeqs = nil, nil
			for user := range im.UserID(500) {
				one.inboxes, one.inboxSeqs = append(one.inboxes, user+1), append(one.inboxSeqs, seq)
			}
			t.writer.write([]work{one})
		}
		m.report(b.N)
	})
}

// BenchmarkInbox is a page of 500 entries that are hot, of one conversation and of
// fifty, and the log of one.
func BenchmarkInbox(b *testing.B) {
	for _, conversations := range []int64{1, 50} {
		b.Run(fmt.Sprint("conversations=", conversations), func(b *testing.B) {
			t := benchTimelines(b, &still{inboxes: 500})
			ids := im.NewIDGenerator(nil)
			var some []work
			for i := range int64(500) {
				one := messageAt(ids, i/conversations*1000+i%conversations)
				one.inboxes, one.inboxSeqs = []im.UserID{1}, []int64{i + 1}
				some = append(some, one)
			}
			t.writer.write(some)
			b.ReportAllocs()
			m := newMeter(b, t.client)
			for b.Loop() {
				p, err := t.Inbox(context.Background(), 1, 0, 500)
				if err != nil || len(p.Items) != 500 {
					b.Fatalf("got %d, %v", len(p.Items), err)
				}
			}
			m.report(b.N)
		})
	}
}

func benchRoute(user im.UserID) presence.Route {
	return presence.Route{
		SessionRef: presence.SessionRef{Edge: "edge-1", Epoch: 1_767_225_600_000_000, Session: uint64(user)},
		User:       user, Device: "0123456789abcdef", DeviceType: 1, TokenID: int64(user), Codec: 1, Since: time.UnixMilli(1_767_225_600_000),
	}
}

// BenchmarkPresence is what a session's beginning, a census and a push cost.
func BenchmarkPresence(b *testing.B) {
	ctx := context.Background()
	c := benchClient(b)
	p := NewPresence(c, presence.Leases{})
	var page []presence.Route
	var users []im.UserID
	for user := range im.UserID(512) {
		page, users = append(page, benchRoute(user+1)), append(users, user+1)
	}
	if err := p.Attach(ctx, page[0].Life()); err != nil {
		b.Fatal(err)
	}
	for name, step := range map[string]func() (int, error){
		"register":    func() (int, error) { _, _, err := p.Register(ctx, page[0]); return 1, err },
		"restore=512": func() (int, error) { _, err := p.Restore(ctx, page); return 512, err },
		"routes=1":    func() (int, error) { _, err := p.Routes(ctx, 1); return 1, err },
		"routes=500":  func() (int, error) { _, err := p.Routes(ctx, users[:500]...); return 500, err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			m, n := newMeter(b, c), 0
			for b.Loop() {
				done, err := step()
				if err != nil {
					b.Fatal(err)
				}
				n += done
			}
			m.report(n)
		})
	}
}

func BenchmarkRooms(b *testing.B) {
	ctx := context.Background()
	c := benchClient(b)
	r := NewRooms(c, presence.Leases{})
	life := presence.Life{Edge: "edge-a", Epoch: 1}
	var page []presence.RoomReport
	var names []im.ConversationID
	for i := range 512 {
		names = append(names, im.ConversationID(fmt.Sprint("r_", i)))
		page = append(page, presence.RoomReport{Room: names[i], Members: 1000})
	}
	for name, step := range map[string]func() (int, error){
		"subscribe":  func() (int, error) { return 1, r.Subscribe(ctx, "r_1", life) },
		"report=512": func() (int, error) { _, err := r.Report(ctx, life, page...); return 512, err },
		"edges=1":    func() (int, error) { _, err := r.Edges(ctx, "r_1"); return 1, err },
		"edges=64":   func() (int, error) { _, err := r.Edges(ctx, names[:64]...); return 64, err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			m, n := newMeter(b, c), 0
			for b.Loop() {
				done, err := step()
				if err != nil {
					b.Fatal(err)
				}
				n += done
			}
			m.report(n)
		})
	}
}

func BenchmarkLimiter(b *testing.B) {
	c := benchClient(b)
	l := NewLimiter(c, "bench", 1<<30, time.Hour)
	b.ReportAllocs()
	m := newMeter(b, c)
	for b.Loop() {
		l.Take(context.Background(), "key")
	}
	m.report(b.N)
}

// BenchmarkFind is the look for a client ID that is new, as before nearly every
// message, by how many callers ask at once.
func BenchmarkFind(b *testing.B) {
	for _, callers := range []int{1, 32, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			t := benchTimelines(b, &still{})
			b.SetParallelism((callers + 1) / 2) // times GOMAXPROCS
			b.ReportAllocs()
			var number atomic.Int64
			m := newMeter(b, t.client)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := number.Add(1)
					if _, _, found, err := t.Find(b.Context(), im.UserID(n%1000), strconv.FormatInt(n, 10)); found || err != nil {
						b.Error(found, err)
					}
				}
			})
			m.report(b.N)
		})
	}
}
