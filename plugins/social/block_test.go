package social_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/plugins/social"
)

// relations is the service as those who need it see it.
type relations interface {
	Friends(ctx context.Context, u im.UserID) ([]im.UserID, error)
	Friend(ctx context.Context, a, b im.UserID) (bool, error)
	Blocks(ctx context.Context, by, whom im.UserID) (bool, error)
	Blocked(ctx context.Context, u im.UserID) ([]im.UserID, error)
}

func (w *world) relations() relations {
	w.t.Helper()
	service, _ := w.Service("social.relations")
	return service.(relations)
}

func person(u im.UserID) plugin.Person { return plugin.Person{User: u, Nickname: "User " + u.String()} }

func (w *world) block(u, whom im.UserID) {
	w.t.Helper()
	w.call(u, idl.ActionBlock, &socialpb.BlockRequest{UserId: int64(whom)}, nil)
}

func TestBlocksAreKeptFromWriting(t *testing.T) {
	for policy, check := range map[string]func(error) bool{
		"unseen":  func(err error) bool { return errors.Is(err, plugin.ErrUnseen) },
		"refused": func(err error) bool { return im.CodeOf(err) == idl.CodePermissionDenied },
	} {
		t.Run(policy, func(t *testing.T) {
			w := start(t, func(c *social.Config) { c.Blocked = policy })
			w.befriend(alice, bob)
			w.filed()
			chat := func(from, to im.UserID) error { return w.messages.Chat(t.Context(), from, to) }
			if err := errors.Join(chat(alice, bob), chat(bob, alice), chat(alice, alice)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.block(alice, bob)
			}
			w.wantFiled("social.blocked by alice to alice")
			if err := chat(bob, alice); !check(err) {
				t.Errorf("who is blocked writes: %v", err)
			}
			wantRefusal(t, chat(alice, bob), idl.CodePermissionDenied, "to_user_id")
			if w.friends(alice) != "bob" {
				t.Error("a block has ended a friendship")
			}
			var list socialpb.BlocksReply
			w.call(alice, idl.ActionBlocks, &socialpb.BlocksRequest{}, &list)
			if len(list.Blocked) != 1 || list.Total != 1 || list.Blocked[0].Person.UserId != int64(bob) {
				t.Errorf("got %+v", &list)
			}
			list = socialpb.BlocksReply{}
			w.call(bob, idl.ActionBlocks, &socialpb.BlocksRequest{}, &list)
			if len(list.Blocked) != 0 {
				t.Errorf("bob sees %+v", &list)
			}
			for range 2 {
				w.call(alice, idl.ActionUnblock, &socialpb.UnblockRequest{UserId: int64(bob)}, nil)
			}
			w.wantFiled("social.unblocked by alice to alice")
			if err := errors.Join(chat(alice, bob), chat(bob, alice)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStrangersMayWrite(t *testing.T) {
	for _, row := range []struct {
		name    string
		config  bool
		chosen  []bool // none: nothing
		friends bool
		may     bool
	}{
		{"nothing said, allowed", true, nil, false, true},
		{"nothing said, not allowed", false, nil, false, false},
		{"nothing said, a friend", false, nil, true, true},
		{"said yes", false, []bool{true}, false, true},
		{"said no", true, []bool{false}, false, false},
		{"said no, a friend", true, []bool{false}, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := start(t, func(c *social.Config) { c.Strangers = row.config })
			_ = w.messages.Chat(t.Context(), alice, bob) // what is remembered of it must go
			if row.chosen != nil {
				w.call(bob, idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"strangers"}, Strangers: row.chosen[0]}, nil)
			}
			if row.friends {
				w.befriend(alice, bob)
			}
			err := w.messages.Chat(t.Context(), alice, bob)
			if row.may && err != nil {
				t.Error(err)
			}
			if !row.may {
				wantRefusal(t, err, idl.CodePermissionDenied, "to_user_id")
			}
		})
	}
}

// wantEnded checks that bob sees an application of his in the state, and alice, whom it was for
// and who blocked him, none: neither in her list nor in the copy of what is kept of her.
func (w *world) wantEnded(what string, state socialpb.ApplicationState) {
	w.t.Helper()
	var hers, his socialpb.ApplicationsReply
	w.call(alice, idl.ActionApplications, &socialpb.ApplicationsRequest{}, &hers)
	if len(hers.Applications) != 0 {
		w.t.Errorf("%s: alice sees %+v", what, hers.Applications[0])
	}
	w.call(bob, idl.ActionApplications, &socialpb.ApplicationsRequest{Outgoing: true}, &his)
	if len(his.Applications) != 1 || his.Applications[0].State != state {
		w.t.Errorf("%s: bob sees %+v", what, his.Applications)
	}
	kept, err := w.people.Holdings()["social"].Export(w.t.Context(), alice)
	text, jsonErr := json.Marshal(kept)
	if err := errors.Join(err, jsonErr); err != nil || strings.Contains(string(text), "hello") {
		w.t.Errorf("%s: the copy has %s, %v", what, text, err)
	}
}

// Who is blocked learns nothing of it: what he applies for seems to wait.
func TestBlocksHideApplications(t *testing.T) {
	w := start(t)
	w.block(alice, bob)
	w.filed()
	if w.apply(bob, alice).Friends {
		t.Error("friends")
	}
	w.wantFiled("social.applied by bob to bob")
	if w.pending(alice, false) != "" || w.pending(bob, true) != "alice" {
		t.Error("alice sees it, or bob does not")
	}
	wantRefusal(t, w.as(alice).Call(idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(bob)}, nil), idl.CodeNotFound, "user_id")
	wantRefusal(t, w.as(alice).Call(idl.ActionRefuse, &socialpb.RefuseRequest{UserId: int64(bob)}, nil), idl.CodeNotFound, "user_id")
	wantRefusal(t, w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob)}, nil), idl.CodePermissionDenied, "user_id")
	w.call(bob, idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: int64(alice)}, nil)
	w.wantFiled("social.withdrawn by bob to bob")
	w.call(bob, idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: int64(alice)}, nil)
	w.wantEnded("withdrawn", socialpb.ApplicationState_APPLICATION_STATE_WITHDRAWN)
	w.apply(bob, alice)
	w.call(alice, idl.ActionUnblock, &socialpb.UnblockRequest{UserId: int64(bob)}, nil)
	w.filed()
	w.apply(bob, alice) // now she gets it
	w.wantFiled("social.applied by bob to bob alice")
	if w.pending(alice, false) != "bob" {
		t.Error("alice does not see it")
	}

	// A block takes what waits away: hers is withdrawn, his is hidden.
	w.block(alice, bob)
	w.wantFiled("social.blocked by alice to alice")
	if w.pending(alice, false) != "" || w.pending(bob, true) != "alice" {
		t.Error("alice sees it, or bob does not")
	}
	w.Advance(7 * 24 * time.Hour)
	if err := w.social.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantFiled("social.expired by server to bob")
	w.wantEnded("expired", socialpb.ApplicationState_APPLICATION_STATE_EXPIRED)
	w.apply(carol, dave)
	w.filed()
	w.block(carol, dave)
	w.wantFiled("social.blocked by carol to carol", "social.withdrawn by carol to carol dave")
}

