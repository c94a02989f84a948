package idl_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/wirepb"
)

// TestEveryEnumValueHasItsConstant holds that idl.go names all of wire.proto's
// numbers, but for those that are never sent.
func TestEveryEnumValueHasItsConstant(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "idl.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			named[s.Sel.Name] = true
		}
		return true
	})
	for enum, values := range map[string]map[int32]string{
		"Action": wirepb.Action_name, "Code": wirepb.Code_name,
		"CloseReason": wirepb.CloseReason_name, "DeviceType": wirepb.DeviceType_name,
	} {
		for _, value := range values {
			if name := enum + "_" + value; !named[name] && value != "CLOSE_UNKNOWN" {
				t.Errorf("idl.go has no constant for wirepb.%s", name)
			}
		}
	}
}

func TestReconnect(t *testing.T) {
	for number, name := range wirepb.CloseReason_name {
		want := number >= 4000 && number < 4500
		if number != 0 && idl.Reconnect(idl.CloseReason(number)) != want {
			t.Errorf("%s: got %v, want %v", name, !want, want)
		}
	}
}

// bodies are filled messages of every shape of field.
func bodies() map[string]idl.Message {
	return map[string]idl.Message{
		"empty":   &chatpb.SyncPush{},
		"strings": &chatpb.SendRequest{ClientId: "a1", ToUserId: 100002, Text: "Grüße <&> \u2028 😀"},
		"nested": &chatpb.SyncReply{
			Entries: []*chatpb.InboxEntry{{InboxSeq: 1, Message: &chatpb.Message{Id: "x", Seq: idl.MaxSafeInteger}}, {InboxSeq: 2}},
			HasMore: true, Head: 2, Epoch: "e"},
		"enum and repeated": &accountpb.ListDevicesReply{Devices: []*accountpb.DeviceInfo{
			{Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}, Online: true}}},
		"negative": &chatpb.SendRequest{ToUserId: -idl.MaxSafeInteger},
		"octets": &corepb.CallBatch{Calls: []*corepb.Call{
			{Session: 1 << 40, Body: []byte{0, 0xff, 0x80}, Identity: &corepb.Identity{UserId: 7}}}},
	}
}

func TestDecodeReadsWhatAppendWrote(t *testing.T) {
	for name, m := range bodies() {
		for _, c := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(name+" "+c.String(), func(t *testing.T) {
				b, err := idl.Append([]byte("kept"), c, m)
				if err != nil {
					t.Fatal(err)
				}
				body, ok := bytes.CutPrefix(b, []byte("kept"))
				if !ok {
					t.Fatalf("got %q, want it after what was there", b)
				}
				got := fresh(m)
				if err := idl.Decode(body, c, got); err != nil {
					t.Fatal(err)
				}
				clear(body) // Decode copies what it keeps
				if !reflect.DeepEqual(got, m) {
					t.Errorf("got %+v, want %+v", got, m)
				}
			})
		}
	}
}

// fresh is an empty message of m's type.
func fresh(m idl.Message) idl.Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(idl.Message)
}

