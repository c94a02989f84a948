package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// roomPusher notes what it is given, a line for each.
type roomPusher struct {
	mu    sync.Mutex // guards the fields below
	lines []string
	sent  []fanout.RoomFrame
	full  chan struct{} // closed when there is room for answers to edgeOne; nil: there is
}

func (p *roomPusher) Ease(ctx context.Context, l presence.Life) error {
	if p.full == nil || l != edgeOne {
		return nil
	}
	select {
	case <-p.full:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *roomPusher) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *roomPusher) Broadcast(l presence.Life, f fanout.RoomFrame) {
	p.note("%s %s %d", l.Edge, f.Room, f.Seq)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, f)
}

func (p *roomPusher) Expel(l presence.Life, e fanout.RoomExpulsion) {
	p.note("%s %s expel %v %d", l.Edge, e.Room, e.Users, e.Seq)
}

func (p *roomPusher) Configure(l presence.Life, room im.ConversationID, policy plugin.RoomPolicy) {
	p.note("%s %s policy %d", l.Edge, room, policy.LowPerSecond)
}

func (p *roomPusher) Answer(l presence.Life, room im.ConversationID, after, through int64, policy plugin.RoomPolicy) {
	p.note("%s %s answer %d-%d %d", l.Edge, room, after, through, policy.LowPerSecond)
}

func (p *roomPusher) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// log is a RoomSource: every room's log ends at head.
type log struct {
	head    atomic.Int64
	fails   atomic.Bool
	outs    []plugin.Expulsion // that every answer has; static
	mu      sync.Mutex         // guards changes
	changes []presence.RoomChange
}

func (l *log) Since(_ context.Context, room im.ConversationID, after int64) (plugin.RoomPiece, error) {
	if l.fails.Load() {
		return plugin.RoomPiece{}, errors.New("away")
	}
	piece := plugin.RoomPiece{Through: l.head.Load(), Expulsions: l.outs, Policy: plugin.RoomPolicy{LowPerSecond: 9}}
	for seq := after + 1; seq <= piece.Through; seq++ {
		piece.Frames = append(piece.Frames, message(room, seq))
	}
	return piece, nil
}

func (l *log) Changed(changes []presence.RoomChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, changes...)
}

func (l *log) heard() []presence.RoomChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.changes)
}

func message(room im.ConversationID, seq int64) plugin.Broadcast {
	return plugin.Broadcast{Room: room, Seq: seq, Action: idl.ActionRoomMessage, Body: &roompb.RoomMessage{Room: string(room), Seq: seq}}
}

