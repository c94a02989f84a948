package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// soon waits until something is done; its deadline only ends a failed test.
func soon(t *testing.T, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	return until(ctx, done)
}

// roomy sets how the room plugin of every core is configured.
func roomy(o cluster.Options, set func(*room.Config)) cluster.Options {
	stores := o.Core
	o.Core = func(i int, s *server.Options) {
		if stores != nil {
			stores(i, s)
		}
		for _, p := range s.Plugins {
			if r, ok := p.(*room.Room); ok {
				set(r.Config().(*room.Config))
			}
		}
	}
	return o
}

// unbounded lets people send and join as fast as they can.
func unbounded(c *room.Config) {
	c.SendsPerSecond, c.LowPerSecond, c.JoinsPerMinute, c.CreationsPerHour, c.CreationsPerSecond = 0, 0, 0, 0, 0
}

// guest is one connection that is in one room, and checks what it is given of it: it
// sees the bare pushes, without the SDK's own order and de-duplication.
type guest struct {
	*client.Client
	t    *testing.T
	name string
	user int64
	room string

	mu       sync.Mutex // guards the fields below
	head     int64
	seen     map[int64]bool
	pushed   []int64
	skipped  map[roompb.RoomSkipReason]int
	low      int64 // the newest of each lane
	high     int64
	lefts    []*roompb.RoomLeft
	mistakes []string
}

// guestAt signs somebody up and in; the connection ends with the test.
func guestAt(t *testing.T, o client.Options, name, room string) *guest {
	t.Helper()
	g := &guest{t: t, name: name, room: room}
	g.reset()
	o.OnPush = g.take
	ctx := t.Context()
	if err := g.enter(ctx, o); err != nil {
		t.Fatalf("%s comes: %v", name, err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func (g *guest) enter(ctx context.Context, o client.Options) (err error) {
	if g.Client, err = client.Dial(ctx, o); err != nil {
		return err
	}
	if g.user, err = g.SignUp(ctx, g.name, password, ""); err != nil {
		return err
	}
	rep, err := g.SignIn(ctx, g.name, password, &accountpb.Device{Id: "d", Type: idl.DeviceMobile, Name: "d"})
	if err != nil {
		return err
	}
	_, err = g.Auth(ctx, rep.Token)
	return err
}

func (g *guest) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.skipped = make(map[int64]bool), make(map[roompb.RoomSkipReason]int)
	g.pushed, g.low, g.high = nil, 0, 0
}

// join takes the guest in and checks the history that comes with it.
func (g *guest) join(ctx context.Context) (*roompb.JoinRoomReply, error) {
	g.reset()
	rep := new(roompb.JoinRoomReply)
	if err := g.Call(ctx, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: g.room}, rep); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.head = rep.Head
	for i, m := range rep.Messages {
		if want := rep.Head - int64(len(rep.Messages)-1-i); m.Seq != want {
			g.wrong("history up to %d has %d in place of %d", rep.Head, m.Seq, want)
		}
	}
	return rep, nil
}

// mustJoin is join, which may not fail.
func (g *guest) mustJoin() *roompb.JoinRoomReply {
	g.t.Helper()
	rep, err := g.join(g.t.Context())
	if err != nil {
		g.t.Fatalf("%s joins: %v", g.name, err)
	}
	return rep
}

func (g *guest) wrong(format string, args ...any) {
	g.mistakes = append(g.mistakes, g.name+": "+fmt.Sprintf(format, args...))
}

func (g *guest) take(p client.Push) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch p.Action {
	case idl.ActionRoomMessage:
		m := new(roompb.RoomMessage)
		if err := p.Decode(m); err != nil || m.Room != g.room {
			g.wrong("a message of %q: %v", m.Room, err)
			return
		}
		newest := &g.low
		if m.Kind != roompb.RoomKind_ROOM_KIND_TEXT {
			newest = &g.high
		}
		if m.Seq <= *newest {
			g.wrong("%d came after %d of its lane", m.Seq, *newest)
		}
		*newest = m.Seq
		g.once(m.Seq)
		g.pushed = append(g.pushed, m.Seq)
	case idl.ActionRoomHistory:
		s := new(roompb.RoomSkip)
		if err := p.Decode(s); err != nil || s.Room != g.room {
			g.wrong("a skip of %q: %v", s.Room, err)
			return
		}
		for _, r := range s.Ranges {
			for seq := r.From; seq <= r.To; seq++ {
				g.once(seq)
				g.skipped[s.Reason]++
			}
		}
	case idl.ActionLeaveRoom:
		l := new(roompb.RoomLeft)
		if err := p.Decode(l); err != nil {
			g.wrong("left: %v", err)
		}
		g.lefts = append(g.lefts, l)
	}
}

