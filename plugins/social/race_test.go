package social_test

import (
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// race makes calls at the same time, from devices of the two, and gives their errors.
func race(calls ...func() error) []error {
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
	}
	wg.Wait()
	return errs
}

// doing is one call of somebody's, on a device of his own.
func (w *world) doing(u im.UserID, device im.DeviceID, a idl.Action, req idl.Message) func() error {
	s := w.As(u, device, idl.CodecProtobuf)
	return func() error { return s.Call(a, req, nil) }
}

// wantWhole fails unless what is stored of alice and bob fits together.
func (w *world) wantWhole() {
	w.t.Helper()
	a, b := w.friends(alice) == "bob", w.friends(bob) == "alice"
	friends, err := w.relations().Friend(w.t.Context(), alice, bob)
	if a != b || friends != a || err != nil {
		w.t.Fatalf("alice has bob: %v, bob has alice: %v, friends: %v, %v", a, b, friends, err)
	}
	out, in := w.pending(alice, true), w.pending(bob, false)
	if a && out+in+w.pending(bob, true)+w.pending(alice, false) != "" {
		w.t.Fatal("friends, and an application waits")
	}
	for _, u := range []im.UserID{alice, bob} {
		var friends, sent, received, haveFriends, haveSent, haveReceived int
		for _, row := range []struct {
			query string
			into  []any
		}{
			{"SELECT friends, sent, received FROM social_people WHERE user_id = ?", []any{&friends, &sent, &received}},
			{"SELECT count(*) FROM social_friends WHERE state <> 0 AND user_id = ?", []any{&haveFriends}},
			{"SELECT count(*) FROM social_applications WHERE state IN (0, 5) AND from_id = ?", []any{&haveSent}},
			{"SELECT count(*) FROM social_applications WHERE state = 0 AND to_id = ?", []any{&haveReceived}},
		} {
			if err := w.DB().QueryRowContext(w.t.Context(), row.query, int64(u)).Scan(row.into...); err != nil {
				w.t.Fatal(err)
			}
		}
		if friends != haveFriends || sent != haveSent || received != haveReceived {
			w.t.Fatalf("%s: counts %d %d %d, rows %d %d %d", name(u), friends, sent, received, haveFriends, haveSent, haveReceived)
		}
	}
}

// reset makes strangers of alice and bob.
func (w *world) reset() {
	for _, u := range []im.UserID{alice, bob} {
		to := int64(alice + bob - u)
		for a, req := range map[idl.Action]idl.Message{
			idl.ActionDeleteFriend: &socialpb.DeleteRequest{UserId: to}, idl.ActionWithdraw: &socialpb.WithdrawRequest{UserId: to}, idl.ActionUnblock: &socialpb.UnblockRequest{UserId: to},
		} {
			if err := w.as(u).Call(a, req, nil); err != nil && im.CodeOf(err) != idl.CodeNotFound {
				w.t.Fatal(err)
			}
		}
	}
	w.filed()
}

const rounds = 25

