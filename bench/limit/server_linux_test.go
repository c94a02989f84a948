package limit_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"freeim/bench/limit"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// start runs a server until the test ends; the counts come when it has ended.
func start(t *testing.T, mode limit.Mode) (addr string, stop func() limit.Counts) {
	t.Helper()
	s, err := limit.Listen(limit.Options{Addr: "127.0.0.1:0", Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var counts limit.Counts
	done := make(chan error, 1)
	go func() {
		var err error
		counts, err = s.Run(ctx)
		done <- err
	}()
	var stopped bool
	stop = func() limit.Counts {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return counts
	}
	t.Cleanup(func() { stop() })
	return s.Addr(), stop
}

// client speaks the protocol over a socket of its own.
type client struct {
	t     *testing.T
	conn  net.Conn
	codec idl.Codec
	in    frame.Decoder
	got   []frame.Frame
}

func dial(t *testing.T, addr string, codec idl.Codec) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, conn: conn, codec: codec}
	c.call(idl.ActionAuth, &accountpb.AuthRequest{Token: "anything"}, &accountpb.AuthReply{})
	return c
}

func (c *client) send(action idl.Action, sequence uint32, body idl.Message) {
	c.t.Helper()
	octets, err := idl.Append(nil, c.codec, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(frame.Append(nil, frame.Frame{Codec: c.codec, Action: action, Sequence: sequence, Body: octets})); err != nil {
		c.t.Fatal(err)
	}
}

// next gives the next frame.
func (c *client) next() frame.Frame {
	c.t.Helper()
	buffer := make([]byte, 32<<10)
	for len(c.got) == 0 {
		n, err := c.conn.Read(buffer)
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		err = c.in.Feed(buffer[:n], 1<<20, func(f frame.Frame) error {
			f.Body = append([]byte(nil), f.Body...)
			c.got = append(c.got, f)
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	f := c.got[0]
	c.got = c.got[1:]
	return f
}

// expect reads the next frame, which must be of an action, into a body.
func (c *client) expect(action idl.Action, body idl.Message) frame.Frame {
	c.t.Helper()
	f := c.next()
	if f.Action != action || f.Codec != c.codec {
		c.t.Fatalf("got action %v in %v: %s, want %v in %v", f.Action, f.Codec, f.Body, action, c.codec)
	}
	if err := idl.Decode(f.Body, f.Codec, body); err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) call(action idl.Action, ask, answer idl.Message) {
	c.t.Helper()
	c.send(action, 7, ask)
	if f := c.expect(action, answer); f.Sequence != 7 {
		c.t.Fatalf("answer to %d, want 7", f.Sequence)
	}
}

func TestRoomReachesAll(t *testing.T) {
	const members, messages = 40, 50
	for _, mode := range []limit.Mode{limit.Single, limit.Joined} {
		t.Run(string(mode), func(t *testing.T) {
			addr, stop := start(t, mode)
			var all []*client
			for i := range members {
				c := dial(t, addr, idl.Codec(i%2))
				reply := &roompb.JoinRoomReply{}
				c.call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "r"}, reply)
				if reply.Info.Members != int64(i+1) || reply.Head != 0 {
					t.Fatalf("join: got %v", reply)
				}
				all = append(all, c)
			}
			for i := range messages { // all under way at once
				all[0].send(idl.ActionRoomMessage, uint32(i+1), &roompb.RoomSendRequest{Room: "r", ClientId: fmt.Sprint(i), Text: strings.Repeat("x", 128)})
			}
			for i, c := range all {
				answers, pushes := 0, 0
				for pushes < messages || i == 0 && answers < messages {
					f := c.next()
					switch {
					case f.Sequence != 0:
						answers++
						reply := &roompb.RoomSendReply{}
						if err := idl.Decode(f.Body, f.Codec, reply); err != nil || reply.Seq != int64(answers) || f.Sequence != uint32(answers) {
							t.Fatalf("answer %d: got %v for %d, %v", answers, reply, f.Sequence, err)
						}
					default:
						pushes++
						m := &roompb.RoomMessage{}
						if err := idl.Decode(f.Body, f.Codec, m); err != nil || m.Seq != int64(pushes) || m.ClientId != fmt.Sprint(pushes-1) || len(m.Text) != 128 || m.SenderId != 1 {
							t.Fatalf("push %d to client %d: got %v, %v", pushes, i, m, err)
						}
					}
				}
			}
			counts := stop()
			const deliveries = members * messages
			if mode == limit.Single && counts.Writes < deliveries {
				t.Errorf("%v: fewer writes than %d deliveries", counts, deliveries)
			}
			if counts.Accepted != members || counts.Closed != 0 {
				t.Errorf("got %v", counts)
			}
		})
	}
}

func TestComingAndGoing(t *testing.T) {
	addr, _ := start(t, limit.Single)
	a, b, c := dial(t, addr, idl.CodecProtobuf), dial(t, addr, idl.CodecProtobuf), dial(t, addr, idl.CodecJSON)
	for _, each := range []*client{a, b, c} {
		each.call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "r"}, &roompb.JoinRoomReply{})
		each.call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "r"}, &roompb.JoinRoomReply{}) // once more is no second seat
	}
	say := func(from *client, text string) {
		from.send(idl.ActionRoomMessage, 0, &roompb.RoomSendRequest{Room: "r", ClientId: "1", Text: text}) // no answer is asked for
	}
	hear := func(who *client, text string) {
		t.Helper()
		m := &roompb.RoomMessage{}
		if who.expect(idl.ActionRoomMessage, m); m.Text != text {
			t.Fatalf("got %q, want %q", m.Text, text)
		}
	}
	say(c, "one")
	for _, each := range []*client{a, b, c} {
		hear(each, "one")
	}
	left := &roompb.LeaveRoomReply{}
	if a.call(idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: "r"}, left); !left.WasIn {
		t.Error("a was in the room")
	}
	left = &roompb.LeaveRoomReply{}
	if a.call(idl.ActionLeaveRoom, &roompb.LeaveRoomRequest{Room: "r"}, left); left.WasIn {
		t.Error("a left twice")
	}
	refusal := &wirepb.Error{}
	say(a, "outside")
	if a.expect(idl.ActionError, refusal); refusal.Code != idl.CodePermissionDenied {
		t.Errorf("got %v", refusal)
	}
	b.conn.Close()
	say(c, "two")
	hear(c, "two")
	a.call(idl.ActionHeartbeat, &wirepb.HeartbeatRequest{}, &wirepb.HeartbeatReply{}) // and nothing came between
	a.send(idl.ActionHistory, 9, &wirepb.HeartbeatRequest{})
	if a.expect(idl.ActionError, refusal); refusal.Code != idl.CodeUnknownAction {
		t.Errorf("got %v", refusal)
	}
}

