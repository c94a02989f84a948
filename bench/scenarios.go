package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"freeim/bench/load"
	"freeim/bench/proc"
	"freeim/bench/report"
)

// scenario is one kind of measurement; run does one round of it.
type scenario struct {
	name string
	says string
	set  func(*settings) // changes the defaults
	run  func(ctx context.Context, b *bench) error
}

func scenarios() []scenario {
	return []scenario{
		{"storm", "sessions connect and pass Auth as fast as they can", func(s *settings) { s.sessions = 5000 }, storm},
		{"idle", "sessions only keep up their heartbeats: what one costs", func(s *settings) { s.sessions, s.rounds = 5000, 1 }, idle},
		{"chat", "1:1, through edge, core and store", nil, chat},
		{"room", "one room: every message to all members", func(s *settings) { s.windows = "1,4,32" }, room},
		{"group", "one group: every message into the inbox of each member", func(s *settings) { s.members, s.windows = 500, "1,4,32" }, group},
		{"slow", "one member of a room in a hundred reads nothing: what that does to the others", flooded, slow},
		{"mixed", "idle sessions, pairs and a room at once, by rate", func(s *settings) { s.sessions, s.members, s.rate = 2000, 500, 100 }, mixed},
		{"reconnect", "all connections are lost at once, and come back", func(s *settings) { s.sessions = 2000 }, reconnect},
		{"hooks", "1:1 and a room, without and with the shipped Lua rules", nil, hooks},
		{"echo", "through the edge alone: heartbeats, and its WebSocket echo", func(s *settings) { s.sessions = 500 }, echo},
	}
}

// staged runs do on servers of its own, and ends them.
func (b *bench) staged(ctx context.Context, o stageOptions, do func(s *stage) error) error {
	s, err := b.open(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.close())
}

// judged finishes the load and adds rows.
func (s *stage) judged(ctx context.Context, rows ...func(found []load.Result) report.Row) error {
	found, err := s.finish(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		row := row(found)
		s.bench.add(row)
		if row.Faults() != "" {
			s.quote()
		}
	}
	return nil
}

// named is the result of a group; an empty one if there is none.
func named(all []load.Result, name string) *load.Result {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return &load.Result{Name: name}
}

func storm(ctx context.Context, b *bench) error { return b.connections(ctx, "storm", false) }
func idle(ctx context.Context, b *bench) error  { return b.connections(ctx, "idle", true) }

// connections connects idle sessions, and may hold them.
func (b *bench) connections(ctx context.Context, name string, hold bool) error {
	set := &b.set
	edges := max(set.edges, (set.sessions+perProcess-1)/perProcess)
	return b.staged(ctx, stageOptions{target: report.Freeim, people: set.sessions, edges: edges}, func(s *stage) error {
		kernel, err := proc.MachineNow()
		if err != nil {
			return err
		}
		p := report.Params{Transport: set.transport, Codec: set.codec, Sessions: set.sessions}
		before, err := s.cpu()
		if err != nil {
			return err
		}
		g := load.Group{Name: load.Idle, Kind: load.Idle, Count: set.sessions, Target: s.targets(set.transport), Codec: set.idlCodec()}
		if hold && edges > 1 {
			g.Of = g.Count
		}
		c, err := s.connect(ctx, name, 0, g)
		if err != nil {
			return err
		}
		after, err := s.cpu()
		if err != nil {
			return err
		}
		sp := &span{seconds: c.Seconds(), cpu: map[string]report.CPU{}}
		for class, a := range after {
			sp.cpu[class] = report.CPU{User: a.User - before[class].User, System: a.System - before[class].System}
		}
		if sp.memory, err = s.memory(ctx); err != nil {
			return err
		}
		connected := s.row(report.Connect, p, sp, nil, &load.Result{})
		connected.Connected, connected.Latency = c.Count, latency(&c.Took)
		if c.Failed > 0 {
			connected.Notes = append(connected.Notes, fmt.Sprintf("%d attempts were put off by the server, and made again", c.Failed))
		}
		if g.Of > 0 {
			connected.Notes = append(connected.Notes, "they filled one edge after the other, two at a time")
		}
		b.add(connected)
		if !hold {
			return s.judged(ctx) // whoever ended meanwhile is found
		}
		return b.held(ctx, s, p, kernel)
	})
}

