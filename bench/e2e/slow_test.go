package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/sql"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// deafAt is how to reach an edge with a connection that reads until deaf is
// closed, and no octet more. Its windows are those of a distant network: on the
// loopback the kernel alone would hold megabytes.
func deafAt(o client.Options, deaf <-chan struct{}) client.Options {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400))
		})
		return errors.Join(err, set)
	}}
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		return &deafConn{Conn: conn, deaf: deaf, closed: make(chan struct{})}, err
	}
	return o
}

type deafConn struct {
	net.Conn
	deaf   <-chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.deaf:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestFaultsSlowConsumers: clients that ask for much and never read are cut off
// within ten seconds and cost the edge a mebibyte each at most; a sender's acks
// stay quick, and who comes back misses nothing (figure 10).
func TestFaultsSlowConsumers(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{EdgeEnv: []string{ // one talks to all of them
		"FREEIM_EDGE_LIMITS_USER_OCTETS=1GiB", "FREEIM_EDGE_LIMITS_USER_FRAMES=1000000"}})
	directory, err := sql.Open(sql.Options{Dialect: "sqlite", Path: filepath.Join(filepath.Dir(s.Cores[0].Config), "stores", "directory.db")})
	if err != nil {
		t.Fatal(err)
	}
	n := times(20, 1000)
	tokens := enrol(ctx, t, directory, n)
	if err := directory.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := signUp(ctx, s.at(0), "talker"); err != nil {
		t.Fatal(err)
	}
	talker := s.connect(ctx, 0, "talker", idl.DeviceMobile)

	// What they will ask for: 30 long texts each. The acks without slow clients.
	const texts = 30
	before := talk(ctx, t, talker, n, texts)

	deaf := make(chan struct{})
	slow := make([]*client.Client, n)
	for i, token := range tokens {
		if slow[i], err = client.Dial(ctx, deafAt(s.at(0), deaf)); err != nil {
			t.Fatal(err)
		}
		defer slow[i].Close()
		if _, err := slow[i].Auth(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	edge := s.Edges[0]
	figure := func(name string, with ...string) float64 {
		value, err := edge.Figure(ctx, name, with...)
		if err != nil && !strings.Contains(err.Error(), "has no figure") { // nobody was closed yet
			t.Fatal(err)
		}
		return value
	}
	memory := figure("process_resident_memory_bytes")
	close(deaf)
	start := time.Now()
	asking, enough := context.WithCancel(ctx)
	defer enough()
	for i, conn := range slow {
		go askOnAndOn(asking, conn, time.Duration(i)*time.Millisecond, time.Duration(n)*time.Millisecond)
	}
	var most float64
	var during []time.Duration
	var over atomic.Bool
	var talking sync.WaitGroup
	talking.Go(func() {
		for !over.Load() && !t.Failed() {
			during = append(during, talk(ctx, t, talker, n, 1)...)
		}
	})
	look := time.NewTicker(200 * time.Millisecond) // all figures cost the edge two milliseconds each time
	defer look.Stop()
	err = until(ctx, func() (bool, error) {
		<-look.C
		most = max(most, figure("process_resident_memory_bytes"))
		return figure("freeim_edge_closed_total", "SLOW") >= float64(n), nil
	})
	took := time.Since(start) - time.Duration(n)*time.Millisecond // the last of them began to ask that much later
	over.Store(true)
	enough()
	talking.Wait()
	if err != nil {
		t.Fatalf("%v of %d clients that do not read were cut off: %v", figure("freeim_edge_closed_total", "SLOW"), n, err)
	}
	each := (most - memory) / float64(n) / (1 << 20)
	t.Logf("%d clients cut off within %v, at %.2f MiB each; p99 of %d acks %v before, of %d %v meanwhile",
		n, took.Round(time.Millisecond), each, len(before), p99(before), len(during), p99(during))
	if full() {
		if took > 10*time.Second {
			t.Errorf("cut off within %v, want 10 s", took)
		}
		if each > 1 {
			t.Errorf("each cost %.2f MiB, want 1 at most", each)
		}
		if p99(during) > 2*p99(before) {
			t.Errorf("p99 of acks is %v, and was %v before; want twice at most", p99(during), p99(before))
		}
	}
	for i, token := range tokens {
		s.missesNothing(ctx, token, texts+len(during)/n, i == 0)
	}
}

// askOnAndOn asks for 150 KiB, first after a pause and then again and again, and waits for
// no answer: what is asked by all together is a thousand a second, so that it is their not
// reading that is measured. The calls fail when the connection is closed.
func askOnAndOn(ctx context.Context, conn *client.Client, pause, again time.Duration) {
	next := time.NewTimer(pause)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			go conn.Sync(ctx, &chatpb.SyncRequest{Limit: 500})
			next.Reset(again)
		}
	}
}

// talk sends each of the n enrolled people so many texts, some at once, and gives
// how long the acks took.
func talk(ctx context.Context, t *testing.T, talker *client.Client, n, texts int) []time.Duration {
	took := make([]time.Duration, n*texts)
	const atOnce = 8
	stamp := time.Now().UnixNano()
	var all sync.WaitGroup
	for lane := range atOnce {
		all.Go(func() {
			for i := lane; i < len(took) && !t.Failed(); i += atOnce {
				start := time.Now()
				_, err := talker.Send(ctx, &chatpb.SendRequest{
					ClientId: fmt.Sprint(stamp, "-", i), ToUserId: int64(enrolled + i%n), Text: strings.Repeat("long ", 999)})
				if err != nil {
					t.Error(err)
				}
				took[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	return took
}

func p99(took []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)*99/100].Round(time.Microsecond)
}

// missesNothing opens a session and waits for so many messages, in order and
// without a gap.
func (s *site) missesNothing(ctx context.Context, token string, want int, say bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var shown atomic.Int64
	o := s.at(0)
	o.Token = token
	o.Handler.Message = func(_ context.Context, e *client.Entry) error {
		if e.InboxSeq != shown.Add(1) {
			s.t.Errorf("shown inbox seq %d at place %d", e.InboxSeq, shown.Load())
		}
		return nil
	}
	session, err := client.Open(ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	defer session.Close()
	if err := until(ctx, func() (bool, error) { return shown.Load() >= int64(want), nil }); err != nil {
		s.t.Fatalf("who came back was shown %d messages of %d: %v", shown.Load(), want, err)
	}
	if say {
		s.t.Logf("who came back was shown all %d messages", want)
	}
}
