package client_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// vectors are those of idl/testdata/vectors.json that a client can be shown.
type vectors struct {
	Frames []struct {
		Name     string     `json:"name"`
		Hex      string     `json:"hex"`
		Codec    string     `json:"codec"`
		Action   idl.Action `json:"action"`
		Sequence uint32     `json:"sequence_id"`
		BodyHex  string     `json:"body_hex"`
	} `json:"frames"`
	Invalid []struct {
		Name    string `json:"name"`
		Hex     string `json:"hex"`
		MaxBody int    `json:"max_body"`
		Reason  string `json:"reason"`
	} `json:"invalid_frames"`
	Text []struct {
		Name     string     `json:"name"`
		Text     string     `json:"text"`
		Action   idl.Action `json:"action"`
		Sequence uint32     `json:"sequence_id"`
		Body     string     `json:"body_text"`
	} `json:"text_frames"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile("../../idl/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Frames) == 0 || len(v.Invalid) == 0 || len(v.Text) == 0 {
		t.Fatal("no vectors")
	}
	return v
}

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectorsAsPushes: what the server pushes arrives as the vector says.
func TestVectorsAsPushes(t *testing.T) {
	v := readVectors(t)
	for _, f := range forms() {
		if f.text {
			continue
		}
		for _, vector := range v.Frames {
			if vector.Sequence != 0 || vector.Action == idl.ActionQuit || vector.Action == idl.ActionError {
				continue
			}
			t.Run(f.name+"/"+vector.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := make(chan string, 1)
					_, peer := dialed(t, f, func(o *client.Options) {
						o.OnPush = func(p client.Push) { got <- fmt.Sprintf("%d %v %x", p.Action, p.Codec, p.Body) }
					})
					b := octets(t, vector.Hex)
					if f.wire == clienttest.WebSocket {
						b = ws.MustCompileFrame(ws.NewBinaryFrame(b))
					}
					peer.Write(b)
					if got, want := <-got, fmt.Sprintf("%d %s %s", vector.Action, vector.Codec, vector.BodyHex); got != want {
						t.Errorf("got push %s, want %s", got, want)
					}
				})
			})
		}
	}
}

func TestVectorsAsTextPushes(t *testing.T) {
	for _, vector := range readVectors(t).Text {
		if vector.Sequence != 0 || vector.Action == idl.ActionQuit || vector.Action == idl.ActionError {
			continue
		}
		t.Run(vector.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan string, 1)
				_, peer := dialed(t, forms()[4], func(o *client.Options) {
					o.OnPush = func(p client.Push) { got <- fmt.Sprintf("%d %s", p.Action, p.Body) }
				})
				peer.Write(ws.MustCompileFrame(ws.NewTextFrame([]byte(vector.Text))))
				if got, want := <-got, fmt.Sprintf("%d %s", vector.Action, vector.Body); got != want {
					t.Errorf("got push %s, want %s", got, want)
				}
			})
		})
	}
}

func TestVectorsThatAreNoFrames(t *testing.T) {
	for _, vector := range readVectors(t).Invalid {
		t.Run(vector.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := dialed(t, forms()[0], func(o *client.Options) { o.MaxBody = vector.MaxBody })
				peer.Write(octets(t, vector.Hex))
				<-c.Done()
				if err := c.Err(); err == nil || !strings.Contains(err.Error(), vector.Reason) {
					t.Errorf("got %v, want %s", err, vector.Reason)
				}
			})
		})
	}
}

// TestVectorsAsRequests sends what the vectors hold and compares the octets.
// They have the sequence-id 7.
func TestVectorsAsRequests(t *testing.T) {
	v := readVectors(t)
	want := map[string]string{} // by name, as text
	for _, f := range v.Frames {
		want[f.Name] = string(octets(t, f.Hex))
	}
	for _, f := range v.Text {
		want["text "+f.Name] = f.Text
	}
	send := &chatpb.SendRequest{ClientId: "a1", ToUserId: 100002, Text: "hi"}
	tests := []struct {
		vector string
		form   form
	}{
		{"send, JSON", forms()[0]},
		{"send, protobuf", forms()[1]},
		{"send, JSON", forms()[2]},
		{"send, protobuf", forms()[3]},
		{"text send", forms()[4]},
	}
	for _, tt := range tests {
		t.Run(tt.form.name, func(t *testing.T) {
			if want[tt.vector] == "" {
				t.Fatalf("there is no vector %q", tt.vector)
			}
			synctest.Test(t, func(t *testing.T) {
				got := make(chan string, 1)
				c, peer := dialed(t, tt.form, func(o *client.Options) { spyOn(o, got) })
				for range 6 {
					done := calling(func() error { return c.Heartbeat(t.Context()) })
					peer.Answer(peer.Expect(idl.ActionHeartbeat, nil), new(wirepb.HeartbeatReply))
					<-done
					<-got
				}
				done := calling(func() error { _, err := c.Send(t.Context(), send); return err })
				peer.Answer(peer.Expect(idl.ActionMessage, nil), new(chatpb.SendReply))
				<-done
				if b := <-got; b != want[tt.vector] {
					t.Errorf("sent %q, want %q", b, want[tt.vector])
				}
			})
		})
	}
}

// spyOn shows what the client writes, one request at a time, without the
// WebSocket around it.
func spyOn(o *client.Options, got chan<- string) {
	dial := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &spied{Conn: conn, got: got, socket: strings.HasPrefix(o.Address, "ws")}, err
	}
}

type spied struct {
	net.Conn
	got    chan<- string
	socket bool
	open   bool // the handshake is over
}

func (s *spied) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	switch {
	case !s.socket:
		s.show(b)
	case s.open:
		if f, err := ws.ReadFrame(bytes.NewReader(b)); err == nil {
			s.show(ws.UnmaskFrame(f).Payload)
		}
	}
	s.open = true
	return n, err
}

func (s *spied) show(b []byte) {
	select {
	case s.got <- string(b):
	default: // the farewell
	}
}
