package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/idl/kitex_gen/roompb"
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

// spurns climbing
func (s *stage) spurns(ctx context.Context, d *device, w []string) error {
	_, err := d.AnswerInvitation(ctx, s.groups[w[0]], false)
	return err
}

// invites carol to climbing [and is refused CODE]
func (s *stage) invites(ctx context.Context, d *device, w []string) error {
	_, err := d.InviteToGroup(ctx, s.groups[w[2]], s.people[w[0]].id)
	return refused(err, w[3:])
}

// enters climbing ["answer"] [and is refused CODE]
func (s *stage) enters(ctx context.Context, d *device, w []string) error {
	req := &grouppb.JoinGroupRequest{GroupId: s.groups[w[0]]}
	if w = w[1:]; len(w) > 0 && w[0] != "and" {
		req.Answer, w = w[0], w[1:]
	}
	rep, err := d.JoinGroup(ctx, req)
	if err == nil && !rep.Joined {
		return errors.New("he waits")
	}
	return refused(err, w)
}

// applies climbing
func (s *stage) applies(ctx context.Context, d *device, w []string) error {
	rep, err := d.session.JoinGroup(ctx, &grouppb.JoinGroupRequest{GroupId: s.groups[w[0]], Remark: "hello"})
	if err == nil && rep.Joined {
		return fmt.Errorf("is in")
	}
	return err
}

// approves carol in climbing [and is refused CODE]
func (s *stage) approves(ctx context.Context, d *device, w []string) error {
	return s.decides(ctx, d, w, true)
}

// declines carol in climbing
func (s *stage) declines(ctx context.Context, d *device, w []string) error {
	return s.decides(ctx, d, w, false)
}

func (s *stage) decides(ctx context.Context, d *device, w []string, approve bool) error {
	return refused(d.DecideApplication(ctx, &grouppb.DecideApplicationRequest{GroupId: s.groups[w[2]], UserId: s.people[w[0]].id, Approve: approve}), w[3:])
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

// makes bob owner in climbing | admin | member [and is refused CODE]
func (s *stage) makes(ctx context.Context, d *device, w []string) error {
	group, user := s.groups[w[3]], s.people[w[0]].id
	if w[1] == "owner" {
		return refused(d.TransferGroup(ctx, group, user), w[4:])
	}
	return refused(d.SetGroupRole(ctx, &grouppb.SetGroupRoleRequest{GroupId: group, UserId: user, Role: roleNamed(w[1])}), w[4:])
}

func roleNamed(name string) grouppb.GroupRole {
	return grouppb.GroupRole(grouppb.GroupRole_value["GROUP_ROLE_"+strings.ToUpper(name)])
}

// rules climbing policy open | policy question "who" "me" | history last 2 | slow 1m | members silent | members free |
// announcement "text" | name "text" | avatar "URL" | description "text" [and is refused CODE]
func (s *stage) rules(ctx context.Context, d *device, w []string) error {
	req := &grouppb.UpdateGroupRequest{GroupId: s.groups[w[0]], Fields: []string{w[1]}}
	what, rest := w[2], w[3:]
	switch w[1] {
	case "policy":
		if req.Policy = grouppb.GroupPolicy(grouppb.GroupPolicy_value["GROUP_POLICY_"+strings.ToUpper(what)]); what == "question" {
			req.Fields, req.Question, req.Answer, rest = append(req.Fields, "question", "answer"), rest[0], rest[1], rest[2:]
		}
	case "history":
		if req.History = grouppb.GroupHistory(grouppb.GroupHistory_value["GROUP_HISTORY_"+strings.ToUpper(what)]); what == "last" {
			n, err := strconv.Atoi(rest[0])
			if err != nil {
				return err
			}
			req.Fields, req.HistoryLast, rest = append(req.Fields, "history_last"), int32(n), rest[1:]
		}
	case "slow":
		wait, err := time.ParseDuration(what)
		if err != nil {
			return err
		}
		req.Fields, req.SlowModeMs = []string{"slow_mode_ms"}, wait.Milliseconds()
	case "members":
		if req.Fields = []string{"member_permissions"}; what == "free" {
			req.MemberPermissions = int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND)
		}
	case "announcement":
		req.Announcement = what
	case "name":
		req.Name = what
	case "avatar":
		req.Avatar = what
	case "description":
		req.Description = what
	default:
		return fmt.Errorf("no rule %q", w[1])
	}
	_, err := d.UpdateGroup(ctx, req)
	return refused(err, rest)
}

