package plugins_test

import (
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// saved is what a timeline store held.
type saved []timeline.Item

// save copies all that the site's store holds.
func (s *site) save() (all saved) {
	s.t.Helper()
	from, can := s.store.Store.(timeline.Exporter)
	if !can {
		s.t.Skip("the production store is restored by its record; the chat plugin's TestFollowAfterRestore is for it too")
	}
	err := from.Export(s.t.Context(), func(i timeline.Item) error {
		if m, is := i.(timeline.Stored); is {
			m.Body, m.InboxSeqs = slices.Clone(m.Body), slices.Clone(m.InboxSeqs)
			i = m
		}
		all = append(all, i)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// restore ends the cores and starts others on a store that holds what was saved, as an operator does: with another
// epoch, while the directory is as it was left.
func (s *site) restore(all saved, line, people int) {
	s.t.Helper()
	for _, h := range s.cores {
		if err := h.Stop(); err != nil {
			s.t.Fatal(err)
		}
	}
	first := plugintest.New(s.t, plugintest.Options{})
	err := first.Timelines().(timeline.Importer).Import(s.t.Context(), func(add func(timeline.Item) error) error {
		for _, i := range all {
			if state, is := i.(timeline.State); is {
				state.Epoch = ""
				i = state
			}
			if err := add(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.keeps = &counted{Store: first.Timelines()}, first
	s.start(len(s.cores), line, people)
}

func (s *site) leave(u im.UserID) {
	s.t.Helper()
	s.must(s.as(0, u), idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
}

func (s *site) syncs(users ...im.UserID) {
	s.t.Helper()
	for i, u := range users {
		if err := (&device{session: s.as(i%len(s.cores), u)}).sync(0); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) joins(users ...im.UserID) {
	s.t.Helper()
	for _, u := range users {
		if err := s.join(0, u); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) says(texts ...string) {
	s.t.Helper()
	for i, text := range texts {
		if _, err := s.say(i%len(s.cores), owner, text); err != nil {
			s.t.Fatal(err)
		}
	}
}

// everything is what a new device of somebody gets, and what another one of his on another core.
func (s *site) everything(who string, u im.UserID, want ...string) {
	s.t.Helper()
	for i, limit := range []int32{2, 0} {
		s.wantTexts(who, &device{session: s.as(i%len(s.cores), u)}, limit, want...)
	}
}

// TestRestore takes the timeline store of a large group back, twice: whoever may have a message gets it, once and in
// order, whenever he came or went, and however much was written before he asked.
func TestRestore(t *testing.T) {
	const people, line = 12, 3
	const bob, carol, dave, erin, frank, gus, heidi, ivan, judy, kim = owner + 1, owner + 2, owner + 3, owner + 4, owner + 5, owner + 6, owner + 7, owner + 8, owner + 9, owner + 10
	s := newSite(t, 2, line, people)
	s.joins(bob, carol, dave, heidi, ivan, kim)
	s.says("one")
	s.syncs(kim)
	s.leave(carol) // and has not asked
	s.says("two")
	s.syncs(bob)
	before := s.save()

	// What is lost.
	s.says("lost 1", "lost 2", "lost 3")
	s.leave(dave)
	s.syncs(kim)
	s.leave(kim)
	s.syncs(kim) // who has all that he may have, by then
	s.joins(erin)
	s.joins(gus)
	s.says("lost 4")
	s.leave(gus)
	s.joins(frank)
	s.syncs(bob, erin)

	s.restore(before, line, people)
	s.says("new 1", "new 2")
	s.leave(heidi) // and had not asked since
	s.says("new 3")
	s.leave(ivan)
	s.says("new 4")
	s.joins(ivan)
	s.says("new 5", "new 6", "new 7", "new 8", "new 9") // so that the log is longer than it was
	all := []string{"new 1", "new 2", "new 3", "new 4", "new 5", "new 6", "new 7", "new 8", "new 9"}
	s.everything("the owner", owner, append([]string{"one", "two"}, all...)...)
	s.everything("who was in all the time", bob, append([]string{"one", "two"}, all...)...)
	s.everything("who had gone before", carol, "one")
	s.everything("whose going was later than what is there", dave, "one", "two")
	s.everything("who went later, and had all by then", kim, "one", "two")
	s.everything("whose coming was", erin, all...)
	s.everything("whose coming was, and who asked never", frank, all...)
	s.everything("who came and went in what is lost", gus)
	s.everything("who goes since", heidi, "one", "two", "new 1", "new 2")
	s.everything("who went and came since", ivan, "one", "two", "new 1", "new 2", "new 3", "new 5", "new 6", "new 7", "new 8", "new 9")
	if c := s.listed(0, frank); c.Last.GetText() != "new 9" {
		t.Errorf("frank's list: %+v", c)
	}

	// Once more, to a moment of the second life; who has not asked meanwhile has rows of the first.
	s.joins(judy)
	s.says("more 1")
	later := s.save()
	s.says("lost 5", "lost 6")
	s.restore(later, line, people)
	s.says("last 1", "last 2", "last 3")
	end := []string{"more 1", "last 1", "last 2", "last 3"}
	s.everything("who was in all the time", bob, append(append([]string{"one", "two"}, all...), end...)...)
	s.everything("who came late", judy, end...)
	s.everything("who asked never", frank, append(slices.Clone(all), end...)...)
	s.everything("who had gone", heidi, "one", "two", "new 1", "new 2")
	s.everything("who had gone in the first life", kim, "one", "two")
}

// TestRestoreThenDissolve dissolves a group that was taken back, before anybody asked: also who came and went, and came
// again, in what is lost, and so has two parts that begin where the log ends now, stands in nobody's way.
func TestRestoreThenDissolve(t *testing.T) {
	const people, line = 6, 3
	const bob, carol, dave, erin = owner + 1, owner + 2, owner + 4, owner + 3
	s := newSite(t, 2, line, people)
	s.joins(bob, carol, erin)
	s.says("one")
	before := s.save()
	s.joins(dave)
	s.leave(dave)
	s.syncs(dave, dave) // whose part is whole then
	s.joins(dave)
	s.restore(before, line, people)
	s.must(s.as(0, owner), idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: s.group}, nil)
	s.none("SELECT COUNT(*) FROM group_members")
}

// TestRestoreTwice has people ask for the first time after two restores: what a log shares with a life is up to where the
// first of those behind it began.
func TestRestoreTwice(t *testing.T) {
	const people, line = 8, 3
	const bob, carol, dave, erin = owner + 1, owner + 2, owner + 3, owner + 4
	s := newSite(t, 2, line, people)
	s.joins(bob, carol, dave)
	s.says("one")
	first := s.save()
	s.says("lost 1", "lost 2", "lost 3", "lost 4", "lost 5")
	s.leave(dave)
	s.joins(erin)
	s.restore(first, line, people)
	s.says("new 1", "new 2", "new 3")
	second := s.save()
	s.says("lost 6")
	s.restore(second, line, people)
	s.says("last 1", "last 2", "last 3", "last 4", "last 5", "last 6")
	all := []string{"new 1", "new 2", "new 3", "last 1", "last 2", "last 3", "last 4", "last 5", "last 6"}
	s.everything("a member", bob, append([]string{"one"}, all...)...)
	s.everything("who came in what is lost", erin, all...)
	s.everything("who went in what is lost", dave, "one")
}

// reads are the texts that history gives somebody, the oldest first, in both directions alike.
func (s *site) reads(u im.UserID) (texts []string) {
	s.t.Helper()
	var back []string
	for before := int64(0); ; {
		var rep chatpb.HistoryReply
		s.must(s.as(0, u), idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(s.conversation()), BeforeSeq: before, Limit: 3}, &rep)
		for _, m := range rep.Messages {
			if before = m.Seq; m.Text != "" {
				texts = append([]string{m.Text}, texts...)
			}
		}
		if !rep.HasMore {
			break
		}
	}
	for after := int64(1); ; {
		var rep chatpb.HistoryReply
		s.must(s.as(len(s.cores)-1, u), idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(s.conversation()), AfterSeq: after, Limit: 4}, &rep)
		for _, m := range rep.Messages {
			if after = m.Seq; m.Text != "" {
				back = append(back, m.Text)
			}
		}
		if !rep.HasMore {
			break
		}
	}
	if !slices.Equal(back, texts) {
		s.t.Errorf("forward %q, backward %q", back, texts)
	}
	return texts
}

// TestRestoreHistory takes the store of a group back that gives no, or little, history to who comes in: whose place is behind what is
// left reads all that is written from then on, and never what was written before he came, also if another restore brings that back.
func TestRestoreHistory(t *testing.T) {
	const people = 8
	const bob, carol, erin, frank = owner + 1, owner + 2, owner + 3, owner + 4
	for name, line := range map[string]int{"small": 100, "large": 2} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 2, line, people)
			later := func() {
				for _, h := range append(slices.Clone(s.cores), s.keeps) {
					h.Advance(time.Hour)
				}
			}
			wants := func(who string, u im.UserID, want ...string) {
				t.Helper()
				if got := s.reads(u); !slices.Equal(got, want) {
					t.Errorf("%s reads %q, want %q", who, got, want)
				}
			}
			s.joins(bob)
			gives := func(h grouppb.GroupHistory, last int32) {
				t.Helper()
				s.must(s.as(0, owner), idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"history", "history_last"}, History: h, HistoryLast: last}, nil)
			}
			gives(grouppb.GroupHistory_GROUP_HISTORY_NONE, 0)
			s.says("one")
			s.joins(carol)
			s.says("two", "three")
			s.posted()
			before := s.save()
			s.says("lost 1", "lost 2", "lost 3", "lost 4")
			s.joins(erin)
			s.posted()
			gives(grouppb.GroupHistory_GROUP_HISTORY_LAST, 1) // the newest is the event of this
			s.posted()
			s.joins(frank)
			s.posted()
			s.says("lost 5")
			wants("who came late", erin, "lost 5")
			full := s.save()

			s.restore(before, line, people)
			later()
			// The owner changes something first, which is written to the log before any message.
			gives(grouppb.GroupHistory_GROUP_HISTORY_NONE, 0)
			s.posted()
			s.says("new 1", "new 2")
			wants("who was in", bob, "one", "two", "three", "new 1", "new 2")
			wants("who came before the copy", carol, "two", "three", "new 1", "new 2")
			wants("whose coming is lost", erin, "new 1", "new 2")
			wants("whose coming with some history is lost", frank, "new 1", "new 2")

			middle := s.save()
			s.says("lost 6", "lost 7")
			s.restore(middle, line, people)
			later()
			s.says("last 1")
			wants("whose coming is lost, twice restored", erin, "new 1", "new 2", "last 1")

			// The copy was the wrong one.
			s.restore(full, line, people)
			later()
			s.says("last 2")
			wants("who is back where he came", erin, "lost 5", "last 2")
			if line < people { // who follows the log has no more of it in his inbox
				s.everything("who is back where he came", erin, "lost 5", "last 2")
			}
			wants("who is back where he came, with some history", frank, "lost 5", "last 2")
			wants("who was in", bob, "one", "two", "three", "lost 1", "lost 2", "lost 3", "lost 4", "lost 5", "last 2")
		})
	}
}
