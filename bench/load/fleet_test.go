package load_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/bench/load"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
)

// TestMain lets the test's program be a load worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "load-worker" {
		if err := load.Work(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// server is one room, one group, or chats, of which everybody is told as plant says. All
// clients speak protobuf.
type server struct {
	t     *testing.T
	crowd bool                                   // everybody is in one group, instead of in pairs
	plant func(member int, push []byte) [][]byte // what the member is sent instead

	mu      sync.Mutex    // guards the fields below and all writing
	stop    time.Duration // for so long the server does nothing, once, at the 10th message
	putOff  int           // so many Auths are refused with advice first
	members []*client
	byUser  map[int64]*client
	seq     int64
}

type client struct {
	conn  net.Conn
	user  int64
	inbox int64
}

// serve listens until the test ends, and tells of each connection before it is served.
func (s *server) serve(connected func()) (address string) {
	t := s.t
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.byUser = map[int64]*client{}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connected()
			tasks.Go(func() { s.read(&client{conn: conn}) })
		}
	})
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	return l.Addr().String()
}

func (s *server) read(c *client) {
	defer c.conn.Close()
	var d frame.Decoder
	buf := make([]byte, 4096)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		if err := d.Feed(buf[:n], 1<<16, func(f frame.Frame) error { return s.handle(c, f) }); err != nil {
			s.t.Error(err)
			return
		}
	}
}

func (s *server) handle(c *client, f frame.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Action {
	case idl.ActionAuth:
		if s.putOff > 0 {
			s.putOff--
			s.send(c, s.frame(idl.ActionError, f.Sequence, &wirepb.Error{Code: idl.CodeUnavailable, RetryAfterMs: 1}))
			return nil
		}
		c.user = int64(100001 + len(s.byUser))
		s.byUser[c.user] = c
		if s.crowd {
			s.members = append(s.members, c)
		}
		s.send(c, s.frame(f.Action, f.Sequence, &accountpb.AuthReply{UserId: c.user}))
	case idl.ActionJoinRoom:
		s.members = append(s.members, c)
		s.send(c, s.frame(f.Action, f.Sequence, &roompb.JoinRoomReply{Head: s.seq}))
	case idl.ActionHeartbeat:
		s.send(c, s.frame(f.Action, f.Sequence, &wirepb.HeartbeatReply{}))
	case idl.ActionMessage:
		var req chatpb.SendRequest
		if err := idl.Decode(f.Body, f.Codec, &req); err != nil {
			return err
		}
		if s.crowd {
			s.tellAll(c, f.Sequence, req.Text)
			return nil
		}
		to := s.byUser[req.ToUserId]
		c.inbox++
		to.inbox++
		s.send(c, s.frame(f.Action, f.Sequence, &chatpb.SendReply{InboxSeq: c.inbox}))
		s.send(to, s.plant(1, s.frame(f.Action, 0, &chatpb.InboxEntry{InboxSeq: to.inbox, Message: &chatpb.Message{Seq: to.inbox, Text: req.Text}}))...)
	case idl.ActionRoomMessage:
		var req roompb.RoomSendRequest
		if err := idl.Decode(f.Body, f.Codec, &req); err != nil {
			return err
		}
		if s.seq++; s.seq == 10 && s.stop > 0 {
			<-time.After(s.stop) // with mu held: nobody is served
		}
		push := s.frame(f.Action, 0, &roompb.RoomMessage{Seq: s.seq, Kind: req.Kind, Text: req.Text})
		for i, m := range s.members {
			s.send(m, s.plant(i, push)...)
		}
		s.send(c, s.frame(f.Action, f.Sequence, &roompb.RoomSendReply{Seq: s.seq}))
	}
	return nil
}

// tellAll commits a message to the crowd's log and to every inbox.
func (s *server) tellAll(from *client, sequence uint32, text string) {
	s.seq++
	for i, m := range s.members {
		m.inbox++
		if m == from {
			s.send(m, s.frame(idl.ActionMessage, sequence, &chatpb.SendReply{Seq: s.seq, InboxSeq: m.inbox}))
			continue
		}
		s.send(m, s.plant(i, s.frame(idl.ActionMessage, 0, &chatpb.InboxEntry{InboxSeq: m.inbox, Message: &chatpb.Message{Seq: s.seq, Text: text}}))...)
	}
}

func (s *server) frame(a idl.Action, sequence uint32, m idl.Message) []byte {
	return framed(s.t, a, sequence, m)
}