// held holds the sessions, and reads what they cost.
func (b *bench) held(ctx context.Context, s *stage, p report.Params, before proc.Machine) error {
	stop := b.watch(s.fleet, "hold")
	sp, err := s.during(ctx, func() error { return pause(ctx, b.set.hold) })
	stop()
	if err != nil {
		return err
	}
	after, err := proc.MachineNow()
	if err != nil {
		return err
	}
	live := s.fleet.Progress().Ready
	return s.judged(ctx, func(found []load.Result) report.Row {
		r := named(found, load.Idle)
		row := s.row(report.Idle, p, sp, named(sp.results, load.Idle), r)
		row.Connected = int64(live)
		row.Lost += int64(b.set.sessions - live)
		n := int64(max(1, b.set.sessions))
		if edge, known := row.MemoryPerSession(report.Edge); known {
			row.Notes = append(row.Notes, fmt.Sprintf("%.0f B of edge memory (PSS) and %d B of the kernel's slab, both ends, for a session", edge, (after.Slab-before.Slab)/n))
		}
		if heap := row.Memory[report.Edge].Heap - row.MemoryBefore[report.Edge].Heap; heap > 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("%d B of heap in use at the edges for a session, garbage that waits for the collector included", heap/n))
		}
		if core, known := row.MemoryPerSession(report.Core); known {
			row.Notes = append(row.Notes, fmt.Sprintf("%.0f B of core memory for a session", core))
		}
		row.Notes = append(row.Notes, fmt.Sprintf("edges %d MB in sum; %d B of the machine's available memory for a session, %d B in socket buffers; %d heartbeats were answered",
			row.Memory[report.Edge].PSS>>20, (before.Available-after.Available)/n, (after.TCPMemory-before.TCPMemory)/n, r.Beats))
		return row
	})
}

// runIdle is "bench idle": the idle scenario, up to a million sessions.
func runIdle(ctx context.Context, args []string, out io.Writer) error {
	sc := scenario{name: "idle", set: func(s *settings) {
		s.sessions, s.rounds, s.hold = 20_000, 1, time.Minute
	}, run: idle}
	return runOne(ctx, sc, "idle", args, out)
}

// paced measures a group by each window, or by the rate; and at half of what the
// last window gave, if asked.
func (b *bench) paced(ctx context.Context, s *stage, name, group string, p report.Params) error {
	if b.set.rate > 0 {
		p.Loop, p.Rate = report.Open, b.set.rate
		_, err := b.pacedRow(ctx, s, name, group, p, load.Pace{Rate: b.set.rate})
		return err
	}
	windows, err := b.set.windowList()
	if err != nil {
		return err
	}
	var row report.Row
	for _, w := range windows {
		p.Loop, p.Window = report.Closed, w
		if row, err = b.pacedRow(ctx, s, name, group, p, load.Pace{Window: w}); err != nil {
			return err
		}
	}
	if rate := float64(row.Sent) / max(row.Seconds, 1e-9) / 2; b.set.half && rate > 0 {
		p.Variant = strings.TrimPrefix(p.Variant+fmt.Sprintf(", half of window %d", p.Window), ", ")
		p.Loop, p.Window = report.Open, 0 // the rate differs in each round
		_, err = b.pacedRow(ctx, s, name, group, p, load.Pace{Rate: rate})
	}
	return err
}

func (b *bench) pacedRow(ctx context.Context, s *stage, name, group string, p report.Params, pace load.Pace) (row report.Row, err error) {
	sp, err := s.measure(ctx, name+" "+p.String(), map[string]load.Pace{group: pace})
	if err != nil {
		return row, err
	}
	return row, s.judged(ctx, func(found []load.Result) report.Row {
		row = s.row(name, p, sp, named(sp.results, group), named(found, group))
		if pace.Rate > 0 && p.Rate == 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("%.1f messages/s were due", pace.Rate))
		}
		return row
	})
}

func chat(ctx context.Context, b *bench) error {
	return b.staged(ctx, stageOptions{target: report.Freeim, people: b.set.sessions, edges: b.set.edges}, func(s *stage) error {
		return b.pairs(ctx, s, report.Chat, b.set.stores())
	})
}

// pairs has pairs talk.
func (b *bench) pairs(ctx context.Context, s *stage, name, what string) error {
	set := &b.set
	sessions := set.sessions &^ 1
	p := report.Params{Transport: set.transport, Codec: set.codec, Sessions: sessions, Variant: what}
	if _, err := s.connect(ctx, name, 0, s.chatGroup(0, sessions)); err != nil {
		return err
	}
	return b.paced(ctx, s, name, load.Chat, p)
}

func (s *stage) chatGroup(first, sessions int) load.Group {
	set := &s.bench.set
	return load.Group{Name: load.Chat, Kind: load.Chat, First: first, Count: sessions, Target: s.targets(set.transport), Codec: set.idlCodec(), Payload: set.payload}
}