func startRooms(t *testing.T, o fanout.RoomOptions) *fanout.Rooms {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := fanout.NewRooms(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// gated are rooms whose look-ups are counted, can be away, and wait for the gate the
// first time.
type gated struct {
	presence.Rooms
	gate    chan struct{}
	lookups atomic.Int64
	away    atomic.Bool
}

func (g *gated) Edges(ctx context.Context, rooms ...im.ConversationID) ([][]presence.Life, error) {
	if g.lookups.Add(1) == 1 && g.gate != nil {
		<-g.gate
	}
	if g.away.Load() {
		return nil, errors.New("away")
	}
	return g.Rooms.Edges(ctx, rooms...)
}

var edgeOne, edgeTwo = presence.Life{Edge: "one", Epoch: 1}, presence.Life{Edge: "two", Epoch: 7}

func subscribe(t *testing.T, r presence.Rooms, life presence.Life, rooms ...im.ConversationID) {
	t.Helper()
	for _, room := range rooms {
		if err := r.Subscribe(t.Context(), room, life); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRoomsLookUpsAreJoined: what queues meanwhile is one look-up, leaves in order,
// and goes where there are members.
func TestRoomsLookUpsAreJoined(t *testing.T) {
	p, g := new(roomPusher), &gated{Rooms: presence.NewMemoryRooms(presence.Leases{}), gate: make(chan struct{})}
	subscribe(t, g.Rooms, edgeOne, "r_a", "r_b")
	r := startRooms(t, fanout.RoomOptions{Registry: g, Pusher: p})
	var want []string
	for seq := int64(1); seq <= 200; seq++ {
		room := im.ConversationID([]string{"r_a", "r_b", "r_empty"}[seq%3])
		r.Broadcast(message(room, seq))
		if room != "r_empty" {
			want = append(want, fmt.Sprintf("one %s %d", room, seq))
		}
	}
	r.Expel(plugin.Expulsion{Room: "r_a", Users: []im.UserID{5}, Seq: 9, Action: idl.ActionLeaveRoom, Body: &roompb.RoomLeft{Room: "a"}})
	r.Configure("r_b", plugin.RoomPolicy{LowPerSecond: 4})
	want = append(want, "one r_a expel [5] 9", "one r_b policy 4")
	close(g.gate)
	r.Close()
	if got := p.all(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if n := g.lookups.Load(); n > 3 {
		t.Errorf("202 jobs took %d look-ups", n)
	}
}

// TestRoomsEncodeOnce: both codecs, shared by all edges.
func TestRoomsEncodeOnce(t *testing.T) {
	p, there := new(roomPusher), presence.NewMemoryRooms(presence.Leases{})
	subscribe(t, there, edgeOne, "r_a")
	subscribe(t, there, edgeTwo, "r_a")
	r := startRooms(t, fanout.RoomOptions{Registry: there, Pusher: p})
	r.Broadcast(message("r_a", 3))
	r.Close()
	if len(p.sent) != 2 || &p.sent[0].Protobuf[0] != &p.sent[1].Protobuf[0] || &p.sent[0].JSON[0] != &p.sent[1].JSON[0] {
		t.Fatalf("got %+v", p.sent)
	}
	for codec, body := range map[idl.Codec][]byte{idl.CodecProtobuf: p.sent[0].Protobuf, idl.CodecJSON: p.sent[0].JSON} {
		var m roompb.RoomMessage
		if err := idl.Decode(body, codec, &m); err != nil || m.Seq != 3 {
			t.Errorf("%v: got %+v, %v", codec, &m, err)
		}
	}
}

// TestRoomsNewEdgeIsNotMissed: an edge that is subscribed before a broadcast is called
// gets it, however busy the worker is.
func TestRoomsNewEdgeIsNotMissed(t *testing.T) {
	p, there := new(roomPusher), presence.NewMemoryRooms(presence.Leases{})
	r := startRooms(t, fanout.RoomOptions{Registry: there, Pusher: p})
	var want []string
	for i := range 200 {
		room := im.ConversationID(fmt.Sprint("r_", i%7, "_", i/7))
		subscribe(t, there, edgeOne, room)
		r.Broadcast(message(room, 1))
		want = append(want, fmt.Sprintf("one %s 1", room))
	}
	r.Close()
	if got := p.all(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestRoomsRegistryAway: what was not broadcast while the registry was away the edges
// get when it is back, without a further message.
func TestRoomsRegistryAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, g, source := new(roomPusher), &gated{Rooms: presence.NewMemoryRooms(presence.Leases{})}, new(log)
		subscribe(t, g.Rooms, edgeOne, "r_a")
		r := startRooms(t, fanout.RoomOptions{Registry: g, Pusher: p})
		r.Serve(source)
		g.away.Store(true)
		for seq := int64(4); seq <= 6; seq++ {
			source.head.Store(seq)
			r.Broadcast(message("r_a", seq))
			time.Sleep(300 * time.Millisecond)
		}
		r.Broadcast(plugin.Broadcast{Room: "r_a", Action: idl.ActionRoomInfo, Body: &roompb.RoomInfo{}})
		r.Expel(plugin.Expulsion{Room: "r_a", Users: []im.UserID{5}, Seq: 6, Body: &roompb.RoomLeft{}})
		synctest.Wait()
		if got := p.all(); len(got) != 0 {
			t.Errorf("while it is away: got %q", got)
		}
		source.fails.Store(true)
		g.away.Store(false)
		time.Sleep(time.Second)
		source.fails.Store(false)
		time.Sleep(time.Second)
		want := []string{"one r_a expel [5] 6", "one r_a 4", "one r_a 5", "one r_a 6", "one r_a answer 3-6 9"}
		if got := p.all(); !slices.Equal(got, want) {
			t.Errorf("when it is back: got %q, want %q", got, want)
		}
		r.Close()
	})
}

// slow is a log that waits for its gate.
type slow struct {
	log
	gate chan struct{}
}

func (s *slow) Since(ctx context.Context, room im.ConversationID, after int64) (plugin.RoomPiece, error) {
	<-s.gate
	return s.log.Since(ctx, room, after)
}

// TestRoomsMendAside: what rooms missed is read from the logs while fan-out goes on.
func TestRoomsMendAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, g := new(roomPusher), &gated{Rooms: presence.NewMemoryRooms(presence.Leases{})}
		source := &slow{gate: make(chan struct{})}
		subscribe(t, g.Rooms, edgeOne, "r_a", "r_b")
		r := startRooms(t, fanout.RoomOptions{Registry: g, Pusher: p})
		r.Serve(source)
		g.away.Store(true)
		source.head.Store(1)
		r.Broadcast(message("r_a", 1))
		synctest.Wait()
		g.away.Store(false)
		time.Sleep(2 * time.Second) // the log is being read
		r.Broadcast(message("r_b", 5))
		synctest.Wait()
		if got, want := p.all(), []string{"one r_b 5"}; !slices.Equal(got, want) {
			t.Errorf("while the log is read: got %q, want %q", got, want)
		}
		close(source.gate)
		synctest.Wait()
		if got, want := p.all(), []string{"one r_b 5", "one r_a 1", "one r_a answer 0-1 9"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.Close()
	})
}

// TestRoomsAnswersWait: while much waits for an edge it is given no answers; after a while
// it has to ask again.
func TestRoomsAnswersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, source := &roomPusher{full: make(chan struct{})}, new(log)
		r := startRooms(t, fanout.RoomOptions{Registry: presence.NewMemoryRooms(presence.Leases{}), Pusher: p})
		source.head.Store(1)
		r.Serve(source)
		ask := func(after time.Duration, want ...string) {
			t.Helper()
			r.States(edgeOne, []fanout.RoomState{{RoomReport: presence.RoomReport{Room: "r_a", Members: 1}, Want: true}})
			time.Sleep(after)
			synctest.Wait()
			if got := p.all(); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		ask(time.Minute) // given up
		ask(time.Second) // it waits
		close(p.full)
		ask(time.Second, "one r_a 1", "one r_a answer 0-1 9", "one r_a 1", "one r_a answer 0-1 9")
		r.Close()
	})
}

