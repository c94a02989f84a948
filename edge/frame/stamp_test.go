package frame_test

import (
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

func TestAppendStampedJSON(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"object", `{"message":{"seq":4}}`, `{"inbox_seq":300,"message":{"seq":4}}`},
		{"empty object", `{}`, `{"inbox_seq":300}`},
		{"white space", " {\n }", `{"inbox_seq":300}`},
		{"nothing", ``, `{"inbox_seq":300}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := frame.AppendStamped(nil, idl.CodecJSON, 300, []byte(tt.body)); string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestStampedBodyDecodes(t *testing.T) {
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		for _, seq := range []int64{1, 127, 128, idl.MaxSafeInteger} {
			body, err := idl.Append(nil, codec, &chatpb.InboxEntry{Message: &chatpb.Message{Id: "x", Seq: 9}})
			if err != nil {
				t.Fatal(err)
			}
			var got chatpb.InboxEntry
			if err := idl.Decode(frame.AppendStamped(nil, codec, seq, body), codec, &got); err != nil {
				t.Fatalf("%v, %d: %v", codec, seq, err)
			}
			if got.InboxSeq != seq || got.Message.GetId() != "x" || got.Message.GetSeq() != 9 {
				t.Errorf("%v, %d: got %+v", codec, seq, &got)
			}
		}
	}
}

func TestAppendStampedDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 128)
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		body := []byte(`{"message":{}}`)
		got := testing.AllocsPerRun(100, func() { dst = frame.AppendStamped(dst[:0], codec, 1<<40, body) })
		if got != 0 {
			t.Errorf("%v: got %v allocations, want 0", codec, got)
		}
	}
}
