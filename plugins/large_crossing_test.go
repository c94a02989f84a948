package plugins_test

import (
	"fmt"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// TestCrossing has a group become large and then small again by the default line, while people write, come, go and sync on
// two cores: who was in all the time has the whole log, each message once, in order, on both devices; who came and went has
// what was written meanwhile.
func TestCrossing(t *testing.T) {
	line := group.New().Config().(*group.Config).WriteDiffusion
	const comers, writers, each = 16, 4, 25
	s := newSite(t, 2, line, line+comers)
	s.fill(1, line-comers/2)
	devices := make([][2]*device, writers)
	for i := range devices {
		for j := range devices[i] {
			devices[i][j] = &device{session: s.cores[j].As(owner+im.UserID(i), im.DeviceID(fmt.Sprint("device", j)), idl.CodecProtobuf)}
		}
	}
	began, err := s.store.Log(t.Context(), s.conversation(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	head := func() int64 {
		end, err := s.store.Log(t.Context(), s.conversation(), 0, 0)
		if err != nil {
			t.Error(err)
		}
		return end.Head
	}
	stays := make([]stay, comers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				if _, err := s.say(n%2, owner+im.UserID(i), fmt.Sprint("text ", i, " ", n)); err != nil {
					t.Errorf("person %d sends: %v", i, err)
				}
				if err := devices[i][n%2].sync(int32(3 + n)); err != nil {
					t.Errorf("person %d syncs: %v", i, err)
				}
			}
		})
	}
	all.Go(func() { // over the line, and back
		for n := range comers {
			stays[n].in.from = head()
			if err := s.join(n%2, owner+im.UserID(line+n)); err != nil {
				t.Errorf("%d comes: %v", n, err)
			}
			stays[n].in.to = head()
		}
		for n := range comers {
			stays[n].out.from = head()
			err := s.as(n%2, owner+im.UserID(line+n)).Call(idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
			if err != nil {
				t.Errorf("%d goes: %v", n, err)
			}
			stays[n].out.to = head()
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
	log, err := s.store.Log(t.Context(), s.conversation(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range writers {
		s.check(i, devices[i], []stay{{in: window{to: began.Head}, out: window{1 << 40, 1 << 40}}}, log.Items)
	}
	for n, one := range stays {
		u := owner + im.UserID(line+n)
		var both [2]*device
		for j := range both {
			both[j] = &device{session: s.cores[j].As(u, im.DeviceID(fmt.Sprint("device", j)), idl.CodecProtobuf)}
		}
		s.check(line+n, both, []stay{one}, log.Items)
	}
	if n := len(log.Items); n < writers*each+2*comers {
		t.Errorf("the log has %d messages only", n)
	}
}