// TestRoomsSlowEdgeHoldsUpNoOther: however much an edge asks for and does not take in,
// another is answered at once, and what rooms missed that are not at the slow one is repeated.
func TestRoomsSlowEdgeHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, source := &roomPusher{full: make(chan struct{})}, new(log)
		g := &gated{Rooms: presence.NewMemoryRooms(presence.Leases{})}
		subscribe(t, g.Rooms, edgeOne, "r_both")
		subscribe(t, g.Rooms, edgeTwo, "r_both", "r_two")
		r := startRooms(t, fanout.RoomOptions{Registry: g, Pusher: p})
		source.head.Store(1)
		r.Serve(source)
		wants := func(room im.ConversationID) fanout.RoomState {
			return fanout.RoomState{RoomReport: presence.RoomReport{Room: room, Members: 1}, Want: true}
		}
		for range 3 { // it asks again and again
			var many []fanout.RoomState
			for n := range 500 {
				many = append(many, wants(im.ConversationID(fmt.Sprint("r_", n))))
			}
			r.States(edgeOne, many)
			synctest.Wait()
		}
		r.States(edgeTwo, []fanout.RoomState{wants("r_a")})
		synctest.Wait()
		if got, want := p.all(), []string{"two r_a 1", "two r_a answer 0-1 9"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		g.away.Store(true)
		r.Broadcast(message("r_both", 1))
		r.Broadcast(message("r_two", 1))
		synctest.Wait()
		g.away.Store(false)
		time.Sleep(20 * time.Second)
		if got := p.all()[2:]; !slices.Equal(got, []string{"two r_two 1", "two r_two answer 0-1 9"}) {
			t.Errorf("what rooms missed: got %q", got)
		}
		close(p.full)
		time.Sleep(20 * time.Second)
		if got := p.all(); !slices.Contains(got, "one r_both 1") || !slices.Contains(got, "two r_both 1") {
			t.Errorf("what was kept for the slow edge: got %q", got)
		}
		r.Close()
	})
}

