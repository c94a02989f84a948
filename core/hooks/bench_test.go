package hooks_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/scripts/engine"
)

// BenchmarkMessage is a message through dispatch to a handler that does nothing:
// without rules, with those that are shipped, and with all of those enabled. A thousand people
// talk in turn, and never say the same again, or nearly the same, as those of a load do.
func BenchmarkMessage(b *testing.B) {
	enabled := map[string]map[string]string{
		"flood": {"enabled": "true", "messages": "10000", "per": "1s", "repeats": "1000"}, "links": {"enabled": "true"}, "newcomers": {"enabled": "true"},
		"rooms": {"gate_mention_all": "true", "slow": "r_lobby"},
	}
	const unlike, alike = "%x, shall we meet at the station, as always? 好的，明天见 %x", "%.8x%x The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The qui"
	for _, row := range []struct {
		name   string
		rules  bool
		config map[string]map[string]string
		says   string // of a number that is as long as it is unlike the others, and one that is short
	}{{"no rules", false, nil, unlike}, {"shipped", true, nil, unlike}, {"enabled", true, enabled, unlike}, {"alike", true, enabled, alike}} {
		b.Run(row.name, func(b *testing.B) {
			r := plugin.NewRegistrar("chat")
			plugin.Handle(r, idl.ActionMessage, "send",
				func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error) {
					return &chatpb.SendReply{}, nil
				},
				plugin.Message[chatpb.SendRequest, chatpb.SendReply](func(_ *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed {
					return plugin.Reviewed{Conversation: im.ChatOf(1, 2), Kind: "text", Text: &req.Text}
				}),
				plugin.Holds[chatpb.SendRequest, chatpb.SendReply]())
			o := dispatch.Options{Specs: r.Specs()}
			if row.rules {
				rules := hooks.New()
				if err := rules.Open(r.Specs(), engine.Options{Dir: "../../scripts", Log: slog.New(slog.DiscardHandler), Config: row.config,
					Wall: time.Second, ChainWall: time.Second}); err != nil {
					b.Fatal(err)
				}
				defer rules.Close()
				o.Hooks = rules
			}
			d, err := dispatch.New(o)
			if err != nil {
				b.Fatal(err)
			}
			var bodies [1021][]byte
			for i := range bodies {
				body, err := idl.Append(nil, idl.CodecProtobuf, &chatpb.SendRequest{Text: fmt.Sprintf(row.says, sha256.Sum256([]byte{byte(i), byte(i >> 8)}), i)})
				if err != nil {
					b.Fatal(err)
				}
				bodies[i] = body
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				call := &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: im.UserID(n%1000 + 1), Device: "d"}
				if reply := d.Do(b.Context(), call, bodies[n%len(bodies)]); reply.Action == idl.ActionError {
					b.Fatalf("refused by %q", call.Rule)
				}
			}
		})
	}
}