// What is done about people who do not exist leaves no rows: anybody can name them without end.
func TestNobodyGetsARow(t *testing.T) {
	w := start(t)
	const nobody = 300001
	for a, req := range map[idl.Action]idl.Message{
		idl.ActionDeleteFriend: &socialpb.DeleteRequest{UserId: nobody}, idl.ActionWithdraw: &socialpb.WithdrawRequest{UserId: nobody},
		idl.ActionRefuse: &socialpb.RefuseRequest{UserId: nobody}, idl.ActionAccept: &socialpb.AcceptRequest{UserId: nobody},
		idl.ActionApply: &socialpb.ApplyRequest{UserId: nobody}, idl.ActionBlock: &socialpb.BlockRequest{UserId: nobody},
		idl.ActionSetAlias: &socialpb.SetAliasRequest{UserId: nobody, Alias: "x"},
	} {
		wantRefusal(t, w.as(alice).Call(a, req, nil), idl.CodeNotFound, "user_id")
	}
	w.call(alice, idl.ActionUnblock, &socialpb.UnblockRequest{UserId: nobody}, nil)
	var n int
	if err := w.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM social_people WHERE user_id = ?", nobody).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestBlocksRefuseApplications(t *testing.T) {
	w := start(t, func(c *social.Config) { c.Blocked = "refused" })
	w.block(alice, bob)
	wantRefusal(t, w.as(bob).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(alice)}, nil), idl.CodePermissionDenied, "user_id")
}

