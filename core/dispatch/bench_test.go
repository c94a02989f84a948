package dispatch_test

import (
	"testing"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkDo is what dispatch adds to a handler that does next to nothing.
func BenchmarkDo(b *testing.B) {
	d, err := dispatch.New(dispatch.Options{Specs: spec(echo), Figures: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	body, err := idl.Append(nil, idl.CodecProtobuf, &chatpb.SendRequest{Text: "hello"})
	if err != nil {
		b.Fatal(err)
	}
	call := &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: 1}
	b.ReportAllocs()
	for b.Loop() {
		d.Do(b.Context(), call, body)
	}
}