// TestRoomsRepeatExpulsions: with what an edge missed it is given who was put out, each
// behind the message that tells of it and before the answer.
func TestRoomsRepeatExpulsions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, source := new(roomPusher), new(log)
		r := startRooms(t, fanout.RoomOptions{Registry: presence.NewMemoryRooms(presence.Leases{}), Pusher: p})
		for _, seq := range []int64{1, 3, 5} {
			source.outs = append(source.outs, plugin.Expulsion{Room: "r_a", Users: []im.UserID{im.UserID(seq)}, Seq: seq, Body: &roompb.RoomLeft{}})
		}
		source.head.Store(5)
		r.Serve(source)
		r.States(edgeOne, []fanout.RoomState{{RoomReport: presence.RoomReport{Room: "r_a", Members: 1}, After: 2, Want: true}})
		synctest.Wait()
		want := []string{"one r_a expel [1] 1", "one r_a 3", "one r_a expel [3] 3", "one r_a 4", "one r_a 5", "one r_a expel [5] 5", "one r_a answer 2-5 9"}
		if got := p.all(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.Close()
	})
}

// TestRoomsFullQueue: a message waits for its place, a size is dropped.
func TestRoomsFullQueue(t *testing.T) {
	p, g := new(roomPusher), &gated{Rooms: presence.NewMemoryRooms(presence.Leases{}), gate: make(chan struct{})}
	subscribe(t, g.Rooms, edgeOne, "r_a")
	r := startRooms(t, fanout.RoomOptions{Registry: g, Pusher: p, Queue: 2})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seq := int64(1); seq <= 50; seq++ {
			r.Broadcast(message("r_a", seq))
		}
	}()
	for range 1000 { // never waits
		r.Broadcast(plugin.Broadcast{Room: "r_a", Action: idl.ActionRoomInfo, Body: &roompb.RoomInfo{}})
	}
	close(g.gate)
	<-done
	r.Close()
	seqs := 0
	for _, line := range p.all() {
		if line != "one r_a 0" {
			seqs++
		}
	}
	if seqs != 50 {
		t.Errorf("%d of 50 messages left", seqs)
	}
}

// TestRoomsStates: what edges say reaches the registry, the plugin hears what changed,
// and an edge gets what it misses, with an answer behind it.
func TestRoomsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, there, source := new(roomPusher), presence.NewMemoryRooms(presence.Leases{}), new(log)
		r := startRooms(t, fanout.RoomOptions{Registry: there, Pusher: p})
		r.Serve(source)
		source.head.Store(5)
		subscribe(t, there, edgeOne, "r_a", "r_b")
		say := func(life presence.Life, s ...fanout.RoomState) {
			t.Helper()
			r.States(life, s)
			synctest.Wait()
		}
		state := func(room im.ConversationID, members, after int64, want bool, users ...im.UserID) fanout.RoomState {
			return fanout.RoomState{RoomReport: presence.RoomReport{Room: room, Members: members, Users: users}, After: after, Want: want}
		}
		for range 2 { // the second, as of a census, changes nothing
			say(edgeOne, state("r_a", 2, 3, false, 10, 20), state("r_b", 1, 5, false, 10))
		}
		if got := source.heard(); len(got) != 2 {
			t.Errorf("the plugin heard %+v", got)
		}
		if o, err := r.Occupancy(t.Context(), "r_a"); err != nil || o.Members != 2 || len(o.Users) != 2 {
			t.Errorf("got %+v, %v", o, err)
		}
		got := p.all()
		if len(got) != 0 {
			t.Errorf("before it asks: got %q", got)
		}
		say(edgeOne, state("r_a", 2, 3, true, 10, 20), state("r_b", 1, 5, true, 10))
		got = p.all()
		slices.Sort(got)
		if want := []string{"one r_a 4", "one r_a 5", "one r_a answer 3-5 9", "one r_b answer 5-5 9"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(20 * time.Second) // no join can be on its way any more
		say(edgeOne, state("r_a", 0, 5, false))
		if lives, err := there.Edges(t.Context(), "r_a", "r_b"); err != nil || len(lives[0]) != 0 || len(lives[1]) != 1 {
			t.Errorf("got %v, %v", lives, err)
		}
		if got := source.heard(); len(got) != 3 || got[2].Before.Members != 2 || got[2].After.Members != 0 {
			t.Errorf("the plugin heard %+v", got)
		}
		r.Close()
	})
}

