package plugins_test

import (
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// TestScheduledForWhoHasLeft: a message that was scheduled is sent without the names of those who have left the group since.
func TestScheduledForWhoHasLeft(t *testing.T) {
	for name, line := range map[string]int{"small": 500, "large": 2} {
		t.Run(name, func(t *testing.T) {
			const bob, carol, dave = owner + 1, owner + 2, owner + 3
			s := newSite(t, 1, line, 4)
			for _, u := range []im.UserID{bob, carol, dave} {
				if err := s.join(0, u); err != nil {
					t.Fatal(err)
				}
			}
			later := &chatpb.SendRequest{ClientId: "later", ConversationId: string(s.conversation()), Text: "later", Mentions: []int64{int64(carol), int64(dave)}}
			s.must(s.as(0, bob), idl.ActionSchedule, &chatpb.ScheduleRequest{Message: later, AtMs: s.cores[0].Now().Add(time.Hour).UnixMilli()}, new(chatpb.ScheduleReply))
			s.must(s.as(0, carol), idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
			s.cores[0].Advance(time.Hour)
			var sent im.Message
			for deadline := time.Now().Add(time.Minute); sent.Seq == 0; <-time.After(10 * time.Millisecond) {
				log := s.log()
				if at := slices.IndexFunc(log, func(m im.Message) bool { return m.ClientID == "later" }); at >= 0 {
					sent = log[at]
				} else if time.Now().After(deadline) {
					t.Fatal("it is not sent")
				}
			}
			var content chatpb.Content
			if err := content.Unmarshal(sent.Body); err != nil || !slices.Equal(content.Mentions, []int64{int64(dave)}) {
				t.Errorf("it names %v: %v", content.Mentions, err)
			}
		})
	}
}
