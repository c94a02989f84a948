package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/history"
	"freeim/core/engines"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// TestFaultsSentThrice: each message is sent three times, twice at once over two
// edges and again when all are sent, while cores are killed: it is stored and
// shown once, and acknowledged each time with the same ID and seqs (figure 9).
func TestFaultsSentThrice(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	mariadb, redis := engines.MariaDB(t), engines.Redis(t)
	dsn, err := mariadb.CreateDatabase(ctx, "freeim")
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, cluster.SiteOptions{Edges: 2, Cores: 2, MySQL: dsn, Redis: []string{redis.Addr()}})
	people := gatherNamed(t, "p", 2, 1, s.ways()...)
	defer people.leave()
	each := times(300, 25_000)
	var answered atomic.Int64
	var all sync.WaitGroup
	for _, p := range people.pairs {
		for side, m := range p.members {
			r := &repeater{crowd: people, from: m, to: p.members[1-side], answered: &answered}
			for edge := range r.conns {
				r.conns[edge] = s.connect(ctx, edge, m.owner.name, kinds[1+edge])
			}
			all.Go(func() { r.send(ctx, each) })
		}
	}
	kills, total := times(2, 20), int64(3*4*each)
	for i := range kills {
		want := total * int64(i+1) / int64(kills+1)
		err := until(ctx, func() (bool, error) {
			if t.Failed() {
				return false, errors.New("a sender has given up")
			}
			return answered.Load() >= want, nil
		})
		if err != nil {
			t.Fatalf("%d of %d answered: %v", answered.Load(), total, err)
		}
		core := s.Cores[i%2]
		if err := errors.Join(core.Kill(), core.Start(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	t.Logf("%d sends answered over %d kills; %v", answered.Load(), kills, people.audit(ctx))
	s.allRun()
}

// connect signs a device in at one edge and authenticates.
func (s *site) connect(ctx context.Context, edge int, name string, kind idl.DeviceType) *client.Client {
	s.t.Helper()
	token, err := signIn(ctx, s.at(edge), name, kind.String(), kind)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := client.Dial(ctx, s.at(edge))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Auth(ctx, token); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// repeater sends a person's messages by hand, over both edges.
type repeater struct {
	crowd    *crowd
	from, to *member
	conns    [2]*client.Client
	answered *atomic.Int64
}

// together is how many messages a repeater has under way.
const together = 25

// send sends n messages over both edges at once, and then all of them again.
func (r *repeater) send(ctx context.Context, n int) {
	sends := make([]history.Send, n)
	inbox := make([]int64, n)
	r.inParallel(n, func(i int) {
		var other *chatpb.SendReply
		var racing sync.WaitGroup
		racing.Go(func() { other = r.once(ctx, 1, i) })
		sends[i] = history.Send{Conversation: conversation(r.from, r.to), ID: r.id(i), Sent: time.Now(), Outcome: history.Acked}
		one := r.once(ctx, 0, i)
		racing.Wait()
		sends[i].Answered = time.Now()
		if one != nil && other != nil {
			sends[i].MessageID, sends[i].Seq, inbox[i] = one.MessageId, one.Seq, one.InboxSeq
			r.same(other, sends[i], inbox[i])
		}
	})
	r.inParallel(n, func(i int) {
		if again := r.once(ctx, i%2, i); again != nil {
			r.same(again, sends[i], inbox[i])
		}
	})
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	r.crowd.sends = append(r.crowd.sends, sends...)
}

func (r *repeater) id(i int) string { return fmt.Sprintf("%s-%d", r.from.owner.name, i) }

// inParallel calls do for 0 to n-1, some at once, until a send is given up.
func (r *repeater) inParallel(n int, do func(i int)) {
	for at := 0; at < n && !r.crowd.t.Failed(); at += together {
		var all sync.WaitGroup
		for i := at; i < min(at+together, n); i++ {
			all.Go(func() { do(i) })
		}
		all.Wait()
	}
}

// once sends message i until it is answered, and gives the answer; nil when it is
// refused without advice to come back, which fails the test.
func (r *repeater) once(ctx context.Context, edge, i int) *chatpb.SendReply {
	req := &chatpb.SendRequest{ClientId: r.id(i), ToUserId: r.to.owner.id, Text: fmt.Sprint("text ", i)}
	for {
		rep, err := r.conns[edge].Send(ctx, req)
		if err == nil {
			r.answered.Add(1)
			return rep
		}
		if retryAfter(err) <= 0 {
			r.crowd.t.Errorf("%s: %v", req.ClientId, err)
			return nil
		}
		<-time.After(retryAfter(err)) // as clients do
	}
}

func (r *repeater) same(got *chatpb.SendReply, want history.Send, inboxSeq int64) {
	if got.MessageId != want.MessageID || got.Seq != want.Seq || got.InboxSeq != inboxSeq {
		r.crowd.t.Errorf("%s: got ID %s, seq %d, inbox seq %d, and first %s, %d, %d",
			want.ID, got.MessageId, got.Seq, got.InboxSeq, want.MessageID, want.Seq, inboxSeq)
	}
}
