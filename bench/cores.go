package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// crowd is what people do in a measurement.
type crowd struct {
	people  int           // in pairs; each sends the next message when the last one is acknowledged
	every   time.Duration // and not before this has passed since
	warm    time.Duration // before the measurement
	measure time.Duration
	within  bool          // the two of a pair are at one core; else, with two cores, each at his own
	begun   chan struct{} // has room for all who talk at the same time, this crowd too: each fills it by one
	site    *cluster.Site
	sent    atomic.Int64
}

// runCores measures the processor time that a message costs each process, over one
// core and over two with twice as many people: it must stay level, or a core more
// would not be worth it.
func runCores(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench cores", flag.ContinueOnError)
	flags.SetOutput(out)
	people := flags.Int("people", 32, "how many people talk for each core, in pairs, each with one message under way")
	every := flags.Duration("every", 100*time.Millisecond, "how often each of them sends at most; 0: as soon as the last message is acknowledged")
	warm := flags.Duration("warm", 5*time.Second, "how long they talk before the measurement")
	measure := flags.Duration("for", 20*time.Second, "how long the measurement takes")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	dir, err := os.MkdirTemp("", "freeim-cores-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := cluster.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, commit %s\ngo run ./bench cores -people %d -every %v -warm %v -for %v\n\n", machine(), commit(ctx), *people, *every, *warm, *measure)
	fmt.Fprintln(out, "| cores | messages/s | each core, µs/message | cores in sum | edges in sum | mariadbd | redis-server |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	// A core in an installation of its own, beside another with as much to do, has all that a second core of one
	// installation has on this machine, but shares no stores: what a message costs there is what it should cost
	// with two cores. With one core alone it costs less, since the machine does less at a time.
	for i, way := range []struct {
		name         string
		sites, cores int
		within       bool
	}{
		{"1", 1, 1, true},
		{"1, beside an installation like it", 2, 1, true},
		{"2, each chat at one of them", 1, 2, true},
		{"2, each chat across both", 1, 2, false},
	} {
		begun := make(chan struct{}, way.sites)
		rows, errs := make([]string, way.sites), make([]error, way.sites)
		var all sync.WaitGroup
		for site := range way.sites {
			l := &crowd{people: *people * way.cores, every: *every, warm: *warm, measure: *measure, within: way.within, begun: begun}
			all.Go(func() {
				rows[site], errs[site] = l.run(ctx, filepath.Join(dir, fmt.Sprint(i, "-", site)), programs, way.cores)
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, row := range rows {
			fmt.Fprintf(out, "| %s %s\n", way.name, row)
		}
	}
	return nil
}

// run gives one row of the table.
func (l *crowd) run(ctx context.Context, dir string, programs cluster.Programs, cores int) (row string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	mariadb, err := engines.StartMariaDB(ctx, engines.MariaDBOptions{Dir: filepath.Join(dir, "mariadb")})
	if err != nil {
		return "", missing(err, "mariadb-server")
	}
	defer func() { err = errors.Join(err, mariadb.Stop()) }()
	redis, err := engines.StartRedis(ctx, engines.RedisOptions{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		return "", missing(err, "redis-server")
	}
	defer func() { err = errors.Join(err, redis.Kill()) }()
	dsn, err := mariadb.CreateDatabase(ctx, "freeim")
	if err != nil {
		return "", err
	}
	l.site, err = cluster.StartSite(ctx, cluster.SiteOptions{
		Programs: programs, Dir: dir, Cores: cores, Edges: 2, MySQL: dsn, Redis: []string{redis.Addr()},
		CoreEnv: []string{"FREEIM_PLUGINS_ACCOUNT_SIGN_UPS_PER_MINUTE=0"}})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.site.Kill()) }()
	talking, stop := context.WithCancel(ctx)
	defer stop()
	ended, err := l.talk(talking)
	if err != nil {
		return "", err
	}
	if err := l.meet(ctx); err != nil {
		stop()
		return "", errors.Join(err, ended())
	}
	row, err = l.row(ctx, cores, mariadb.PID(), redis.PID())
	stop()
	return row, errors.Join(err, ended())
}

// meet waits until all who talk at the same time have begun.
func (l *crowd) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // another may have failed
	defer cancel()
	for l.begun <- struct{}{}; len(l.begun) < cap(l.begun); {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// row measures while people talk.
func (l *crowd) row(ctx context.Context, cores, mariadb, redis int) (string, error) {
	if err := pause(ctx, l.warm); err != nil {
		return "", err
	}
	start, before, err := time.Now(), l.sent.Load(), error(nil)
	took, err := l.processorTime(mariadb, redis)
	if err != nil {
		return "", err
	}
	if err := pause(ctx, l.measure); err != nil {
		return "", err
	}
	after, err := l.processorTime(mariadb, redis)
	messages := float64(l.sent.Load() - before)
	perMessage := func(from, to int) (sum float64) {
		for i := from; i < to; i++ {
			sum += float64(after[i]-took[i]) / float64(time.Microsecond) / messages
		}
		return sum
	}
	each := make([]string, cores)
	for i := range each {
		each[i] = fmt.Sprintf("%.0f", perMessage(i, i+1)*float64(cores)) // of its own share of the messages
	}
	edges := cores + len(l.site.Edges)
	return fmt.Sprintf("| %.0f | %s | %.0f | %.0f | %.0f | %.0f |", messages/time.Since(start).Seconds(), strings.Join(each, ", "),
		perMessage(0, cores), perMessage(cores, edges), perMessage(edges, edges+1), perMessage(edges+1, edges+2)), err
}

// processorTime is that of the cores, the edges, MariaDB and Redis, in this order.
func (l *crowd) processorTime(mariadb, redis int) (all []time.Duration, err error) {
	for _, p := range append(append([]*cluster.Process{}, l.site.Cores...), l.site.Edges...) {
		d, err := p.CPU()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	for _, pid := range []int{mariadb, redis} {
		d, err := cluster.CPU(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// talk has everybody send until ctx ends; ended waits for that.
func (l *crowd) talk(ctx context.Context) (ended func() error, err error) {
	ids := make([]int64, l.people)
	conns := make([]*client.Client, l.people)
	if l.within {
		// An edge gives its sessions to two cores as 1, 0, 0, 1, 1, 0, 0 …: pairs that
		// connect one after the other are apart, unless somebody came before them.
		for _, edge := range l.site.Edges {
			idle, err := client.Dial(ctx, client.Options{Address: "tcp://" + edge.TCP, Codec: idl.CodecProtobuf})
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { idle.Close() })
		}
	}
	for i := range l.people {
		edge := l.site.Edges[i/2%len(l.site.Edges)]
		conns[i], err = client.Dial(ctx, client.Options{Address: "tcp://" + edge.TCP, Codec: idl.CodecProtobuf})
		if err != nil {
			return nil, err
		}
		name, password := fmt.Sprint("person", i), "correct horse battery"
		if ids[i], err = conns[i].SignUp(ctx, name, password, ""); err != nil {
			return nil, err
		}
		in, err := conns[i].SignIn(ctx, name, password, &accountpb.Device{Id: "phone", Type: idl.DeviceMobile})
		if err != nil {
			return nil, err
		}
		if _, err := conns[i].Auth(ctx, in.Token); err != nil {
			return nil, err
		}
	}
	errs := make([]error, l.people)
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Go(func() {
			defer conn.Close()
			due := time.Now()
			for n := 0; ctx.Err() == nil; n++ {
				req := &chatpb.SendRequest{ClientId: fmt.Sprint("m", n), ToUserId: ids[i^1], Text: "The quick brown fox jumps over the lazy dog"}
				if _, err := conn.Send(ctx, req); err != nil && ctx.Err() == nil {
					errs[i] = err
					return
				}
				l.sent.Add(1)
				if due = due.Add(l.every); due.Before(time.Now()) {
					due = time.Now()
				}
				_ = pause(ctx, time.Until(due)) // the loop sees the end itself
			}
		})
	}
	return func() error { all.Wait(); return errors.Join(errs...) }, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// machine says what this runs on.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.Trim(line, "\t: ")
		}
	}
	return fmt.Sprintf("%d CPUs (%s), %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
