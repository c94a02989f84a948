package plugins_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// TestDecidedAtTheCommit has a group change, by another core, between the moment in which a message was allowed and that in which it
// is committed: what the change forbids is not committed behind it, and what it allows goes to whom it is for by then.
func TestDecidedAtTheCommit(t *testing.T) {
	const alice, bob, carol, dave = owner, owner + 1, owner + 2, owner + 3
	for _, size := range []struct {
		name string
		line int
	}{{"small", 500}, {"large", 2}} {
		for _, test := range []struct {
			name   string
			change func(s *site) (by im.UserID, action idl.Action, req idl.Message)
			code   idl.Code // what bob, who sends, is answered; 0: it is committed
			gets   []im.UserID
		}{
			{"the sender is removed", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(bob)}}
			}, idl.CodePermissionDenied, nil},
			{"the sender is banned", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionBanFromGroup, &grouppb.BanFromGroupRequest{GroupId: s.group, UserId: int64(bob), UntilMs: -1}
			}, idl.CodePermissionDenied, nil},
			{"the sender is muted", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UserId: int64(bob), UntilMs: -1}
			}, idl.CodePermissionDenied, nil},
			{"all are muted", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UntilMs: -1}
			}, idl.CodePermissionDenied, nil},
			{"members may write no more", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"member_permissions"}}
			}, idl.CodePermissionDenied, nil},
			{"the group is dissolved", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: s.group}
			}, idl.CodePermissionDenied, nil},
			{"another is removed", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(carol)}}
			}, 0, []im.UserID{alice, bob}},
			{"another comes", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return dave, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: s.group}
			}, 0, []im.UserID{alice, bob, carol, dave}},
			{"the name changes", func(s *site) (im.UserID, idl.Action, idl.Message) {
				return alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"name"}, Name: "City"}
			}, 0, []im.UserID{alice, bob, carol}},
		} {
			t.Run(size.name+"/"+test.name, func(t *testing.T) {
				s := newSite(t, 2, size.line, 4)
				for _, u := range []im.UserID{bob, carol} {
					if err := s.join(0, u); err != nil {
						t.Fatal(err)
					}
				}
				// In slow mode, for a message may not wait for itself.
				s.must(s.as(0, alice), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"slow_mode_ms"}, SlowModeMs: 60_000}, nil)
				s.settled()
				change := func(timeline.Draft) {
					by, action, req := test.change(s)
					s.must(s.as(1, by), action, req, nil)
					s.posted()
				}
				s.store.before.Store(&change)
				rep, err := s.say(0, bob, "in between")
				if s.store.before.Load() != nil {
					t.Fatal("nothing happened in between")
				}
				if got := im.CodeOf(err); test.code != 0 && got != test.code || test.code == 0 && err != nil {
					t.Fatalf("got %v, want %v", err, test.code)
				}
				log := s.log()
				at := slices.IndexFunc(log, func(m im.Message) bool { return m.Sender == bob && m.ClientID == "in-between" })
				if (at >= 0) != (test.code == 0) {
					t.Fatalf("it is at %d of the log", at)
				}
				if at >= 0 && (at != len(log)-1 || rep.Seq != log[at].Seq) {
					t.Errorf("it is at %d of %d, seq %d of %d: not behind the change", at, len(log), rep.Seq, log[at].Seq)
				}
				for u := alice; u <= dave; u++ {
					d := &device{session: s.as(1, u)}
					if err := d.sync(0); err != nil {
						t.Fatal(err)
					}
					if got := slices.Contains(d.texts(s.conversation()), "in between"); got != slices.Contains(test.gets, u) {
						t.Errorf("%d has it: %t", u, got)
					}
				}
			})
		}
	}
}

// inBetween has bob send in a group of three, and fn happen between the moment in which his message is let pass and that in which it
// is committed.
func inBetween(t *testing.T, fn func(s *site, text string)) (s *site, rep *chatpb.SendReply, err error) {
	t.Helper()
	s = newSite(t, 2, 500, 3)
	for _, u := range []im.UserID{owner + 1, owner + 2} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	s.settled()
	const text = "in between"
	change := func(timeline.Draft) { fn(s, text) }
	s.store.before.Store(&change)
	rep, err = s.say(0, owner+1, text)
	return s, rep, err
}