func TestDecodeAccepts(t *testing.T) {
	want := chatpb.SendRequest{ClientId: "a1", ToUserId: idl.MaxSafeInteger}
	protobuf := []byte("\x0a\x02a1\x10\xff\xff\xff\xff\xff\xff\xff\x0f")
	tests := []struct {
		name  string
		codec idl.Codec
		body  string
		want  chatpb.SendRequest
	}{
		{"nothing", idl.CodecJSON, "", chatpb.SendRequest{}},
		{"nothing", idl.CodecProtobuf, "", chatpb.SendRequest{}},
		{"greatest integer", idl.CodecJSON, `{"client_id":"a1","to_user_id":9007199254740991}`, want},
		{"greatest integer", idl.CodecProtobuf, string(protobuf), want},
		{"unknown fields", idl.CodecJSON, `{"new":{"x":[1]},"client_id":"a1","to_user_id":9007199254740991}`, want},
		{"unknown fields", idl.CodecProtobuf, "\xfa\x01\x02hi\xf8\x02\x05" + string(protobuf), want},
		{"white space", idl.CodecJSON, " {\n} \t", chatpb.SendRequest{}},
	}
	for _, tt := range tests {
		t.Run(tt.codec.String()+" "+tt.name, func(t *testing.T) {
			var got chatpb.SendRequest
			if err := idl.Decode([]byte(tt.body), tt.codec, &got); err != nil {
				t.Fatal(err)
			}
			if got.ClientId != tt.want.ClientId || got.ToUserId != tt.want.ToUserId {
				t.Errorf("got %+v, want %+v", &got, &tt.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		codec idl.Codec
		body  string
		into  idl.Message
		field string
		want  string // contained in the reason
	}{
		{"2^53", idl.CodecJSON, `{"to_user_id":9007199254740992}`, new(chatpb.SendRequest), "to_user_id", "beyond 2^53-1"},
		{"-2^53", idl.CodecJSON, `{"to_user_id":-9007199254740992}`, new(chatpb.SendRequest), "to_user_id", "beyond 2^53-1"},
		{"2^53", idl.CodecProtobuf, "\x10\x80\x80\x80\x80\x80\x80\x80\x10", new(chatpb.SendRequest), "to_user_id", "beyond 2^53-1"},
		{"2^53 deep inside", idl.CodecJSON, `{"message":{"seq":9007199254740992}}`, new(chatpb.InboxEntry), "message.seq", "beyond 2^53-1"},
		{"2^53 in a list", idl.CodecJSON, `{"entries":[{},{"inbox_seq":9007199254740992}]}`, new(chatpb.SyncReply), "entries.inbox_seq", "beyond 2^53-1"},
		{"2^63", idl.CodecJSON, `{"to_user_id":9223372036854775808}`, new(chatpb.SendRequest), "to_user_id", "a JSON number does not fit"},
		{"fraction", idl.CodecJSON, `{"to_user_id":1.5}`, new(chatpb.SendRequest), "to_user_id", "a JSON number does not fit"},
		{"integer as text", idl.CodecJSON, `{"to_user_id":"1"}`, new(chatpb.SendRequest), "to_user_id", "a JSON string does not fit"},
		{"not UTF-8", idl.CodecJSON, "{\"text\":\"\xff\"}", new(chatpb.SendRequest), "", "not UTF-8"},
		{"not UTF-8", idl.CodecProtobuf, "\x2a\x01\xff", new(chatpb.SendRequest), "text", "not UTF-8"},
		{"not UTF-8 deep inside", idl.CodecProtobuf, "\x12\x03\x42\x01\xff", new(chatpb.InboxEntry), "message.text", "not UTF-8"},
		{"something follows", idl.CodecJSON, `{} {}`, new(chatpb.SendRequest), "", "something follows the object"},
		{"a brace follows", idl.CodecJSON, `{}}`, new(chatpb.SendRequest), "", "something follows the object"},
		{"cut", idl.CodecJSON, `{"text":"h`, new(chatpb.SendRequest), "", "not valid JSON"},
		{"cut", idl.CodecProtobuf, "\x2a\x05hi", new(chatpb.SendRequest), "", "not valid protobuf"},
		{"list", idl.CodecJSON, `[]`, new(chatpb.SendRequest), "", "a JSON array does not fit"},
		{"text", idl.CodecJSON, `"hi"`, new(chatpb.SendRequest), "", "a JSON string does not fit"},
		{"length beyond the end", idl.CodecProtobuf, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", new(chatpb.SendRequest), "", "not valid protobuf"},
		{"null in a list", idl.CodecJSON, `{"entries":[{},null]}`, new(chatpb.SyncReply), "entries", "null in a list"},
		{"codec", 7, "{}", new(chatpb.SendRequest), "", "codec 7 is not known"},
	}
	for _, tt := range tests {
		t.Run(tt.codec.String()+" "+tt.name, func(t *testing.T) {
			err := idl.Decode([]byte(tt.body), tt.codec, tt.into)
			got, ok := errors.AsType[*idl.BodyError](err)
			if !ok || got.Field != tt.field || !strings.Contains(got.Reason, tt.want) {
				t.Errorf("got %v, want %s: …%s…", err, tt.field, tt.want)
			}
		})
	}
}

func TestAppendRefusesAnUnknownCodec(t *testing.T) {
	if got, err := idl.Append([]byte("x"), 7, &chatpb.SyncPush{}); err == nil || string(got) != "x" {
		t.Errorf("got %q and %v, want an error", got, err)
	}
}

// FuzzDecode holds for both codecs that no body makes Decode panic, that each
// error is a *BodyError, and that what was read comes back the same.
func FuzzDecode(f *testing.F) {
	for _, m := range bodies() {
		for _, c := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			b, err := idl.Append(nil, c, m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, c := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			for _, like := range bodies() {
				checkDecode(t, body, c, like)
			}
		}
	})
}

func checkDecode(t *testing.T, body []byte, c idl.Codec, like idl.Message) {
	m := fresh(like)
	if err := idl.Decode(body, c, m); err != nil {
		if _, ok := errors.AsType[*idl.BodyError](err); !ok {
			t.Errorf("%v into %T: got %v, want a *BodyError", c, m, err)
		}
		return
	}
	once, err := idl.Append(nil, c, m)
	if err != nil {
		t.Fatalf("%v of %T: %v", c, m, err)
	}
	again := fresh(like)
	if err := idl.Decode(once, c, again); err != nil {
		t.Fatalf("%v into %T: %q, written from %q: %v", c, m, once, body, err)
	}
	if twice, err := idl.Append(nil, c, again); err != nil || !bytes.Equal(once, twice) {
		t.Errorf("%v of %T: got %q and %v, want %q", c, m, twice, err, once)
	}
}
