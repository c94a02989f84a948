package plugins_test

import (
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
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
	s.store = &counted{Store: first.Timelines()}
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
	s.emptied()
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
