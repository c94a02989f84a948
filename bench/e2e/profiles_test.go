package e2e_test

import (
	"context"
	"fmt"
	"slices"

	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/socialpb"
)

// This file is the steps of profiles, and of what friends call each other.

// sets nickname "Zoë" | handle "zoe" | city "Oslo" | birthday "…" [and is refused CODE]
func (s *stage) sets(ctx context.Context, d *device, w []string) error {
	req := &accountpb.UpdateProfileRequest{}
	switch w[0] {
	case "nickname":
		req.Nickname = &w[1]
	case "handle":
		req.Handle = &w[1]
	case "city":
		req.City = &w[1]
	case "birthday":
		req.Birthday = &w[1]
	default:
		return fmt.Errorf("no field %q", w[0])
	}
	_, err := d.UpdateProfile(ctx, req)
	return outcome(err, w[2:])
}

// meets alice "Zoë" "Oslo": that is the nickname and the city that others see.
func (s *stage) meets(ctx context.Context, d *device, w []string) error {
	all, err := d.Profiles(ctx, s.people[w[0]].id)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].Nickname != w[1] || all[0].City != w[2] || all[0].Birthday != "" {
		return fmt.Errorf("got %+v", all)
	}
	return nil
}

// searches "zoe" alice bob | searches "zoe" nobody: in that order.
func (s *stage) searches(ctx context.Context, d *device, w []string) error {
	rep, err := d.SearchUsers(ctx, &accountpb.SearchRequest{Query: w[0]})
	if err != nil {
		return err
	}
	got := []string{}
	for _, p := range rep.People {
		got = append(got, s.nameOf(p.UserId))
	}
	if want := slices.DeleteFunc(slices.Clone(w[1:]), nobody); !slices.Equal(got, want) {
		return fmt.Errorf("got %v", got)
	}
	return nil
}

// calls bob "Bobby" [and is refused CODE]: and so his list says.
func (s *stage) calls(ctx context.Context, d *device, w []string) error {
	who := s.people[w[0]].id
	_, err := d.SetAlias(ctx, who, w[1])
	if err != nil || len(w) > 2 {
		return outcome(err, w[2:])
	}
	rep, err := d.Friends(ctx, &socialpb.FriendsRequest{})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(rep.Friends, func(f *socialpb.Friend) bool { return f.Person.UserId == who && f.Alias == w[1] }) {
		return fmt.Errorf("the list has %+v", rep.Friends)
	}
	return nil
}
