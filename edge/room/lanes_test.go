package room_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/room"
	"freeim/idl/kitex_gen/roompb"
)

// TestAGiftOvertakes: chat that the governor holds back holds up nothing important.
func TestAGiftOvertakes(t *testing.T) {
	for _, overload := range []roompb.RoomOverload{roompb.RoomOverload_ROOM_OVERLOAD_BATCH, roompb.RoomOverload_ROOM_OVERLOAD_SAMPLE} {
		t.Run(overload.String(), func(t *testing.T) {
			within(t, func(t *testing.T, s *site) {
				const free, gift = 20, 121 // 100 messages of chat are between
				a := s.join(1, 1, pbForm, 0, room.Policy{Overload: overload, LowPerSecond: free})
				for seq := int64(1); seq < gift; seq++ {
					s.Broadcast(message(seq, false))
					if seq == free {
						synctest.Wait() // the second's tokens are spent
					}
				}
				synctest.Wait()
				if pushed, _ := a.count(); pushed != free {
					t.Fatalf("%d messages of chat were pushed, want %d: the others are queued", pushed, free)
				}
				s.Broadcast(message(gift, true))
				synctest.Wait() // no time passes
				if got := a.order()[free:]; !slices.Equal(got, []int64{gift}) {
					t.Errorf("pushed %v behind what was free, want the gift alone", got)
				}
				time.Sleep(2 * time.Second)
				a.wants(t, 0, gift)
				if pushed, _ := a.count(); pushed == free+1 {
					t.Error("no chat was pushed after the gift")
				}
			})
		})
	}
}

// TestAGiftIsFirstInAPass: of what waits together, whatever the policy.
func TestAGiftIsFirstInAPass(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		g := &gate{line: s.join(0, 0, pbForm, 0, room.Policy{}), at: make(chan struct{}), on: make(chan struct{})}
		g.leave()
		g.gone = false
		s.Enter(room.Enter{Room: hall}, room.Who{Session: 0, Out: g, Form: pbForm}, func() bool { return true })
		s.Broadcast(message(1, false))
		<-g.at // the pass stands still
		for seq := int64(2); seq <= 101; seq++ {
			s.Broadcast(message(seq, false))
		}
		s.Broadcast(message(102, true))
		close(g.on)
		synctest.Wait()
		g.wants(t, 0, 102)
		if got := g.order(); len(got) != 102 || got[1] != 102 || got[2] != 2 {
			t.Errorf("pushed %v, want 102 behind 1", got[:min(len(got), 4)])
		}
	})
}
