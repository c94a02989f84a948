package sql_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkRecordAppend commits 1:1 messages of 128 octets from many callers at
// once, each flushed to the disk, as a core does. Beside messages a second it
// reports the CPU of this process and of mariadbd, and messages in one flush.
func BenchmarkRecordAppend(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) { benchmarkRecord(b, 1, callers, 2) })
	}
}

// BenchmarkRecordAppendGroup commits messages to 500 inboxes each.
func BenchmarkRecordAppendGroup(b *testing.B) { benchmarkRecord(b, 1, 100, 500) }

// BenchmarkRecordSeveral is BenchmarkRecordAppend on two cores' records at once.
func BenchmarkRecordSeveral(b *testing.B) { benchmarkRecord(b, 2, 1000, 2) }

func benchmarkRecord(b *testing.B, cores, callers, inboxes int) {
	m := engines.MariaDBWith(b, engines.MariaDBOptions{Args: []string{"--innodb-buffer-pool-size=256M", "--innodb-log-file-size=128M"}})
	dsn, err := m.CreateDatabase(b.Context(), "record")
	if err != nil {
		b.Fatal(err)
	}
	figures := prometheus.NewRegistry()
	var records []*sql.Record
	for range cores {
		o := sql.RecordOptions{DSN: dsn, Log: quiet}
		if len(records) == 0 {
			o.Figures = figures
		}
		records = append(records, openRecord(b, o))
	}
	body := make([]byte, 128)
	ctx := context.Background()
	var number atomic.Int64
	send := func() {
		n := number.Add(1)
		if _, err := records[n%int64(cores)].Append(ctx, nth(n, inboxes, body)); err != nil {
			b.Error(err)
		}
	}
	b.SetParallelism((callers + 1) / 2) // times GOMAXPROCS
	b.ReportAllocs()
	started, cpu, server := time.Now(), cpuTime(), serverTime(b, m.PID())
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			send()
		}
	})
	b.StopTimer()
	messages := float64(number.Load())
	b.ReportMetric(messages/time.Since(started).Seconds(), "msgs/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/messages, "cpu-µs/msg")
	b.ReportMetric(float64((serverTime(b, m.PID())-server).Microseconds())/messages, "mariadbd-µs/msg")
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

// serverTime is what another process has used (proc(5), stat).
func serverTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skipf("SKIPPED: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// BenchmarkRecordInbox reads pages of 500 of an inbox of 10,000 entries.
func BenchmarkRecordInbox(b *testing.B) {
	r := openRecord(b, sql.RecordOptions{DSN: engines.Database(b), Log: quiet})
	ctx := context.Background()
	const entries, reader = 10_000, 1
	done := make(chan error, 100)
	for w := range 100 {
		go func() {
			var err error
			for range entries / 100 {
				if _, failed := r.Append(ctx, timeline.Draft{Conversation: im.ChatOf(reader, im.UserID(w+2)),
					Sender: im.UserID(w + 2), Body: make([]byte, 128), Inboxes: []im.UserID{reader}}); failed != nil {
					err = failed
				}
			}
			done <- err
		}()
	}
	for range 100 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	after := int64(0)
	for b.Loop() {
		p, err := r.Inbox(ctx, reader, after%entries, 500)
		if err != nil || len(p.Items) != 500 {
			b.Fatalf("page after %d: %d entries, %v", after, len(p.Items), err)
		}
		after += 500
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/entry")
}
