package idl

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"freeim/idl/kitex_gen/wirepb"
)

// Scripted is the body of an action that scripts define, in its requests and answers: a
// JSON object, whose fields no .proto file has. In the codec JSON it is the body, in
// protobuf it travels in a wirepb.Scripted. README.md beside it tells why.
type Scripted struct {
	JSON []byte `json:"-"` // an object; empty: {}
}

var errNoObject = errors.New("the body is no JSON object")

// Marshal implements Message.
func (s *Scripted) Marshal(in []byte) ([]byte, error) {
	if string(s.JSON) == "{}" {
		return in, nil
	}
	return (&wirepb.Scripted{Json: string(s.JSON)}).Marshal(in)
}

// Unmarshal implements Message.
func (s *Scripted) Unmarshal(in []byte) error {
	var m wirepb.Scripted
	if err := m.Unmarshal(in); err != nil {
		return err
	}
	if m.Json == "" {
		return nil
	}
	text := []byte(m.Json)
	if !utf8.Valid(text) || !json.Valid(text) || !isObject(text) {
		return errNoObject
	}
	s.JSON = text
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s *Scripted) MarshalJSON() ([]byte, error) {
	if len(s.JSON) == 0 {
		return []byte("{}"), nil
	}
	return s.JSON, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Scripted) UnmarshalJSON(text []byte) error {
	if !isObject(text) {
		return errNoObject
	}
	s.JSON = bytes.Clone(text)
	return nil
}

// isObject reports whether valid JSON is an object.
func isObject(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}
