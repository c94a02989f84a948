package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// address is where the examples find a server: a small one in memory. With
// `make run` it would be tcp://127.0.0.1:7100 or the like.
func address(o clienttest.FakeOptions) (string, func()) {
	fake := clienttest.NewFake(o)
	a, err := fake.Listen()
	if err != nil {
		log.Fatal(err)
	}
	return a, fake.Close
}

// member makes an account and signs in; it gives the user ID and a token.
func member(ctx context.Context, addr, account string) (int64, string) {
	c, err := client.Dial(ctx, client.Options{Address: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SignUp(ctx, account, "correct horse", ""); err != nil {
		log.Fatal(err)
	}
	in, err := c.SignIn(ctx, account, "correct horse", &accountpb.Device{Id: "laptop", Type: idl.DeviceDesktop})
	if err != nil {
		log.Fatal(err)
	}
	return in.UserId, in.Token
}

// A whole client: make an account, sign in, keep a session, receive and send.
func Example() {
	ctx := context.Background()
	addr, stop := address(clienttest.FakeOptions{})
	defer stop()

	c, _ := client.Dial(ctx, client.Options{Address: addr})
	me, _ := c.SignUp(ctx, "alice", "correct horse", "")
	in, _ := c.SignIn(ctx, "alice", "correct horse", &accountpb.Device{Id: "laptop", Type: idl.DeviceDesktop})
	c.Close()

	received := make(chan string, 1)
	s, err := client.Open(ctx, client.Options{Address: addr, Token: in.Token, Handler: client.Handler{
		Message: func(_ context.Context, e *client.Entry) error { received <- e.Text; return nil },
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	sent, _ := s.Send(ctx, client.Outgoing{To: me, Text: "hello, myself"})
	_, err = sent.Wait(ctx)
	fmt.Println(sent.State(), err, "-", <-received)
	// Output: committed <nil> - hello, myself
}

// The states of a message: committed is the server's word, delivered the word of
// a device of the other person's.
func ExampleSession_Send() {
	ctx := context.Background()
	addr, stop := address(clienttest.FakeOptions{})
	defer stop()
	_, token := member(ctx, addr, "alice")
	bob, bobToken := member(ctx, addr, "bob")

	alice, err := client.Open(ctx, client.Options{Address: addr, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()

	p, _ := alice.Send(ctx, client.Outgoing{To: bob, Text: "are you there?"})
	<-p.Settled()
	fmt.Println(p.State())

	phone, err := client.Open(ctx, client.Options{Address: addr, Token: bobToken}) // syncs, acknowledges
	if err != nil {
		log.Fatal(err)
	}
	defer phone.Close()
	<-p.Delivered()
	fmt.Println(p.State())
	// Output:
	// committed
	// delivered
}

// A refusal is typed: what is final is told at once, what is not is sent again.
func ExamplePending_Wait() {
	ctx := context.Background()
	addr, stop := address(clienttest.FakeOptions{
		Refuse: func(r *chatpb.SendRequest) *wirepb.Error {
			return &wirepb.Error{Code: idl.CodeRejected, Message: "no shouting"}
		},
	})
	defer stop()
	me, token := member(ctx, addr, "alice")
	s, err := client.Open(ctx, client.Options{Address: addr, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	p, _ := s.Send(ctx, client.Outgoing{To: me, Text: "HELLO"})
	_, err = p.Wait(ctx)
	if r, ok := errors.AsType[*client.Refusal](err); ok {
		fmt.Println(p.State(), r.Code == idl.CodeRejected, r.Message)
	}
	// Output: refused true no shouting
}

// A program that is started again goes on where it was.
func ExampleFileStore() {
	ctx := context.Background()
	addr, stop := address(clienttest.FakeOptions{Wire: clienttest.WebSocket})
	defer stop()
	me, token := member(ctx, addr, "alice")
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store := client.FileStore{Path: filepath.Join(dir, "cursor.json")}

	for _, text := range []string{"first run", "second run"} {
		taken := make(chan string, 2)
		s, err := client.Open(ctx, client.Options{
			Address: addr, Codec: idl.CodecProtobuf, Token: token, Store: store,
			Handler: client.Handler{Message: func(_ context.Context, e *client.Entry) error { taken <- e.Text; return nil }},
		})
		if err != nil {
			log.Fatal(err)
		}
		s.Send(ctx, client.Outgoing{To: me, Text: text})
		fmt.Println("took", <-taken)
		s.Close()
	}
	// Output:
	// took first run
	// took second run
}

// One call on one connection, without a session.
func ExampleClient_Call() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addr, stop := address(clienttest.FakeOptions{})
	defer stop()
	c, err := client.Dial(ctx, client.Options{Address: addr})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	err = c.Call(ctx, idl.ActionFindUser, &accountpb.FindUserRequest{Account: "bob"}, new(accountpb.FindUserReply))
	fmt.Println(client.CodeOf(err) == idl.CodeUnauthenticated)
	// Output: true
}
