package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/load"
	"freeim/bench/people"
	"freeim/bench/proc"
	"freeim/bench/report"
	"freeim/core/engines"
)

// perProcess is how many connections one edge or one load worker is given: open
// files are limited, to 20,000 on many machines.
const perProcess = 19_000

// usualHeartbeat is what servers ask of clients.
const usualHeartbeat = 30 * time.Second

// stage is servers and the load on them, for some rows.
type stage struct {
	bench  *bench
	target string // as report calls it
	dir    string
	seed   string
	edges  []edgeAddress
	before map[string]report.Memory // of the servers without a client

	site  *cluster.Site // nil for a baseline
	limit *exec.Cmd     // nil for freeim: a baseline as a process of this program
	fleet *load.Fleet
	found map[string]load.Result // by group, of the last finish
}

type edgeAddress struct{ tcp, http, echo string }

// stageOptions say which servers.
type stageOptions struct {
	target string // report.Freeim: a site; else a limit server
	people int
	edges  int
	echo   bool     // the first edge has a WebSocket echo
	rules  string   // a directory of Lua rules; empty: none
	core   []string // further environment of the core
	edge   []string // and of the edges
}

// open starts the servers.
func (b *bench) open(ctx context.Context, o stageOptions) (_ *stage, err error) {
	s := &stage{bench: b, target: o.target, seed: rand.Text(), found: map[string]load.Result{}}
	if s.dir, err = os.MkdirTemp(b.set.storeDir(), "freeim-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if o.target == report.Freeim {
		err = s.openSite(ctx, o)
	} else {
		err = s.openLimit(o.target)
	}
	if err != nil {
		return nil, err
	}
	s.before, err = s.memory(ctx)
	return s, err
}

func (s *stage) openSite(ctx context.Context, o stageOptions) error {
	set := &s.bench.set
	if o.people > 100_000 {
		fmt.Fprintf(s.bench.out, "filing %d people\n", o.people)
	}
	if err := people.Prepare(ctx, filepath.Join(s.dir, "stores"), s.seed, o.people); err != nil {
		return err
	}
	edges := max(o.edges, 1)
	site := cluster.SiteOptions{
		Programs: s.bench.programs, Dir: s.dir, Edges: edges, Unix: set.join == "unix",
		// What one user may send is no question here.
		EdgeEnv: append([]string{"FREEIM_EDGE_LIMITS_USER_FRAMES=0", "FREEIM_EDGE_LIMITS_USER_OCTETS=0"}, o.edge...),
		CoreEnv: append([]string{"FREEIM_CORE_SCRIPTS=" + o.rules}, o.core...),
	}
	if beat := set.heartbeat; beat > usualHeartbeat { // the servers ask for it, and wait for three
		site.EdgeEnv = append(site.EdgeEnv, "FREEIM_EDGE_HEARTBEAT="+beat.String())
		site.CoreEnv = append(site.CoreEnv, "FREEIM_PLUGINS_ACCOUNT_HEARTBEAT="+beat.String())
	}
	if set.silence > 0 {
		site.EdgeEnv = append(site.EdgeEnv, "FREEIM_EDGE_SILENCE="+set.silence.String())
	}
	echo := ""
	if o.echo {
		port, err := engines.FreePort()
		if err != nil {
			return err
		}
		defer port.Close()
		echo = port.Addr()
		site.EdgeEnv = append(site.EdgeEnv, "FREEIM_EDGE_WS_ECHO="+echo)
	}
	var err error
	if s.site, err = cluster.StartSite(ctx, site); err != nil {
		return err
	}
	if nice := set.coreNice; nice != 0 {
		if err := proc.Renice(s.site.Cores[0].PID(), nice); err != nil {
			return err
		}
	}
	for _, e := range s.site.Edges {
		s.edges = append(s.edges, edgeAddress{e.TCP, e.HTTP, echo})
	}
	return nil
}

func (s *stage) openLimit(target string) error {
	mode := "single"
	if target == report.LimitJoined {
		mode = "joined"
	}
	cmd := exec.Command(s.bench.self, "limit-server", "-mode", mode)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = cluster.ChildAttributes()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.limit = cmd
	line, err := bufio.NewReader(out).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !found {
		return fmt.Errorf("the limit server said %q: %w", line, err)
	}
	s.edges = []edgeAddress{{tcp: address}}
	return nil
}

// targets are where sessions of a transport connect to.
func (s *stage) targets(transport string) (all []load.Target) {
	for _, e := range s.edges {
		t := load.Target{Address: e.tcp}
		if transport == report.WebSocket {
			t = load.Target{Address: e.http, WebSocket: true}
		}
		all = append(all, t)
	}
	return all
}

