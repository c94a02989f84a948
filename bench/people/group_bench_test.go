package people_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/bench/cluster"
	"freeim/bench/people"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// BenchmarkMessages compares a message in a group of 500 with one of a chat, over real sockets,
// durable, from 64 sessions at once: those and nobody else are connected.
func BenchmarkMessages(b *testing.B) {
	const members, senders = 500, 64
	dir := b.TempDir()
	if err := people.Prepare(b.Context(), filepath.Join(dir, "data"), "seed", members); err != nil {
		b.Fatal(err)
	}
	c, err := cluster.Start(b.Context(), cluster.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(b.Context())
	enter := func(index int) *client.Client {
		conn, err := client.Dial(b.Context(), client.Options{Address: c.Edges[0].TCP(), Codec: idl.CodecProtobuf})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Auth(b.Context(), people.Token("seed", index)); err != nil {
			b.Fatal(err)
		}
		return conn
	}
	var conns []*client.Client
	for i := range senders {
		conns = append(conns, enter(i))
		defer conns[i].Close()
	}
	made, err := conns[0].CreateGroup(b.Context(), &grouppb.CreateGroupRequest{ClientId: "bench", Name: "bench", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN})
	if err != nil {
		b.Fatal(err)
	}
	for i := 1; i < members; i++ {
		conn := conns[i%senders]
		if i >= senders {
			conn = enter(i)
		}
		if _, err := conn.JoinGroup(b.Context(), &grouppb.JoinGroupRequest{GroupId: made.Group.GroupId}); err != nil {
			b.Fatal(err)
		}
		if i >= senders {
			conn.Close()
		}
	}
	for name, request := range map[string]func(from int) *chatpb.SendRequest{
		"chat":         func(from int) *chatpb.SendRequest { return &chatpb.SendRequest{ToUserId: people.UserID(from ^ 1)} },
		"group of 500": func(int) *chatpb.SendRequest { return &chatpb.SendRequest{ConversationId: made.Group.ConversationId} },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			for from, conn := range conns {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						req := request(from)
						req.ClientId, req.Text = fmt.Sprintf("%s.%d.%d", name[:4], b.N, n), "a text as people write them, of some forty characters"
						if _, err := conn.Send(b.Context(), req); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
