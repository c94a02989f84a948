package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// form is one way in which frames travel.
type form struct {
	name  string
	wire  clienttest.Wire
	codec idl.Codec
	text  bool
}

// forms are all of them.
func forms() []form {
	return []form{
		{"tcp json", clienttest.TCP, idl.CodecJSON, false},
		{"tcp protobuf", clienttest.TCP, idl.CodecProtobuf, false},
		{"websocket json", clienttest.WebSocket, idl.CodecJSON, false},
		{"websocket protobuf", clienttest.WebSocket, idl.CodecProtobuf, false},
		{"websocket text", clienttest.WebSocket, idl.CodecJSON, true},
	}
}

func (f form) options(dial *clienttest.Server) client.Options {
	return client.Options{
		Address: f.wire.Scheme() + "://im.test:1/ws", Codec: f.codec, Text: f.text, Dial: dial.Dial,
	}
}

// inBubble runs test in every form, each in a bubble of virtual time.
func inBubble(t *testing.T, test func(t *testing.T, f form)) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, f) })
		})
	}
}

// dialed is a connected Client and its peer.
func dialed(t *testing.T, f form, change func(*client.Options)) (*client.Client, *clienttest.Peer) {
	t.Helper()
	srv := clienttest.NewServer(t, f.wire)
	o := f.options(srv)
	if change != nil {
		change(&o)
	}
	type result struct {
		c   *client.Client
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := client.Dial(t.Context(), o)
		done <- result{c, err}
	}()
	peer := srv.Accept()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.c.Close() })
	return r.c, peer
}

// calling runs a call in the background and gives its result.
func calling(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

func TestCallGetsItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		var got *accountpb.SignInReply
		done := calling(func() (err error) {
			got, err = c.SignIn(t.Context(), "alice", "secret", &accountpb.Device{Id: "d1", Type: idl.DeviceDesktop})
			return err
		})
		var asked accountpb.SignInRequest
		r := peer.Expect(idl.ActionSignIn, &asked)
		if asked.Account != "alice" || asked.Device.Id != "d1" || r.Codec != f.codec || r.Sequence == 0 {
			t.Errorf("got request %+v with body %+v", r, asked)
		}
		peer.Answer(r, &accountpb.SignInReply{Token: "t", UserId: 7})
		if err := <-done; err != nil || got.Token != "t" || got.UserId != 7 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestRefusalIsTyped(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		done := calling(func() error { _, err := c.SignUp(t.Context(), "a", "b", ""); return err })
		peer.Refuse(peer.Expect(idl.ActionSignUp, nil), &wirepb.Error{
			Code: idl.CodeInvalidArgument, Message: "must have 8-128 characters", Field: "password", RetryAfterMs: 1500,
		})
		want := client.Refusal{
			Action: idl.ActionSignUp, Code: idl.CodeInvalidArgument, Message: "must have 8-128 characters",
			Field: "password", RetryAfter: 1500 * time.Millisecond,
		}
		err := <-done
		got, ok := errors.AsType[*client.Refusal](err)
		if !ok || *got != want {
			t.Errorf("got %v, want %+v", err, want)
		}
		if client.CodeOf(err) != idl.CodeInvalidArgument {
			t.Errorf("got code %v", client.CodeOf(err))
		}
	})
}

// TestFramesInPieces sends an answer and two pushes octet by octet, then all at once.
func TestFramesInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		var mu sync.Mutex
		var pushes []string
		c, peer := dialed(t, f, func(o *client.Options) {
			o.OnPush = func(p client.Push) {
				var e chatpb.InboxEntry
				err := p.Decode(&e)
				mu.Lock()
				defer mu.Unlock()
				pushes = append(pushes, fmt.Sprint(p.Action, e.InboxSeq, err))
			}
		})
		for _, piece := range []int{1, 7, 1 << 20} {
			pushes = nil
			done := calling(func() error { return c.Heartbeat(t.Context()) })
			r := peer.Expect(idl.ActionHeartbeat, nil)
			push := encoded(t, f.codec, &chatpb.InboxEntry{InboxSeq: 5, Message: &chatpb.Message{Id: "x"}})
			out := peer.Encode(frame.Frame{Codec: f.codec, Action: idl.ActionMessage, Body: push})
			out = append(out, peer.Encode(frame.Frame{Codec: f.codec, Action: idl.ActionHeartbeat, Sequence: r.Sequence})...)
			out = append(out, peer.Encode(frame.Frame{Codec: f.codec, Action: idl.ActionMessage, Body: push})...)
			for len(out) > 0 {
				n := min(piece, len(out))
				peer.Write(out[:n])
				out = out[n:]
			}
			if err := <-done; err != nil {
				t.Fatalf("pieces of %d: %v", piece, err)
			}
			synctest.Wait()
			want := fmt.Sprint(idl.ActionMessage, 5, error(nil))
			if len(pushes) != 2 || pushes[0] != want || pushes[1] != want {
				t.Errorf("pieces of %d: got pushes %v, want %v twice", piece, pushes, want)
			}
		}
	})
}

