package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/roompb"
)

// roomDiary is a handler that writes down what it is told of rooms.
func roomDiary(d *diary) client.Handler {
	return client.Handler{
		RoomMessage: func(_ context.Context, m *client.RoomEntry) { d.note("%d %s", m.Seq, m.Text) },
		RoomSkip: func(_ context.Context, p *roompb.RoomSkip) {
			for _, r := range p.Ranges {
				d.note("skip %d-%d %d", r.From, r.To, p.Reason)
			}
		},
		RoomLeft: func(_ context.Context, l client.RoomLeft) {
			d.note("left %s %v %v", l.Room, l.Reason, client.CodeOf(l.Err))
		},
	}
}

// inFake is a session of a new account at f.
func inFake(t *testing.T, f *clienttest.Fake, account string, change func(*client.Options)) *client.Session {
	t.Helper()
	o := client.Options{Address: "tcp://fake:1", Dial: f.Dial, Codec: idl.CodecProtobuf}
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SignUp(t.Context(), account, "password", ""); err != nil {
		t.Fatal(err)
	}
	in, err := c.SignIn(t.Context(), account, "password", &accountpb.Device{Id: "d", Type: idl.DeviceDesktop})
	if err != nil {
		t.Fatal(err)
	}
	o.Token = in.Token
	if change != nil {
		change(&o)
	}
	s, err := client.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSendRoomAnsweredWithNonsense: whoever sends hears of it. The connection goes on, so
// waiting for its end would be for ever.
func TestSendRoomAnsweredWithNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, _ := joined(t, forms()[0], nil)
		in := make(chan error, 1)
		go func() {
			_, err := s.Join(t.Context(), client.JoinRoom{Room: "lobby"})
			in <- err
		}()
		peer.Answer(peer.Expect(idl.ActionJoinRoom, nil), &roompb.JoinRoomReply{Info: &roompb.RoomInfo{Room: "lobby"}})
		if err := <-in; err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := s.SendRoom(t.Context(), client.RoomOutgoing{Room: "lobby", Text: "hi"})
			sent <- err
		}()
		r := peer.Expect(idl.ActionRoomMessage, nil)
		r.Action = idl.ActionRoomInfo
		peer.Send(r)
		select {
		case err := <-sent:
			if err == nil || client.CodeOf(err) != 0 {
				t.Errorf("got %v, want an error that is no refusal", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("who sends hears nothing")
			peer.Cut()
		}
	})
}

func lines(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf("%d text %d", i, i))
	}
	return all
}

// say has messages from to to committed.
func say(f *clienttest.Fake, from, to int, told bool) {
	for i := from; i <= to; i++ {
		f.SayInRoom("lobby", fmt.Sprint("text ", i), told)
	}
}

// inLobby is a fake with ten messages in its lobby, and a session that has joined
// it and been told the last three.
func inLobby(t *testing.T, o clienttest.FakeOptions, change func(*client.Options)) (*clienttest.Fake, *client.Session, *diary) {
	t.Helper()
	f := clienttest.NewFake(o)
	t.Cleanup(f.Close)
	say(f, 1, 10, true)
	d := new(diary)
	s := inFake(t, f, "alice", func(o *client.Options) {
		o.Handler = roomDiary(d)
		if change != nil {
			change(o)
		}
	})
	rep, err := s.Join(t.Context(), client.JoinRoom{Room: "lobby", Last: 3})
	if err != nil || rep.Head != 10 {
		t.Fatalf("got %v, %v", rep, err)
	}
	d.expect(t, lines(8, 10)...)
	return f, s, d
}

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, d := inLobby(t, clienttest.FakeOptions{}, nil)
		say(f, 11, 12, true)
		say(f, 13, 14, false)
		d.expect(t, append(lines(11, 12), "skip 13-13 1", "skip 14-14 1")...)

		rep, err := s.SendRoom(t.Context(), client.RoomOutgoing{Room: "lobby", Text: "mine"})
		if err != nil || rep.Seq != 15 {
			t.Fatalf("got %v, %v", rep, err)
		}
		d.expect(t, "15 mine")

		if err := s.Leave(t.Context(), "lobby"); err != nil {
			t.Fatal(err)
		}
		say(f, 16, 16, true)
		d.expect(t)
		if err := s.Leave(t.Context(), "lobby"); !errors.Is(err, client.ErrNotInRoom) {
			t.Errorf("leaving twice: got %v", err)
		}
		if _, err := s.SendRoom(t.Context(), client.RoomOutgoing{Room: "lobby", Text: "x"}); !errors.Is(err, client.ErrNotInRoom) {
			t.Errorf("sending without being in: got %v", err)
		}
	})
}

// TestRoomMessageInNoLog: it is told and takes no seq.
func TestRoomMessageInNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, d := inLobby(t, clienttest.FakeOptions{}, nil)
		f.ShowInRoom("lobby", "aside")
		say(f, 11, 12, true)
		d.expect(t, append([]string{"0 aside"}, lines(11, 12)...)...)
	})
}

