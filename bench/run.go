package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/load"
	"freeim/bench/report"
	"freeim/idl"
)

// settings are what can be asked of a scenario. Each takes what means something
// to it.
type settings struct {
	sessions   int
	members    int
	publishers int
	windows    string
	rate       float64
	half       bool
	payload    int
	transport  string
	codec      string
	edges      int
	workers    int
	silent     int
	targets    string
	store      string
	join       string
	rules      string
	how        string
	hold       time.Duration
	heartbeat  time.Duration
	silence    time.Duration
	coreNice   int
	warm       time.Duration
	measure    time.Duration
	rounds     int
	programs   string
	file       string
	pictures   bool
}

func defaultSettings() settings {
	return settings{
		sessions: 1000, members: 1000, publishers: 8, windows: "4", payload: 128, transport: report.TCP, codec: report.Protobuf,
		edges: 1, workers: 1, silent: 100, targets: report.Freeim, store: "disk", join: "unix", rules: "scripts", how: "cut", hold: 10 * time.Second,
		heartbeat: 25 * time.Second, warm: time.Second, measure: 5 * time.Second, rounds: 3,
	}
}

func (s *settings) flags(f *flag.FlagSet) {
	f.IntVar(&s.sessions, "sessions", s.sessions, "clients that connect (two make a pair)")
	f.IntVar(&s.members, "members", s.members, "members of the room, or of the group")
	f.IntVar(&s.publishers, "publishers", s.publishers, "members that send; each has one message at the core at a time")
	f.StringVar(&s.windows, "windows", s.windows, "messages under way: of each pair, of the whole room or group; several, as 1,4,32, one after the other")
	f.Float64Var(&s.rate, "rate", s.rate, "messages a second that are due, whatever happens, instead of a window; 0: by window")
	f.BoolVar(&s.half, "half", s.half, "after each window, also measure at half of the rate just found")
	f.IntVar(&s.payload, "payload", s.payload, "octets of text in a message")
	f.StringVar(&s.transport, "transport", s.transport, "tcp or ws")
	f.StringVar(&s.codec, "codec", s.codec, "protobuf or json")
	f.IntVar(&s.edges, "edges", s.edges, "edge processes")
	f.IntVar(&s.workers, "workers", s.workers, "load processes, at least; one holds 19,000 connections at most")
	f.IntVar(&s.silent, "silent", s.silent, "slow: one member in so many reads nothing")
	f.StringVar(&s.targets, "targets", s.targets, "room: what takes turns: freeim, and over TCP the raw limit with one write a delivery (limit) or a pass (limit-joined)")
	f.StringVar(&s.store, "store", s.store, "where the embedded stores are: disk (durable), or memory (nothing is flushed: what durability costs)")
	f.StringVar(&s.join, "join", s.join, "how edges reach the core: unix or tcp")
	f.StringVar(&s.rules, "rules", s.rules, "hooks: directory of the Lua rules")
	f.StringVar(&s.how, "how", s.how, "reconnect: cut (all connections break at once) or kill (the edges are killed and started)")
	f.DurationVar(&s.hold, "hold", s.hold, "idle: how long the sessions are held")
	f.DurationVar(&s.heartbeat, "heartbeat", s.heartbeat, "how often an idle session says something; beyond 30s the servers ask for it too, up to 1h")
	f.DurationVar(&s.silence, "silence", s.silence, "after how long an edge takes a core that does not answer for silent; 0: as usual")
	f.IntVar(&s.coreNice, "core-nice", s.coreNice, "priority of the core among many edges on few processors, as nice(1) counts it: below 0, which root may set, is before them")
	f.DurationVar(&s.warm, "warm", s.warm, "how long before measuring")
	f.DurationVar(&s.measure, "for", s.measure, "how long to measure")
	f.IntVar(&s.rounds, "rounds", s.rounds, "how often everything is repeated; what is compared takes turns in each round")
	f.StringVar(&s.programs, "programs", s.programs, "directory of edge and core as they were built; empty: they are built")
	f.StringVar(&s.file, "out", s.file, "`FILE.json` for the results; pages of them are made beside it; empty: none")
	f.BoolVar(&s.pictures, "png", s.pictures, "with -out: make pictures of the charts too, where there is a Chromium")
}