func encoded(t *testing.T, c idl.Codec, m idl.Message) []byte {
	t.Helper()
	b, err := idl.Append(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCallIsGivenUpWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := calling(func() error { return c.Heartbeat(ctx) })
		late := peer.Expect(idl.ActionHeartbeat, nil)
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		next := calling(func() error { return c.Heartbeat(t.Context()) })
		r := peer.Expect(idl.ActionHeartbeat, nil)
		peer.Answer(late, new(wirepb.HeartbeatReply))
		peer.Answer(r, new(wirepb.HeartbeatReply))
		if err := <-next; err != nil {
			t.Errorf("the call after it: %v", err)
		}
	})
}

func TestConnectionEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(*client.Client, *clienttest.Peer)
		want error
	}{
		{"cut", func(_ *client.Client, p *clienttest.Peer) { p.Cut() }, io.EOF},
		{"closed here", func(c *client.Client, _ *clienttest.Peer) { go c.Close() }, client.ErrClosed},
		{"silent server", func(*client.Client, *clienttest.Peer) {}, client.ErrSilent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f form) {
				c, peer := dialed(t, f, nil)
				start := time.Now()
				done := calling(func() error { return c.Heartbeat(t.Context()) })
				peer.Expect(idl.ActionHeartbeat, nil)
				tt.end(c, peer)
				if err := <-done; !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				<-c.Done()
				if !errors.Is(c.Err(), tt.want) {
					t.Errorf("got %v, want %v", c.Err(), tt.want)
				}
				if silent := errors.Is(c.Err(), client.ErrSilent); silent != (time.Since(start) >= 20*time.Second) {
					t.Errorf("ended with %v after %v", c.Err(), time.Since(start))
				}
				if err := c.Heartbeat(t.Context()); !errors.Is(err, tt.want) {
					t.Errorf("a call after the end: got %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestQuitEndsTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		done := calling(func() error { return c.Heartbeat(t.Context()) })
		peer.Expect(idl.ActionHeartbeat, nil)
		peer.Quit(&wirepb.Quit{
			Reason: idl.CloseShutdown, Message: "drain", Reconnect: true, RetryAfterMs: 2000, JitterMs: 500,
		})
		want := client.Quit{
			Reason: idl.CloseShutdown, Message: "drain", Reconnect: true,
			RetryAfter: 2 * time.Second, Jitter: 500 * time.Millisecond,
		}
		got, ok := errors.AsType[*client.Quit](<-done)
		if !ok || *got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestCloseSaysQuit(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		done := calling(c.Close)
		if r := peer.Expect(idl.ActionQuit, nil); r.Sequence != 0 {
			t.Errorf("Quit has sequence-id %d, want 0", r.Sequence)
		}
		peer.ExpectEnd()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestUnansweredAreBounded: a client over the server's limit would be closed for FLOOD.
func TestUnansweredAreBounded(t *testing.T) {
	tests := []struct {
		name string
		text int // octets in each message
		most int // requests that fly at once
	}{
		{"frames", 1, 256},
		{"octets", 60_000, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := dialed(t, forms()[1], nil)
				authed := calling(func() error { _, err := c.Auth(t.Context(), "t"); return err })
				peer.Answer(peer.Expect(idl.ActionAuth, nil), &accountpb.AuthReply{MaxBody: 65536})
				if err := <-authed; err != nil {
					t.Fatal(err)
				}
				var done []<-chan error
				for range tt.most + 1 {
					req := &chatpb.SendRequest{Text: strings.Repeat("x", tt.text)}
					done = append(done, calling(func() error { _, err := c.Send(t.Context(), req); return err }))
				}
				var flying []clienttest.Request
				for range tt.most {
					flying = append(flying, peer.Expect(idl.ActionMessage, nil))
				}
				peer.Answer(flying[0], &chatpb.SendReply{})
				flying = append(flying[1:], peer.Expect(idl.ActionMessage, nil)) // the one that waited
				for _, r := range flying {
					peer.Answer(r, &chatpb.SendReply{})
				}
				for _, d := range done {
					if err := <-d; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestBodiesTheServerWouldCloseForStayHere(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		c, peer := dialed(t, f, nil)
		big := &chatpb.SendRequest{Text: strings.Repeat("x", 5000)}
		_, err := c.Send(t.Context(), big)
		if client.CodeOf(err) != idl.CodeTooLarge {
			t.Errorf("before Auth: got %v, want TOO_LARGE", err)
		}
		authed := calling(func() error { _, err := c.Auth(t.Context(), "t"); return err })
		peer.Answer(peer.Expect(idl.ActionAuth, nil), &accountpb.AuthReply{MaxBody: 65536})
		if err := <-authed; err != nil {
			t.Fatal(err)
		}
		done := calling(func() error { _, err := c.Send(t.Context(), big); return err })
		peer.Answer(peer.Expect(idl.ActionMessage, nil), &chatpb.SendReply{})
		if err := <-done; err != nil {
			t.Errorf("after Auth: %v", err)
		}
	})
}

func TestNonsenseEndsTheConnection(t *testing.T) {
	tests := []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"not a version", []byte("HTTP/1.1 400 "), "UNSUPPORTED_VERSION"},
		{"huge body", []byte{0, 2, 0, 1, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "TOO_LARGE"},
		{"quit that is none", []byte{0, 2, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1, '{'}, "body of Quit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := dialed(t, forms()[0], nil)
				peer.Write(tt.bytes)
				<-c.Done()
				if err := c.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			})
		})
	}
}

func TestAnswersThatFitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := dialed(t, forms()[0], nil)
		done := calling(func() error { return c.Heartbeat(t.Context()) })
		r := peer.Expect(idl.ActionHeartbeat, nil)
		peer.Send(frame.Frame{Codec: r.Codec, Action: idl.ActionHeartbeat, Sequence: r.Sequence + 9})
		peer.Send(frame.Frame{Codec: r.Codec, Action: idl.ActionError, Body: []byte(`{"code":1}`)})
		peer.Send(frame.Frame{Codec: r.Codec, Action: idl.ActionSync, Sequence: r.Sequence})
		if err := <-done; err == nil || !strings.Contains(err.Error(), "is of action") {
			t.Errorf("got %v, want that the action is wrong", err)
		}
		if c.Err() != nil {
			t.Errorf("the connection ended: %v", c.Err())
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		name string
		o    client.Options
		want string
	}{
		{"no address", client.Options{}, "want tcp://host:port"},
		{"host and port only", client.Options{Address: "localhost:7000"}, "want tcp://host:port"},
		{"no URL", client.Options{Address: "tcp://[::1"}, "address"},
		{"no port", client.Options{Address: "tcp://localhost"}, "no port"},
		{"other scheme", client.Options{Address: "http://localhost:1"}, `"http" is not known`},
		{"text over TCP", client.Options{Address: "tcp://localhost:1", Text: true}, "WebSocket address"},
		{"text in protobuf", client.Options{Address: "ws://localhost:1", Text: true, Codec: idl.CodecProtobuf}, "JSON codec"},
		{"codec", client.Options{Address: "tcp://localhost:1", Codec: 9}, "codec 9"},
		{"a further address", client.Options{Address: "tcp://localhost:1", Addresses: []string{"tcp://localhost"}}, "no port"},
		{"negative size", client.Options{Address: "tcp://localhost:1", Queue: -1}, "negative"},
		{"negative time", client.Options{Address: "tcp://localhost:1", MaxPause: -1}, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := client.Dial(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Dial: got %v, want %q", err, tt.want)
			}
			tt.o.Token = "t"
			if _, err := client.Open(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: got %v, want %q", err, tt.want)
			}
		})
	}
}
