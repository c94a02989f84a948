package rpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"freeim/core/presence"
	"freeim/core/rpc"
	"freeim/idl/kitex_gen/corepb"
)

// A core with a link key serves who shows it, and nobody else, by link or by
// Exchange; and it tells of strangers, but not of each attempt.
func TestLinkKey(t *testing.T) {
	const key = "0123456789abcdef"
	var log bytes.Buffer
	h := open(t, echo, func(o *rpc.Options) {
		o.Registry, o.LinkKey, o.Log = presence.NewMemory(), key, slog.New(slog.NewTextHandler(&log, nil))
	})
	for _, shown := range []string{"", "0123456789abcdeF", key + "0", key[:15]} {
		stream, err := h.client().Link(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&corepb.Uplink{Hello: &corepb.Hello{EdgeId: "edge-a", Epoch: 1, Key: shown}}); err != nil {
			t.Fatal(err)
		}
		if d, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "core.link_key and edge.link_key must be the same") {
			t.Errorf("with the key %q: got %+v, %v", shown, d, err)
		}
		if _, err := h.client().Exchange(t.Context(), &corepb.CallBatch{Key: shown, Calls: []*corepb.Call{call(1, "x")}}); err == nil {
			t.Errorf("Exchange with the key %q is answered", shown)
		}
	}
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	stream, err := h.client().Link(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{stream, t, cut}
	e.send(&corepb.Uplink{Hello: &corepb.Hello{EdgeId: "edge-a", Epoch: 1, Key: key}})
	e.recv()
	e.send(&corepb.Uplink{})
	if d := e.recv(); d.Welcome == nil {
		t.Errorf("with the key: got %+v, want Welcome", d)
	}
	if got, err := h.client().Exchange(t.Context(), &corepb.CallBatch{Key: key, Calls: []*corepb.Call{call(1, "x")}}); err != nil || len(got.Replies) != 1 {
		t.Errorf("Exchange with the key: got %v, %v", got, err)
	}
	h.Close() // before log is read
	if n := strings.Count(log.String(), "wrong link key"); n != 1 || strings.Contains(log.String(), key[:15]) {
		t.Errorf("told %d times: %s", n, log.String())
	}
	if _, err := rpc.New(rpc.Options{Listen: "127.0.0.1:0", CoreID: "c", Registry: presence.NewMemory(), LinkKey: "short"}); err == nil {
		t.Error("a short key is taken")
	}
}

// raw is a message as a newer edge would send it: fields that this core does not know.
type raw struct {
	corepb.Uplink // for what else Kitex asks of a message
	octets        []byte
}

func (r *raw) Marshal([]byte) ([]byte, error) { return r.octets, nil }

// A core serves an edge that is newer than it: what it does not know in a message
// it passes over, at every depth, and a message of nothing else is a question
// whether it is there.
func TestNewerEdge(t *testing.T) {
	h := open(t, echo, nil)
	e := h.dial("edge-a", 1)
	newer := func(up *corepb.Uplink) {
		t.Helper()
		b, err := up.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.SendMsg(&raw{octets: append(b, unknown...)}); err != nil {
			t.Fatal(err)
		}
	}
	newer(&corepb.Uplink{Registers: []*corepb.Register{live(1)}})
	newer(&corepb.Uplink{})
	if d := e.recv(); d.Welcome == nil {
		t.Fatalf("got %+v, want Welcome", d)
	}
	h.online(1)
	inner, err := call(1, "x").Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	inner = append(inner, unknown...)
	if err := e.SendMsg(&raw{octets: append([]byte{2<<3 | 2, byte(len(inner))}, inner...)}); err != nil { // Uplink.calls
		t.Fatal(err)
	}
	if all := e.replies(1); string(all[0].Body) != "x" {
		t.Errorf("got %+v, want the call answered", all[0])
	}
	newer(&corepb.Uplink{})
	if d := e.recv(); len(d.Replies)+len(d.Pushes)+len(d.Kicks) > 0 || d.Welcome != nil || d.Drain {
		t.Errorf("got %+v, want nothing but a Downlink", d)
	}
}

// unknown is the fields 1000 of all wire types, as some later version may have them.
var unknown = append([]byte{
	0xc0, 0x3e, 0x01, // varint
	0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, // 64 bits
	0xc5, 0x3e, 1, 2, 3, 4, // 32 bits
	0xc2, 0x3e, 0x03}, "new"...)