// governs is moderates in a group: mutes bob in climbing [for 1h] | mutes all in climbing | unmutes | bans | unbans [and is refused CODE]
func (s *stage) governs(ctx context.Context, d *device, verb roompb.ModerationVerb, w []string) error {
	group, user, until, rest := s.groups[w[2]], int64(0), int64(-1), w[3:]
	if w[0] != "all" {
		user = s.people[w[0]].id
	}
	if len(rest) > 1 && rest[0] == "for" {
		lasts, err := time.ParseDuration(rest[1])
		if err != nil {
			return err
		}
		until, rest = s.now().Add(lasts).UnixMilli(), rest[2:]
	}
	switch verb {
	case roompb.ModerationVerb_MODERATION_UNMUTE, roompb.ModerationVerb_MODERATION_UNBAN:
		until = 0
	}
	switch verb {
	case roompb.ModerationVerb_MODERATION_MUTE, roompb.ModerationVerb_MODERATION_UNMUTE:
		return refused(d.MuteInGroup(ctx, &grouppb.MuteInGroupRequest{GroupId: group, UserId: user, UntilMs: until}), rest)
	case roompb.ModerationVerb_MODERATION_BAN, roompb.ModerationVerb_MODERATION_UNBAN:
		return refused(d.BanFromGroup(ctx, &grouppb.BanFromGroupRequest{GroupId: group, UserId: user, UntilMs: until}), rest)
	}
	return fmt.Errorf("no step %v in a group", verb)
}

// looks up climbing "name" "avatar" "description": so the group shows itself to who knows its ID | [and is refused CODE]
func (s *stage) looksUp(ctx context.Context, d *device, w []string) error {
	rep, err := d.Group(ctx, s.groups[w[1]])
	if err != nil || w[2] == "and" {
		return outcome(err, w[2:])
	}
	g := rep.Group
	if got := []string{g.Name, g.Avatar, g.Description}; !slices.Equal(got, w[2:]) || g.GroupId != s.groups[w[1]] {
		return fmt.Errorf("got %q of %d", got, g.GroupId)
	}
	return nil
}

// wants climbing silent | none | normal | "alias"
func (s *stage) wants(ctx context.Context, d *device, w []string) error {
	req := &grouppb.SetGroupSelfRequest{GroupId: s.groups[w[0]], Fields: []string{"notify"}}
	level, known := grouppb.NotifyLevel_value["NOTIFY_LEVEL_"+strings.ToUpper(w[1])]
	if req.Notify = grouppb.NotifyLevel(level); !known {
		req.Fields, req.Alias = []string{"alias"}, w[1]
	}
	_, err := d.SetGroupSelf(ctx, req)
	return err
}

// musters climbing alice=owner "bob=admin called Bobby" carol=member: exactly these are in it
func (s *stage) musters(ctx context.Context, d *device, w []string) error {
	var got []string
	for req := (&grouppb.GroupMembersRequest{GroupId: s.groups[w[0]], Limit: 2}); ; {
		rep, err := d.GroupMembers(ctx, req)
		if err != nil {
			return err
		}
		for _, m := range rep.Members {
			one := s.nameOf(m.UserId) + "=" + strings.ToLower(strings.TrimPrefix(m.Role.String(), "GROUP_ROLE_"))
			if m.Alias != "" {
				one += " called " + m.Alias
			}
			got = append(got, one)
		}
		if req.Cursor = rep.Cursor; !rep.HasMore {
			break
		}
	}
	want := w[1:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// dissolves climbing [and is refused CODE]
func (s *stage) dissolves(ctx context.Context, d *device, w []string) error {
	return refused(d.DissolveGroup(ctx, s.groups[w[0]]), w[1:])
}

// readsGroup holds the texts that somebody may read of a group, oldest first, against words, if there are some; "nothing": none.
func (s *stage) readsGroup(ctx context.Context, d *device, id int64, w []string) error {
	rep, err := d.History(ctx, &chatpb.HistoryRequest{ConversationId: groupConversation(id)})
	if len(w) == 0 || w[0] == "and" {
		return refused(err, w)
	}
	if err != nil {
		return err
	}
	var got []string
	for _, m := range slices.Backward(rep.Messages) {
		if m.Kind == chatpb.MessageKind_MESSAGE_KIND_TEXT {
			got = append(got, m.Text)
		}
	}
	if !slices.Equal(got, slices.DeleteFunc(slices.Clone(w), nobody)) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}
