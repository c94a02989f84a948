package group_test

import (
	"fmt"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// atOnce runs calls at the same moment, and gives what each was refused with.
func atOnce(calls ...func() error) []error {
	errs := make([]error, len(calls))
	var ready, wg sync.WaitGroup
	ready.Add(len(calls))
	for i, call := range calls {
		wg.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = call()
		})
	}
	wg.Wait()
	return errs
}

// TestDissolvedWhilePeopleCome has one core dissolve a group into which people come by the other: who came in was in before,
// the others hear that it is not there, and nothing is left of it.
func TestDissolvedWhilePeopleCome(t *testing.T) {
	for _, line := range []int{500, 3} { // the latter is large
		t.Run(fmt.Sprint("write diffusion to ", line), func(t *testing.T) { testDissolved(t, line) })
	}
}

func testDissolved(t *testing.T, line int) {
	both := cores(t, func(c *group.Config) { c.WriteDiffusion = line })
	for _, w := range both {
		w.people.Add(personOf(1001))
		w.people.Add(personOf(1002))
	}
	for round := range 12 {
		id := createBy(t, both[0], &grouppb.CreateGroupRequest{ClientId: fmt.Sprint(round), Name: "Short", UserIds: ids(bob, carol)})
		other := both[1-round%2]
		ask[grouppb.JoinGroupReply](t, other, dave, idl.ActionJoinGroup, joining(id)) // by approval
		ask[grouppb.InviteToGroupReply](t, other, alice, idl.ActionInviteToGroup, inviting(id, 1001))
		errs := atOnce(
			func() error {
				return both[round%2].as(alice).Call(idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id}, nil)
			},
			func() error {
				return other.as(alice).Call(idl.ActionDecideApplication, &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(dave), Approve: true}, nil)
			},
			func() error { return other.as(1001).Call(idl.ActionAnswerInvitation, accepting(id, true), nil) },
			func() error { return other.as(bob).Call(idl.ActionInviteToGroup, inviting(id, 1002), nil) },
			func() error { return other.as(erin).Call(idl.ActionJoinGroup, joining(id), nil) },
			func() error { return other.as(alice).Call(idl.ActionMuteInGroup, muting(id, bob, -1), nil) },
			func() error {
				return other.as(alice).Call(idl.ActionBanFromGroup, banningUntil(id, carol, -1), nil)
			},
		)
		if errs[0] != nil {
			t.Fatalf("round %d: dissolving: %v", round, errs[0])
		}
		for i, err := range errs[1:] {
			if err != nil && im.CodeOf(err) != idl.CodeNotFound {
				t.Errorf("round %d: call %d: %v", round, i+1, err)
			}
		}
		left := func() (n int) {
			for _, table := range []string{"group_members", "group_requests", "group_bans", "group_mutes", "group_outbox", "group_lives"} {
				n += both[0].count(t, "SELECT COUNT(*) FROM "+table+" WHERE group_id = ?", id)
			}
			return n
		}
		eventually(t, "nothing is left", func() bool { return left() == 0 })
		for _, u := range []im.UserID{alice, dave, 1001, erin} {
			if _, err := other.send(u, id); im.CodeOf(err) != idl.CodePermissionDenied {
				t.Errorf("round %d: %d sends: %v", round, u, err)
			}
		}
		wantInOrder(t, "the log", both[0], id)
		page, err := both[0].Timelines().Log(t.Context(), conv(id), 0, 500)
		if err != nil || len(page.Items) == 0 {
			t.Fatal(err)
		}
		if n := both[0].count(t, "SELECT events FROM group_groups WHERE id = ?", id); n < len(page.Items) {
			t.Errorf("round %d: %d events are in the log, %d were counted", round, len(page.Items), n)
		}
	}
}

// TestBannedWhileApproved: whoever is first, he who is banned is out, and nothing of his waits.
func TestBannedWhileApproved(t *testing.T) {
	both := cores(t)
	id := create(t, both[0], bob)
	for round := range 20 {
		ask[grouppb.JoinGroupReply](t, both[0], dave, idl.ActionJoinGroup, joining(id))
		errs := atOnce(
			func() error {
				return both[round%2].as(alice).Call(idl.ActionBanFromGroup, banningUntil(id, dave, -1), nil)
			},
			func() error {
				return both[1-round%2].as(alice).Call(idl.ActionDecideApplication, &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(dave), Approve: true}, nil)
			},
		)
		if errs[0] != nil || errs[1] != nil && im.CodeOf(errs[1]) != idl.CodeNotFound {
			t.Fatalf("round %d: %v", round, errs)
		}
		in := both[0].count(t, "SELECT COUNT(*) FROM group_members WHERE group_id = ? AND user_id = ?", id, int64(dave))
		waits := both[0].count(t, "SELECT COUNT(*) FROM group_requests WHERE group_id = ?", id)
		counted := both[0].count(t, "SELECT members FROM group_groups WHERE id = ?", id)
		if in != 0 || waits != 0 || counted != 2 {
			t.Fatalf("round %d: in %d times, %d wait, %d are counted", round, in, waits, counted)
		}
		for _, w := range both {
			refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodePermissionDenied, "group_id")
		}
		ask[grouppb.BanFromGroupReply](t, both[0], alice, idl.ActionBanFromGroup, banningUntil(id, dave, 0))
	}
}

