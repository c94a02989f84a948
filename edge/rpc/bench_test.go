package rpc_test

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	stub "freeim/idl/kitex_gen/corepb/core"

	kitex "github.com/cloudwego/kitex/client"
)

const (
	benchSessions = 1000
	benchBody     = 128
)

// BenchmarkTransport compares the ways from edge to core: 1,000 sessions, each
// with one call of 128 octets under way, echoed. cpu-ns/msg is the processor time
// of both ends, user and system; the figures are in core/rpc/README.md.
func BenchmarkTransport(b *testing.B) {
	address := "unix:" + filepath.Join(b.TempDir(), "core.sock")
	startCore(b, address, echo)
	b.Run("link", func(b *testing.B) { benchLink(b, address) })
	for _, batch := range []int{1, 8, 64, 512} {
		name := map[int]string{1: "unary", 8: "exchange-8", 64: "exchange-64", 512: "exchange-512"}[batch]
		b.Run(name, func(b *testing.B) { benchExchange(b, address, batch) })
	}
}

func benchLink(b *testing.B, address string) {
	links, err := rpc.New(rpc.Options{Cores: []string{address}, EdgeID: "bench", Epoch: time.Now().UnixMilli(), Log: quietLog()})
	if err != nil {
		b.Fatal(err)
	}
	loop := &loop{links: links, body: make([]byte, benchBody), who: &session.Identity{User: 100001, Device: "0123456789abcdef", DeviceType: idl.DeviceWeb, TokenID: 7},
		finished: make(chan struct{}), started: make([]time.Time, benchSessions)}
	links.Start(loop)
	b.Cleanup(links.Close)
	ready(b, links, true)
	loop.left.Store(int64(b.N))
	measure(b, func() {
		for i := range benchSessions {
			loop.next(session.ID(i + 1))
		}
		<-loop.finished
	}, func() []time.Duration { return loop.latencies })
}

// loop is a Receiver whose sessions each send again when they are answered.
type loop struct {
	hub      // its Live and Resync
	links    *rpc.Links
	body     []byte
	who      *session.Identity
	left     atomic.Int64 // calls still to be made
	answered atomic.Int64
	finished chan struct{}

	started   []time.Time     // by session; each by one call at a time
	latencies []time.Duration // by the link's receiver
}

func (l *loop) next(s session.ID) {
	if l.left.Add(-1) < 0 {
		return
	}
	l.started[s-1] = time.Now()
	l.links.Call(session.Call{Session: s, Action: idl.ActionMessage, Codec: idl.CodecProtobuf, Body: l.body,
		Identity: l.who, Address: "192.0.2.1:12345"})
}

func (l *loop) Deliver(d session.Delivery) {
	for _, r := range d.Replies {
		l.Reply(r)
	}
}

func (l *loop) Reply(r session.Reply) {
	if n := l.answered.Add(1); n%64 == 0 {
		l.latencies = append(l.latencies, time.Since(l.started[r.Session-1]))
	}
	l.next(r.Session)
	if l.left.Load() <= -benchSessions {
		select {
		case <-l.finished:
		default:
			close(l.finished)
		}
	}
}

func benchExchange(b *testing.B, address string, batch int) {
	client, err := stub.NewClient("freeim.core", kitex.WithHostPorts(address[len("unix:"):]))
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var mu sync.Mutex
	var latencies []time.Duration
	work := func(first int) {
		calls := make([]*corepb.Call, batch)
		for i := range calls {
			calls[i] = &corepb.Call{Session: uint64(first + i), Action: uint32(idl.ActionMessage), Codec: 1, Body: make([]byte, benchBody),
				Identity: &corepb.Identity{UserId: int64(first + i), DeviceId: "0123456789abcdef", DeviceType: idl.DeviceWeb, TokenId: 7}, Address: "192.0.2.1:12345"}
		}
		for left.Add(-int64(batch)) >= -int64(batch)+1 {
			started := time.Now()
			if _, err := client.Exchange(context.Background(), &corepb.CallBatch{Calls: calls}); err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			latencies = append(latencies, time.Since(started))
			mu.Unlock()
		}
	}
	measure(b, func() {
		var all sync.WaitGroup
		for i := range max(1, benchSessions/batch) {
			all.Go(func() { work(i * batch) })
		}
		all.Wait()
	}, func() []time.Duration { return latencies })
}

// measure runs fn, which does b.N calls, and reports its figures.
func measure(b *testing.B, fn func(), latencies func() []time.Duration) {
	ballast := make([]byte, 64<<20) // a heap as a working process has: the collector runs as often as there
	defer runtime.KeepAlive(ballast)
	before := cpu()
	b.ReportAllocs()
	b.ResetTimer()
	fn()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/msg")
	all := latencies()
	slices.Sort(all)
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
