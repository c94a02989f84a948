package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freeim/bench/load"
	"freeim/bench/people"
	"freeim/bench/report"
	"freeim/edge/client"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is the scenario of a group.

// mostCrowd is how many members the configuration of groups allows at most.
const mostCrowd = 2000

func group(ctx context.Context, b *bench) error {
	set := &b.set
	if set.members > mostCrowd {
		return fmt.Errorf("-members is %d: a group has %d at most", set.members, mostCrowd)
	}
	o := stageOptions{target: report.Freeim, people: set.members, edges: set.edges, core: []string{
		fmt.Sprintf("FREEIM_PLUGINS_GROUP_MAX_MEMBERS=%d", set.members), "FREEIM_PLUGINS_GROUP_CONFIRM=never"}}
	return b.staged(ctx, o, func(s *stage) error {
		g, err := s.crowdGroup(ctx)
		if err != nil {
			return fmt.Errorf("make a group: %w", err)
		}
		if _, err := s.connect(ctx, "group", 0, g); err != nil {
			return err
		}
		p := report.Params{Transport: set.transport, Codec: set.codec, Members: set.members, Publishers: g.Publishers, Variant: set.stores()}
		return b.paced(ctx, s, report.Crowd, load.Crowd, p)
	})
}

// crowdGroup has the first person make a group of everybody.
func (s *stage) crowdGroup(ctx context.Context) (g load.Group, err error) {
	set := &s.bench.set
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	owner, err := client.Dial(ctx, client.Options{Address: "tcp://" + s.edges[0].tcp})
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, owner.Close()) }()
	if _, err := owner.Auth(ctx, people.Token(s.seed, 0)); err != nil {
		return g, err
	}
	made, err := owner.CreateGroup(ctx, &grouppb.CreateGroupRequest{ClientId: "bench", Name: "bench"})
	if err != nil {
		return g, err
	}
	const together = 100 // people that one call may invite
	for from := 1; from < set.members; from += together {
		var users []int64
		for i := from; i < min(from+together, set.members); i++ {
			users = append(users, people.UserID(i))
		}
		invited, err := owner.InviteToGroup(ctx, made.Group.GroupId, users...)
		if err != nil {
			return g, err
		}
		for _, i := range invited {
			if i.Outcome != grouppb.InviteOutcome_INVITE_OUTCOME_JOINED {
				return g, fmt.Errorf("user %d does not come in: %v", i.UserId, i.Outcome)
			}
		}
	}
	log, err := owner.History(ctx, &chatpb.HistoryRequest{ConversationId: made.Group.ConversationId, Limit: 1})
	if err != nil {
		return g, err
	}
	return load.Group{
		Name: load.Crowd, Kind: load.Crowd, Count: set.members, Target: s.targets(set.transport), Codec: set.idlCodec(), Payload: set.payload,
		Room: made.Group.ConversationId, Base: log.Messages[0].Seq, Publishers: min(set.publishers, set.members)}, nil
}
