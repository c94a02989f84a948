package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/history"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// faultTime bounds a test of faults.
const faultTime = 2 * time.Minute

func startCluster(t *testing.T) *cluster.Cluster {
	return startClusterWith(t, cluster.Options{Dir: t.TempDir()})
}

func startClusterWith(t *testing.T, o cluster.Options) *cluster.Cluster {
	c, err := cluster.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// The core, then the edge, is closed and comes back while people talk: every
// acknowledged message is there, once, and everybody is shown everything.
func TestRestartsUnderLoad(t *testing.T) {
	for name, restart := range map[string]func(context.Context, *cluster.Cluster) error{
		"core": func(ctx context.Context, c *cluster.Cluster) error {
			return errors.Join(c.Cores[0].Stop(ctx), c.Cores[0].Start(ctx))
		},
		"edge": func(ctx context.Context, c *cluster.Cluster) error {
			return errors.Join(c.Edges[0].Stop(ctx), c.Edges[0].Start())
		},
		"edge without a word": func(_ context.Context, c *cluster.Cluster) error {
			c.Edges[0].Kill()
			return c.Edges[0].Start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			beside(t)
			ctx, cancel := context.WithTimeout(t.Context(), faultTime)
			defer cancel()
			c := startCluster(t)
			people := gather(t, 4, func() client.Options { return forms[0].options(c.Edges[0]) })
			defer people.leave()
			const each, restarts = 400, 5
			var talking sync.WaitGroup
			talking.Go(func() { people.talk(ctx, each) })
			for i := range restarts {
				progress := int64((i + 1) * each)
				if err := until(ctx, func() (bool, error) { return people.acked.Load() >= progress, nil }); err != nil {
					t.Fatalf("%d acknowledged: %v", people.acked.Load(), err)
				}
				if err := restart(ctx, c); err != nil {
					t.Fatal(err)
				}
			}
			talking.Wait()
			people.audit(ctx)
		})
	}
}

// whole is the real program as a process of its own.
type whole struct {
	t    *testing.T
	env  []string
	tcp  string
	run  *exec.Cmd
	path string
}

func buildServer(t *testing.T) *whole {
	built, err := programs.get()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &whole{t: t, path: built.Edge, tcp: "127.0.0.1:0"}
	s.env = append(os.Environ(), "FREEIM_CORE_DATA="+filepath.Join(dir, "data"), "FREEIM_CORE_LISTEN=unix:"+filepath.Join(dir, "core.sock"),
		"FREEIM_CORE_SCRIPTS=", "FREEIM_EDGE_HTTP=127.0.0.1:0", "FREEIM_ADMIN_LISTEN=", "FREEIM_LOG_LEVEL=error")
	return s
}

// start runs the program and waits until it says where it listens: the same
// address as before, after the first time.
func (s *whole) start() {
	s.run = exec.Command(s.path, "-config", "../../conf/embedded.yaml")
	s.run.Env = append(s.env, "FREEIM_EDGE_TCP="+s.tcp)
	s.run.Stderr = os.Stderr
	out, err := s.run.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.run.Start(); err != nil {
		s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "tcp" {
			s.tcp = strings.Replace(strings.TrimPrefix(words[1], "tcp://"), "localhost", "127.0.0.1", 1)
			return
		}
	}
	s.t.Fatalf("the server ended before it served: %v", s.run.Wait())
}

// kill ends the program as a crash does.
func (s *whole) kill() {
	if err := s.run.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.run.Wait() // killed is what it should be
}

// The whole server is killed again and again, at random moments after it has
// acknowledged something: nothing acknowledged is lost, nothing doubled.
func TestKilledServerLosesNothingAcknowledged(t *testing.T) {
	beside(t)
	s := buildServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	s.start()
	defer func() { s.kill() }()
	people := gather(t, 4, func() client.Options { return client.Options{Address: "tcp://" + s.tcp, Codec: idl.CodecProtobuf} })
	defer people.leave()
	const each, kills = 500, 20
	var talking sync.WaitGroup
	talking.Go(func() { people.talk(ctx, each) })
	for i := range kills {
		progress := int64(i*8*each/kills) + rand.Int64N(8*each/kills) + 1
		if err := until(ctx, func() (bool, error) { return people.acked.Load() >= progress, nil }); err != nil {
			t.Fatalf("%d acknowledged after %d kills: %v", people.acked.Load(), i, err)
		}
		s.kill()
		s.start()
	}
	talking.Wait()
	people.audit(ctx)
	t.Logf("%d messages acknowledged over %d kills", people.acked.Load(), kills)
}