func (g *guest) once(seq int64) {
	if g.seen[seq] {
		g.wrong("%d was pushed or declared twice", seq)
	}
	g.seen[seq] = true
}

// complete waits until every seq above the head, up to last, was pushed or declared,
// and says how many of them were declared.
func (g *guest) complete(last int64) (declared map[roompb.RoomSkipReason]int) {
	g.t.Helper()
	missing := int64(0)
	err := soon(g.t, func() (bool, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for missing = g.head + 1; missing <= last; missing++ {
			if !g.seen[missing] {
				return false, nil
			}
		}
		return true, nil
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.t.Errorf("%s: %d of (%d, %d] never came: %v", g.name, missing, g.head, last, err)
	}
	for _, m := range g.mistakes {
		g.t.Error(m)
	}
	for seq := range g.seen {
		if seq <= g.head {
			g.t.Errorf("%s: %d came, which is not above the head %d", g.name, seq, g.head)
		}
	}
	return g.skipped
}

// say sends one message, again until it is answered; it returns the seq.
func (g *guest) say(ctx context.Context, id string, kind roompb.RoomKind, text, data string) (int64, error) {
	for {
		rep := new(roompb.RoomSendReply)
		err := g.Call(ctx, idl.ActionRoomMessage, &roompb.RoomSendRequest{Room: g.room, ClientId: id, Kind: kind, Text: text, Data: data}, rep)
		no, refused := errors.AsType[*client.Refusal](err)
		switch {
		case err == nil:
			return rep.Seq, nil
		case refused && (no.Code == idl.CodeUnavailable || no.Code == idl.CodeDeadlineExceeded):
		default:
			return 0, fmt.Errorf("%s sends: %w", g.name, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// speakers send to a room until they are told to stop.
type speakers struct {
	t    *testing.T
	stop atomic.Bool
	all  sync.WaitGroup
	last atomic.Int64 // the highest seq that was answered
	said atomic.Int64
}

// speak has guests, who are in the room, talk on and on.
func speak(t *testing.T, gifts int, data string, guests ...*guest) *speakers {
	s := &speakers{t: t}
	for _, g := range guests {
		s.all.Go(func() {
			for n := 1; !s.stop.Load(); n++ {
				kind := roompb.RoomKind_ROOM_KIND_TEXT
				if gifts > 0 && n%gifts == 0 {
					kind = roompb.RoomKind_ROOM_KIND_GIFT
				}
				seq, err := g.say(t.Context(), fmt.Sprint(g.name, "-", n), kind, "hello", data)
				if err != nil {
					t.Error(err)
					return
				}
				s.said.Add(1)
				for old := s.last.Load(); old < seq && !s.last.CompareAndSwap(old, seq); old = s.last.Load() {
				}
			}
		})
	}
	return s
}

// more waits until n more messages were said.
func (s *speakers) more(n int64) {
	s.t.Helper()
	want := s.said.Load() + n
	if err := soon(s.t, func() (bool, error) { return s.said.Load() >= want, nil }); err != nil {
		s.t.Fatalf("%d of %d messages were said: %v", s.said.Load(), want, err)
	}
}

// end stops them and gives the room's last seq.
func (s *speakers) end() int64 {
	s.stop.Store(true)
	s.all.Wait()
	if last, said := s.last.Load(), s.said.Load(); last != said {
		s.t.Errorf("the room's last seq is %d after %d messages", last, said)
	}
	return s.last.Load()
}

// TestRoomJoins: people join while others speak, in every form: history ends where the
// pushes begin.
func TestRoomJoins(t *testing.T) {
	c := startClusterWith(t, roomy(cluster.Options{Dir: t.TempDir()}, unbounded))
	const hall = "大厅 hall"
	var all []*guest
	for i := range 3 {
		g := guestAt(t, forms[i].options(c.Edges[0]), fmt.Sprint("speaker", i), hall)
		g.mustJoin()
		all = append(all, g)
	}
	talk := speak(t, 5, "", all...)
	var joining sync.WaitGroup
	for i := range 20 {
		g := guestAt(t, forms[i%len(forms)].options(c.Edges[0]), fmt.Sprint("guest", i), hall)
		all = append(all, g)
		joining.Go(func() {
			if _, err := g.join(t.Context()); err != nil {
				t.Errorf("%s joins: %v", g.name, err)
			}
		})
		talk.more(10)
	}
	joining.Wait()
	last := talk.end()
	for _, g := range all {
		if declared := g.complete(last); len(declared) > 0 {
			t.Errorf("%s was told of skips: %v", g.name, declared)
		}
	}

	// Whoever leaves gets nothing more; a session that ends is in no room.
	gone, gave := all[3], all[4]
	rep := new(roompb.LeaveRoomReply)
	for _, want := range []bool{true, false} {
		if err := gone.Call(t.Context(), idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: hall}, rep); err != nil || rep.WasIn != want {
			t.Fatalf("leave: got %v %v, want was_in %v", rep.WasIn, err, want)
		}
		*rep = roompb.LeaveRoomReply{}
	}
	err := gone.Call(t.Context(), idl.ActionRoomMessage, &roompb.RoomSendRequest{Room: hall, ClientId: "x", Text: "x"}, new(roompb.RoomSendReply))
	if _, refused := errors.AsType[*client.Refusal](err); !refused {
		t.Errorf("a send to a room that was left: got %v, want a refusal", err)
	}
	gave.Close()
	seq, err := all[0].say(t.Context(), "after", 0, "after", "")
	if err != nil {
		t.Fatal(err)
	}
	all[1].complete(seq)
	if gone.seenOf(seq) {
		t.Error("something came after the room was left")
	}
	for _, g := range all[3:] {
		g.Close()
	}
	if err := soon(t, func() (bool, error) {
		rep, err := all[0].rejoin(t.Context())
		return err == nil && rep.Info.Members == 3, err
	}); err != nil {
		t.Errorf("the room does not count 3 members when all others have gone: %v", err)
	}
}

func (g *guest) seenOf(seq int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[seq]
}

// rejoin asks for the room's end again, which changes nothing else.
func (g *guest) rejoin(ctx context.Context) (*roompb.JoinRoomReply, error) {
	rep := new(roompb.JoinRoomReply)
	return rep, g.Call(ctx, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: g.room, Last: -1}, rep)
}

// TestRoomsOverCutLinks: two edges and two cores; the links to the cores are cut
// again and again, and a core is started anew, while people speak on both edges. What
// the links lose is made good from the log: nothing is declared lost.
func TestRoomsOverCutLinks(t *testing.T) {
	t.Parallel()
	o := production(t)
	o.Dir = t.TempDir()
	lines := make([]*cluster.Proxy, o.Cores)
	listen := make([]*engines.Port, o.Cores)
	for i := range lines {
		var err error
		if listen[i], err = engines.FreePort(); err != nil {
			t.Fatal(err)
		}
		lines[i] = between(t, listen[i].Addr())
	}
	stores := o.Core
	o.Core = func(i int, s *server.Options) {
		stores(i, s)
		s.Config.Listen = listen[i].Addr()
	}
	o.Via = func(i int) string { return lines[i].Addr() }
	c := startClusterWith(t, roomy(o, unbounded))
	var all []*guest
	for i := range 8 {
		g := guestAt(t, forms[i%len(forms)].options(c.Edges[i%2]), fmt.Sprint("guest", i), "hall")
		g.mustJoin()
		all = append(all, g)
	}
	talk := speak(t, 7, "", all[:4]...)
	for i := range times(6, 100) {
		talk.more(20)
		lines[i%2].Cut()
	}
	talk.more(20)
	if err := errors.Join(c.Cores[0].Stop(t.Context()), c.Cores[0].Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	talk.more(40)
	lines[0].Cut() // the last messages may be lost on both links
	lines[1].Cut()
	last := talk.end()
	for _, g := range all {
		if declared := g.complete(last); len(declared) > 0 {
			t.Errorf("%s was told of skips: %v", g.name, declared)
		}
	}
}

// pausedConn reads nothing while it is paused.
type pausedConn struct {
	net.Conn
	mu sync.Mutex // held while paused
}

func (c *pausedConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Read(b)
}

// TestASlowGuest: one of two guests reads nothing for a while. The other gets
// everything meanwhile; the slow one is told what it has missed, and goes on.
func TestASlowGuest(t *testing.T) {
	c := startClusterWith(t, roomy(cluster.Options{Dir: t.TempDir()}, unbounded))
	speaker := guestAt(t, forms[0].options(c.Edges[0]), "speaker", "hall")
	quick := guestAt(t, forms[0].options(c.Edges[0]), "quick", "hall")
	o := forms[0].options(c.Edges[0])
	paused := new(pausedConn)
	deaf := deafAt(o, nil)
	o.Dial = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		paused.Conn, err = deaf.Dial(ctx, network, address)
		return paused, err
	}
	slow := guestAt(t, o, "slow", "hall")
	for _, g := range []*guest{speaker, quick, slow} {
		g.mustJoin()
	}
	talk := speak(t, 0, strings.Repeat("x", 2000), speaker)
	talk.more(20)
	go func() { paused.mu.Lock() }() // the read that is under way gets one more message
	talk.more(1500)                  // well over what kernel and edge keep for one
	paused.mu.Unlock()
	talk.more(20)
	last := talk.end()
	if declared := quick.complete(last); len(declared) > 0 {
		t.Errorf("the quick guest was told of skips: %v", declared)
	}
	declared := slow.complete(last)
	if n := declared[roompb.RoomSkipReason_ROOM_SKIP_SLOW]; n == 0 || len(declared) != 1 {
		t.Errorf("the slow guest was told %v, want only that it reads too slowly", declared)
	}
	t.Logf("of %d messages the slow guest missed %v", last, declared)
}

// TestASampledHall: chat that comes faster than the room allows is pushed in part,
// the same part to all, and the rest is declared; gifts are all pushed.
func TestASampledHall(t *testing.T) {
	c := startClusterWith(t, roomy(cluster.Options{Dir: t.TempDir()}, func(c *room.Config) {
		unbounded(c)
		c.LowPerSecond = 10
	}))
	var all []*guest
	for i := range 4 {
		g := guestAt(t, forms[i].options(c.Edges[0]), fmt.Sprint("guest", i), "hall")
		g.mustJoin()
		all = append(all, g)
	}
	talk := speak(t, 10, "", all[:2]...)
	talk.more(600)
	last := talk.end()
	for _, g := range all {
		declared := g.complete(last)
		if n := declared[roompb.RoomSkipReason_ROOM_SKIP_SAMPLED]; n < 100 || len(declared) != 1 {
			t.Errorf("%s was told %v, want more than 100 sampled and nothing else", g.name, declared)
		}
		if n := last / 10; int64(len(g.pushed)) < n {
			t.Errorf("%s was pushed %d messages, there were about %d gifts", g.name, len(g.pushed), n)
		}
		if !slices.Equal(g.pushed, all[0].pushed) {
			t.Errorf("%s was given another sample than %s", g.name, all[0].name)
		}
	}
}

// TestGuestsAreTurnedOut: an owner on one edge removes and bans guests on the other,
// while people speak. Who is out is told so, once, gets nothing more, and cannot speak;
// a removed guest may come in again, a banned one may not.
func TestGuestsAreTurnedOut(t *testing.T) {
	o := production(t)
	o.Dir = t.TempDir()
	c := startClusterWith(t, roomy(o, unbounded))
	come := func(i int, name string) *guest { return guestAt(t, forms[i].options(c.Edges[i%2]), name, "hall") }
	owner, speaker, removed, banned := come(0, "owner"), come(2, "speaker"), come(1, "removed"), come(3, "banned")
	ctx := t.Context()
	if err := owner.Call(ctx, idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: "hall"}, new(roompb.CreateRoomReply)); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*guest{owner, speaker, removed, banned} {
		g.mustJoin()
	}
	talk := speak(t, 3, "", speaker)
	talk.more(20)
	for _, row := range []struct {
		whom   *guest
		verb   roompb.ModerationVerb
		reason roompb.RoomLeftReason
	}{
		{removed, roompb.ModerationVerb_MODERATION_REMOVE, roompb.RoomLeftReason_ROOM_LEFT_REMOVED},
		{banned, roompb.ModerationVerb_MODERATION_BAN, roompb.RoomLeftReason_ROOM_LEFT_BANNED},
	} {
		rep := new(roompb.ModerateRoomReply)
		if err := owner.Call(ctx, idl.ActionModerateRoom, &roompb.ModerateRoomRequest{
			Room: "hall", Moderation: &roompb.Moderation{Verb: row.verb, UserId: row.whom.user, Reason: "a test"}}, rep); err != nil {
			t.Fatalf("%v %s: %v", row.verb, row.whom.name, err)
		}
		talk.said.Add(1) // it is a message of the room's too
		g := row.whom
		if err := soon(t, func() (bool, error) { return g.outs() > 0, nil }); err != nil {
			t.Fatalf("%s was not told: %v", g.name, err)
		}
		g.mu.Lock()
		got, at := g.lefts, len(g.seen)
		g.mu.Unlock()
		if len(got) != 1 || got[0].Reason != row.reason || got[0].Room != "hall" {
			t.Errorf("%s was told %v, want %v once", g.name, got, row.reason)
		}
		talk.more(20)
		g.mu.Lock()
		if len(g.seen) != at {
			t.Errorf("%s got %d messages after it was out", g.name, len(g.seen)-at)
		}
		g.mu.Unlock()
		_, err := g.say(ctx, "x", 0, "x", "")
		if _, refused := errors.AsType[*client.Refusal](err); !refused {
			t.Errorf("%s speaks and is not in: got %v, want a refusal", g.name, err)
		}
	}
	removed.mustJoin()
	if _, err := banned.join(ctx); client.CodeOf(err) != idl.CodePermissionDenied {
		t.Errorf("a banned guest joins: got %v, want PERMISSION_DENIED", err)
	}
	talk.more(20)
	last := talk.end()
	for _, g := range []*guest{owner, speaker, removed} {
		if declared := g.complete(last); len(declared) > 0 {
			t.Errorf("%s was told of skips: %v", g.name, declared)
		}
	}
}

// outs is how many times it was told that it is out.
func (g *guest) outs() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lefts)
}

