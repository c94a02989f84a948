package room_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/room"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// within runs a test with a clock of its own, on a site that is closed in the end.
func within(t *testing.T, test func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		test(t, s)
		s.Close()
	})
}

func TestMembersGetWhatIsAboveTheirHead(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		for seq := int64(1); seq <= 5; seq++ { // the edge is subscribed before the first join is answered
			s.Broadcast(message(seq, false))
		}
		a := s.join(1, 1, pbForm, 3, room.Policy{})
		s.Broadcast(message(6, false))
		b := s.join(2, 2, jsonForm, 4, room.Policy{}) // an older head than the room's
		s.Broadcast(message(7, true))
		s.Broadcast(message(7, true)) // doubled
		synctest.Wait()
		a.wants(t, 3, 7)
		b.wants(t, 4, 7)
		if s.Stats().Doubled != 1 {
			t.Errorf("doubled: got %d, want 1", s.Stats().Doubled)
		}
		a.leave()
		a.leave()
		s.Broadcast(message(8, false))
		synctest.Wait()
		a.wants(t, 3, 7)
		b.wants(t, 4, 8)
	})
}

func TestBroadcastsAreOrdered(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 1, pbForm, 0, room.Policy{})
		for _, seq := range []int64{2, 5, 1, 3, 4, 6} {
			s.Broadcast(message(seq, false))
			synctest.Wait()
		}
		a.wants(t, 0, 6)
	})
}

func TestAGapIsAskedForAndDeclaredLost(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 1, pbForm, 0, room.Policy{})
		s.takeReports()
		s.Broadcast(message(1, false))
		s.Broadcast(message(4, false))
		time.Sleep(300 * time.Millisecond)
		want := room.State{Room: hall, Members: 1, After: 1, Want: true}
		if got := s.takeReports(); len(got) != 1 || got[0].After != want.After || !got[0].Want {
			t.Fatalf("reports: got %+v, want %+v", got, want)
		}
		s.Broadcast(message(2, false)) // 3 is not to be had
		s.Answer(room.Answer{Room: hall, After: 1, Through: 4})
		synctest.Wait()
		a.wants(t, 0, 4)
		if got := a.declared(3); got != roompb.RoomSkipReason_ROOM_SKIP_LOST {
			t.Errorf("3 was declared %v", got)
		}
		b := s.join(2, 2, pbForm, 1, room.Policy{}) // it is told of what is lost as well
		synctest.Wait()
		b.wants(t, 1, 4)
	})
}

func TestAGapThatNobodyAnswersIsLost(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 1, pbForm, 0, room.Policy{})
		s.Broadcast(message(3, false))
		time.Sleep(10 * time.Second)
		a.wants(t, 0, 3)
		if got := s.Stats().Asked; got != 5 {
			t.Errorf("asked %d times, want 5", got)
		}
	})
}

func TestTooManyHeldLoseTheGap(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 1, pbForm, 0, room.Policy{})
		for seq := int64(2); seq <= 1026; seq++ {
			s.Broadcast(message(seq, false))
		}
		synctest.Wait()
		a.wants(t, 0, 1026)
	})
}

func TestALogThatBeginsAnew(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 1, pbForm, 90, room.Policy{})
		s.Answer(room.Answer{Room: hall, After: 90, Through: 5})
		s.Broadcast(message(6, false))
		synctest.Wait()
		if pushed, _ := a.count(); pushed != 1 {
			t.Errorf("pushed %d messages of the new log, want 1", pushed)
		}
	})
}

func TestASampledRoom(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		p := room.Policy{Overload: roompb.RoomOverload_ROOM_OVERLOAD_SAMPLE, LowPerSecond: 20}
		a, b := s.join(1, 1, pbForm, 0, p), s.join(2, 2, jsonForm, 0, p)
		const seconds, each = 10, 200
		for seq := int64(1); seq <= seconds*each; seq++ {
			s.Broadcast(message(seq, seq%100 == 0))
			time.Sleep(time.Second / each)
		}
		time.Sleep(time.Second)
		for _, l := range []*line{a, b} {
			l.wants(t, 0, seconds*each)
			pushed, writes := l.count()
			important := seconds * each / 100
			if low := pushed - important; low < 20*seconds || low > 20*(seconds+2) {
				t.Errorf("pushed %d of the low lane in %d s, want about 20 a second", low, seconds)
			}
			if writes > 4*(seconds+1)+important+20 {
				t.Errorf("%d writes, want about four a second", writes)
			}
			for seq := int64(100); seq <= seconds*each; seq += 100 {
				if !slices.Contains(l.pushed, seq) {
					t.Errorf("important %d was not pushed", seq)
				}
			}
		}
		if !slices.Equal(a.pushed, b.pushed) {
			t.Error("two members of one room were given different samples")
		}
	})
}

func TestABatchedRoom(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		p := room.Policy{Overload: roompb.RoomOverload_ROOM_OVERLOAD_BATCH, LowPerSecond: 20}
		a := s.join(1, 1, pbForm, 0, p)
		for seq := int64(1); seq <= 1000; seq++ {
			s.Broadcast(message(seq, false))
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		a.wants(t, 0, 1000)
		if pushed, writes := a.count(); pushed != 1000 || writes > 60 {
			t.Errorf("pushed %d messages in %d writes, want 1000 in about 45", pushed, writes)
		}
	})
}

