package room_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/room"
	"freeim/idl/kitex_gen/roompb"
)

// world is a room's log at the cores, the links it comes by, and one edge: what
// happens is drawn at random, and each client checks for itself what it is given.
type world struct {
	*site
	t      *testing.T
	policy room.Policy

	mu   sync.Mutex // guards the fields below
	rand *rand.Rand
	log  []room.Broadcast // seq 1 is the first
}

func (w *world) chance(of int) bool { return w.draw(of) == 0 }

func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

func (w *world) pause(most time.Duration) time.Duration {
	return time.Duration(w.draw(int(most)))
}

// publish commits messages and sends them by links of very different speed, which
// lose some.
func (w *world) publish(n int, links *sync.WaitGroup) {
	for range n {
		w.mu.Lock()
		b := message(int64(len(w.log)+1), w.rand.IntN(5) == 0)
		w.log = append(w.log, b)
		w.mu.Unlock()
		lost, twice := w.chance(40), w.chance(30)
		for range 1 + map[bool]int{true: 1}[twice] {
			if lost {
				continue
			}
			links.Go(func() {
				if w.chance(3) {
					time.Sleep(w.pause(80 * time.Millisecond))
				}
				w.Broadcast(b)
			})
		}
		if w.chance(50) {
			w.Broadcast(room.Broadcast{Room: hall, Action: 74})
		}
		if w.chance(4) {
			time.Sleep(w.pause(60 * time.Millisecond))
		}
	}
}

func (w *world) head() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.log))
}

// answer is a core that is told of a room's state: it gives again what is wanted,
// all or, now and then, the newer part of it.
func (w *world) answer(s room.State) {
	if !s.Want || w.chance(5) { // that link was lost as well
		return
	}
	time.Sleep(w.pause(20 * time.Millisecond))
	w.mu.Lock()
	again := w.log[min(s.After, int64(len(w.log))):]
	through := int64(len(w.log))
	w.mu.Unlock()
	if w.chance(4) {
		again = again[len(again)/2:]
	}
	for _, b := range again {
		w.Broadcast(b)
	}
	w.Answer(room.Answer{Room: hall, After: s.After, Through: through, Policy: &w.policy})
}

// client joins, stalls and leaves; it returns what it was given when it is still in.
func (w *world) client(n int) (stays *line, head int64) {
	time.Sleep(w.pause(2 * time.Second))
	head = w.head() // the edge is subscribed by now
	time.Sleep(w.pause(50 * time.Millisecond))
	l := w.join(uint64(n), int64(n%50), room.Form(n%2), head, w.policy)
	for range w.draw(4) {
		time.Sleep(w.pause(800 * time.Millisecond))
		if w.chance(2) {
			l.fill()
			time.Sleep(w.pause(time.Second))
			l.drain()
		}
	}
	if w.chance(3) {
		l.leave()
		time.Sleep(time.Second)
		l.wants(w.t, head, head) // no mistakes: nothing after it left
		return nil, 0
	}
	return l, head
}

// TestEverySeqIsPushedOrDeclaredOnce runs random histories: publishers on two lanes,
// reordered, doubled and lost broadcasts, joins, leaves and clients that stall, under
// every policy.
func TestEverySeqIsPushedOrDeclaredOnce(t *testing.T) {
	histories := 60
	if testing.Short() {
		histories = 10
	}
	for i := range histories {
		overload := roompb.RoomOverload(i % 3)
		rate := []int{0, 1, 10, 60}[i/3%4]
		t.Run(fmt.Sprint(i, " ", overload, " ", rate), func(t *testing.T) {
			within(t, func(t *testing.T, s *site) {
				history(t, s, uint64(i), room.Policy{Overload: overload, LowPerSecond: rate, List: 5})
			})
		})
	}
}

func history(t *testing.T, s *site, seed uint64, p room.Policy) {
	w := &world{site: s, t: t, policy: p, rand: rand.New(rand.NewPCG(seed, 1))}
	s.heard = w.answer
	var all, links sync.WaitGroup
	for range 3 {
		all.Go(func() { w.publish(120, &links) })
	}
	type stayed struct {
		line *line
		head int64
	}
	var mu sync.Mutex
	var stay []stayed
	for n := range 60 {
		all.Go(func() {
			if l, head := w.client(n + 1); l != nil {
				mu.Lock()
				defer mu.Unlock()
				stay = append(stay, stayed{l, head})
			}
		})
	}
	all.Wait()
	links.Wait()
	time.Sleep(20 * time.Second) // a room of one message a second gets through its queue
	s.Ask()                      // the last message may have been lost
	time.Sleep(20 * time.Second)
	s.Ask() // or the answer
	time.Sleep(20 * time.Second)
	s.Ask()
	time.Sleep(20 * time.Second)
	for _, e := range stay {
		e.line.wants(t, e.head, w.head())
		e.line.leave()
	}
	if len(stay) == 0 {
		t.Error("nobody stayed")
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	if got := s.Stats(); got.Rooms != 0 || got.Members != 0 {
		t.Errorf("after all left: got %+v, want no room", got)
	}
}
