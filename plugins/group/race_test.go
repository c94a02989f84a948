package group_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// cores are two hosts on one directory and the same timelines.
func cores(t *testing.T, change ...func(*group.Config)) [2]*world {
	t.Helper()
	dir := t.TempDir()
	first := startIn(t, plugintest.Options{Dir: dir}, change...)
	return [2]*world{first, startIn(t, plugintest.Options{Dir: dir, Timelines: first.Timelines()}, change...)}
}

// TestRacingTransfers has an owner make two people the owner at once, on two cores.
func TestRacingTransfers(t *testing.T) {
	both := cores(t)
	id := create(t, both[0], bob, carol)
	for round := range 20 {
		owner := both[0].members(t, bob, id)[0]
		var rivals []im.UserID
		for _, u := range []im.UserID{alice, bob, carol} {
			if u != owner {
				rivals = append(rivals, u)
			}
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i, u := range rivals {
			wg.Go(func() {
				switch err := both[i].as(owner).Call(idl.ActionTransferGroup, transferring(id, u), nil); {
				case err == nil:
					won.Add(1)
				case im.CodeOf(err) != idl.CodePermissionDenied:
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("round %d: %d transfers were done", round, n)
		}
		if n := both[1].count(t, "SELECT COUNT(*) FROM group_members WHERE group_id = ? AND role = 1", id); n != 1 {
			t.Fatalf("round %d: %d owners", round, n)
		}
	}
}

func (w *world) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := w.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRacingJoins has more people come in at once than there may be.
func TestRacingJoins(t *testing.T) {
	both := cores(t, func(c *group.Config) { c.MaxMembers = 6 })
	id := createBy(t, both[0], withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	var in, full atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			switch err := both[i%2].as(im.UserID(1000+i)).Call(idl.ActionJoinGroup, joining(id), nil); {
			case err == nil:
				in.Add(1)
			case im.CodeOf(err) == idl.CodeLimitExceeded:
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rows := both[0].count(t, "SELECT COUNT(*) FROM group_members WHERE group_id = ?", id)
	counted := both[0].count(t, "SELECT members FROM group_groups WHERE id = ?", id)
	if in.Load() != 5 || full.Load() != 11 || rows != 6 || counted != 6 {
		t.Errorf("%d came in, %d found it full; %d rows, %d counted", in.Load(), full.Load(), rows, counted)
	}
}

// TestRemovedWhileSending has bob send without a pause on two cores: when his removal is
// answered by one, neither lets him, and nobody's message goes to him.
func TestRemovedWhileSending(t *testing.T) {
	silenced(t, func(w *world, id int64) error {
		return w.as(alice).Call(idl.ActionRemoveFromGroup, removing(id, bob), nil)
	}, func(w *world, id int64) error {
		return w.as(alice).Call(idl.ActionInviteToGroup, inviting(id, bob), nil)
	}, true)
}

func TestMutedWhileSending(t *testing.T) {
	mute := func(until int64) func(w *world, id int64) error {
		return func(w *world, id int64) error {
			return w.as(alice).Call(idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(bob), UntilMs: until}, nil)
		}
	}
	silenced(t, mute(-1), mute(0), false)
}

func silenced(t *testing.T, silence, allow func(w *world, id int64) error, out bool) {
	both := cores(t)
	id := create(t, both[0], bob, carol)
	for round := range 15 {
		var done, silent atomic.Bool
		var let atomic.Int32
		var wg sync.WaitGroup
		for i, w := range both {
			for _, u := range []im.UserID{bob, carol} {
				wg.Go(func() {
					for !done.Load() {
						before := silent.Load()
						audience, err := w.send(u, id)
						switch {
						case u == bob && before && err == nil:
							t.Errorf("round %d: core %d lets him send behind the answer", round, i)
							return
						case u == bob && err == nil:
							let.Add(1)
						case u == bob && im.CodeOf(err) != idl.CodePermissionDenied, u == carol && err != nil:
							t.Errorf("round %d: %v", round, err)
							return
						case u == carol && before && out && len(audience.Inboxes) != 2:
							t.Errorf("round %d: core %d sends him what others write behind the answer", round, i)
							return
						}
					}
				})
			}
		}
		eventually(t, "bob sends", func() bool { return let.Load() > 2 || t.Failed() })
		if err := silence(both[round%2], id); err != nil {
			t.Error(err)
		}
		silent.Store(true)
		for range 20 {
			if _, err := both[1-round%2].send(bob, id); err == nil {
				t.Errorf("round %d: he sends", round)
			}
		}
		done.Store(true)
		wg.Wait()
		if err := allow(both[0], id); err != nil || t.Failed() {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// TestRacingChanges has many change a group at once on two cores: its events are in its log once
// each, in the order of their numbers.
func TestRacingChanges(t *testing.T) {
	both := cores(t)
	id := create(t, both[0], bob, carol)
	const each = 10
	const counted = "SELECT events FROM group_groups WHERE id = ?"
	before := both[0].count(t, counted, id)
	var wg sync.WaitGroup
	for i, u := range []im.UserID{alice, bob, carol, alice} {
		wg.Go(func() {
			for n := range each {
				alias := fmt.Sprintf("%d of %d", n, i)
				if err := both[i%2].as(u).Call(idl.ActionSetGroupSelf, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias"}, Alias: alias}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all is posted", func() bool { return both[0].count(t, "SELECT COUNT(*) FROM group_outbox") == 0 })
	if n := both[0].count(t, counted, id) - before; n != 4*each { // the clock stands
		t.Errorf("%d events were counted, want %d", n, 4*each)
	}
	wantInOrder(t, "the log", both[0], id)
}

// wantInOrder checks that a log has a group's events in the order of their numbers, each once.
func wantInOrder(t *testing.T, what string, w *world, id int64) {
	t.Helper()
	page, err := w.Timelines().Log(t.Context(), conv(id), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, m := range page.Items {
		var number int
		if _, err := fmt.Sscanf(m.ClientID, "~g"+im.UserID(id).String()+".%d", &number); err != nil || number <= last {
			t.Errorf("%s: event %q comes behind number %d (%v)", what, m.ClientID, last, err)
		}
		last = number
	}
}

// flaky is a chat plugin whose posts fail when they are told to.
type flaky struct {
	*plugintest.Messages
	broken atomic.Bool
}

func (f *flaky) Post(ctx context.Context, p plugin.Post) (timeline.Committed, error) {
	if f.broken.Load() {
		return timeline.Committed{}, errors.New("planted fault")
	}
	return f.Messages.Post(ctx, p)
}

// TestEventsOutliveFaults has changes answered while nothing can be posted, as when the core
// dies behind the commit: their events come later, in order.
func TestEventsOutliveFaults(t *testing.T) {
	w := &world{messages: &plugintest.Messages{}, people: plugintest.NewPeople(alice, bob, carol)}
	chat := &flaky{Messages: w.messages}
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{group.New()}, Stubs: append(w.people.Stubs(),
		plugintest.Stub{Name: "behind", Service: w.messages}, plugintest.Stub{Name: plugin.ServiceMessages, Service: chat},
		plugintest.Stub{Name: "social.relations", Service: relations})})
	id := create(t, w, bob, carol)
	n := len(w.messages.Posts())
	chat.broken.Store(true)
	ask[grouppb.RemoveFromGroupReply](t, w, alice, idl.ActionRemoveFromGroup, removing(id, carol))
	req := updating(id, "name")
	req.Name = "Bouldering"
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	outside(t, w, carol, id)
	wantEqual(t, "told meanwhile", w.told(n), nil)
	chat.broken.Store(false)
	eventually(t, "they are told", func() bool { return len(w.told(n)) == 2 })
	wantEqual(t, "told", w.told(n), []string{"group.removed", "group.renamed"})
	wantInOrder(t, "the log", w, id)
}
