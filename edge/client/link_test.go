package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

func TestSessionResumes(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		start := time.Now()
		peer.Cut()
		peer = srv.Accept()
		if pause := time.Since(start); pause < 250*time.Millisecond || pause > time.Second {
			t.Errorf("connected again after %v, want 0.25-1 s", pause)
		}
		asked := peer.Welcome(auth("e1", 2), &chatpb.SyncReply{Entries: entries(2, 2), Head: 2, ReceiptsHead: 5})
		if asked.AfterSeq != 1 {
			t.Errorf("got sync after %d, want 1", asked.AfterSeq)
		}
		expectAck(t, peer, 2)
		d.expect(t, "message 1 text 1", "disconnected", "connected 1", "message 2 text 2")
		peer.Cut()
		asked = srv.Accept().Welcome(auth("e1", 2), new(chatpb.SyncReply))
		if asked.AfterSeq != 2 || asked.ReceiptsAfter != 5 {
			t.Errorf("got sync %+v, want after 2 and 5", asked)
		}
	})
}

func TestQuitSaysWhenToComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, peer, d := joined(t, f, nil)
		start := time.Now()
		peer.Quit(&wirepb.Quit{Reason: idl.CloseShutdown, Reconnect: true, RetryAfterMs: 5000, JitterMs: 2000})
		peer = srv.Accept()
		if pause := time.Since(start); pause < 5*time.Second || pause > 7*time.Second {
			t.Errorf("connected again after %v, want 5-7 s", pause)
		}
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		d.expect(t, "disconnected", "connected 1")
	})
}

// TestSessionGoesToTheNextAddress: sent away, cut off or not let in, a session
// tries another edge, and comes round to the first again.
func TestSessionGoesToTheNextAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		var mu sync.Mutex
		var dialed []string
		s, srv, peer, _ := joined(t, f, func(o *client.Options) {
			o.Addresses = []string{f.wire.Scheme() + "://two.test:2/ws", f.wire.Scheme() + "://three.test:3/ws"}
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				dialed = append(dialed, address)
				mu.Unlock()
				return dial(ctx, network, address)
			}
		})
		peer.Quit(&wirepb.Quit{Reason: idl.CloseShutdown, Reconnect: true})
		peer = srv.Accept()
		peer.Refuse(peer.Expect(idl.ActionAuth, nil), &wirepb.Error{Code: idl.CodeUnavailable})
		for range 2 {
			peer = srv.Accept()
			peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
			peer.Cut()
		}
		srv.Accept().Welcome(auth("e1", 0), new(chatpb.SyncReply))
		if err := s.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"im.test:1", "two.test:2", "three.test:3", "im.test:1", "two.test:2"}
		if !slices.Equal(dialed, want) {
			t.Errorf("dialed %v, want %v", dialed, want)
		}
	})
}

// TestDialTriesEveryAddress: Dial gives the first that can be reached, and says
// what was wrong with each when none can.
func TestDialTriesEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := clienttest.NewServer(t, clienttest.TCP)
		o := client.Options{Address: "tcp://one:1", Addresses: []string{"tcp://two:2", "tcp://three:3"}}
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "two:2" {
				return srv.Dial(ctx, network, address)
			}
			return nil, errors.New("nobody at " + address)
		}
		go srv.Accept()
		c, err := client.Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		o.Addresses = o.Addresses[1:]
		if _, err := client.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), "one:1") || !strings.Contains(err.Error(), "three:3") {
			t.Errorf("got %v", err)
		}
	})
}

func TestQuitForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, srv, peer, d := joined(t, f, nil)
		p := send(t, s, "hi")
		peer.Expect(idl.ActionMessage, nil)
		peer.Push(idl.ActionMessage, entry(1)) // behind the gap that the send may fill
		peer.Quit(&wirepb.Quit{Reason: idl.CloseKicked, Message: "newer sign-in"})
		<-s.Done()
		q, ok := errors.AsType[*client.Quit](s.Err())
		if !ok || q.Reason != idl.CloseKicked {
			t.Errorf("got %v, want a Quit", s.Err())
		}
		if _, err := p.Wait(t.Context()); err != s.Err() || p.State() != client.GivenUp {
			t.Errorf("the pending send: got %v, %v", p.State(), err)
		}
		if _, err := s.Send(t.Context(), client.Outgoing{To: bob, Text: "more"}); err != s.Err() {
			t.Errorf("Send: got %v", err)
		}
		if _, err := s.Devices(t.Context()); err != s.Err() {
			t.Errorf("Devices: got %v", err)
		}
		if err := s.Ready(t.Context()); err != s.Err() {
			t.Errorf("Ready: got %v", err)
		}
		if err := s.Ack(t.Context(), chat, 1); err != s.Err() {
			t.Errorf("Ack: got %v", err)
		}
		d.expect(t, "message 1 text 1", "disconnected", "ended "+s.Err().Error())
		time.Sleep(time.Hour)
		if n := srv.Dials(); n != 1 {
			t.Errorf("dialed %d times, want once", n)
		}
	})
}

func TestAuthRefused(t *testing.T) {
	tests := []struct {
		name  string
		code  idl.Code
		again bool
	}{
		{"token not valid", idl.CodeUnauthenticated, false},
		{"not allowed", idl.CodePermissionDenied, false},
		{"no core", idl.CodeUnavailable, true},
		{"too often", idl.CodeRateLimited, true},
		{"server's fault", idl.CodeInternal, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, srv, d := opened(t, forms()[0], nil)
				peer := srv.Accept()
				start := time.Now()
				peer.Refuse(peer.Expect(idl.ActionAuth, nil), &wirepb.Error{Code: tt.code, RetryAfterMs: 3000})
				if !tt.again {
					<-s.Done()
					if client.CodeOf(s.Err()) != tt.code {
						t.Errorf("got %v, want %v", s.Err(), tt.code)
					}
					d.expect(t, "disconnected", "ended "+s.Err().Error())
					return
				}
				peer = srv.Accept()
				if pause := time.Since(start); pause < 3*time.Second {
					t.Errorf("tried again after %v, want 3 s", pause)
				}
				peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
				d.expect(t, "disconnected", "connected 1")
			})
		})
	}
}

// TestSessionOutlivesItsGhost: an Auth whose connection broke may be taken late, and
// then ends the session that lives. That is no other client of the device's, so the
// session comes back; a while later it would be one.
func TestSessionOutlivesItsGhost(t *testing.T) {
	replaced := &wirepb.Quit{Reason: idl.CloseReplaced, Message: "the device has a newer session"}
	inBubble(t, func(t *testing.T, f form) {
		s, srv, d := opened(t, f, nil)
		peer := srv.Accept()
		peer.Expect(idl.ActionAuth, nil)
		peer.Cut()
		peer = srv.Accept()
		peer.Refuse(peer.Expect(idl.ActionAuth, nil), &wirepb.Error{Code: idl.CodePermissionDenied})
		peer = srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		peer.Quit(replaced)
		peer = srv.Accept()
		quiet := auth("e1", 0)
		quiet.HeartbeatMs = (2 * time.Minute).Milliseconds()
		peer.Welcome(quiet, new(chatpb.SyncReply))
		time.Sleep(time.Minute)
		peer.Quit(replaced)
		<-s.Done()
		if q, ok := errors.AsType[*client.Quit](s.Err()); !ok || q.Reason != idl.CloseReplaced {
			t.Errorf("ended with %v, want %v", s.Err(), idl.CloseReplaced)
		}
		d.expect(t, "disconnected", "disconnected", "connected 1", "disconnected", "connected 1", "disconnected", "ended "+s.Err().Error())
	})
}

// TestPausesGrow: while nobody answers, attempts become rare, and never stop.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, d := opened(t, forms()[0], nil)
		srv.Down(errors.New("no route"))
		time.Sleep(time.Minute)
		if n := srv.Dials(); n < 6 || n > 12 {
			t.Errorf("%d attempts in the first minute, want about 8", n)
		}
		before := srv.Dials()
		time.Sleep(10 * time.Minute)
		if n := srv.Dials() - before; n < 20 || n > 80 {
			t.Errorf("%d attempts in ten minutes, want one in 7.5 to 30 s", n)
		}
		srv.Down(nil)
		srv.Accept().Welcome(auth("e1", 0), new(chatpb.SyncReply))
		if last := d.read(); last[len(last)-1] != "connected 1" {
			t.Errorf("got %v", last)
		}
	})
}

