package fanout_test

import (
	"context"
	"fmt"
	"testing"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// nowhere is a RoomPusher that keeps nothing.
type nowhere struct{}

func (nowhere) Ease(context.Context, presence.Life) error                                { return nil }
func (nowhere) Broadcast(presence.Life, fanout.RoomFrame)                                {}
func (nowhere) Expel(presence.Life, fanout.RoomExpulsion)                                {}
func (nowhere) Configure(presence.Life, im.ConversationID, plugin.RoomPolicy)            {}
func (nowhere) Answer(presence.Life, im.ConversationID, int64, int64, plugin.RoomPolicy) {}

// BenchmarkRooms is a message of 128 octets of text to a room with members at so many
// edges: queue, look-up in memory, both codecs, handing over.
func BenchmarkRooms(b *testing.B) {
	for _, edges := range []int{1, 16} {
		b.Run(fmt.Sprint(edges, " edges"), func(b *testing.B) {
			there := presence.NewMemoryRooms(presence.Leases{})
			for i := range edges {
				if err := there.Subscribe(b.Context(), "r_a", presence.Life{Edge: presence.EdgeID(fmt.Sprint(i)), Epoch: 1}); err != nil {
					b.Fatal(err)
				}
			}
			r, err := fanout.NewRooms(fanout.RoomOptions{Registry: there, Pusher: nowhere{}})
			if err != nil {
				b.Fatal(err)
			}
			body := &roompb.RoomMessage{Room: "a", Seq: 1, Id: "2222222222222222", SenderId: 100001, Nickname: "alice", ClientId: "m1",
				TimeMs: 1764000000000, Text: fmt.Sprintf("%0128d", 7)}
			b.ReportAllocs()
			for seq := int64(1); b.Loop(); seq++ {
				r.Broadcast(plugin.Broadcast{Room: "r_a", Seq: seq, Action: idl.ActionRoomMessage, Body: body})
			}
			r.Close()
		})
	}
}
