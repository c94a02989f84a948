package e2e_test

import (
	"context"
	"fmt"
	"strconv"

	"freeim/idl/kitex_gen/grouppb"
)

func groupConversation(id int64) string { return "g_" + strconv.FormatInt(id, 10) }

// destination is that of a name, which is a person's or a group's.
func (s *stage) destination(name string) destination {
	if id := s.groups[name]; id != 0 {
		return destination{group: id}
	}
	return destination{user: s.people[name].id}
}

// founds climbing with bob carol
func (s *stage) founds(ctx context.Context, d *device, w []string) error {
	req := &grouppb.CreateGroupRequest{ClientId: "group-" + w[0], Name: w[0]}
	for _, name := range w[2:] {
		req.UserIds = append(req.UserIds, s.people[name].id)
	}
	rep, err := d.session.CreateGroup(ctx, req)
	if err != nil {
		return err
	}
	s.groups[w[0]] = rep.Group.GroupId
	for _, one := range rep.Invited {
		if one.Outcome != grouppb.InviteOutcome_INVITE_OUTCOME_INVITED {
			return fmt.Errorf("%d: %v", one.UserId, one.Outcome)
		}
	}
	return nil
}

// accepts climbing [and is refused CODE]
func (s *stage) accepts(ctx context.Context, d *device, w []string) error {
	_, err := d.session.AnswerInvitation(ctx, s.groups[w[0]], true)
	return refused(err, w[1:])
}

// applies climbing
func (s *stage) applies(ctx context.Context, d *device, w []string) error {
	rep, err := d.session.JoinGroup(ctx, &grouppb.JoinGroupRequest{GroupId: s.groups[w[0]], Remark: "hello"})
	if err == nil && rep.Joined {
		return fmt.Errorf("is in")
	}
	return err
}

// approves carol in climbing
func (s *stage) approves(ctx context.Context, d *device, w []string) error {
	return d.session.DecideApplication(ctx, &grouppb.DecideApplicationRequest{GroupId: s.groups[w[2]], UserId: s.people[w[0]].id, Approve: true})
}

// quits climbing
func (s *stage) quits(ctx context.Context, d *device, w []string) error {
	return refused(d.session.LeaveGroup(ctx, s.groups[w[0]]), w[1:])
}

// expels bob from climbing
func (s *stage) expels(ctx context.Context, d *device, w []string) error {
	_, err := d.session.RemoveFromGroup(ctx, &grouppb.RemoveFromGroupRequest{GroupId: s.groups[w[2]], UserIds: []int64{s.people[w[0]].id}})
	return refused(err, w[3:])
}
