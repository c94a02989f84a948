package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"freeim/bench/load"
	"freeim/bench/report"
)

// This file is the scenarios with rooms.

// noBounds lets the publishers of a measurement say all they are asked to, and has
// all of it pushed: the limits of rooms are no question here.
var noBounds = []string{"FREEIM_PLUGINS_ROOM_SENDS_PER_SECOND=0", "FREEIM_PLUGINS_ROOM_LOW_PER_SECOND=0", "FREEIM_PLUGINS_ROOM_JOINS_PER_MINUTE=0"}

func (s *stage) roomGroup(first, members, silent int) load.Group {
	set := &s.bench.set
	return load.Group{
		Name: load.Room, Kind: load.Room, First: first, Count: members, Target: s.targets(set.transport), Codec: set.idlCodec(), Payload: set.payload,
		Room: "bench", Publishers: min(set.publishers, members), Silent: silent}
}

func room(ctx context.Context, b *bench) error {
	set := &b.set
	for target := range strings.SplitSeq(set.targets, ",") {
		o := stageOptions{target: target, core: noBounds, people: set.members, edges: max(set.edges, (set.members+perProcess-1)/perProcess)}
		err := b.staged(ctx, o, func(s *stage) error {
			p := report.Params{Transport: set.transport, Codec: set.codec, Members: set.members, Rooms: 1, Publishers: min(set.publishers, set.members)}
			if target == report.Freeim {
				p.Variant = set.stores()
			}
			if _, err := s.connect(ctx, "room", 0, s.roomGroup(0, set.members, 0)); err != nil {
				return err
			}
			return b.paced(ctx, s, report.FanOut, load.Room, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// flooded is enough for the sockets of members who read nothing to be full before
// the time is over: the kernel alone takes 4 MiB for one (tcp_wmem).
func flooded(s *settings) {
	s.members, s.rate, s.payload, s.warm, s.measure = 300, 1000, 500, 2*time.Second, 7*time.Second
}

// slow compares a room in which all read with one in which some do not.
func slow(ctx context.Context, b *bench) error {
	set := &b.set
	for _, silent := range []int{0, set.silent} {
		err := b.staged(ctx, stageOptions{target: report.Freeim, people: set.members, edges: set.edges, core: noBounds}, func(s *stage) error {
			p := report.Params{Transport: set.transport, Codec: set.codec, Members: set.members, Rooms: 1, Publishers: min(set.publishers, set.members)}
			if silent > 0 {
				p.Variant = fmt.Sprintf("1 in %d reads nothing", silent)
			}
			if _, err := s.connect(ctx, "slow", 0, s.roomGroup(0, set.members, silent)); err != nil {
				return err
			}
			return b.paced(ctx, s, report.Slow, load.Room, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func mixed(ctx context.Context, b *bench) error {
	set := &b.set
	if set.rate <= 0 {
		return errors.New("mixed needs -rate: what fills the room's window would leave nothing to the others")
	}
	sessions := set.sessions &^ 1
	o := stageOptions{target: report.Freeim, people: 2*sessions + set.members, edges: set.edges, core: noBounds}
	return b.staged(ctx, o, func(s *stage) error {
		idle := load.Group{Name: load.Idle, Kind: load.Idle, First: 0, Count: sessions, Target: s.targets(set.transport), Codec: set.idlCodec()}
		if _, err := s.connect(ctx, "mixed", 0, idle, s.chatGroup(sessions, sessions), s.roomGroup(2*sessions, set.members, 0)); err != nil {
			return err
		}
		// Ten times as many messages between two as in the room.
		sp, err := s.measure(ctx, "mixed", map[string]load.Pace{load.Chat: {Rate: 10 * set.rate}, load.Room: {Rate: set.rate}})
		if err != nil {
			return err
		}
		part := func(group, what string, p report.Params) func(found []load.Result) report.Row {
			return func(found []load.Result) report.Row {
				p.Transport, p.Codec, p.Loop, p.Variant = set.transport, set.codec, report.Open, what
				return s.row("mixed", p, sp, named(sp.results, group), named(found, group))
			}
		}
		return s.judged(ctx,
			part(load.Chat, "1:1, beside the others", report.Params{Sessions: sessions, Rate: 10 * set.rate}),
			part(load.Room, "room, beside the others", report.Params{Members: set.members, Rooms: 1, Rate: set.rate}))
	})
}