// TestRoomCatchesUp: who comes back gets what he missed in order, before what is
// pushed meanwhile, and past a bound is told what is skipped.
func TestRoomCatchesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until int
		want  []string
	}{
		{"one page", 60, lines(11, 60)},
		{"some pages", 360, lines(11, 360)},
		{"too much", 2000, append(append(lines(11, 1010), "skip 1011-1900 2"), lines(1901, 2001)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s, d := inLobby(t, clienttest.FakeOptions{}, func(o *client.Options) { o.Queue = 4096 })
				f.CutAll()
				say(f, 11, tt.until, true)
				time.Sleep(time.Minute) // in the bubble
				if err := s.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if tt.until == 2000 {
					say(f, 2001, 2001, true)
				}
				d.expect(t, want...)
			})
		})
	}
}

// TestRoomJoinedAgain: joining a room that one is in, while others speak, loses
// nothing; nor does another spelling of its name.
func TestRoomJoinedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *clienttest.Fake
		o := clienttest.FakeOptions{Disturb: func(up bool, fr frame.Frame) clienttest.Disturbance {
			if up && fr.Action == idl.ActionJoinRoom && f != nil { // a push that comes before the answer
				go say(f, 11, 11, true)
			}
			return clienttest.Pass
		}}
		fake, s, d := inLobby(t, o, nil)
		f = fake
		rep, err := s.Join(t.Context(), client.JoinRoom{Room: "LOBBY", After: 10})
		if err != nil || rep.GetInfo().GetRoom() != "lobby" {
			t.Fatalf("got %v, %v", rep, err)
		}
		d.expect(t, lines(11, 11)...)
		if _, err := s.SendRoom(t.Context(), client.RoomOutgoing{Room: "LOBBY", Text: "text 12"}); err != nil {
			t.Fatal(err)
		}
		d.expect(t, lines(12, 12)...)
		if err := s.Leave(t.Context(), "LOBBY"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRoomClosed: taken out, and not let in again.
func TestRoomClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, d := inLobby(t, clienttest.FakeOptions{}, nil)
		f.CloseRoom("lobby")
		d.expect(t, "left lobby ROOM_LEFT_CLOSED CODE_UNKNOWN")
		if _, err := s.Join(t.Context(), client.JoinRoom{Room: "lobby"}); client.CodeOf(err) != idl.CodeNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestRoomClosedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, d := inLobby(t, clienttest.FakeOptions{}, nil)
		f.CutAll()
		f.CloseRoom("lobby")
		time.Sleep(time.Minute) // in the bubble
		d.expect(t, "left lobby ROOM_LEFT_UNKNOWN CODE_NOT_FOUND")
	})
}

// TestSlowRoomHandler: what the handler cannot take is told as skipped, and the
// session goes on.
func TestSlowRoomHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		d := new(diary)
		f, _, _ := inLobby(t, clienttest.FakeOptions{}, nil)
		s := inFake(t, f, "bob", func(o *client.Options) {
			o.Queue, o.Handler = 4, roomDiary(d)
			o.Handler.RoomMessage = func(_ context.Context, m *client.RoomEntry) {
				<-gate
				d.note("%d %s", m.Seq, m.Text)
			}
		})
		if _, err := s.Join(t.Context(), client.JoinRoom{Room: "lobby", Last: -1}); err != nil {
			t.Fatal(err)
		}
		say(f, 11, 11, true)
		synctest.Wait() // the handler has it
		say(f, 12, 30, true)
		synctest.Wait()
		close(gate)
		d.expect(t, append(lines(11, 15), "skip 16-30 2")...)
		say(f, 31, 31, true)
		d.expect(t, lines(31, 31)...)
	})
}

// TestRoomThroughFaults: over connections that are cut at random, every seq is told
// once or declared skipped, and every send is committed once.
func TestRoomThroughFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			faults := 30
			o := clienttest.FakeOptions{Disturb: func(up bool, f frame.Frame) clienttest.Disturbance {
				if faults == 0 || f.Action < idl.ActionJoinRoom || r.IntN(12) > 0 {
					return clienttest.Pass
				}
				faults--
				return []clienttest.Disturbance{clienttest.Twice, clienttest.CutBefore, clienttest.CutAfter}[r.IntN(3)]
			}}
			f := clienttest.NewFake(o)
			defer f.Close()
			d := new(diary)
			s := inFake(t, f, "alice", func(o *client.Options) { o.Handler, o.Queue = roomDiary(d), 1024 })
			if _, err := s.Join(t.Context(), client.JoinRoom{Room: "lobby"}); err != nil {
				t.Fatal(err)
			}
			const sends = 60
			for i := range sends {
				if _, err := s.SendRoom(t.Context(), client.RoomOutgoing{Room: "lobby", Text: fmt.Sprint("mine ", i)}); err != nil {
					t.Fatalf("seed %d: send %d: %v", seed, i, err)
				}
			}
			time.Sleep(time.Minute) // in the bubble
			var want []string
			for i := range sends {
				want = append(want, fmt.Sprintf("%d mine %d", i+1, i))
			}
			got := slices.DeleteFunc(d.read(), func(l string) bool { return strings.HasPrefix(l, "skip") })
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: got %q", seed, got)
			}
			s.Close()
		})
	}
}