func TestRelations(t *testing.T) {
	w := start(t)
	w.befriend(alice, carol)
	w.befriend(alice, bob)
	w.block(dave, alice)
	w.block(alice, carol)
	r := w.relations()
	friends, err := r.Friends(t.Context(), alice)
	if err != nil || fmt.Sprint(friends) != "[100002 100003]" {
		t.Errorf("got %v and %v", friends, err)
	}
	blocked, err := r.Blocked(t.Context(), alice)
	if err != nil || fmt.Sprint(blocked) != "[100003 100004]" {
		t.Errorf("got %v and %v", blocked, err)
	}
	for _, row := range []struct {
		a, b          im.UserID
		friend, block bool // a blocks b
	}{
		{alice, bob, true, false}, {bob, alice, true, false}, {alice, carol, true, true}, {carol, alice, true, false},
		{dave, alice, false, true}, {alice, dave, false, false}, {alice, alice, false, false},
	} {
		friend, err1 := r.Friend(t.Context(), row.a, row.b)
		block, err2 := r.Blocks(t.Context(), row.a, row.b)
		if friend != row.friend || block != row.block || err1 != nil || err2 != nil {
			t.Errorf("%v and %v: got %v, %v, %v, %v", name(row.a), name(row.b), friend, block, err1, err2)
		}
	}
}

// What another core changes is known when it has answered: who is blocked, at once, and who takes no
// messages from strangers.
func TestCachesOfSeveralCores(t *testing.T) {
	if os.Getenv(plugintest.Stores) != "production" {
		t.Skip("no two cores have one SQLite open")
	}
	dir := t.TempDir()
	one, two := startWith(t, plugintest.Options{Dir: dir}), startWith(t, plugintest.Options{Dir: dir})
	if err := two.messages.Chat(t.Context(), bob, alice); err != nil {
		t.Fatal(err)
	}
	one.block(alice, bob)
	if err := two.messages.Chat(t.Context(), bob, alice); !errors.Is(err, plugin.ErrUnseen) {
		t.Errorf("blocked at another core: got %v", err)
	}
	if blocks, err := two.relations().Blocks(t.Context(), alice, bob); !blocks || err != nil {
		t.Errorf("the service says %v, %v", blocks, err)
	}
	if err := two.messages.Chat(t.Context(), alice, bob); im.CodeOf(err) != idl.CodePermissionDenied {
		t.Errorf("to whom she blocks: got %v", err)
	}
}

func TestPagesOfBlocks(t *testing.T) {
	w := start(t)
	for i := range 5 {
		u := im.UserID(300_000 + i)
		w.people.Add(person(u))
		w.block(alice, u)
	}
	var seen []int64
	req := &socialpb.BlocksRequest{Limit: 2}
	for {
		var rep socialpb.BlocksReply
		w.call(alice, idl.ActionBlocks, req, &rep)
		for _, b := range rep.Blocked {
			seen = append(seen, b.Person.UserId)
		}
		if !rep.HasMore {
			break
		}
		req.Cursor = rep.Next
	}
	if fmt.Sprint(seen) != "[300000 300001 300002 300003 300004]" {
		t.Errorf("got %v", seen)
	}
}
