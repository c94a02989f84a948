package people_test

import (
	"errors"
	"fmt"
	"testing"

	"freeim/bench/people"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// BenchmarkChat is 1:1 messages of 1,000 sessions, durable, from a session's call to the push to the other one: as many as go
// with one or four of each under way, and 25,000 a second.
func BenchmarkChat(b *testing.B) {
	const sessions = 1000
	s := startSink(b, sessions)
	toPeer := func(from int) *chatpb.SendRequest { return &chatpb.SendRequest{ToUserId: people.UserID(from ^ 1)} }
	for _, together := range []int{1, 4} {
		b.Run(fmt.Sprintf("window-%d", together), func(b *testing.B) {
			b.ReportAllocs()
			t := s.begin(b, b.N, s.sessions, toPeer)
			t.measure(func() { t.closed(sessions, together) })
		})
	}
	b.Run("25000-a-second", func(b *testing.B) {
		b.ReportAllocs()
		const rate = 25_000
		s.begin(b, rate, s.sessions, toPeer).closed(sessions, 1) // first everything is new: people are looked up, heads are read
		b.ResetTimer()
		t := s.begin(b, b.N, s.sessions, toPeer)
		t.measure(func() { t.paced(sessions, rate) })
	})
}

// BenchmarkGroup is messages of 64 sessions in a group of 500 whose members are all connected, beside the same to one person.
func BenchmarkGroup(b *testing.B) {
	const members, senders = 500, 64
	s := startSink(b, members)
	made := new(grouppb.CreateGroupReply)
	if err := s.sessions[0].call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "bench", Name: "bench", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, made); err != nil {
		b.Fatal(err)
	}
	s.each(b, members, func(c *caller) error {
		if c.index == 0 {
			return nil
		}
		return c.call(idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: made.Group.GroupId}, new(grouppb.JoinGroupReply))
	})
	b.Run("chat", func(b *testing.B) {
		t := s.begin(b, b.N, s.sessions, func(from int) *chatpb.SendRequest { return &chatpb.SendRequest{ToUserId: people.UserID(from ^ 1)} })
		t.measure(func() { t.closed(senders, 1) })
	})
	b.Run("group of 500", func(b *testing.B) {
		t := s.begin(b, b.N, s.sessions[members-1:], func(int) *chatpb.SendRequest { return &chatpb.SendRequest{ConversationId: made.Group.ConversationId} })
		t.measure(func() { t.closed(senders, 1) })
	})
}

// away has the first session miss so many messages, of as many people as there are.
func away(b *testing.B, people, messages int) *sink {
	b.Helper()
	s := startSink(b, people)
	s.miss(b, messages)
	return s
}

// miss has others write to the first session's person, who has another device than that.
func (s *sink) miss(b *testing.B, messages int) {
	b.Helper()
	others := len(s.sessions) - 1
	s.each(b, len(s.sessions), func(c *caller) error {
		if c.index == 0 {
			return nil
		}
		for n := c.index; n <= messages; n += others {
			req := &chatpb.SendRequest{ToUserId: people.UserID(0), ClientId: fmt.Sprint("m", n), Text: "a text as people write them, of some forty characters"}
			if err := c.call(idl.ActionMessage, req, new(chatpb.SendReply)); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkSync is a device that was away for 10,000 messages and asks for them, page after page.
func BenchmarkSync(b *testing.B) {
	const missed = 10_000
	s := away(b, 101, missed)
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		for req := (&chatpb.SyncRequest{Limit: 500}); ; {
			rep := new(chatpb.SyncReply)
			if err := s.sessions[0].call(idl.ActionSync, req, rep); err != nil {
				b.Fatal(err)
			}
			got += len(rep.Entries)
			if !rep.HasMore {
				break
			}
			req.AfterSeq = rep.Entries[len(rep.Entries)-1].InboxSeq
		}
		if got != missed {
			b.Fatal(errors.New("not all came"), got)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/sync")
}

// BenchmarkConversations is a person with 1,000 conversations who lists them: the first 100, and all of them, in ten pages.
func BenchmarkConversations(b *testing.B) {
	const conversations = 1000
	s := away(b, conversations+1, conversations)
	for _, pages := range []int{1, 10} {
		b.Run(fmt.Sprintf("pages-%d", pages), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := &chatpb.ListConversationsRequest{Limit: 100}
				for range pages {
					rep := new(chatpb.ListConversationsReply)
					if err := s.sessions[0].call(idl.ActionListConversations, req, rep); err != nil || len(rep.Conversations) != 100 {
						b.Fatal(len(rep.Conversations), err)
					}
					req.Cursor = rep.Cursor
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/list")
		})
	}
}