func (s *settings) validate() error {
	if _, err := s.windowList(); err != nil {
		return err
	}
	for _, choice := range []struct{ name, got, of string }{
		{"transport", s.transport, "tcp ws"}, {"codec", s.codec, "protobuf json"}, {"store", s.store, "disk memory"},
		{"join", s.join, "unix tcp"}, {"how", s.how, "cut kill"},
	} {
		if !strings.Contains(" "+choice.of+" ", " "+choice.got+" ") || choice.got == "" {
			return fmt.Errorf("-%s is %q: one of %s", choice.name, choice.got, choice.of)
		}
	}
	for target := range strings.SplitSeq(s.targets, ",") {
		if target != report.Freeim && (target != report.Limit && target != report.LimitJoined || s.transport != report.TCP) {
			return fmt.Errorf("-targets has %q: freeim, and over TCP limit and limit-joined", target)
		}
	}
	for name, n := range map[string]int{"sessions": s.sessions, "members": s.members, "publishers": s.publishers,
		"edges": s.edges, "workers": s.workers, "rounds": s.rounds, "payload": s.payload, "silent": s.silent} {
		if n < 1 {
			return fmt.Errorf("-%s is %d: at least 1", name, n)
		}
	}
	if s.payload < load.LeastPayload || s.payload > 500 {
		return fmt.Errorf("-payload is %d: %d, which the stamp of a message takes, to 500, which a room allows", s.payload, load.LeastPayload)
	}
	return nil
}

func (s *settings) windowList() (windows []int, err error) {
	for word := range strings.SplitSeq(s.windows, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > 512 {
			return nil, fmt.Errorf("-windows is %q: numbers from 1 to 512, with commas", s.windows)
		}
		windows = append(windows, n)
	}
	return windows, nil
}

func (s *settings) idlCodec() idl.Codec {
	if s.codec == report.JSON {
		return idl.CodecJSON
	}
	return idl.CodecProtobuf
}

// storeDir is where a stage's directory is made.
func (s *settings) storeDir() string {
	if s.store == "memory" {
		return "/dev/shm"
	}
	return os.TempDir()
}

// stores says where the stores are, if not where they usually are.
func (s *settings) stores() string {
	if s.store == "memory" {
		return "stores in memory"
	}
	return ""
}

// bench is one call of this program that measures.
type bench struct {
	out      io.Writer
	terminal bool // out is one
	set      settings
	self     string // this program, for workers and baselines
	programs cluster.Programs
	run      *report.Run
	round    int
	wrong    []string // rows that failed
}

// runScenario is "bench run NAME".
func runScenario(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		listScenarios(out)
		return nil
	}
	sc, err := scenarioNamed(args[0])
	if err != nil {
		listScenarios(out)
		return err
	}
	return runOne(ctx, sc, "run "+sc.name, args[1:], out)
}

func scenarioNamed(name string) (scenario, error) {
	for _, sc := range scenarios() {
		if sc.name == name {
			return sc, nil
		}
	}
	return scenario{}, fmt.Errorf("no scenario %q", name)
}

func listScenarios(out io.Writer) {
	fmt.Fprintln(out, "usage: bench run SCENARIO [flags]; -h lists the flags")
	for _, sc := range scenarios() {
		fmt.Fprintf(out, "  %-10s %s\n", sc.name, sc.says)
	}
}

func runOne(ctx context.Context, sc scenario, command string, args []string, out io.Writer) (err error) {
	b := &bench{out: out, set: defaultSettings()}
	if sc.set != nil {
		sc.set(&b.set)
	}
	flags := flag.NewFlagSet("bench "+command, flag.ContinueOnError)
	flags.SetOutput(out)
	b.set.flags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if err := b.set.validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "freeim-bench-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.prepare(ctx, dir, strings.TrimSpace("bench "+command+" "+strings.Join(args, " "))); err != nil {
		return err
	}
	return b.measureAll(ctx, sc)
}