// TestAnEdgeDiesInTheMiddle: one of two edges ends without a word while people speak.
// Nobody on the other one misses anything; whoever comes back joins where they were.
func TestAnEdgeDiesInTheMiddle(t *testing.T) {
	o := production(t)
	o.Dir = t.TempDir()
	c := startClusterWith(t, roomy(o, unbounded))
	var all []*guest
	for i := range 4 {
		g := guestAt(t, forms[i].options(c.Edges[i%2]), fmt.Sprint("guest", i), "hall")
		g.mustJoin()
		all = append(all, g)
	}
	stay, lost := []*guest{all[0], all[2]}, all[1]
	talk := speak(t, 4, "", stay...)
	for range times(2, 50) {
		talk.more(30)
		c.Edges[1].Kill()
		talk.more(30)
		if err := c.Edges[1].Start(); err != nil {
			t.Fatal(err)
		}
		<-lost.Done()
		known := lost.through()
		back := guestAt(t, forms[1].options(c.Edges[1]), fmt.Sprint(lost.name, "a"), "hall")
		rep := new(roompb.JoinRoomReply)
		if err := back.Call(t.Context(), idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "hall", AfterSeq: known, Last: 100}, rep); err != nil {
			t.Fatal(err)
		}
		if n := len(rep.Messages); n == 0 || !rep.HasMore && rep.Messages[0].Seq != known+1 || rep.Messages[n-1].Seq != rep.Head {
			t.Errorf("back with %d known: got %d messages up to %d", known, n, rep.Head)
		}
		back.mu.Lock()
		back.head = rep.Head
		back.mu.Unlock()
		lost = back
	}
	talk.more(30)
	last := talk.end()
	for _, g := range append(stay, lost) {
		if declared := g.complete(last); len(declared) > 0 {
			t.Errorf("%s was told of skips: %v", g.name, declared)
		}
	}
}

// through is the seq up to which the guest knows everything.
func (g *guest) through() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	seq := g.head
	for g.seen[seq+1] {
		seq++
	}
	return seq
}