// TestRoomsForgotten: an edge that the registry had forgotten gets what it may have
// missed, without asking: as when Redis was emptied.
func TestRoomsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, source := new(roomPusher), new(log)
		r := startRooms(t, fanout.RoomOptions{Registry: presence.NewMemoryRooms(presence.Leases{}), Pusher: p})
		r.Serve(source)
		source.head.Store(3)
		for range 2 {
			r.States(edgeOne, []fanout.RoomState{{RoomReport: presence.RoomReport{Room: "r_a", Members: 1}, After: 2}})
			synctest.Wait()
		}
		if got, want := p.all(), []string{"one r_a 3", "one r_a answer 2-3 9"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.Close()
	})
}

// TestRoomsStatesAreJoined: of a room what was said last counts, but what an edge
// misses is not forgotten; past the bound new rooms are dropped.
func TestRoomsStatesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, source := new(roomPusher), new(log)
		block := &blocking{Rooms: presence.NewMemoryRooms(presence.Leases{}), gate: make(chan struct{})}
		r := startRooms(t, fanout.RoomOptions{Registry: block, Pusher: p, States: 2})
		r.Serve(source)
		source.head.Store(4)
		subscribe(t, block.Rooms, edgeOne, "r_first", "r_a", "r_b", "r_c")
		report := func(room im.ConversationID, members, after int64, want bool) {
			r.States(edgeOne, []fanout.RoomState{{RoomReport: presence.RoomReport{Room: room, Members: members}, After: after, Want: want}})
		}
		report("r_first", 1, 0, false)
		synctest.Wait() // the worker is at it
		report("r_a", 1, 2, true)
		report("r_a", 7, 4, false)
		report("r_b", 1, 0, false)
		report("r_c", 1, 0, false)
		close(block.gate)
		synctest.Wait()
		for room, want := range map[im.ConversationID]int64{"r_first": 1, "r_a": 7, "r_b": 1, "r_c": 0} {
			if o, err := r.Occupancy(t.Context(), room); err != nil || o.Members != want {
				t.Errorf("%s: got %+v, %v; want %d", room, o, err, want)
			}
		}
		if got, want := p.all(), []string{"one r_a 3", "one r_a 4", "one r_a answer 2-4 9"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.Close()
	})
}

// blocking are rooms whose reports wait for the gate.
type blocking struct {
	presence.Rooms
	gate chan struct{}
}

func (b *blocking) Report(ctx context.Context, life presence.Life, reports ...presence.RoomReport) ([]presence.RoomChange, error) {
	<-b.gate
	return b.Rooms.Report(ctx, life, reports...)
}

// TestRoomsBarrier: a body or a plugin that panics costs its own room.
func TestRoomsBarrier(t *testing.T) {
	p, there := new(roomPusher), presence.NewMemoryRooms(presence.Leases{})
	subscribe(t, there, edgeOne, "r_a")
	r := startRooms(t, fanout.RoomOptions{Registry: there, Pusher: p})
	r.Broadcast(plugin.Broadcast{Room: "r_a", Seq: 1, Body: nil})
	r.Broadcast(message("r_a", 2))
	r.Close()
	if got := p.all(); !slices.Equal(got, []string{"one r_a 2"}) {
		t.Errorf("got %q", got)
	}
	if _, err := fanout.NewRooms(fanout.RoomOptions{}); err == nil {
		t.Error("rooms are made of nothing")
	}
	if _, err := fanout.NewRooms(fanout.RoomOptions{Registry: there, Pusher: p, Queue: -1}); err == nil {
		t.Error("a queue of less than nothing is made")
	}
}