// TestAnotherTryWasFaster: a message that another try has committed is answered as that one, though its sender was put out since.
func TestAnotherTryWasFaster(t *testing.T) {
	var first *chatpb.SendReply
	s, rep, err := inBetween(t, func(s *site, text string) {
		var err error
		if first, err = s.say(1, owner+1, text); err != nil {
			t.Error(err)
		}
		s.must(s.as(1, owner), idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(owner + 1)}}, nil)
		s.posted()
	})
	if err != nil || !rep.Duplicate || rep.Seq != first.GetSeq() || rep.MessageId != first.GetMessageId() {
		t.Errorf("got %+v, %v, want %+v", rep, err, first)
	}
	if log := s.log(); log[len(log)-1].Sender != owner {
		t.Errorf("behind the removal there is %+v", log[len(log)-1])
	}
}

// TestSlowModeBegins: a message that slow mode began before takes its turn, as any other.
func TestSlowModeBegins(t *testing.T) {
	s, _, err := inBetween(t, func(s *site, _ string) {
		s.must(s.as(1, owner), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"slow_mode_ms"}, SlowModeMs: 60_000}, nil)
		s.posted()
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.say(0, owner+1, "at once"); im.CodeOf(err) != idl.CodeRateLimited {
		t.Errorf("the next one: %v", err)
	}
}

// TestTurnComesBack: a message that could not be committed while the group changed all the time may be sent again at once, in slow
// mode too.
func TestTurnComesBack(t *testing.T) {
	s := newSite(t, 2, 500, 3)
	for _, u := range []im.UserID{owner + 1, owner + 2} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	s.must(s.as(0, owner), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"slow_mode_ms"}, SlowModeMs: 60_000}, nil)
	s.settled()
	tries := 0
	var change func(timeline.Draft)
	change = func(timeline.Draft) {
		tries++
		s.must(s.as(1, owner), idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UserId: int64(owner + 2), UntilMs: -int64(tries % 2)}, nil)
		s.posted()
		s.store.before.Store(&change)
	}
	s.store.before.Store(&change)
	_, err := s.say(0, owner+1, "once")
	s.store.before.Store(nil)
	if im.CodeOf(err) != idl.CodeUnavailable || tries < 2 {
		t.Fatalf("tried %d times: %v", tries, err)
	}
	if _, err := s.say(0, owner+1, "once"); err != nil {
		t.Errorf("sent again: %v", err)
	}
	if _, err := s.say(0, owner+1, "twice"); im.CodeOf(err) != idl.CodeRateLimited {
		t.Errorf("the next one: %v", err)
	}
}

// TestDirectoryTakenBack: where the directory was taken back to before a change that the timelines tell of, what it says now
// holds, and the group goes on: also what changes from then on is decided at the commit.
func TestDirectoryTakenBack(t *testing.T) {
	s := newSite(t, 2, 500, 3)
	for _, u := range []im.UserID{owner + 1, owner + 2} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	s.settled()
	_, err := s.store.Append(t.Context(), timeline.Draft{Conversation: s.conversation(), Sender: owner, Body: eventBody(t), Least: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.say(0, owner+1, fmt.Sprint("text ", i)); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	mute := func(timeline.Draft) {
		s.must(s.as(1, owner), idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UserId: int64(owner + 1), UntilMs: -1}, nil)
		s.posted()
	}
	s.store.before.Store(&mute)
	if _, err := s.say(0, owner+1, "under way at the mute"); im.CodeOf(err) != idl.CodePermissionDenied {
		t.Errorf("who was muted meanwhile: %v", err)
	}
	if _, err := s.say(0, owner+2, "of another"); err != nil {
		t.Errorf("another: %v", err)
	}
}

// failedOver is a site of alice, bob and carol whose directory has lost its last change, of which the log tells: that carol was removed.
func failedOver(t *testing.T) *site {
	t.Helper()
	const bob, carol = owner + 1, owner + 2
	s := newSite(t, 2, 500, 3)
	for _, u := range []im.UserID{bob, carol} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	s.settled()
	s.posted()
	db := s.cores[0].DB()
	var version, events, members int64
	if err := db.QueryRow("SELECT version, events, members FROM group_groups WHERE id = ?", s.group).Scan(&version, &events, &members); err != nil {
		t.Fatal(err)
	}
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.Exec(statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE saved_members AS SELECT * FROM group_members WHERE group_id = ?", s.group)
	s.must(s.as(1, owner), idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(carol)}}, nil)
	s.posted()
	for core := range s.cores { // both remember it
		if _, err := s.say(core, bob, fmt.Sprint("before by core ", core)); err != nil {
			t.Fatal(err)
		}
	}
	exec("DELETE FROM group_members WHERE group_id = ?", s.group)
	exec("INSERT INTO group_members SELECT * FROM saved_members")
	exec("DROP TABLE saved_members")
	exec("UPDATE group_groups SET version = ?, events = ?, members = ? WHERE id = ?", version, events, members, s.group)
	for _, h := range s.cores {
		h.Advance(time.Second)
	}
	return s
}