// TestAnswersAtOnce has somebody guess without waiting for an answer: no more guesses than there may be are looked at.
func TestAnswersAtOnce(t *testing.T) {
	w := start(t, func(c *group.Config) { c.AnswersPerHour = 5 })
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_QUESTION))
	var calls []func() error
	for i := range 20 {
		calls = append(calls, func() error {
			return w.as(dave).Call(idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: id, Answer: fmt.Sprint("guess ", i)}, nil)
		})
	}
	codes := map[idl.Code]int{}
	for _, err := range atOnce(calls...) {
		codes[im.CodeOf(err)]++
	}
	if codes[idl.CodePermissionDenied] != 5 || codes[idl.CodeRateLimited] != 15 {
		t.Errorf("got %v", codes)
	}
	right := &grouppb.JoinGroupRequest{GroupId: id, Answer: "bowline"}
	refuse(t, w, dave, idl.ActionJoinGroup, right, idl.CodeRateLimited, "")
	ask[grouppb.JoinGroupReply](t, w, erin, idl.ActionJoinGroup, right) // others are not held up
}

// TestLineIsCrossedWhileRolesChange has people come in over the line while others become admins, are muted and go: it is crossed
// once, each member follows the log once, and every change is in it.
func TestLineIsCrossedWhileRolesChange(t *testing.T) {
	const line = 500
	both := cores(t, func(c *group.Config) { c.WriteDiffusion = line; c.Confirm = "never" })
	id, all := crowded(t, both[0], line-1) // with alice as many as there may be in inboxes
	opened := updating(id, "policy")
	opened.Policy = grouppb.GroupPolicy_GROUP_POLICY_OPEN
	ask[grouppb.UpdateGroupReply](t, both[0], alice, idl.ActionUpdateGroup, opened)
	if to, err := both[1].send(alice, id); err != nil || to.Log || len(to.Inboxes) != line {
		t.Fatalf("of %d: in the log: %t, in %d inboxes, %v", line, to.Log, len(to.Inboxes), err)
	}
	calls := []func() error{}
	for i := range 8 {
		w := both[i%2]
		calls = append(calls,
			func() error { return w.as(im.UserID(5000+i)).Call(idl.ActionJoinGroup, joining(id), nil) },
			func() error {
				return w.as(alice).Call(idl.ActionSetGroupRole, &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(all[i]), Role: grouppb.GroupRole_GROUP_ROLE_ADMIN}, nil)
			},
			func() error { return w.as(alice).Call(idl.ActionMuteInGroup, muting(id, all[20+i], -1), nil) })
		if i < 4 {
			calls = append(calls, func() error { return w.as(all[40+i]).Call(idl.ActionLeaveGroup, leaving(id), nil) })
		}
	}
	for i, err := range atOnce(calls...) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	eventually(t, "all is posted", func() bool { return both[0].count(t, "SELECT COUNT(*) FROM group_outbox") == 0 })
	if n := both[0].count(t, "SELECT COUNT(*) FROM group_members WHERE group_id = ?", id); n != line+4 {
		t.Errorf("%d members", n)
	}
	if n := both[0].count(t, "SELECT COUNT(*) FROM group_members WHERE group_id = ? AND role = 2", id); n != 8 {
		t.Errorf("%d admins", n)
	}
	follow := map[im.UserID]int{}
	for _, s := range both[0].messages.Followed(t, conv(id)) {
		if s.Through < 0 {
			follow[s.User]++
		}
	}
	if len(follow) != line+4 {
		t.Errorf("%d follow the log", len(follow))
	}
	for _, u := range append(append([]im.UserID{alice}, all[:40]...), all[44:]...) {
		if follow[u] != 1 {
			t.Errorf("%d follows the log %d times", u, follow[u])
		}
	}
	for i := range 8 {
		for _, w := range both {
			if to, err := w.send(all[i], id); err != nil || !to.Log {
				t.Errorf("an admin: %v, in the log: %t", err, to.Log)
			}
			_, err := w.send(all[20+i], id)
			wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		}
	}
	wantInOrder(t, "the log", both[0], id)
}