// connect starts the load, with the groups shared out among the workers, and waits
// until every session is ready.
func (s *stage) connect(ctx context.Context, label string, reconnect time.Duration, groups ...load.Group) (*load.Connects, error) {
	sessions := 0
	for _, g := range groups {
		sessions += g.Count
	}
	workers := max(s.bench.set.workers, (sessions+perProcess-1)/perProcess)
	plans, err := s.plans(workers, reconnect, groups)
	if err != nil {
		return nil, err
	}
	if s.fleet, err = load.StartFleet(workers, s.bench.self, "load-worker"); err != nil {
		return nil, err
	}
	defer s.bench.watch(s.fleet, label)()
	return s.fleet.Connect(ctx, plans, connecting(workers, groups), time.Minute+time.Duration(sessions)*time.Millisecond)
}

// connecting is how many workers connect at once: all, but where sessions fill one edge
// after the other. Then it is two, so that a few processes are busy, and not each of a hundred
// wakes for a connection now and then.
func connecting(workers int, groups []load.Group) int {
	if len(groups) == 1 && groups[0].Of > 0 {
		return min(2, workers)
	}
	return workers
}

// plans shares groups out. The publishers of a room or a crowd are in the first plan.
func (s *stage) plans(workers int, reconnect time.Duration, groups []load.Group) (plans []load.Plan, err error) {
	shared := ""
	if workers > 1 {
		shared = filepath.Join(s.dir, "shared")
		if err := os.WriteFile(shared, make([]byte, load.SharedSize(workers*len(groups))), 0o600); err != nil {
			return nil, err
		}
	}
	for w := range workers {
		p := load.Plan{
			Seed: s.seed, Workers: workers, Reconnect: reconnect, Shared: shared, Heartbeat: s.bench.set.heartbeat,
			Dialing: max(8, 512/connecting(workers, groups))}
		for i, g := range groups {
			share := (g.Count + workers - 1) / workers
			share += share % 2 // pairs stay together
			from := min(w*share, g.Count)
			part := g
			part.First, part.Count = g.First+from, min(from+share, g.Count)-from
			if g.Of > 0 {
				part.At = from
			}
			if w > 0 {
				part.Publishers = 0
			}
			if g.Spread() && workers > 1 {
				for other := range workers {
					part.Slots = append(part.Slots, other*len(groups)+i)
				}
				part.Slot = w*len(groups) + i
			} else {
				part.Rate = g.Rate / float64(workers)
			}
			p.Groups = append(p.Groups, part)
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// span is what was measured between two instants.
type span struct {
	results []load.Result // by group
	cpu     map[string]report.CPU
	memory  map[string]report.Memory
	seconds float64
	series  []report.Series
}

// measure has the load send, and measures when it is warm.
func (s *stage) measure(ctx context.Context, label string, paces map[string]load.Pace) (*span, error) {
	defer s.bench.watch(s.fleet, label)()
	if err := s.fleet.Start(ctx, paces); err != nil {
		return nil, err
	}
	if err := pause(ctx, s.bench.set.warm); err != nil {
		return nil, err
	}
	var deliveries report.Series
	sp, err := s.during(ctx, func() (err error) {
		deliveries, err = s.sampled(ctx)
		return err
	})
	if err == nil && len(deliveries.Points) > 1 {
		sp.series = []report.Series{deliveries}
	}
	return sp, err
}

// during measures while something is done.
func (s *stage) during(ctx context.Context, do func() error) (*span, error) {
	if err := s.fleet.Mark(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	sp := &span{}
	if sp.results, err = s.fleet.Cut(ctx); err != nil {
		return nil, err
	}
	sp.seconds = time.Since(begin).Seconds()
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	sp.cpu = map[string]report.CPU{}
	for class, c := range after {
		b := before[class]
		sp.cpu[class] = report.CPU{User: max(0, c.User-b.User), System: max(0, c.System-b.System)}
	}
	sp.memory, err = s.memory(ctx)
	return sp, err
}

// sampled lets the measured time pass, and says what was delivered when.
func (s *stage) sampled(ctx context.Context) (report.Series, error) {
	const every = 500 * time.Millisecond // the load tells five times as often
	deliveries := report.Series{Name: "deliveries", Unit: "1/s"}
	begin := time.Now()
	before, at := s.fleet.Progress().Received, begin
	for left := s.bench.set.measure; left > 0; left = s.bench.set.measure - time.Since(begin) {
		if err := pause(ctx, min(every, left)); err != nil {
			return deliveries, err
		}
		if now := time.Now(); now.Sub(at) >= every {
			received := s.fleet.Progress().Received
			deliveries.Points = append(deliveries.Points, report.Point{
				At: now.Sub(begin).Seconds(), Value: float64(received-before) / now.Sub(at).Seconds()})
			before, at = received, now
		}
	}
	return deliveries, nil
}

// finish stops sending and gives what the checker found since the last finish.
func (s *stage) finish(ctx context.Context) ([]load.Result, error) {
	all, err := s.fleet.Finish(ctx, 20*time.Second)
	if err != nil {
		return nil, err
	}
	var since []load.Result
	for _, r := range all {
		before := s.found[r.Name]
		s.found[r.Name] = r
		since = append(since, r.Since(&before))
	}
	return since, nil
}

// row makes a row of what a group did in a span.
func (s *stage) row(scenario string, p report.Params, sp *span, r, found *load.Result) report.Row {
	if p.Loop != "" {
		p.Payload = s.bench.set.payload
	}
	if s.site != nil {
		p.Edges, p.Cores = len(s.site.Edges), len(s.site.Cores)
	}
	row := report.Row{
		Scenario: scenario, Target: s.target, Params: p, Round: s.bench.round, Seconds: sp.seconds,
		CPU: sp.cpu, Memory: sp.memory, MemoryBefore: s.before, Series: sp.series,
	}
	if r != nil {
		row.Seconds = r.Seconds
		row.Sent, row.Delivered, row.Skipped, row.Reads = r.Sent, r.Checks.Received, r.Checks.Skipped, r.Reads
		row.Latency = latency(&r.Delivery)
		if r.Behind > 10*time.Millisecond {
			row.Notes = append(row.Notes, fmt.Sprintf("the load was up to %v behind its rate: latencies count from when sends were due", r.Behind.Round(time.Millisecond)))
		}
	}
	if found != nil {
		row.Lost, row.Doubled, row.Reordered = found.Checks.Lost, found.Checks.Doubled, found.Checks.Reordered
		row.Errors = found.Errors() + found.Checks.Garbled
		for _, n := range []struct {
			what string
			n    map[string]int64
		}{{"refused", found.Refused}, {"ended", found.Ended}} {
			for why, times := range n.n {
				row.Notes = append(row.Notes, fmt.Sprintf("%d %s: %s", times, n.what, why))
			}
		}
		if left := found.Checks.Skipped - row.Skipped; found.Silenced > 0 || left > 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("of those that read nothing %d were closed as slow; %d seqs were declared as skipped when the others read again", found.Silenced, left))
		}
		if found.Resyncs > 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("%d sessions were told to sync: pushes were lost", found.Resyncs))
		}
		if found.Checks.Garbled > 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("%d frames were not what was sent", found.Checks.Garbled))
		}
	}
	return row
}