// TestLastChangeLost: cores that remember a change which the directory has lost go by the directory, in all that they do.
func TestLastChangeLost(t *testing.T) {
	const bob, carol = owner + 1, owner + 2
	has := func(s *site, u im.UserID, text string) bool {
		t.Helper()
		d := &device{session: s.as(1, u)}
		if err := d.sync(0); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(d.texts(s.conversation()), text)
	}
	t.Run("messages", func(t *testing.T) {
		s := failedOver(t)
		for core := range s.cores {
			text := fmt.Sprint("behind by core ", core)
			if _, err := s.say(core, bob, text); err != nil || !has(s, carol, text) {
				t.Errorf("core %d: %v; carol, who is in, has it: %t", core, err, has(s, carol, text))
			}
			if _, err := s.say(core, carol, fmt.Sprint("of carol by core ", core)); err != nil {
				t.Errorf("core %d: carol: %v", core, err)
			}
		}
	})
	t.Run("edits", func(t *testing.T) {
		s := failedOver(t)
		log := s.log()
		m := log[len(log)-1]
		err := s.as(0, m.Sender).Call(idl.ActionEdit, &chatpb.EditRequest{ConversationId: string(s.conversation()), Seq: m.Seq, MessageId: m.ID.String(), Text: "edited"}, nil)
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("changes", func(t *testing.T) {
		s := failedOver(t)
		s.must(s.as(1, owner), idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UserId: int64(bob), UntilMs: -1}, nil)
		s.posted() // the log takes it
		if _, err := s.say(0, bob, "muted"); im.CodeOf(err) != idl.CodePermissionDenied {
			t.Errorf("who is muted: %v", err)
		}
		if _, err := s.say(0, carol, "of carol"); err != nil {
			t.Errorf("carol: %v", err)
		}
		s.must(s.as(1, owner), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"name"}, Name: "City"}, nil)
		s.posted()
	})
}

// TestTurnOfWhoIsRefused: whose message was refused at the second question has not lost his turn.
func TestTurnOfWhoIsRefused(t *testing.T) {
	mute := func(s *site, untilMs int64) {
		s.must(s.as(1, owner), idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: s.group, UserId: int64(owner + 1), UntilMs: untilMs}, nil)
		s.posted()
	}
	s := newSite(t, 2, 500, 3)
	if err := s.join(0, owner+1); err != nil {
		t.Fatal(err)
	}
	s.must(s.as(0, owner), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"slow_mode_ms"}, SlowModeMs: 60_000}, nil)
	s.settled()
	change := func(timeline.Draft) { mute(s, -1) }
	s.store.before.Store(&change)
	if _, err := s.say(0, owner+1, "once"); im.CodeOf(err) != idl.CodePermissionDenied {
		t.Fatalf("muted in between: %v", err)
	}
	mute(s, 0)
	if _, err := s.say(0, owner+1, "once"); err != nil {
		t.Errorf("sent again: %v", err)
	}
}

func eventBody(t *testing.T) []byte {
	t.Helper()
	body, err := (&chatpb.Content{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Event: "group.updated", Data: "{}"}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
