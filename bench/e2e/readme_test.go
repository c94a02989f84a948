package e2e_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// The ten lines of the top README, against a real server.
func Example() {
	bob, server, done := exampleServer()
	defer done()
	ctx, shown := context.Background(), make(chan string, 1)

	c, err := client.Dial(ctx, client.Options{Address: server})
	check(err)
	_, err = c.SignUp(ctx, "carol", "a good password", "")
	check(err)
	in, err := c.SignIn(ctx, "carol", "a good password", &accountpb.Device{Id: "laptop", Type: idl.DeviceDesktop})
	check(err)
	check(c.Close())
	me, err := client.Open(ctx, client.Options{Address: server, Token: in.Token, Handler: client.Handler{
		Message: func(_ context.Context, e *client.Entry) error { shown <- e.Text; return nil },
	}})
	check(err)
	peer, err := me.FindUser(ctx, bob)
	check(err)
	sent, err := me.Send(ctx, client.Outgoing{To: peer.UserId, Text: "hi"})
	check(err)
	rep, err := sent.Wait(ctx)
	check(err)
	fmt.Println("shown:", <-shown)
	fmt.Println("committed as number", rep.Seq)
	check(me.Close())
	// Output:
	// shown: hi
	// committed as number 1
}

// exampleServer runs a server on which bob has signed up.
func exampleServer() (account, address string, done func()) {
	dir, err := os.MkdirTemp("", "freeim")
	check(err)
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{Dir: dir})
	check(err)
	bob, err := signUp(ctx, client.Options{Address: c.Edges[0].TCP()}, "bob")
	check(err)
	return bob.name, c.Edges[0].TCP(), func() {
		check(c.Close(ctx))
		check(os.RemoveAll(dir))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