// TestPausesDependOnTheLastConnection: after a good one they are short again,
// after one that was cut at once they grow.
func TestPausesDependOnTheLastConnection(t *testing.T) {
	tests := []struct {
		name     string
		lives    time.Duration
		min, max time.Duration // of the sixth pause
	}{
		{"good", time.Minute, 0, time.Second},
		{"cut at once", 0, 7 * time.Second, 31 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, srv, _ := opened(t, forms()[1], func(o *client.Options) { o.AnswerTimeout = time.Hour })
				peer := srv.Accept()
				var pause time.Duration
				for range 6 {
					peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
					time.Sleep(tt.lives)
					start := time.Now()
					peer.Cut()
					peer = srv.Accept()
					pause = time.Since(start)
				}
				if pause < tt.min || pause > tt.max {
					t.Errorf("got a pause of %v, want %v to %v", pause, tt.min, tt.max)
				}
			})
		})
	}
}

// TestSilenceIsADeadConnection: what is not answered in time is asked again on
// another connection.
func TestSilenceIsADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, _ := joined(t, forms()[1], nil)
		p := send(t, s, "hi")
		first := new(chatpb.SendRequest)
		peer.Expect(idl.ActionMessage, first)
		peer = srv.Accept() // after AnswerTimeout
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		second := new(chatpb.SendRequest)
		r := peer.Expect(idl.ActionMessage, second)
		if !reflect.DeepEqual(second, first) {
			t.Errorf("sent %+v, then %+v", first, second)
		}
		peer.Answer(r, &chatpb.SendReply{MessageId: "M1", ConversationId: chat, Seq: 1, InboxSeq: 1})
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHeartbeatsOnlyInSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, _ := joined(t, f, nil)
		last := time.Now()
		beat := func() {
			t.Helper()
			r := peer.Expect(idl.ActionHeartbeat, nil)
			if d := time.Since(last); d != 30*time.Second {
				t.Errorf("heartbeat after %v, want 30 s", d)
			}
			last = time.Now()
			peer.Answer(r, new(wirepb.HeartbeatReply))
		}
		beat()
		time.Sleep(20 * time.Second)
		found := calling(func() error { _, err := s.FindUser(t.Context(), "bob"); return err })
		peer.Answer(peer.Expect(idl.ActionFindUser, nil), new(accountpb.FindUserReply))
		if err := <-found; err != nil {
			t.Error(err)
		}
		last = time.Now()
		beat()
		beat()
	})
}

func TestHeartbeatsGoOnAfterACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, peer, _ := joined(t, forms()[1], nil)
		peer.Expect(idl.ActionHeartbeat, nil) // not answered
		peer.Cut()
		peer = srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		peer.Expect(idl.ActionHeartbeat, nil)
	})
}

func TestSessionCallEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, _ := joined(t, forms()[0], nil)
		lost := calling(func() error { _, err := s.Devices(t.Context()); return err })
		peer.Expect(idl.ActionListDevices, nil)
		peer.Cut()
		if err := <-lost; !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the connection", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		next := calling(func() error { _, err := s.Devices(ctx); return err })
		peer = srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 0))
		for range 2 { // the sync and the call, whichever comes first
			switch r, _ := peer.Next(); r.Action {
			case idl.ActionSync:
				peer.Answer(r, &chatpb.SyncReply{Epoch: "e1"})
			case idl.ActionListDevices:
				peer.Answer(r, new(accountpb.ListDevicesReply))
			}
		}
		if err := <-next; err != nil {
			t.Errorf("a call that waited for the connection: %v", err)
		}
		peer.Cut()
		synctest.Wait()
		if _, err := s.Devices(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the context ended", err)
		}
	})
}