// TestAnOldPolicyOverwritesNoNewOne: whichever way it comes by; but when the log has
// begun anew the room may have too.
func TestAnOldPolicyOverwritesNoNewOne(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		listed := func() bool {
			any := false
			s.States(false, func(state room.State) bool { any = state.Users != nil; return true })
			return any
		}
		s.join(1, 1, pbForm, 5, room.Policy{Version: 2})
		s.Policy(hall, room.Policy{List: 9, Version: 3})
		if !listed() {
			t.Fatal("a newer policy was not taken")
		}
		s.join(2, 2, pbForm, 5, room.Policy{Version: 2})
		s.Answer(room.Answer{Room: hall, After: 5, Through: 5, Policy: &room.Policy{Version: 2}})
		s.Policy(hall, room.Policy{Version: 1})
		if !listed() {
			t.Error("an older policy was taken")
		}
		s.Policy(hall, room.Policy{Version: 3}) // the rules say something else
		if listed() {
			t.Error("what the rules say now was not taken")
		}
		s.Policy(hall, room.Policy{List: 9}) // of a core that knows no versions
		if !listed() {
			t.Error("a policy without a version was not taken")
		}
		s.Policy(hall, room.Policy{Version: 4})
		s.Answer(room.Answer{Room: hall, After: 5, Through: 1, Policy: &room.Policy{List: 9, Version: 1}})
		if !listed() {
			t.Error("the log has begun anew, and the old policy holds")
		}
		s.Policy(hall, room.Policy{Version: 9})
		s.Unlinked() // the directory is restored meanwhile
		s.Policy(hall, room.Policy{List: 9, Version: 2})
		if !listed() {
			t.Error("a policy of a directory that was restored was not taken")
		}
		s.Policy(hall, room.Policy{Version: 1})
		if !listed() {
			t.Error("an older policy was taken after the restore")
		}
	})
}

func TestASlowMemberSkipsAndGoesOn(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a, b := s.join(1, 1, pbForm, 0, room.Policy{}), s.join(2, 2, pbForm, 0, room.Policy{})
		s.Broadcast(message(1, false))
		synctest.Wait()
		a.fill()
		for seq := int64(2); seq <= 9; seq++ {
			s.Broadcast(message(seq, seq == 5))
			synctest.Wait()
		}
		b.wants(t, 0, 9)
		a.drain()
		synctest.Wait()
		a.wants(t, 0, 9)
		if got := a.declared(7); got != roompb.RoomSkipReason_ROOM_SKIP_SLOW {
			t.Errorf("7 was declared %v", got)
		}
		s.Broadcast(message(10, false))
		synctest.Wait()
		a.wants(t, 0, 10)
		if pushed, _ := a.count(); pushed != 2 {
			t.Errorf("pushed %d, want 1 and 10", pushed)
		}
	})
}

func TestAMemberFullForAMinuteIsTakenOut(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a, b := s.join(1, 1, pbForm, 0, room.Policy{}), s.join(2, 2, pbForm, 0, room.Policy{})
		c := s.join(3, 3, jsonForm, 0, room.Policy{})
		a.fill()
		c.fill()
		c.stuffed = true
		for seq := int64(1); seq <= 60; seq++ {
			s.Broadcast(message(seq, false))
			time.Sleep(time.Second)
		}
		b.wants(t, 0, 60)
		if pushed, writes := b.count(); pushed != 60 || writes != 60 {
			t.Errorf("the other member got %d messages in %d writes, want 60 in 60", pushed, writes)
		}
		if !slices.Equal(a.outs, []roompb.RoomLeftReason{roompb.RoomLeftReason_ROOM_LEFT_SLOW}) || a.member.In() {
			t.Errorf("the slow member was told %v", a.outs)
		}
		if s.slow[3] != 1 || s.slow[1] != 0 {
			t.Errorf("closed: got %v, want session 3 once", s.slow)
		}
		a.drain() // Writable of a member that is out does nothing
		synctest.Wait()
		a.wants(t, 0, 0)
		if got := s.Stats(); got.Members != 1 || got.Evicted != 2 {
			t.Errorf("stats: got %+v, want 1 member and 2 evicted", got)
		}
	})
}

func TestAsidesAreDroppedAndNeverDeclared(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		p := room.Policy{LowPerSecond: 1}
		a := s.join(1, 1, pbForm, 0, p)
		s.Broadcast(message(1, false)) // the second's token
		synctest.Wait()
		s.Broadcast(message(2, false))
		for range 100 {
			s.Broadcast(room.Broadcast{Room: hall, Action: idl.ActionRoomInfo})
		}
		time.Sleep(2 * time.Second)
		a.wants(t, 0, 2)
		if a.asides < 60 || a.asides > 64 {
			t.Errorf("got %d, want the newest 64 at most", a.asides)
		}
	})
}

