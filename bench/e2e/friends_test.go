package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freeim/edge/client"
	"freeim/idl/kitex_gen/socialpb"
)

// This file is the steps of friends.

// outcome is what a step's call came to: an error, unless "and is refused CODE" is behind it.
func outcome(err error, rest []string) error {
	if len(rest) >= 4 && rest[2] == "refused" {
		if code := client.CodeOf(err).String(); code != "CODE_"+rest[3] {
			return fmt.Errorf("got %v", err)
		}
		return nil
	}
	return err
}

// toSomebody is a step that names a person: befriends bob [and is refused CODE]
func toSomebody(call func(a client.Actions, ctx context.Context, user int64) error) func(s *stage, ctx context.Context, d *device, w []string) error {
	return func(s *stage, ctx context.Context, d *device, w []string) error {
		return outcome(call(d.Actions, ctx, s.people[w[0]].id), w[1:])
	}
}

// asks bob ["remark"] [and is refused CODE]
func (s *stage) asks(ctx context.Context, d *device, w []string) error {
	req, rest := &socialpb.ApplyRequest{UserId: s.people[w[0]].id}, w[1:]
	if len(rest) > 0 && rest[0] != "and" {
		req.Remark, rest = rest[0], rest[1:]
	}
	_, err := d.Apply(ctx, req)
	return outcome(err, rest)
}

// knows bob carol: exactly these are friends
func (s *stage) knows(ctx context.Context, d *device, w []string) error {
	rep, err := d.Friends(ctx, &socialpb.FriendsRequest{})
	if err != nil {
		return err
	}
	var got, want []int64
	for _, f := range rep.Friends {
		got = append(got, f.Person.UserId)
	}
	for _, name := range w {
		if name != "nobody" {
			want = append(want, s.people[name].id)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

// watches bob online | offline: asks until it is so
func (s *stage) watches(ctx context.Context, d *device, w []string) error {
	return until(ctx, func() (bool, error) {
		rep, err := d.Presence(ctx, s.people[w[0]].id)
		return err == nil && len(rep.States) == 1 && rep.States[0].Online == (w[1] == "online"), err
	})
}

// notices bob online | offline: is told so, perhaps after what was before
func (s *stage) notices(ctx context.Context, d *device, w []string) error {
	for {
		select {
		case p := <-d.friends:
			if p.UserId == s.people[w[0]].id && p.Online == (w[1] == "online") {
				return nil
			}
		case <-ctx.Done():
			return errors.New("noticed nothing")
		}
	}
}
