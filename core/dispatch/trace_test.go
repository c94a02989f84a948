package dispatch_test

import (
	"testing"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// Only what an edge traces has a span, and what it says is taken with care.
func TestSpans(t *testing.T) {
	const sampled = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	for _, row := range []struct {
		name, trace string
		user        int64
		code        string // empty: no span
	}{
		{"traced", sampled, 1, "OK"},
		{"traced and refused", sampled, 0, "CODE_UNAUTHENTICATED"},
		{"not traced", "", 1, ""},
		{"not sampled", sampled[:len(sampled)-2] + "00", 1, ""},
		{"cut off", sampled[:40], 1, ""},
		{"no trace", "00-00000000000000000000000000000000-0123456789abcdef-01", 1, ""},
		{"no such version", "ff" + sampled[2:], 1, ""},
		{"nonsense", "\xff\x00-", 1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
			d, err := dispatch.New(dispatch.Options{Specs: spec(echo), Tracer: provider.Tracer("test")})
			if err != nil {
				t.Fatal(err)
			}
			d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, User: im.UserID(row.user), Trace: row.trace}, nil)
			got := spans.GetSpans()
			if row.code == "" {
				if len(got) != 0 {
					t.Errorf("got %d spans, want none", len(got))
				}
				return
			}
			if len(got) != 1 || got[0].Parent.SpanID().String() != "0123456789abcdef" || got[0].Name != "dispatch test.send" {
				t.Fatalf("got %+v", got)
			}
			if a := got[0].Attributes; a[len(a)-1].Value.AsString() != row.code {
				t.Errorf("got the attributes %v, want the code %s last", a, row.code)
			}
		})
	}
}