func TestARoomThatEmptiesIsForgotten(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		a := s.join(1, 7, pbForm, 0, room.Policy{List: 10})
		b := s.join(2, 5, pbForm, 0, room.Policy{List: 10})
		c := s.join(3, 7, jsonForm, 0, room.Policy{List: 10})
		time.Sleep(2 * time.Second)
		reports := s.takeReports()
		if len(reports) != 2 || !reports[0].Want || reports[1].Members != 3 || !slices.Equal(reports[1].Users, []int64{5, 7}) {
			t.Errorf("reports: got %+v", reports)
		}
		s.Broadcast(message(1, false))
		synctest.Wait()
		for _, l := range []*line{a, b, c} {
			l.leave()
		}
		s.Broadcast(message(2, false))
		time.Sleep(20 * time.Second)
		reports = s.takeReports()
		if len(reports) != 1 || reports[0].Members != 0 || reports[0].After != 2 {
			t.Errorf("reports: got %+v, want one without members", reports)
		}
		if got := s.Stats(); got.Rooms != 0 || got.Members != 0 {
			t.Errorf("stats: got %+v, want no room", got)
		}
		d := s.join(4, 1, pbForm, 2, room.Policy{}) // it may begin again
		s.Broadcast(message(3, false))
		synctest.Wait()
		d.wants(t, 2, 3)
	})
}

func TestExpel(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		out := &roompb.RoomLeft{Room: "hall", Reason: roompb.RoomLeftReason_ROOM_LEFT_REMOVED}
		e := room.Expel{Room: hall, Users: []int64{7}, Seq: 4, Action: idl.ActionLeaveRoom, JSON: body(idl.CodecJSON, out)}
		a, b := s.join(1, 7, pbForm, 0, room.Policy{}), s.join(2, 5, jsonForm, 0, room.Policy{})
		c := s.join(3, 7, jsonForm, 4, room.Policy{}) // came in again after it, and before the edge hears of it
		for seq := int64(1); seq <= 4; seq++ {
			s.Broadcast(message(seq, true))
		}
		synctest.Wait()
		s.Expel(e)
		d := s.join(4, 7, pbForm, 3, room.Policy{}) // its join was under way
		s.Broadcast(message(5, true))
		synctest.Wait()
		for _, l := range []*line{a, d} {
			if len(l.outs) != 1 || l.member != nil && l.member.In() {
				t.Errorf("session %d was told %v", l.session, l.outs)
			}
		}
		a.wants(t, 0, 4)
		b.wants(t, 0, 5)
		c.wants(t, 4, 5)
		d.wants(t, 3, 3)
		s.Expel(room.Expel{Room: hall, Action: idl.ActionLeaveRoom, JSON: body(idl.CodecJSON, out)}) // everybody
		synctest.Wait()
		if got := s.Stats().Members; got != 0 || len(b.outs) != 1 || len(c.outs) != 1 {
			t.Errorf("%d members after all were taken out", got)
		}
		s.Expel(room.Expel{Room: "r_none"})
		s.Answer(room.Answer{Room: "r_none"})
		s.Policy("r_none", room.Policy{})
		time.Sleep(40 * time.Second)
		if got := s.Stats().Rooms; got != 0 {
			t.Errorf("%d rooms are left", got)
		}
	})
}

// gate lets a pass go on when the test says so.
type gate struct {
	*line
	at, on chan struct{}
	once   sync.Once
}

func (g *gate) Broadcast(p []byte, w room.Waiter) bool {
	g.once.Do(func() {
		close(g.at)
		<-g.on
	})
	return g.line.Broadcast(p, w)
}

func TestThousandsLeaveInTheMiddleOfAPass(t *testing.T) {
	within(t, func(t *testing.T, s *site) {
		const all, leave = 10000, 5000
		g := &gate{line: s.join(0, 0, pbForm, 0, room.Policy{}), at: make(chan struct{}), on: make(chan struct{})}
		g.leave()
		g.gone = false
		var lines []*line
		for i := range all {
			if i == all/2 { // the pass stands still in the middle
				s.Enter(room.Enter{Room: hall}, room.Who{Session: 0, Out: g, Form: pbForm}, func() bool { return true })
			}
			lines = append(lines, s.join(uint64(i+1), int64(i+1), pbForm, 0, room.Policy{}))
		}
		s.Broadcast(message(1, false))
		<-g.at
		for i := range leave { // every second one
			lines[2*i].leave()
		}
		late := s.join(all+1, 1, pbForm, 0, room.Policy{})
		close(g.on)
		synctest.Wait()
		s.Broadcast(message(2, false))
		synctest.Wait()
		for i, l := range lines {
			if i%2 == 1 {
				l.wants(t, 0, 2)
			} else if pushed, _ := l.count(); pushed > 1 || len(l.mistakes) > 0 {
				t.Fatalf("session %d got %d messages: %v", l.session, pushed, l.mistakes)
			}
		}
		late.wants(t, 0, 2)
		if got := s.Stats().Members; got != all-leave+2 {
			t.Errorf("members: got %d, want %d", got, all-leave+2)
		}
	})
}