// A client that does not read is closed once too much waits for it, and the others
// get everything.
func TestFullSocket(t *testing.T) {
	addr, stop := start(t, limit.Joined)
	stalled, reader := dial(t, addr, idl.CodecProtobuf), dial(t, addr, idl.CodecProtobuf)
	for _, each := range []*client{stalled, reader} {
		each.call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "r"}, &roompb.JoinRoomReply{})
	}
	text := strings.Repeat("x", 60<<10)
	const messages = 400 // 24 MB, more than sockets and the server keep
	for i := range messages {
		reader.send(idl.ActionRoomMessage, 0, &roompb.RoomSendRequest{Room: "r", ClientId: "1", Text: text})
		m := &roompb.RoomMessage{}
		if reader.expect(idl.ActionRoomMessage, m); m.Seq != int64(i+1) || len(m.Text) != len(text) {
			t.Fatalf("got seq %d with %d octets, want %d", m.Seq, len(m.Text), i+1)
		}
	}
	if counts := stop(); counts.Closed != 1 || counts.Full == 0 {
		t.Errorf("got %v, want one closed", counts)
	}
}

// What is no frame ends a client.
func TestBadBytes(t *testing.T) {
	addr, stop := start(t, limit.Single)
	c := dial(t, addr, idl.CodecProtobuf)
	if _, err := c.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.conn.Read(make([]byte, 10)); err == nil {
		t.Errorf("got %d octets, want the end", n)
	}
	if counts := stop(); counts.Closed != 1 {
		t.Errorf("got %v", counts)
	}
}

// A client that reads late gets what waited.
func TestLateReader(t *testing.T) {
	addr, stop := start(t, limit.Joined)
	late, other := dial(t, addr, idl.CodecProtobuf), dial(t, addr, idl.CodecProtobuf)
	for _, each := range []*client{late, other} {
		each.call(idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: "r"}, &roompb.JoinRoomReply{})
	}
	text := strings.Repeat("x", 60<<10)
	const messages = 72 // 4.3 MB: more than most sockets take, less than that and what the server keeps
	for range messages {
		other.send(idl.ActionRoomMessage, 0, &roompb.RoomSendRequest{Room: "r", ClientId: "1", Text: text})
		other.expect(idl.ActionRoomMessage, &roompb.RoomMessage{})
	}
	for i := range messages {
		m := &roompb.RoomMessage{}
		if late.expect(idl.ActionRoomMessage, m); m.Seq != int64(i+1) {
			t.Fatalf("got seq %d, want %d", m.Seq, i+1)
		}
	}
	if counts := stop(); counts.Closed != 0 {
		t.Errorf("got %v, want none closed", counts)
	} else if counts.Full == 0 {
		t.Logf("SKIPPED: a full socket: this system's took all 4.3 MB")
	}
}

func TestListenRefuses(t *testing.T) {
	for _, o := range []limit.Options{{Addr: "nowhere"}, {Addr: "[::1]:0"}, {Addr: "127.0.0.1:0", Mode: "both"}, {Addr: "192.0.2.1:1"}} {
		if _, err := limit.Listen(o); err == nil {
			t.Errorf("%+v: it listens", o)
		}
	}
}