func framed(t *testing.T, a idl.Action, sequence uint32, m idl.Message) []byte {
	body, err := m.Marshal(nil)
	if err != nil {
		t.Error(err)
	}
	return frame.Append(nil, frame.Frame{Codec: idl.CodecProtobuf, Action: a, Sequence: sequence, Body: body})
}

func (s *server) send(c *client, frames ...[]byte) {
	for _, f := range frames {
		_, _ = c.conn.Write(f) // a client that is gone needs nothing
	}
}

// faultAt plants once, at a member's n-th push: replace says what is sent instead
// of that one and the next.
func faultAt(n int, replace func(this, next []byte) [][]byte) func(int, []byte) [][]byte {
	count, held := 0, []byte(nil)
	return func(member int, push []byte) [][]byte {
		if member != 1 {
			return [][]byte{push}
		}
		switch count++; count {
		case n:
			held = push
			return nil
		case n + 1:
			return replace(held, push)
		}
		return [][]byte{push}
	}
}

// TestFleetFindsPlantedFaults: over real sockets, whatever a server does wrong once
// among good deliveries is found, and as what it is.
func TestFleetFindsPlantedFaults(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	tests := []struct {
		name    string
		replace func(this, next []byte) [][]byte
		want    load.Checks
	}{
		{"nothing", func(this, next []byte) [][]byte { return [][]byte{this, next} }, load.Checks{}},
		{"lost", func(_, next []byte) [][]byte { return [][]byte{next} }, load.Checks{Lost: 1}},
		{"doubled", func(this, next []byte) [][]byte { return [][]byte{this, this, next} }, load.Checks{Doubled: 1}},
		{"reordered", func(this, next []byte) [][]byte { return [][]byte{next, this} }, load.Checks{Reordered: 1}},
		{"garbled", func(this, next []byte) [][]byte {
			broken := append([]byte(nil), this...)
			for i := frame.HeaderSize; i < len(broken); i++ {
				broken[i] = 0xff
			}
			return [][]byte{broken, this, next}
		}, load.Checks{Garbled: 1}},
		{"declared", func(this, next []byte) [][]byte {
			const third = 3 // the push that is held
			skip := framed(t, idl.ActionRoomHistory, 0, &roompb.RoomSkip{Ranges: []*roompb.SeqRange{{From: third, To: third}}})
			return [][]byte{skip, next}
		}, load.Checks{Skipped: 1}},
	}
	for _, kind := range []string{load.Room, load.Crowd, load.Chat} {
		for _, tt := range tests {
			if kind != load.Room && tt.want.Skipped > 0 {
				continue
			}
			t.Run(kind+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				address := (&server{t: t, crowd: kind == load.Crowd, plant: faultAt(3, tt.replace)}).serve(func() {})
				g := load.Group{Name: "g", Kind: kind, Count: 4, Target: []load.Target{{Address: address}}, Codec: idl.CodecProtobuf, Room: "r", Publishers: 1, Rate: 200}
				if kind == load.Chat {
					g.Count = 2
				}
				got := drive(t, g)
				sound := got.Checks
				sound.Received = 0
				if kind != load.Room && tt.want.Reordered+tt.want.Doubled+tt.want.Lost > 0 {
					// The inbox shows it, and the sender's numbers or the group's log do.
					if sound.Faults() == 0 || sound.Lost > 0 != (tt.want.Lost > 0) || sound.Doubled > 0 != (tt.want.Doubled > 0) || sound.Reordered > 0 != (tt.want.Reordered > 0) {
						t.Errorf("got %+v, want %+v", sound, tt.want)
					}
				} else if sound != tt.want {
					t.Errorf("got %+v, want %+v", sound, tt.want)
				}
				if got.Errors() > 0 || got.Sent < 10 || got.Answered != got.Sent {
					t.Errorf("got %d errors, %d sent, %d answered", got.Errors(), got.Sent, got.Answered)
				}
			})
		}
	}
}

