package gateway_test

import (
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// offering is a handshake that offers permessage-deflate, as browsers do.
var offering = strings.Replace(upgrade, "Sec-WebSocket-Version", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Version", 1)

// compressed is frames in one compressed message of a client.
func compressed(t *testing.T, p []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 6)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(p)
	w.Flush()
	f := gobwas.NewFrame(gobwas.OpBinary, true, bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff}))
	f.Header.Rsv = 4
	return gobwas.MustCompileFrame(gobwas.MaskFrame(f))
}

// TestDeflate: a client that has agreed may compress, gets answers as they are and
// broadcasts compressed; a bomb ends it; others are not touched.
func TestDeflate(t *testing.T) {
	for _, row := range []struct {
		name   string
		secure bool
	}{{"websocket", false}, {"wss", true}} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{Deflate: true}, session.Options{})
			var p *peer
			if row.secure {
				p = newTLSPeer(t, e.HTTPSAddr().String())
			} else {
				p = newPeer(t, e.HTTPAddr().String())
			}
			p.write([]byte(offering))
			if head := p.head(); !strings.Contains(head, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n") {
				t.Fatalf("handshake: got %q", head)
			}
			p.ws = true
			p.write(compressed(t, frame.Append(nil, frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1})))
			p.want(idl.ActionAuth, 1)
			to := e.onlyTransport(t)
			wire := to.Wire(idl.CodecProtobuf, false)
			if wire != session.WireDeflatedProtobuf || to.Wire(idl.CodecJSON, true) != session.WireDeflatedText {
				t.Fatalf("wire: got %d", wire)
			}
			body := bytes.Repeat([]byte("much the same "), 100)
			block, err := e.hub.AppendBlock(nil, wire, frame.Frame{Action: idl.ActionMessage, Body: body}, frame.Frame{Action: idl.ActionMessage, Body: body})
			if err != nil || !to.Broadcast(block, nil) {
				t.Fatal("not sent: ", err)
			}
			f := p.raw()
			if f.Header.Rsv != 4 || len(f.Payload) > 200 {
				t.Fatalf("got %+v with %d octets", f.Header, len(f.Payload))
			}
			plain, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(f.Payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
			if err != nil || p.dec.Feed(plain, 1<<20, p.keep) != nil || len(p.got) != 2 || !bytes.Equal(p.got[1].Body, body) {
				t.Fatalf("got %d frames, %v", len(p.got), err)
			}
			p.got = nil
			p.send(chat(5, "plain"))
			p.want(idl.ActionMessage, 5)
			p.write(compressed(t, make([]byte, 1<<20)))
			p.wantQuit(idl.CloseTooLarge)
			p.wantEnd()
			if p.code != 1009 {
				t.Errorf("close code: got %d, want 1009", p.code)
			}
		})
	}
}

// TestDeflateIsOffByDefault: it is not agreed on, and then a compressed message is a fault.
func TestDeflateIsOffByDefault(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := newPeer(t, e.HTTPAddr().String())
	p.write([]byte(offering))
	if head := p.head(); strings.Contains(head, "Extensions") {
		t.Fatalf("handshake: got %q", head)
	}
	p.ws = true
	p.write(compressed(t, frame.Append(nil, heartbeat(1))))
	p.wantQuit(idl.CloseMalformed)
	p.wantEnd()
	if p.code != 1002 {
		t.Errorf("close code: got %d, want 1002", p.code)
	}
}

// BenchmarkPass is a room's pass to 200 WebSockets: the block made, compressed or
// not, and written to each. cpu-ns/member is the processor time of all of it,
// reading clients included, which do not inflate.
func BenchmarkPass(b *testing.B) {
	const members = 200
	for _, many := range []int{1, 4, 32} {
		var frames []frame.Frame
		for i := range many {
			frames = append(frames, frame.Frame{Action: idl.ActionMessage, Body: fmt.Appendf(nil,
				`{"room":"lobby","seq":%d,"id":"7K3M9QX2A4BC%04d","from":{"id":%d,"name":"user %d"},"text":"what was said for the %d. time %x"}`,
				100000+i, i*7, 5000+i*13, i*13, i, sha1.Sum([]byte{byte(i)}))})
		}
		for _, row := range []struct {
			name string
			wire session.Wire
		}{{"plain", session.WireMessageJSON}, {"deflated", session.WireDeflatedJSON}} {
			b.Run(fmt.Sprintf("%d messages, %s", many, row.name), func(b *testing.B) {
				e := newEdge(b, gateway.Options{}, session.Options{})
				for range members {
					p := dialWS(b, e)
					p.auth()
					p.tcp.SetDeadline(time.Time{})
					go discard(p)
				}
				var all []session.Transport
				eventually(b, "the connections", func() bool { all = e.Transports(); return len(all) == members })
				var block []byte
				before := processor()
				for b.Loop() {
					block, _ = e.hub.AppendBlock(block[:0], row.wire, frames...)
					for _, to := range all {
						to.Broadcast(block, new(waiter))
					}
				}
				b.ReportMetric(float64(processor()-before)/float64(b.N*members), "cpu-ns/member")
				b.ReportMetric(float64(len(block)), "octets/member")
			})
		}
	}
}