// Whatever is first, all that is stored fits together, and the events tell it once.
func TestRaces(t *testing.T) {
	dir := t.TempDir()
	w := startWith(t, plugintest.Options{Dir: dir})
	of := func(u im.UserID) int64 { return int64(alice + bob - u) }
	for _, row := range []struct {
		name  string
		setup func()
		calls func() []func() error
		check func(t *testing.T, errs []error, told []string)
	}{
		{"crossing applications", func() {}, func() []func() error {
			return []func() error{
				w.doing(alice, "a", idl.ActionApply, &socialpb.ApplyRequest{UserId: of(alice)}),
				w.doing(bob, "b", idl.ActionApply, &socialpb.ApplyRequest{UserId: of(bob)}),
			}
		}, func(t *testing.T, errs []error, told []string) {
			if errs[0] != nil || errs[1] != nil || w.friends(alice) != "bob" || len(told) != 2 {
				t.Errorf("%v, %v, alice has %q, told %q", errs[0], errs[1], w.friends(alice), told)
			}
		}},
		{"the same application twice", func() {}, func() []func() error {
			return []func() error{
				w.doing(alice, "a", idl.ActionApply, &socialpb.ApplyRequest{UserId: of(alice)}),
				w.doing(alice, "b", idl.ActionApply, &socialpb.ApplyRequest{UserId: of(alice)}),
			}
		}, func(t *testing.T, errs []error, told []string) {
			if errs[0] != nil || errs[1] != nil || len(told) != 1 {
				t.Errorf("%v, %v, told %q", errs[0], errs[1], told)
			}
		}},
		{"accept, accept and withdraw", func() { w.apply(alice, bob); w.filed() }, func() []func() error {
			return []func() error{
				w.doing(bob, "a", idl.ActionAccept, &socialpb.AcceptRequest{UserId: of(bob)}),
				w.doing(bob, "b", idl.ActionAccept, &socialpb.AcceptRequest{UserId: of(bob)}),
				w.doing(alice, "c", idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: of(alice)}),
			}
		}, func(t *testing.T, errs []error, told []string) {
			friends := w.friends(alice) == "bob"
			if (errs[0] == nil) != friends || (errs[1] == nil) != friends || (errs[2] == nil) == friends || len(told) != 1 {
				t.Errorf("friends: %v, and %v, told %q", friends, errs, told)
			}
		}},
		{"accept and delete", func() { w.apply(alice, bob) }, func() []func() error {
			return []func() error{
				w.doing(bob, "a", idl.ActionAccept, &socialpb.AcceptRequest{UserId: of(bob)}),
				w.doing(alice, "b", idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: of(alice)}),
			}
		}, func(t *testing.T, errs []error, _ []string) {
			if errs[0] != nil || (errs[1] == nil) != (w.friends(alice) == "") {
				t.Errorf("%v, alice has %q", errs, w.friends(alice))
			}
		}},
		{"delete by both", func() { w.befriend(alice, bob); w.filed() }, func() []func() error {
			return []func() error{
				w.doing(alice, "a", idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: of(alice)}),
				w.doing(bob, "b", idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: of(bob)}),
			}
		}, func(t *testing.T, errs []error, told []string) {
			if (errs[0] == nil) == (errs[1] == nil) || w.friends(alice) != "" || len(told) != 1 {
				t.Errorf("%v, alice has %q, told %q", errs, w.friends(alice), told)
			}
		}},
		{"block by who applied, and accept", func() { w.apply(alice, bob); w.filed() }, func() []func() error {
			return []func() error{
				w.doing(alice, "a", idl.ActionBlock, &socialpb.BlockRequest{UserId: of(alice)}),
				w.doing(bob, "b", idl.ActionAccept, &socialpb.AcceptRequest{UserId: of(bob)}),
			}
		}, func(t *testing.T, errs []error, _ []string) {
			blocked, err := w.relations().Blocks(t.Context(), alice, bob)
			if errs[0] != nil || !blocked || err != nil || (errs[1] == nil) != (w.friends(bob) == "alice") {
				t.Errorf("%v, blocked: %v, bob has %q", errs, blocked, w.friends(bob))
			}
		}},
		{"block and accept by the same", func() { w.apply(alice, bob); w.filed() }, func() []func() error {
			return []func() error{
				w.doing(bob, "a", idl.ActionBlock, &socialpb.BlockRequest{UserId: of(bob)}),
				w.doing(bob, "b", idl.ActionAccept, &socialpb.AcceptRequest{UserId: of(bob)}),
			}
		}, func(t *testing.T, errs []error, _ []string) {
			if errs[0] != nil || (errs[1] == nil) != (w.friends(bob) == "alice") || w.pending(bob, false) != "" {
				t.Errorf("%v, bob has %q", errs, w.friends(bob))
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			for range rounds {
				w.reset()
				row.setup()
				calls := row.calls()
				errs := race(calls...)
				row.check(t, errs, w.filed())
				w.wantWhole()
				if t.Failed() {
					return
				}
			}
		})
	}
}
