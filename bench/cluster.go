package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
)

// stopTime bounds the end of a cluster: edges drain, then cores.
const stopTime = time.Minute

// runCluster brings a cluster up, says what to open, and takes it down when ctx
// ends.
func runCluster(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bench cluster", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", "data/cluster", "directory of everything: configurations, logs, stores; made if missing")
	edges := flags.Int("edges", 2, "how many edges")
	cores := flags.Int("cores", 2, "how many cores")
	fixed := flags.Bool("fixed", true, "take the usual ports where they are free")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	last := context.WithoutCancel(ctx)
	o := cluster.SiteOptions{Dir: *dir, Edges: *edges, Cores: *cores, Fixed: *fixed, Level: "info"}
	fmt.Fprintln(out, "building edge and core")
	if o.Programs, err = cluster.Build(ctx, filepath.Join(*dir, "bin")); err != nil {
		return err
	}
	e, err := startEngines(ctx, *dir, &o, out)
	defer func() { err = errors.Join(err, e.stop()) }()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "starting %d cores and %d edges\n", o.Cores, o.Edges)
	site, err := cluster.StartSite(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(last, stopTime)
		defer cancel()
		err = errors.Join(err, site.Stop(ctx))
	}()
	announce(out, *dir, site, e)
	watch(ctx, site, out)
	fmt.Fprintln(out, "stopping: the edges send their clients elsewhere, then the cores finish")
	return nil
}

// stores are the engines of one cluster.
type stores struct {
	mariadb *engines.MariaDBServer
	redis   *engines.Cluster
	etcd    *engines.EtcdServer
}

// startEngines starts the engines and writes into o where they are. What has
// started is given beside an error.
func startEngines(ctx context.Context, dir string, o *cluster.SiteOptions, out io.Writer) (e stores, err error) {
	fmt.Fprintln(out, "starting MariaDB, a Redis Cluster of three masters, etcd")
	if e.mariadb, err = engines.StartMariaDB(ctx, engines.MariaDBOptions{Dir: filepath.Join(dir, "mariadb")}); err != nil {
		return e, missing(err, "mariadb-server")
	}
	if o.MySQL, err = e.mariadb.CreateDatabase(ctx, "freeim"); err != nil {
		return e, err
	}
	for _, name := range []string{"redis", "etcd"} { // nothing in them outlives a cluster
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return e, err
		}
	}
	if e.redis, err = engines.StartRedisCluster(ctx, filepath.Join(dir, "redis"), 3); err != nil {
		return e, missing(err, "redis-server")
	}
	o.Redis = e.redis.Addrs()
	if e.etcd, err = engines.StartEtcd(ctx, engines.EtcdOptions{Dir: filepath.Join(dir, "etcd")}); err != nil {
		return e, missing(err, "etcd-server")
	}
	o.Etcd = e.etcd.Addr()
	return e, nil
}

func missing(err error, debian string) error {
	if errors.Is(err, engines.ErrMissing) {
		return fmt.Errorf("%w: apt-get install %s (or: .ci/tools, as root)", err, debian)
	}
	return err
}

func (e *stores) stop() error {
	var errs []error
	if e.redis != nil {
		errs = append(errs, e.redis.Kill()) // it holds nothing that lasts
	}
	if e.etcd != nil {
		errs = append(errs, e.etcd.Stop())
	}
	if e.mariadb != nil {
		errs = append(errs, e.mariadb.Stop())
	}
	return errors.Join(errs...)
}

// announce says what to open.
func announce(out io.Writer, dir string, s *cluster.Site, below stores) {
	fmt.Fprintln(out, "\nfreeim is running; open both, sign up as two people, and chat across the edges:")
	for _, e := range s.Edges {
		fmt.Fprintf(out, "  %-8s http://%s/   tcp://%s   admin http://%s/   process %d\n", e.Name, e.HTTP, e.TCP, e.Admin, e.PID())
	}
	for _, c := range s.Cores {
		fmt.Fprintf(out, "  %-8s edges link to %s   admin http://%s/   process %d\n", c.Name, c.Listen, c.Admin, c.PID())
	}
	fmt.Fprintf(out, "  terminal go run ./edge/client/chat -addr tcp://%s -account NAME -password PASSWORD -signup\n", s.Edges[0].TCP)
	fmt.Fprintf(out, "  rules    %s   (save a file, and the next message obeys)\n", filepath.Join(dir, "rules"))
	fmt.Fprintf(out, "  logs     %s   configurations beside them\n", filepath.Join(dir, "*.log"))
	fmt.Fprintf(out, "  stores   MariaDB %s, process %d   etcd %s, process %d   Redis", below.mariadb.Addr(), below.mariadb.PID(), below.etcd.Addr(), below.etcd.PID())
	for _, r := range below.redis.Nodes {
		fmt.Fprintf(out, " %s, process %d ", r.Addr(), r.PID())
	}
	fmt.Fprintln(out, "\nTry, in another terminal and while people chat: kill -9 an edge or a core, which is started again after", away,
		"\nor kill -STOP any process, stores too, which freezes it, and then kill -CONT.")
	fmt.Fprintln(out, "Ctrl-C stops everything; accounts and messages stay in the directory.")
}

// away is how long a process that ended stays so, to let people see what that does;
// one that ended sooner than steady after its start is left alone.
const away, steady = 5 * time.Second, 3 * time.Second

// watch waits for ctx, and starts processes again that end before, as whatever
// supervises them in production would. Those that are away at the end are given up.
func watch(ctx context.Context, s *cluster.Site, out io.Writer) {
	gone, due := make(chan *cluster.Process), make(chan *cluster.Process)
	tell := func(p *cluster.Process, on <-chan struct{}, to chan<- *cluster.Process, wait time.Duration) {
		select {
		case <-on:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		select {
		case to <- p:
		case <-ctx.Done():
		}
	}
	began := map[*cluster.Process]time.Time{}
	for _, p := range s.Processes() {
		go tell(p, p.Ended(), gone, 0)
	}
	for {
		select {
		case p := <-gone:
			fmt.Fprintf(out, "%s has ended; its log (%s) ends with:\n  %s\n", p.Name, p.Log,
				strings.ReplaceAll(strings.TrimSpace(p.Said()), "\n", "\n  "))
			if time.Since(began[p]) > steady {
				fmt.Fprintf(out, "%s is started again in %v\n", p.Name, away)
				go tell(p, p.Ended(), due, away)
			}
		case p := <-due:
			if err := p.Start(ctx); err != nil {
				fmt.Fprintln(out, errors.Join(err, p.Kill()))
				continue
			}
			began[p] = time.Now()
			fmt.Fprintf(out, "%s serves again, process %d\n", p.Name, p.PID())
			go tell(p, p.Ended(), gone, 0)
		case <-ctx.Done():
			for _, p := range s.Processes() {
				if !p.Running() {
					_ = p.Kill() // only forgets how it ended, which was told
				}
			}
			return
		}
	}
}
