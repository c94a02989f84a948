package idl_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// vectors is testdata/vectors.json.
type vectors struct {
	About        string           `json:"about"`
	Actions      map[string]int32 `json:"actions"`
	Codes        map[string]int32 `json:"codes"`
	DeviceTypes  map[string]int32 `json:"device_types"`
	CloseReasons []struct {
		Name      string `json:"name"`
		Number    int32  `json:"number"`
		Reconnect bool   `json:"reconnect"`
	} `json:"close_reasons"`
	Frames            []frameVector         `json:"frames"`
	Streams           []streamVector        `json:"streams"`
	InvalidFrames     []invalidVector       `json:"invalid_frames"`
	TextFrames        []textVector          `json:"text_frames"`
	ActionNames       map[string]idl.Action `json:"action_names"`
	TextRequests      []textVector          `json:"text_requests"`
	InvalidTextFrames []invalidTextVector   `json:"invalid_text_frames"`
	Bodies            []bodyVector          `json:"bodies"`
	Stamps            []stampVector         `json:"stamps"`
	MessageIDs        []messageIDVector     `json:"message_ids"`
	InvalidMessageIDs []struct {
		Name string `json:"name"`
		Text string `json:"text"`
	} `json:"invalid_message_ids"`
}

type frameVector struct {
	Name     string     `json:"name"`
	Hex      octets     `json:"hex"`
	Version  uint32     `json:"version"`
	Codec    string     `json:"codec"`
	Action   idl.Action `json:"action"`
	Sequence uint32     `json:"sequence_id"`
	Body     octets     `json:"body_hex"`
	BodyText *string    `json:"body_text"` // of JSON bodies
}

type streamVector struct {
	Name   string `json:"name"`
	Hex    octets `json:"hex"`
	Frames int    `json:"frames"`
}

type invalidVector struct {
	Name    string `json:"name"`
	Hex     octets `json:"hex"`
	MaxBody int    `json:"max_body"`
	Reason  string `json:"reason"`
}

type textVector struct {
	Name     string     `json:"name"`
	Text     string     `json:"text"`
	Action   idl.Action `json:"action"`
	Sequence uint32     `json:"sequence_id"`
	Body     string     `json:"body_text"`
}

