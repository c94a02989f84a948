package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const wakesPerTick = 100

// manyFollowers are sessions that follow logs, with nobody who asks them.
func manyFollowers(sessions, logs int) (*followers, []*follower) {
	f, all := new(followers), make([]*follower, sessions)
	f.init(nil, 20*wakesPerTick)
	for i := range all {
		follows := make([]Followed, logs)
		for j := range follows {
			follows[j] = Followed{Log: fmt.Sprint("g_", j), Seq: 1}
		}
		s := &Session{id: ID(i + 1), state: live}
		f.follow(s, "e", follows)
		all[i] = f.bySession[s.id]
	}
	return f, all
}

// TestFollowersInTurn: one tick looks at a part of those who follow, and yet everybody has his turn, also while the
// log grows without a pause and others come and go.
func TestFollowersInTurn(t *testing.T) {
	const many = 3 * looksPerTick
	f, all := manyFollowers(many, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	asked, gone := map[ID]int{}, map[ID]bool{}
	now := time.Now()
	for tick := range int64(2 * many / wakesPerTick) {
		f.wake(Wake{Log: "g_0", Seq: tick + 2, Epoch: "e"})
		some, more := f.some(now, wakesPerTick)
		if len(some) > wakesPerTick || !more {
			t.Fatalf("tick %d: %d are asked, more is %t", tick, len(some), more)
		}
		for _, s := range some {
			asked[s.id]++
		}
		id := ID(rng.IntN(many) + 1)
		if gone[id] = true; asked[id] == 0 {
			asked[id] = 1
		}
		f.remove(id)
		now = now.Add(wakeTick)
	}
	for _, one := range all {
		if asked[one.session.id] == 0 {
			t.Fatalf("session %d was never asked; %d of %d were", one.session.id, len(asked), many)
		}
	}
}

// TestFollowersOfManyLogs: whoever follows a quiet log is asked, however many follow one that grows without a pause, and
// whether the quiet one lost a member while it waited.
func TestFollowersOfManyLogs(t *testing.T) {
	f, now := new(followers), time.Now()
	f.init(nil, 20*wakesPerTick)
	one := func(id ID, log string, seq int64) {
		f.follow(&Session{id: id, state: live}, "e", []Followed{{Log: log, Seq: seq}})
	}
	const many = 6 * looksPerTick
	for i := range ID(many) {
		one(i+1, "g_0", 1<<40) // who have all of it: only to look at them takes its time
	}
	one(many+1, "g_1", 1)
	one(many+2, "g_1", 1)
	one(many+3, "g_2", 1)
	asked := map[ID]bool{}
	for tick := range int64(20) {
		f.wake(Wake{Log: "g_0", Seq: tick + 2, Epoch: "e"})
		switch tick {
		case 0:
			f.wake(Wake{Log: "g_1", Seq: 2, Epoch: "e"})
			f.wake(Wake{Log: "g_2", Seq: 2, Epoch: "e"})
		case 1: // its last member goes while it waits, and another comes
			f.wake(Wake{Log: "g_2", Seq: 3, Epoch: "e"})
			f.remove(many + 3)
			one(many+4, "g_2", 3)
			f.wake(Wake{Log: "g_2", Seq: 4, Epoch: "e"})
			if n := len(f.grown); n > 3 {
				t.Errorf("%d logs have grown, of three", n)
			}
		}
		some, _ := f.some(now, wakesPerTick)
		for _, s := range some {
			asked[s.id] = true
		}
		now = now.Add(wakeTick)
	}
	for _, id := range []ID{many + 1, many + 2, many + 4} {
		if !asked[id] {
			t.Errorf("session %d was never asked", id-many)
		}
	}
}

// TestFollowersForget: what was heard of logs that nobody follows goes, and what is followed stays.
func TestFollowersForget(t *testing.T) {
	f, _ := manyFollowers(3, 4)
	const heard = 1000
	now := time.Now()
	for i := range heard {
		f.wake(Wake{Log: fmt.Sprint("c_", i), Seq: 1, Epoch: "e"})
	}
	if n := len(f.byLog); n != heard+4 {
		t.Fatalf("%d logs are known", n)
	}
	f.mu.Lock()
	for range len(f.names) {
		f.forget(now.Add(2 * heardFor))
	}
	f.mu.Unlock()
	if len(f.byLog) != 4 || len(f.names) != 4 {
		t.Errorf("%d logs are known, %d are looked at", len(f.byLog), len(f.names))
	}
	for i := range ID(3) {
		f.remove(i + 1)
	}
	for i := range 10 {
		f.follow(&Session{id: 9, state: live}, "e", []Followed{{Log: fmt.Sprint("d_", i), Seq: 1}})
	}
	if n := len(f.byLog); n > 4 {
		t.Errorf("%d logs are known, one is followed", n)
	}
}

// TestFollowersModel compares whom followers ask with a simple model, at random.
func TestFollowersModel(t *testing.T) {
	const sessions, logs, steps = 12, 4, 4000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f, now := new(followers), time.Now()
	f.init(nil, 20*wakesPerTick)
	all, follows, heard := make([]*Session, sessions), make([]map[string]int64, sessions), map[string]int64{}
	for i := range all {
		all[i] = &Session{id: ID(i + 1), state: live}
	}
	for range steps {
		i, log, seq := rng.IntN(sessions), fmt.Sprint("g_", rng.IntN(logs)), int64(rng.IntN(50))
		what := rng.IntN(4)
		switch what {
		case 0:
			f.wake(Wake{Log: log, Seq: seq, Epoch: "e"})
			heard[log] = max(heard[log], seq)
		case 1:
			var list []Followed
			follows[i] = map[string]int64{}
			for j := range rng.IntN(logs + 1) {
				name := fmt.Sprint("g_", j)
				follows[i][name] = seq
				list = append(list, Followed{Log: name, Seq: seq})
			}
			f.follow(all[i], "e", list)
		case 2:
			f.remove(all[i].id)
			follows[i] = nil
		}
		now = now.Add(wakeGap)
		got := map[ID]bool{}
		some, more := f.some(now, wakesPerTick)
		for _, s := range some {
			got[s.id] = true
		}
		for j, s := range all {
			behind := false
			for name, has := range follows[j] {
				behind = behind || heard[name] > has
			}
			has, follower := follows[j][log]
			owed := what == 0 && follower && heard[log] > has || what == 1 && i == j && behind
			if got[s.id] && !behind || owed && !got[s.id] {
				t.Fatalf("session %d: asked %t, behind %t, owed %t", s.id, got[s.id], behind, owed)
			}
		}
		if more {
			t.Fatal("so few are looked at at once, and more are due")
		}
	}
}

// BenchmarkFollowers is what an edge's lock is held for, with 20,000 sessions that follow a log: a word of its growth,
// and a tick while all are due.
func BenchmarkFollowers(b *testing.B) {
	for _, logs := range []int{1, 20} {
		b.Run(fmt.Sprintf("wake/%d", logs), func(b *testing.B) {
			f, _ := manyFollowers(20_000, logs)
			for n := int64(2); b.Loop(); n++ {
				f.wake(Wake{Log: "g_0", Seq: n, Epoch: "e"})
			}
		})
		b.Run(fmt.Sprintf("tick/%d", logs), func(b *testing.B) {
			f, _ := manyFollowers(20_000, logs)
			now := time.Now()
			for n := int64(2); b.Loop(); n++ {
				f.wake(Wake{Log: "g_0", Seq: n, Epoch: "e"})
				f.some(now, wakesPerTick)
				now = now.Add(wakeTick)
			}
		})
	}
}
