package pebble_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkAppend commits 1:1 messages of 128 octets from many callers at once,
// each flushed to the disk, as a core does. Beside messages a second it reports
// CPU and messages in one flush.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) { benchmarkAppend(b, callers, 2) })
	}
}

// BenchmarkAppendGroup commits messages to 500 inboxes each.
func BenchmarkAppendGroup(b *testing.B) { benchmarkAppend(b, 100, 500) }

func benchmarkAppend(b *testing.B, callers, inboxes int) {
	figures := prometheus.NewRegistry()
	s, err := pebble.Open(pebble.Options{
		Dir: b.TempDir(), IDs: im.NewIDGenerator(nil), Log: slog.New(slog.DiscardHandler), Figures: figures,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body := make([]byte, 128)
	ctx := context.Background()
	var number atomic.Int64
	b.SetParallelism((callers + 1) / 2) // times GOMAXPROCS
	b.ReportAllocs()
	started, cpu := time.Now(), cpuTime()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Append(ctx, nth(number.Add(1), inboxes, body)); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	messages := float64(number.Load())
	b.ReportMetric(messages/time.Since(started).Seconds(), "msgs/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/messages, "cpu-µs/msg")
	b.ReportMetric(perBatch(b, figures), "msgs/flush")
}

// nth is a message of one of 10,000 people to one of his two friends; its client
// ID is as random as a client's.
func nth(n int64, inboxes int, body []byte) timeline.Draft {
	sender := im.UserID(100_000 + n*7919%10_000)
	peer := sender + 1 + im.UserID(n/10_000%2)
	d := timeline.Draft{
		Conversation: im.ChatOf(sender, peer), Sender: sender, Body: body,
		ClientID: fmt.Sprintf("%016x", uint64(n)*0x9E3779B97F4A7C15),
		Inboxes:  make([]im.UserID, inboxes),
	}
	for i := range d.Inboxes {
		d.Inboxes[i] = sender + im.UserID(i)*(peer-sender)
	}
	return d
}

func perBatch(b *testing.B, figures *prometheus.Registry) float64 {
	families, err := figures.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "freeim_timeline_batch_writes" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleSum() / float64(h.GetSampleCount())
		}
	}
	b.Fatal("no figure for batches")
	return 0
}

// cpuTime is what this process has used, in user and kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkInbox reads an inbox of 10,000 entries from 100 conversations: one page
// of 500, and all of it in such pages, as a device does that was away.
func BenchmarkInbox(b *testing.B) {
	s, err := pebble.Open(pebble.Options{Dir: b.TempDir(), IDs: im.NewIDGenerator(nil), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	const entries, reader = 10_000, 1
	var all sync.WaitGroup
	for w := range 100 {
		all.Go(func() {
			for range entries / 100 {
				_, err := s.Append(ctx, timeline.Draft{
					Conversation: im.ChatOf(reader, im.UserID(w+2)), Sender: im.UserID(w + 2), Body: make([]byte, 128), Inboxes: []im.UserID{reader},
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, row := range []struct {
		name  string
		until int64
	}{{"page=500", 500}, {"sync=10000", entries}} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for after := int64(0); after < row.until; after += 500 {
					p, err := s.Inbox(ctx, reader, after, 500)
					if err != nil || len(p.Items) != 500 {
						b.Fatalf("page after %d: %d entries, %v", after, len(p.Items), err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(row.until), "ns/entry")
		})
	}
}
