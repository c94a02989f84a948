package load

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
)

var codecs = []idl.Codec{idl.CodecJSON, idl.CodecProtobuf}

func TestStampComesBack(t *testing.T) {
	want := stamp{due: 1 << 60, number: 1<<32 - 1, sender: 999_999}
	for _, size := range []int{32, 33, 128, 1000} {
		text := appendText(nil, want, size)
		if got, ok := parseText(text); !ok || got != want || len(text) != size {
			t.Errorf("%d octets: got %+v, %v, in %d", size, got, ok, len(text))
		}
	}
	for _, text := range []string{"", "short", strings.Repeat("x", 32)} {
		if _, ok := parseText([]byte(text)); ok {
			t.Errorf("%q was read", text)
		}
	}
}

// TestRequestsAsGenerated: the server's decoder reads what is written by hand.
func TestRequestsAsGenerated(t *testing.T) {
	text := appendText(nil, stamp{1, 2, 3}, 100)
	for _, c := range codecs {
		var send chatpb.SendRequest
		if err := idl.Decode(appendSend(nil, c, []byte("m1"), 100001, text), c, &send); err != nil {
			t.Fatal(err)
		}
		if send.ClientId != "m1" || send.ToUserId != 100001 || send.Text != string(text) {
			t.Errorf("%v: got %+v", c, &send)
		}
		var room roompb.RoomSendRequest
		if err := idl.Decode(appendRoomSend(nil, c, "lobby", []byte("m1"), true, text), c, &room); err != nil {
			t.Fatal(err)
		}
		if room.Room != "lobby" || room.ClientId != "m1" || room.Kind != roompb.RoomKind_ROOM_KIND_GIFT || room.Text != string(text) {
			t.Errorf("%v: got %+v", c, &room)
		}
	}
}

// TestPushesAsGenerated: what the server encodes is read by hand.
func TestPushesAsGenerated(t *testing.T) {
	text := appendText(nil, stamp{1, 2, 3}, 100)
	for _, c := range codecs {
		chat := encoded(t, c, &chatpb.InboxEntry{Message: &chatpb.Message{
			Id: "ID", ConversationId: "c_1_2", Seq: 9, SenderId: 5, ClientId: "m1", TimeMs: 6, Text: string(text)}})
		got, ok := parsePush(c, true, frame.AppendStamped(nil, c, 77, chat))
		if !ok || got.inboxSeq != 77 || got.seq != 9 || !bytes.Equal(got.text, text) {
			t.Errorf("%v: got %+v, %v", c, got, ok)
		}
		room := encoded(t, c, &roompb.RoomMessage{Room: "lobby", Seq: 9, Id: "ID", SenderId: 5, Nickname: "n", Kind: 1, Text: string(text)})
		got, ok = parsePush(c, false, room)
		if !ok || got.seq != 9 || got.kind != 1 || !bytes.Equal(got.text, text) {
			t.Errorf("%v: got %+v, %v", c, got, ok)
		}
		reply := encoded(t, c, &roompb.RoomSendReply{MessageId: "ID", Seq: 41, TimeMs: 3})
		if seq, ok := parseReply(c, reply, 2, `"seq":`); !ok || seq != 41 {
			t.Errorf("%v: got %d, %v", c, seq, ok)
		}
	}
}

func encoded(t *testing.T, c idl.Codec, m idl.Message) []byte {
	body, err := idl.Append(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// FuzzPush: whatever a server sends, it is read or refused.
func FuzzPush(f *testing.F) {
	f.Add([]byte("\x08\x4d\x12\x02\x18\x09"))
	f.Add([]byte(`{"inbox_seq":77,"message":{"seq":9,"text":"x"}}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		for _, c := range codecs {
			for _, chat := range []bool{true, false} {
				if m, ok := parsePush(c, chat, body); ok {
					parseText(m.text)
				}
			}
			parseReply(c, body, 2, `"seq":`)
		}
	})
}

// serverFrame is a frame as servers send it.
func serverFrame(op byte, p []byte) []byte {
	b := appendMasked(nil, op, 0, p)
	at := len(b) - len(p) - 4
	b[1] &= 0x7f
	return append(b[:at:at], p...)
}

func TestUnwrapperAcceptsACutAtEveryOffset(t *testing.T) {
	var b []byte
	for _, f := range [][]byte{
		serverFrame(opBinary, []byte("one")), serverFrame(opPing, nil), serverFrame(opBinary, nil), serverFrame(opPing, []byte("hello")),
		serverFrame(opBinary, bytes.Repeat([]byte("x"), 300)), serverFrame(opClose, []byte("\x0f\xa1slow")),
	} {
		b = append(b, f...)
	}
	want := "one[9:][9:hello]" + strings.Repeat("x", 300) + "[8:\x0f\xa1slow]"
	for cut := range len(b) {
		for _, second := range []int{cut, min(cut+1, len(b)), len(b)} {
			var u unwrapper
			var got strings.Builder
			for _, p := range [][]byte{b[:cut], b[cut:second], b[second:]} {
				err := u.feed(p,
					func(p []byte) error { got.Write(p); return nil },
					func(op byte, p []byte) error { fmt.Fprintf(&got, "[%d:%s]", op, p); return nil })
				if err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != want {
				t.Fatalf("cut at %d and %d: got %q", cut, second, got.String())
			}
		}
	}
}

func TestMaskIsItsOwnReverse(t *testing.T) {
	for n := range 40 {
		p := bytes.Repeat([]byte("abc"), 14)[:n]
		q := bytes.Clone(p)
		mask(q, 0x01020304)
		for i := range q {
			if q[i] != p[i]^byte(4-i&3) {
				t.Fatalf("octet %d of %d: got %d", i, n, q[i])
			}
		}
	}
}

func FuzzUnwrapper(f *testing.F) {
	f.Add([]byte("\x82\x03one\x89\x00"), 2)
	f.Fuzz(func(_ *testing.T, b []byte, cut int) {
		cut = min(max(cut, 0), len(b))
		var u unwrapper
		for _, p := range [][]byte{b[:cut], b[cut:]} {
			if u.feed(p, func([]byte) error { return nil }, func(byte, []byte) error { return nil }) != nil {
				return
			}
		}
	})
}