// reconnect breaks all connections and waits until all are back.
func reconnect(ctx context.Context, b *bench) error {
	set := &b.set
	edges := max(set.edges, (set.sessions+perProcess-1)/perProcess)
	return b.staged(ctx, stageOptions{target: report.Freeim, people: set.sessions, edges: edges}, func(s *stage) error {
		const spread = time.Second // of the clients' first pause, at random
		_, err := s.connect(ctx, "reconnect", spread, load.Group{
			Name: load.Idle, Kind: load.Idle, Count: set.sessions, Target: s.targets(set.transport), Codec: set.idlCodec()})
		if err != nil {
			return err
		}
		var c *load.Connects
		stop := b.watch(s.fleet, "reconnect")
		begin := time.Now()
		sp, err := s.during(ctx, func() (err error) {
			if set.how == "cut" {
				err = s.fleet.Break(ctx)
			} else {
				err = s.restartEdges(ctx)
			}
			if err == nil {
				c, err = s.fleet.Ready(ctx, 2*time.Minute)
			}
			return err
		})
		stop()
		if err != nil {
			return err
		}
		what := "all connections cut"
		if set.how == "kill" {
			what = "edges killed and started"
		}
		row := s.row("reconnect", report.Params{Transport: set.transport, Codec: set.codec, Sessions: set.sessions, Variant: what}, sp, nil, &load.Result{})
		row.Seconds = time.Since(begin).Seconds()
		row.Connected, row.Latency = c.Count, latency(&c.Took)
		row.Notes = append(row.Notes, fmt.Sprintf("clients wait at random up to %v before each try; %d tries failed", spread, c.Failed))
		b.add(row)
		return nil
	})
}

// restartEdges kills all edges at once, as a crash does, and starts them again.
func (s *stage) restartEdges(ctx context.Context) error {
	for _, e := range s.site.Edges {
		if err := e.Kill(); err != nil {
			return err
		}
	}
	for _, e := range s.site.Edges {
		if err := e.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// allRules switches on what is shipped, with limits that this load does not reach:
// all is looked at, and nothing refused.
const allRules = "FREEIM_CORE_RULES_CONFIG={flood: {enabled: true, messages: 10000, per: 1s, alike: 1}, newcomers: {enabled: true, new_for: 1s, messages: 10000, conversations: 200}, " +
	"links: {enabled: true, new_for: 1s}, rooms: {slow: r_other, gate_mention_all: true}}"

// hooks compares messages without rules, with those that are shipped, and with all of those
// switched on, between two and in a room.
func hooks(ctx context.Context, b *bench) error {
	dir, err := filepath.Abs(b.set.rules)
	if err != nil {
		return err
	}
	set := &b.set
	for _, way := range []struct {
		what string
		o    stageOptions
	}{{"no rules", stageOptions{}}, {"rules as shipped", stageOptions{rules: dir}}, {"all rules on", stageOptions{rules: dir, core: []string{allRules}}}} {
		what, o := way.what, way.o
		o.target, o.people, o.edges, o.core = report.Freeim, set.sessions, set.edges, append(o.core, noBounds...)
		if err := b.staged(ctx, o, func(s *stage) error { return b.pairs(ctx, s, "hooks", what) }); err != nil {
			return err
		}
		o.people = set.members
		err := b.staged(ctx, o, func(s *stage) error {
			if _, err := s.connect(ctx, "hooks", 0, s.roomGroup(0, set.members, 0)); err != nil {
				return err
			}
			return b.paced(ctx, s, "hooks", load.Room, report.Params{
				Transport: set.transport, Codec: set.codec, Members: set.members, Rooms: 1, Publishers: min(set.publishers, set.members), Variant: what})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// echo measures the edge alone.
func echo(ctx context.Context, b *bench) error {
	set := &b.set
	for _, way := range []struct{ kind, transport, what string }{
		{load.Beat, report.TCP, "heartbeats"}, {load.Beat, report.WebSocket, "heartbeats"}, {load.Echo, report.WebSocket, "echo"},
	} {
		err := b.staged(ctx, stageOptions{target: report.Freeim, people: set.sessions, echo: way.kind == load.Echo}, func(s *stage) error {
			g := load.Group{Name: way.kind, Kind: way.kind, Count: set.sessions, Target: s.targets(way.transport), Codec: set.idlCodec(), Payload: set.payload}
			if way.kind == load.Echo {
				g.Target = []load.Target{{Address: s.edges[0].echo, WebSocket: true, Path: "/"}}
			}
			if _, err := s.connect(ctx, "echo", 0, g); err != nil {
				return err
			}
			return b.paced(ctx, s, "echo", way.kind, report.Params{Transport: way.transport, Codec: set.codec, Sessions: set.sessions, Variant: way.what})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