// prepare builds the servers and notes what everything depends on.
func (b *bench) prepare(ctx context.Context, dir, command string) (err error) {
	if b.self == "" {
		if b.self, err = os.Executable(); err != nil {
			return err
		}
	}
	if p := b.set.programs; p != "" {
		b.programs = cluster.Programs{Edge: filepath.Join(p, "edge"), Core: filepath.Join(p, "core")}
	} else if b.programs.Edge == "" {
		fmt.Fprintln(b.out, "building edge and core")
		if b.programs, err = cluster.Build(ctx, filepath.Join(dir, "bin")); err != nil {
			return err
		}
	}
	if f, ok := b.out.(*os.File); ok {
		info, err := f.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	b.run = report.Begin(ctx, command)
	return nil
}

// measureAll runs the scenario's rounds, and writes and judges the results.
func (b *bench) measureAll(ctx context.Context, sc scenario) error {
	fmt.Fprintf(b.out, "%s, commit %s, load %.1f\n%s\n", machine(), commit(ctx), b.run.Machine.LoadBefore[0], b.run.Command)
	var err error
	for b.round = 1; b.round <= b.set.rounds && err == nil; b.round++ {
		if err = sc.run(ctx, b); err != nil {
			err = fmt.Errorf("round %d of %s: %w", b.round, sc.name, err)
		}
	}
	b.run.End()
	fmt.Fprintln(b.out)
	b.run.Text(b.out)
	if b.set.file != "" && len(b.run.Rows) > 0 {
		err = errors.Join(err, os.MkdirAll(filepath.Dir(b.set.file), 0o755))
		err = errors.Join(err, b.run.Write(b.set.file))
		if err == nil {
			err = publish(b.run, strings.TrimSuffix(b.set.file, ".json"), b.set.pictures, b.out)
		}
	}
	if len(b.wrong) > 0 {
		err = errors.Join(err, fmt.Errorf("the checker found faults: %s", strings.Join(b.wrong, "; ")))
	}
	return err
}

// add keeps a row and shows it.
func (b *bench) add(row report.Row) {
	b.run.Rows = append(b.run.Rows, row)
	fmt.Fprintln(b.out, report.Summary(&row))
	for _, note := range row.Notes {
		fmt.Fprintln(b.out, "   ", note)
	}
	if faults := row.Faults(); faults != "" {
		b.wrong = append(b.wrong, fmt.Sprintf("round %d of %s: %s", row.Round, row.Key(), faults))
	}
}

// watch shows how far the load is, until stop is called.
func (b *bench) watch(f *load.Fleet, label string) (stop func()) {
	every := 5 * time.Second
	if b.terminal {
		every = 500 * time.Millisecond
	}
	end := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() {
		before, at := f.Progress(), time.Now()
		for {
			select {
			case <-end:
				if b.terminal {
					fmt.Fprint(b.out, "\r\x1b[K")
				}
				return
			case now := <-time.After(every):
				p := f.Progress()
				seconds := now.Sub(at).Seconds()
				line := fmt.Sprintf("  %s: %d of %d sessions, %.0f sent/s, %.0f delivered/s, %d faults", label, p.Ready, p.Sessions,
					float64(p.Sent-before.Sent)/seconds, float64(p.Received-before.Received)/seconds, p.Faults)
				before, at = p, now
				if b.terminal {
					fmt.Fprint(b.out, "\r\x1b[K"+line)
				} else {
					fmt.Fprintln(b.out, line)
				}
			}
		}
	})
	return func() { close(end); task.Wait() }
}

// runLoadWorker is a worker of a Fleet.
func runLoadWorker(ctx context.Context, _ []string, out io.Writer) error {
	return load.Work(ctx, os.Stdin, out)
}