func latency(h *load.Histogram) *report.Latency {
	if h.Count() == 0 {
		return nil
	}
	l := report.NewLatency()
	h.Each(l.RecordMany)
	return l
}

// classes are the processes, by what report calls them.
func (s *stage) classes() map[string][]int {
	c := map[string][]int{}
	switch {
	case s.site != nil:
		for _, p := range s.site.Edges {
			if p.Running() {
				c[report.Edge] = append(c[report.Edge], p.PID())
			}
		}
		for _, p := range s.site.Cores {
			c[report.Core] = append(c[report.Core], p.PID())
		}
	case s.limit != nil:
		c[report.Edge] = []int{s.limit.Process.Pid}
	}
	if s.fleet != nil {
		c[report.Load] = s.fleet.PIDs()
	}
	return c
}

func (s *stage) cpu() (map[string]report.CPU, error) {
	all := map[string]report.CPU{}
	for class, pids := range s.classes() {
		var sum report.CPU
		for _, pid := range pids {
			c, err := proc.CPUOf(pid)
			if err != nil {
				return nil, err
			}
			sum.User += c.User.Seconds()
			sum.System += c.System.Seconds()
		}
		all[class] = sum
	}
	return all, nil
}

func (s *stage) memory(ctx context.Context) (map[string]report.Memory, error) {
	all := map[string]report.Memory{}
	for class, pids := range s.classes() {
		sum := report.Memory{Processes: len(pids)}
		for _, pid := range pids {
			m, err := proc.MemoryOf(pid)
			if err != nil {
				return nil, err
			}
			sum.RSS += m.RSS
			sum.PSS += m.PSS
		}
		all[class] = sum
	}
	if s.site == nil {
		return all, nil
	}
	for class, processes := range map[string][]*cluster.Process{report.Edge: s.site.Edges, report.Core: s.site.Cores} {
		sum := all[class]
		for _, p := range processes {
			heap, err := p.Figure(ctx, "go_memstats_heap_inuse_bytes")
			if err != nil {
				return nil, err
			}
			sum.Heap += int64(heap)
		}
		all[class] = sum
	}
	return all, nil
}

// quote shows what servers said last, a few of them: the place where a fault is explained.
func (s *stage) quote() {
	if s.site == nil {
		return
	}
	left := 10
	for _, p := range append(slices.Clone(s.site.Cores), s.site.Edges...) {
		said := strings.TrimSpace(p.Said())
		if said == "" || left == 0 {
			continue
		}
		left--
		fmt.Fprintf(s.bench.out, "    %s said:\n%s\n", p.Name, said)
	}
}

// close ends everything and removes what it wrote.
func (s *stage) close() error {
	if s.fleet != nil {
		s.fleet.Close()
	}
	var errs []error
	if s.site != nil {
		errs = append(errs, s.site.Kill())
	}
	if s.limit != nil {
		_ = s.limit.Process.Kill()
		_ = s.limit.Wait() // how it ended does not matter
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
