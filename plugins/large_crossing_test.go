package plugins_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// TestCrossing has a group become large and then small again by the default line, twice, while people write, come, go and sync on
// two cores, which in production have a store each: who was in all the time has the whole log, each message once, in order, on both
// devices; who came and went has what was written meanwhile. Between any two changes something was written.
func TestCrossing(t *testing.T) {
	line := group.New().Config().(*group.Config).WriteDiffusion
	const comers, writers, rounds = 16, 4, 2
	s := newSiteApart(t, 2, line, line+comers)
	s.fill(1, line-comers/2)
	devices := make([][2]*device, writers)
	for i := range devices {
		devices[i] = s.both(i)
	}
	began := s.head()
	stays := make([][]stay, comers)
	var all sync.WaitGroup
	var written atomic.Int64
	over := make(chan struct{})
	for i := range writers {
		all.Go(func() {
			for n := 0; !closed(over); n++ {
				if _, err := s.say(n%2, owner+im.UserID(i), fmt.Sprint("text ", i, " ", n)); err != nil {
					t.Errorf("person %d sends: %v", i, err)
					return
				}
				written.Add(1)
				if err := devices[i][n%2].sync(int32(3 + n%50)); err != nil {
					t.Errorf("person %d syncs: %v", i, err)
					return
				}
			}
		})
	}
	underWay := func() { // waits until something is written
		for was, deadline := written.Load(), time.Now().Add(time.Minute); written.Load() == was && time.Now().Before(deadline); {
			<-time.After(time.Millisecond)
		}
	}
	all.Go(func() { // over the line, and back
		defer close(over)
		for range rounds {
			for n := range comers {
				underWay()
				in := window{from: s.head()}
				if err := s.join(n%2, owner+im.UserID(line+n)); err != nil {
					t.Errorf("%d comes: %v", n, err)
				}
				in.to = s.head()
				stays[n] = append(stays[n], stay{in: in})
			}
			for n := range comers {
				underWay()
				out := window{from: s.head()}
				err := s.as(n%2, owner+im.UserID(line+n)).Call(idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
				if err != nil {
					t.Errorf("%d goes: %v", n, err)
				}
				out.to = s.head()
				stays[n][len(stays[n])-1].out = out
			}
		}
	})
	all.Wait()
	if t.Failed() {
		return
	}
	var large, members int
	row := s.cores[0].DB().QueryRow("SELECT (SELECT COUNT(*) FROM group_logs), (SELECT members FROM group_groups)")
	if err := row.Scan(&large, &members); err != nil || large != 1 || members >= line {
		t.Fatalf("%d groups are large, %d members are left, %v", large, members, err)
	}
	s.says("and when it is small again")
	s.posted()
	log := s.log()
	for i := range writers {
		s.check(i, devices[i], []stay{{in: window{to: began}, out: window{1 << 40, 1 << 40}}}, log)
	}
	for n := range stays {
		s.check(line+n, s.both(line+n), stays[n], log)
	}
	texts := 0
	for _, m := range log {
		var content chatpb.Content
		if err := content.Unmarshal(m.Body); err != nil {
			t.Fatal(err)
		}
		if content.Event == "" {
			texts++
		}
	}
	if changes := rounds * 2 * comers; texts < changes || len(log) < texts+changes {
		t.Errorf("the log has %d messages, %d of them texts; there were %d changes with a text before each", len(log), texts, changes)
	}
}

// both are two devices of a person's, on a core each.
func (s *site) both(person int) (all [2]*device) {
	for j := range all {
		all[j] = &device{session: s.cores[j].As(owner+im.UserID(person), im.DeviceID(fmt.Sprint("device", j)), idl.CodecProtobuf)}
	}
	return all
}

// head is where the group's log ends.
func (s *site) head() int64 {
	end, err := s.store.Log(s.t.Context(), s.conversation(), 0, 0)
	if err != nil {
		s.t.Error(err)
	}
	return end.Head
}

// log is the group's, whole.
func (s *site) log() (all []im.Message) {
	s.t.Helper()
	for more := true; more; {
		page, err := s.store.Log(s.t.Context(), s.conversation(), int64(len(all)), 1000)
		if err != nil {
			s.t.Fatal(err)
		}
		all, more = append(all, page.Items...), page.HasMore
	}
	return all
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
