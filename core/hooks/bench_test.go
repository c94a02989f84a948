package hooks_test

import (
	"context"
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
// without rules, with those that are shipped, and with all of those enabled.
func BenchmarkMessage(b *testing.B) {
	enabled := map[string]map[string]string{
		"flood": {"enabled": "true"}, "links": {"enabled": "true"}, "newcomers": {"enabled": "true"},
		"rooms": {"gate_mention_all": "true", "slow": "r_lobby"},
	}
	for _, row := range []struct {
		name   string
		rules  bool
		config map[string]map[string]string
	}{{"no rules", false, nil}, {"shipped", true, nil}, {"enabled", true, enabled}} {
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
			body, err := idl.Append(nil, idl.CodecProtobuf, &chatpb.SendRequest{Text: "shall we meet at the station, as always? 好的，明天见"})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				call := &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: im.UserID(n + 1), Device: "d"}
				if reply := d.Do(b.Context(), call, body); reply.Action == idl.ActionError {
					b.Fatalf("refused by %q", call.Rule)
				}
			}
		})
	}
}