// TestAStopIsChargedToAllThatWereDue: of an open loop, to each message for as long as it
// waited, sent or not. A load that waits itself would show one slow message.
func TestAStopIsChargedToAllThatWereDue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	const rate, stop, long = 200, 300 * time.Millisecond, 100 * time.Millisecond
	s := &server{t: t, stop: stop, plant: func(_ int, push []byte) [][]byte { return [][]byte{push} }}
	g := load.Group{Name: "g", Kind: load.Room, Count: 1, Target: []load.Target{{Address: s.serve(func() {})}}, Codec: idl.CodecProtobuf, Room: "r", Publishers: 1, Rate: rate}
	got, all := driveUntil(t, g, 150) // 750 ms: the stop and more
	if all.Checks.Faults() > 0 || all.Errors() > 0 {
		t.Fatalf("got %+v", all)
	}
	for name, h := range map[string]*load.Histogram{"delivery": &got.Delivery, "answer": &got.Answer} {
		var charged int64
		h.Each(func(d time.Duration, times int64) {
			if d >= long-long/20 { // what a bucket is wide
				charged += times
			}
		})
		if want := int64((stop - long) * rate / time.Second); charged < want {
			t.Errorf("%s: %d messages waited for %v and longer, want %d at least", name, charged, long, want)
		}
		if most := h.Quantile(1); most < stop*9/10 {
			t.Errorf("%s: the longest wait is %v, want %v", name, most, stop)
		}
	}
}

// drive runs a group against its server for a moment.
func drive(t *testing.T, g load.Group) load.Result {
	_, all := driveUntil(t, g, 10)
	return all
}

// driveUntil runs it until so many messages were sent: what was counted by then, with
// latencies, and all that the sessions found.
func driveUntil(t *testing.T, g load.Group, sent int64) (by, all load.Result) {
	f, err := load.StartFleet(1, os.Args[0], "load-worker")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := f.Connect(t.Context(), []load.Plan{{Seed: "s", Dialing: 1, Groups: []load.Group{g}}}, 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if c.Count != int64(g.Count) || c.Took.Count() != c.Count {
		t.Errorf("got %d sessions ready, want %d", c.Count, g.Count)
	}
	if err := f.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(time.Minute); f.Progress().Sent < sent; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("nothing is sent")
		}
	}
	cut, err := f.Cut(t.Context())
	if err != nil || len(cut) != 1 {
		t.Fatalf("got %d results, %v", len(cut), err)
	}
	found, err := f.Finish(t.Context(), 2*time.Second)
	if err != nil || len(found) != 1 {
		t.Fatalf("got %d results, %v", len(found), err)
	}
	return cut[0], found[0]
}

// TestWorkersSayWhatFailed: a server that is not there, one that hangs up, a plan
// that makes no sense.
func TestWorkersSayWhatFailed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for name, address := range map[string]string{"nobody listens": "127.0.0.1:1", "it hangs up": l.Addr().String(), "no address": "nowhere"} {
		t.Run(name, func(t *testing.T) {
			f, err := load.StartFleet(1, os.Args[0], "load-worker")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			g := load.Group{Name: "g", Kind: load.Idle, Count: 2, Target: []load.Target{{Address: address}}}
			if _, err := f.Connect(t.Context(), []load.Plan{{Groups: []load.Group{g}}}, 0, time.Minute); err == nil {
				t.Error("it was called a success")
			}
		})
	}
}

// TestPutOffSessionsAskAgain: who is told when to come again does, and it is counted.
func TestPutOffSessionsAskAgain(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	f, err := load.StartFleet(1, os.Args[0], "load-worker")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	address := (&server{t: t, putOff: 3}).serve(func() {})
	c, err := f.Connect(t.Context(), []load.Plan{{Dialing: 2, Groups: []load.Group{{
		Name: "g", Kind: load.Idle, Count: 4, Target: []load.Target{{Address: address}}, Codec: idl.CodecProtobuf}}}}, 0, time.Minute)
	if err != nil || c.Count != 4 || c.Failed != 3 {
		t.Fatalf("got %+v, %v; want 4 connected and 3 attempts put off", c, err)
	}
}

// TestSessionsFillOneTargetAfterTheOther: in three workers, one after the other.
func TestSessionsFillOneTargetAfterTheOther(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	const workers, each = 3, 4
	var mu sync.Mutex
	var order []int // the targets, as they are connected to
	targets := make([]load.Target, 2)
	for i := range targets {
		targets[i].Address = (&server{t: t}).serve(func() {
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
	}
	f, err := load.StartFleet(workers, os.Args[0], "load-worker")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var plans []load.Plan
	for w := range workers {
		plans = append(plans, load.Plan{Dialing: 1, Groups: []load.Group{{
			Name: "g", Kind: load.Idle, First: w * each, Count: each, At: w * each, Of: workers * each, Target: targets, Codec: idl.CodecProtobuf}}})
	}
	c, err := f.Connect(t.Context(), plans, 1, time.Minute)
	if err != nil || c.Count != workers*each {
		t.Fatalf("got %+v, %v", c, err)
	}
	if want := []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}
