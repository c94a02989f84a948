package room_test

import (
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/room"
)

// sluggish is a socket whose write takes its time.
type sluggish struct{ *line }

func (s sluggish) Broadcast(p []byte, w room.Waiter) bool {
	time.Sleep(100 * time.Microsecond)
	return s.line.Broadcast(p, w)
}

// TestABusyRoomJoinsWhatItBringsAbout: of a window of messages under way, each sent
// again some time after it was delivered, nearly all leave together; a message that
// comes alone is not held up.
func TestABusyRoomJoinsWhatItBringsAbout(t *testing.T) {
	for _, window := range []int{1, 4, 32} {
		within(t, func(t *testing.T, s *site) {
			const members, messages = 100, 640 // a pass takes 10 ms
			var last *line
			for i := range members {
				last = s.join(uint64(i+1), 1, pbForm, 0, room.Policy{}) // for its checks
				last.member.Leave()
				s.Enter(room.Enter{Room: hall}, room.Who{Session: uint64(i + 1), Out: sluggish{last}, Form: pbForm}, func() bool { return true })
			}
			began := time.Now()
			for seq := int64(1); seq <= messages; {
				pushed, _ := last.count()
				if int(seq)-pushed > window {
					time.Sleep(time.Millisecond)
					continue
				}
				s.Broadcast(message(seq, false))
				seq++
			}
			took := time.Since(began)
			time.Sleep(time.Second)
			synctest.Wait()
			last.wants(t, 0, messages)
			_, writes := last.count()
			if most := messages / window * 5 / 4; writes > most {
				t.Errorf("window %d: %d writes for %d messages, want at most %d", window, writes, messages, most)
			}
			t.Logf("window %d: %d writes, %v", window, writes, took)
			if most := messages * 12 * time.Millisecond; window == 1 && took > most {
				t.Errorf("messages one at a time took %v, want %v at most", took, most)
			}
			s.Broadcast(message(messages+1, false)) // alone: at once
			time.Sleep(11 * time.Millisecond)
			last.wants(t, 0, messages+1)
		})
	}
}
