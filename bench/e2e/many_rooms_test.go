package e2e_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"freeim/bench/cluster"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// TestOneSessionJoinsTenThousandRooms: it is in as many as the limits let it, each other
// name is refused, it is served on, and what is left when it has gone is nothing.
func TestOneSessionJoinsTenThousandRooms(t *testing.T) {
	const names, atOnce = 10_000, 50
	usual := room.New().Config().(*room.Config)
	for _, row := range []struct {
		name    string
		change  func(*room.Config)
		in      int // rooms
		refusal idl.Code
	}{
		{"as usual", func(*room.Config) {}, min(usual.CreationsPerHour, usual.CreationsPerSecond), idl.CodeRateLimited},
		{"however fast", func(c *room.Config) { c.JoinsPerMinute, c.CreationsPerHour, c.CreationsPerSecond = 0, 0, 0 }, usual.RoomsPerSession, idl.CodeLimitExceeded},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), faultTime)
			defer cancel()
			c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Core: func(_ int, o *server.Options) {
				for _, p := range o.Plugins {
					if p, ok := p.(*room.Room); ok {
						row.change(p.Config().(*room.Config))
					}
				}
			}})
			way := forms[0].options(c.Edges[0])
			if _, err := signUp(ctx, way, "alice"); err != nil {
				t.Fatal(err)
			}
			token, err := signIn(ctx, way, "alice", "phone", idl.DeviceMobile)
			if err != nil {
				t.Fatal(err)
			}
			goroutines, heap := runtime.NumGoroutine(), heapNow()
			conn, err := client.Dial(ctx, way)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Auth(ctx, token); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			codes := map[idl.Code]int{}
			var joining sync.WaitGroup
			for lane := range atOnce {
				joining.Go(func() {
					for i := lane; i < names; i += atOnce {
						err := conn.Call(ctx, idl.ActionJoinRoom, &roompb.JoinRoomRequest{Room: fmt.Sprint("room-", i)}, new(roompb.JoinRoomReply))
						mu.Lock()
						codes[client.CodeOf(err)]++
						mu.Unlock()
						if client.CodeOf(err) == idl.CodeRateLimited && retryAfter(err) <= 0 {
							t.Errorf("a refusal does not say when: %v", err)
						}
					}
				})
			}
			joining.Wait()
			t.Logf("%v (%v: joined)", codes, idl.CodeUnknown)
			in := codes[idl.CodeUnknown]
			if in < row.in || in > usual.RoomsPerSession || codes[row.refusal] < names/2 || in+codes[idl.CodeRateLimited]+codes[idl.CodeLimitExceeded] != names {
				t.Errorf("answered with %v, want about %d joined and all others refused", codes, row.in)
			}
			if err := conn.Heartbeat(ctx); err != nil {
				t.Errorf("it is not served on: %v", err)
			}
			if got := c.Edges[0].Stats().Rooms; got.Rooms != int64(in) || got.Members != int64(in) {
				t.Errorf("the edge has %d rooms with %d members, want %d", got.Rooms, got.Members, in)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := until(ctx, func() (bool, error) { return c.Edges[0].Stats().Rooms.Members == 0, nil }); err != nil {
				t.Fatalf("%d members are left: %v", c.Edges[0].Stats().Rooms.Members, err)
			}
			const few, much = 10, 4 << 20 // of pools; a kept name for each refusal would cost more
			if err := until(ctx, func() (bool, error) { return runtime.NumGoroutine() <= goroutines+few, nil }); err != nil {
				t.Errorf("%d goroutines, %d before: %v", runtime.NumGoroutine(), goroutines, err)
			}
			grown := heapNow() - heap
			t.Logf("%d goroutines more, %d octets of heap", runtime.NumGoroutine()-goroutines, grown)
			if grown > much {
				t.Errorf("the heap has grown by %d octets, want %d at most", grown, much)
			}
		})
	}
}

// heapNow is what is in use after a collection.
func heapNow() int64 {
	runtime.GC()
	runtime.GC() // pools let go by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
