package e2e_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
)

// full makes the fault tests take the counts that a release is held to (README.md)
// instead of those of every change.
func full() bool { return os.Getenv("FAULTS") == "full" }

// times is few, or many in a full run.
func times(few, many int) int {
	if full() {
		return many
	}
	return few
}

// beside lets a test run beside others, since what it mostly does is wait. A full run holds the
// times to limits, which need the machine.
func beside(t *testing.T) {
	if !full() {
		t.Parallel()
	}
}

// lasting bounds a test of faults at a site: a full run takes hours. The programs are built
// before the time begins, which on a busy machine takes minutes; who starts them hears of errors.
func lasting(t *testing.T) (context.Context, context.CancelFunc) {
	_, _ = programs.get()
	if full() {
		return context.WithTimeout(t.Context(), 8*time.Hour)
	}
	return context.WithTimeout(t.Context(), 3*faultTime)
}

// programs are built by the first test that needs them.
var programs built

type built struct {
	once sync.Once
	cluster.Programs
	err error
}

func (b *built) get() (cluster.Programs, error) {
	b.once.Do(func() {
		var dir string
		if dir, b.err = os.MkdirTemp("", "freeim-programs-"); b.err == nil {
			b.Programs, b.err = cluster.Build(context.Background(), dir)
		}
	})
	return b.Programs, b.err
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.Edge != "" {
		programs.Remove()
	}
	os.Exit(code)
}

// site is edges and cores as processes, for one test.
type site struct {
	*cluster.Site
	t *testing.T
}

// startSite starts a site; it ends with the test.
func startSite(t *testing.T, o cluster.SiteOptions) *site {
	t.Helper()
	var err error
	if o.Programs, err = programs.get(); err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	started, err := cluster.StartSite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range started.Processes() {
				t.Logf("%s said at the end:\n%s", p.Name, p.Said())
			}
		}
		if err := started.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &site{started, t}
}

// answerTime is when a client gives a connection up: later than the server's own
// bounds, so that it gets their answers.
const answerTime = 12 * time.Second

// ways are how clients reach the edges: each has another one first.
func (s *site) ways() (ways []func() client.Options) {
	for i := range s.Edges {
		ways = append(ways, func() client.Options {
			o := client.Options{Codec: idl.CodecProtobuf, Address: s.address(i), AnswerTimeout: answerTime}
			for k := 1; k < len(s.Edges); k++ {
				o.Addresses = append(o.Addresses, s.address((i+k)%len(s.Edges)))
			}
			return o
		})
	}
	return ways
}

// address is where clients reach an edge.
func (s *site) address(edge int) string {
	if len(s.Fronts) > 0 {
		return "tcp://" + s.Fronts[edge].Addr()
	}
	return "tcp://" + s.Edges[edge].TCP
}

// at is how to reach one edge and no other.
func (s *site) at(edge int) client.Options {
	return client.Options{Address: s.address(edge), Codec: idl.CodecProtobuf}
}

// allRun fails the test if one of our processes has ended by itself.
func (s *site) allRun() {
	s.t.Helper()
	for _, p := range s.Processes() {
		if !p.Running() {
			s.t.Errorf("%s has ended; it said:\n%s", p.Name, p.Said())
		}
	}
}
