package frame_test

import (
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
)

func TestAppendText(t *testing.T) {
	tests := []struct {
		name  string
		frame frame.Frame
		want  string
	}{
		{"body", frame.Frame{Action: idl.ActionMessage, Sequence: 7, Body: []byte(`{"text":"hi"}`)},
			`{"version":131072,"action":3,"sequence_id":7,"body":{"text":"hi"}}`},
		{"empty body", frame.Frame{Action: idl.ActionHeartbeat},
			`{"version":131072,"action":100,"sequence_id":0,"body":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := frame.AppendText([]byte("x"), tt.frame)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != "x"+tt.want {
				t.Errorf("got %s, want x%s", got, tt.want)
			}
		})
	}
}

func TestAppendTextRefusesProtobuf(t *testing.T) {
	got, err := frame.AppendText(nil, frame.Frame{Codec: idl.CodecProtobuf})
	if err == nil || got != nil {
		t.Errorf("got %q and %v, want an error", got, err)
	}
}

func named(name string) (idl.Action, bool) {
	if name == "chat.send" {
		return idl.ActionMessage, true
	}
	return 0, false
}

func TestParseText(t *testing.T) {
	tests := []struct {
		name, text string
		want       frame.Frame
	}{
		{"specification's example", `{"version":131072,"action":"chat.send","sequence_id":7,"body":{"text":"hi"}}`,
			frame.Frame{Action: idl.ActionMessage, Sequence: 7, Body: []byte(`{"text":"hi"}`)}},
		{"number", `{"action":100}`, frame.Frame{Action: idl.ActionHeartbeat}},
		{"greatest numbers", `{"action":255,"sequence_id":4294967295}`,
			frame.Frame{Action: idl.ActionError, Sequence: 1<<32 - 1}},
		{"empty object", `{}`, frame.Frame{}},
		{"null is absent", `{"version":null,"action":null,"sequence_id":null,"body":null}`, frame.Frame{}},
		{"unknown key", `{"action":2,"colour":"red"}`, frame.Frame{Action: idl.ActionSync}},
		{"white space", " { \"action\" : 2 ,\n\"body\": { \"limit\": 3 } } ",
			frame.Frame{Action: idl.ActionSync, Body: []byte(`{ "limit": 3 }`)}},
		{"escaped name", `{"action":"chat.\u0073end"}`, frame.Frame{Action: idl.ActionMessage}},
		{"body of a wrong type", `{"action":2,"body":{"limit":"x"}}`, frame.Frame{Action: idl.ActionSync, Body: []byte(`{"limit":"x"}`)}},
		{"body as text", `{"action":2,"body":"{}"}`, frame.Frame{Action: idl.ActionSync, Body: []byte(`"{}"`)}}, // fails the action
		{"body as list", `{"action":2,"body":[1]}`, frame.Frame{Action: idl.ActionSync, Body: []byte(`[1]`)}},
		{"unknown name", `{"action":"chat.sned","sequence_id":9}`, frame.Frame{Action: frame.Unnamed, Sequence: 9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := frame.ParseText([]byte(tt.text), named)
			if err != nil {
				t.Fatal(err)
			}
			if !sameFrames([]frame.Frame{got}, []frame.Frame{tt.want}) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseTextRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", ``, "CLOSE_MALFORMED: not a text frame: unexpected end of JSON input"},
		{"cut", `{"action":3`, "CLOSE_MALFORMED: not a text frame: unexpected end of JSON input"},
		{"two frames", `{}{}`, "CLOSE_MALFORMED: not a text frame: invalid character '{' after top-level value"},
		{"array", `[]`, "CLOSE_MALFORMED: not a text frame: it is no JSON object"},
		{"null", ` null`, "CLOSE_MALFORMED: not a text frame: it is no JSON object"},
		{"string", `"hi"`, "CLOSE_MALFORMED: not a text frame: it is no JSON object"},
		{"stock version", `{"version":1}`,
			"CLOSE_UNSUPPORTED_VERSION: version 1 is reserved for the stock free-im clients, which are not served here"},
		{"protobuf", `{"version":131073}`,
			"CLOSE_UNSUPPORTED_VERSION: version 131073: a text frame has a JSON body, its version is 131072"},
		{"unknown version", `{"version":9}`,
			"CLOSE_UNSUPPORTED_VERSION: version 9 is not known, JSON is 131072 and protobuf 131073"},
		{"version as text", `{"version":"2"}`, "CLOSE_MALFORMED: not a text frame: a JSON string does not fit version"},
		{"action too great", `{"action":256}`,
			"CLOSE_MALFORMED: not a text frame: action is a number from 0 to 255 or a name"},
		{"negative action", `{"action":-1}`,
			"CLOSE_MALFORMED: not a text frame: action is a number from 0 to 255 or a name"},
		{"action as object", `{"action":{}}`,
			"CLOSE_MALFORMED: not a text frame: action is a number from 0 to 255 or a name"},
		{"negative sequence", `{"sequence_id":-1}`,
			"CLOSE_MALFORMED: not a text frame: a JSON number does not fit sequence_id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := frame.ParseText([]byte(tt.text), named); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParseTextWithoutNames(t *testing.T) {
	if f, err := frame.ParseText([]byte(`{"action":"chat.send"}`), nil); err != nil || f.Action != frame.Unnamed {
		t.Errorf("got %v and %v, want it unnamed", f, err)
	}
}

func TestParseTextCopiesTheBody(t *testing.T) {
	text := []byte(`{"body":{"text":"hi"}}`)
	f, err := frame.ParseText(text, named)
	if err != nil {
		t.Fatal(err)
	}
	clear(text)
	if got, want := string(f.Body), `{"text":"hi"}`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