// Two devices of one type sign in at once, through real connections: one session
// and one token are left, whichever they are.
func TestKickRace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	c := startCluster(t)
	o := forms[0].options(c.Edges[0])
	if _, err := signUp(ctx, o, "alice"); err != nil {
		t.Fatal(err)
	}
	const rounds = 25
	for round := range rounds {
		var racers sync.WaitGroup
		conns := make([]*client.Client, 2)
		for i := range conns {
			racers.Go(func() { conns[i] = arrive(ctx, t, o, fmt.Sprintf("phone%d", i)) })
		}
		racers.Wait()
		if t.Failed() {
			return
		}
		live := func() (n int) {
			for _, conn := range conns {
				if conn != nil && conn.Heartbeat(ctx) == nil {
					n++
				}
			}
			return n
		}
		if err := until(ctx, func() (bool, error) { return live() == 1, nil }); err != nil {
			t.Fatalf("round %d: %d sessions live: %v", round, live(), err)
		}
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	}
}

// arrive signs a mobile in and authenticates; nil when the other was later.
func arrive(ctx context.Context, t *testing.T, o client.Options, id string) *client.Client {
	conn, err := client.Dial(ctx, o)
	if err != nil {
		t.Error(err)
		return nil
	}
	in, err := conn.SignIn(ctx, "alice", password, &accountpb.Device{Id: id, Type: idl.DeviceMobile})
	if err == nil {
		_, err = conn.Auth(ctx, in.Token)
	}
	if err == nil {
		return conn
	}
	quit, kicked := errors.AsType[*client.Quit](err)
	if client.CodeOf(err) != idl.CodeUnauthenticated && client.CodeOf(err) != idl.CodePermissionDenied &&
		(!kicked || quit.Reason != idl.CloseKicked && quit.Reason != idl.CloseReplaced) {
		t.Errorf("%s: %v", id, err)
	}
	conn.Close()
	return nil
}

// One message is sent by many connections at once: it is committed once, and all
// get the same answer.
func TestResendRace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	c := startCluster(t)
	people := gather(t, 1, func() client.Options { return forms[2].options(c.Edges[0]) })
	defer people.leave()
	p := people.pairs[0]
	var conns []*client.Client
	for _, kind := range []idl.DeviceType{idl.DeviceDesktop, idl.DeviceWeb, idl.DeviceTablet} {
		o := forms[int(kind)%len(forms)].options(c.Edges[0])
		conn, err := client.Dial(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in, err := conn.SignIn(ctx, p.members[0].owner.name, password, &accountpb.Device{Id: kind.String(), Type: kind})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Auth(ctx, in.Token); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	const rounds = 100
	for round := range rounds {
		req := &chatpb.SendRequest{ClientId: fmt.Sprint("r", round), ToUserId: p.members[1].owner.id, Text: "once"}
		ids := make([]string, len(conns))
		send := history.Send{Conversation: conversation(p.members[0], p.members[1]), ID: req.ClientId, Sent: time.Now(), Outcome: history.Acked}
		var racers sync.WaitGroup
		for i, conn := range conns {
			racers.Go(func() {
				rep, err := conn.Send(ctx, req)
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = fmt.Sprint(rep.MessageId, rep.Seq, rep.InboxSeq)
				if i == 0 {
					send.MessageID, send.Seq, send.Answered = rep.MessageId, rep.Seq, time.Now()
				}
			})
		}
		racers.Wait()
		if ids[0] != ids[1] || ids[1] != ids[2] {
			t.Fatalf("round %d: answers %q", round, ids)
		}
		people.sends = append(people.sends, send)
	}
	people.audit(ctx)
	if n := len(people.readLog(ctx, p, 0)); n != rounds {
		t.Errorf("%d messages are stored, want %d", n, rounds)
	}
}