type invalidTextVector struct {
	Name   string `json:"name"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

type bodyVector struct {
	Message  string `json:"message"`
	JSON     string `json:"json"`
	Protobuf octets `json:"protobuf_hex"`
}

type stampVector struct {
	Name        string  `json:"name"`
	Codec       string  `json:"codec"`
	InboxSeq    int64   `json:"inbox_seq"`
	Body        octets  `json:"body_hex"`
	BodyText    *string `json:"body_text"` // of JSON bodies, and so below
	Stamped     octets  `json:"stamped_hex"`
	StampedText *string `json:"stamped_text"`
}

type messageIDVector struct {
	Name             string              `json:"name"`
	Hex              octets              `json:"hex"`
	Text             string              `json:"text"`
	TimeMS           int64               `json:"time_ms"`
	Spin             uint64              `json:"spin"`
	ConversationType im.ConversationType `json:"conversation_type"`
	Conversation     im.ConversationID   `json:"conversation_id"` // whose hash it holds, where that is known
}

// octets are written in hexadecimal.
type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

func load(t *testing.T) vectors {
	t.Helper()
	file, err := os.Open("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dec := json.NewDecoder(file)
	dec.DisallowUnknownFields()
	var v vectors
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectorsHaveEveryNumber(t *testing.T) {
	v := load(t)
	reasons := map[string]int32{"CLOSE_UNKNOWN": 0} // never sent, so it has no vector
	for _, r := range v.CloseReasons {
		reasons[r.Name] = r.Number
		if got := idl.Reconnect(idl.CloseReason(r.Number)); got != r.Reconnect {
			t.Errorf("%s: got reconnect %v, want %v", r.Name, got, r.Reconnect)
		}
	}
	for name, pair := range map[string][2]map[string]int32{
		"actions":       {v.Actions, wirepb.Action_value},
		"codes":         {v.Codes, wirepb.Code_value},
		"device types":  {v.DeviceTypes, wirepb.DeviceType_value},
		"close reasons": {reasons, wirepb.CloseReason_value},
	} {
		if !maps.Equal(pair[0], pair[1]) {
			t.Errorf("%s: the vectors have %v, wire.proto %v", name, pair[0], pair[1])
		}
	}
}

func TestVectorsOfFrames(t *testing.T) {
	v := load(t)
	var stream []byte
	for _, tt := range v.Frames {
		t.Run(tt.Name, func(t *testing.T) {
			f := frame.Frame{Codec: codec(t, tt.Codec), Action: tt.Action, Sequence: tt.Sequence, Body: tt.Body}
			if got := frame.Append(nil, f); !bytes.Equal(got, tt.Hex) {
				t.Errorf("encoded: got %x, want %x", got, tt.Hex)
			}
			if got := decode(t, tt.Hex); len(got) != 1 || !sameFrame(got[0], f) {
				t.Errorf("decoded: got %v, want %v", got, f)
			}
			if want := idl.Protocol<<16 | uint32(f.Codec); tt.Version != want {
				t.Errorf("got version %d, want %d", tt.Version, want)
			}
			checkText(t, tt.Body, tt.BodyText, f.Codec)
		})
		stream = append(stream, tt.Hex...)
	}
	for _, s := range v.Streams {
		if got := decode(t, s.Hex); !bytes.Equal(s.Hex, stream) || len(got) != s.Frames {
			t.Errorf("%s: got %d frames, want %d", s.Name, len(got), s.Frames)
		}
	}
}

// checkText holds that text says the same as octets, and stands for JSON alone.
func checkText(t *testing.T, octets []byte, text *string, c idl.Codec) {
	t.Helper()
	if (text != nil) != (c == idl.CodecJSON) {
		t.Errorf("a %v body, and its text is %v", c, text)
	}
	if text != nil && *text != string(octets) {
		t.Errorf("got the text %s, want %s", *text, octets)
	}
}

func TestVectorsOfInvalidFrames(t *testing.T) {
	for _, tt := range load(t).InvalidFrames {
		t.Run(tt.Name, func(t *testing.T) {
			var d frame.Decoder
			err := d.Feed(tt.Hex, tt.MaxBody, func(frame.Frame) error { return nil })
			checkReason(t, err, tt.Reason)
		})
	}
}

func TestVectorsOfTextFrames(t *testing.T) {
	v := load(t)
	for _, tt := range v.TextFrames {
		t.Run(tt.Name, func(t *testing.T) {
			f := frame.Frame{Action: tt.Action, Sequence: tt.Sequence, Body: []byte(tt.Body)}
			if got, err := frame.AppendText(nil, f); err != nil || string(got) != tt.Text {
				t.Errorf("got %s and %v, want %s", got, err, tt.Text)
			}
		})
	}
	for _, tt := range slices.Concat(v.TextFrames, v.TextRequests) {
		t.Run(tt.Name, func(t *testing.T) {
			got, err := frame.ParseText([]byte(tt.Text), v.named)
			if err != nil {
				t.Fatal(err)
			}
			if want := (frame.Frame{Action: tt.Action, Sequence: tt.Sequence, Body: []byte(tt.Body)}); !sameFrame(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	for _, tt := range v.InvalidTextFrames {
		t.Run(tt.Name, func(t *testing.T) {
			_, err := frame.ParseText([]byte(tt.Text), v.named)
			checkReason(t, err, tt.Reason)
		})
	}
}

func (v vectors) named(name string) (idl.Action, bool) {
	a, ok := v.ActionNames[name]
	return a, ok
}

func TestVectorsOfBodies(t *testing.T) {
	messages := map[string]func() idl.Message{
		"chat.SendRequest":             func() idl.Message { return new(chatpb.SendRequest) },
		"chat.InboxEntry":              func() idl.Message { return new(chatpb.InboxEntry) },
		"account.AuthRequest":          func() idl.Message { return new(accountpb.AuthRequest) },
		"account.UpdateProfileRequest": func() idl.Message { return new(accountpb.UpdateProfileRequest) },
		"wire.Error":                   func() idl.Message { return new(wirepb.Error) },
		"wire.Quit":                    func() idl.Message { return new(wirepb.Quit) },
		"wire.Scripted":                func() idl.Message { return new(idl.Scripted) },
		"wire.Notice":                  func() idl.Message { return new(wirepb.Notice) },
	}
	for _, tt := range load(t).Bodies {
		t.Run(tt.Message, func(t *testing.T) {
			both := map[idl.Codec][]byte{idl.CodecJSON: []byte(tt.JSON), idl.CodecProtobuf: tt.Protobuf}
			for from, body := range both {
				m := messages[tt.Message]()
				if err := idl.Decode(body, from, m); err != nil {
					t.Fatal(err)
				}
				for to, want := range both {
					if got, err := idl.Append(nil, to, m); err != nil || !bytes.Equal(got, want) {
						t.Errorf("from %v to %v: got %q and %v, want %q", from, to, got, err, want)
					}
				}
			}
		})
	}
}

func TestVectorsOfStamps(t *testing.T) {
	for _, tt := range load(t).Stamps {
		t.Run(tt.Name, func(t *testing.T) {
			c := codec(t, tt.Codec)
			got := frame.AppendStamped(nil, c, tt.InboxSeq, tt.Body)
			if !bytes.Equal(got, tt.Stamped) {
				t.Errorf("got %q, want %q", got, tt.Stamped)
			}
			var entry chatpb.InboxEntry
			if err := idl.Decode(got, c, &entry); err != nil || entry.InboxSeq != tt.InboxSeq {
				t.Errorf("decoded: got %d and %v, want %d", entry.InboxSeq, err, tt.InboxSeq)
			}
			checkText(t, tt.Body, tt.BodyText, c)
			checkText(t, tt.Stamped, tt.StampedText, c)
		})
	}
}

func TestVectorsOfMessageIDs(t *testing.T) {
	v := load(t)
	for _, tt := range v.MessageIDs {
		t.Run(tt.Name, func(t *testing.T) {
			id, err := im.ParseMessageID(tt.Text)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(id[:], tt.Hex) || id.String() != tt.Text {
				t.Errorf("got %x, %v, want %x, %s", id, id, tt.Hex, tt.Text)
			}
			if id.Time().UnixMilli() != tt.TimeMS || id.Type() != tt.ConversationType {
				t.Errorf("got %d and %d, want %d and %d", id.Time().UnixMilli(), id.Type(), tt.TimeMS, tt.ConversationType)
			}
			if tt.Conversation != "" && generated(tt) != id {
				t.Errorf("generated: got %v, want %v", generated(tt), id)
			}
		})
	}
	if !slices.IsSortedFunc(v.MessageIDs, func(a, b messageIDVector) int { return strings.Compare(a.Text, b.Text) }) {
		t.Error("the message IDs are not in the order of their texts")
	}
	for _, tt := range v.InvalidMessageIDs {
		if id, err := im.ParseMessageID(tt.Text); err == nil {
			t.Errorf("%s: got %v, want an error", tt.Name, id)
		}
	}
}

// generated is the ID that a generator makes for the vector's conversation behind
// the newest ID there can be before it: spins begin at random, and go on by one.
func generated(v messageIDVector) im.MessageID {
	g := im.NewIDGenerator(func() time.Time { return time.UnixMilli(v.TimeMS - 1) })
	var before im.MessageID
	binary.BigEndian.PutUint64(before[:8], (uint64(v.TimeMS)<<12|uint64(v.Spin)-1)<<10)
	g.Observe(before)
	return g.Next(v.Conversation)
}

func codec(t *testing.T, name string) idl.Codec {
	t.Helper()
	for _, c := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		if c.String() == name {
			return c
		}
	}
	t.Fatalf("codec %q is not known", name)
	return 0
}

func decode(t *testing.T, b []byte) (frames []frame.Frame) {
	t.Helper()
	var d frame.Decoder
	err := d.Feed(b, 1<<16, func(f frame.Frame) error { frames = append(frames, f); return nil })
	if err != nil || d.Buffered() > 0 {
		t.Errorf("%x: got %v, %d octets are left", b, err, d.Buffered())
	}
	return frames
}

func sameFrame(a, b frame.Frame) bool {
	return a.Codec == b.Codec && a.Action == b.Action && a.Sequence == b.Sequence && bytes.Equal(a.Body, b.Body)
}

func checkReason(t *testing.T, err error, want string) {
	t.Helper()
	if fault, ok := errors.AsType[*frame.CloseError](err); !ok || fault.Reason.String() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
