package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"freeim/idl"
)

// Unnamed is the action of a text frame whose action is a name that nobody
// knows. No handler has it, so it is refused like every unknown action and the
// session goes on.
const Unnamed idl.Action = -1

// AppendText appends the readable form of f to dst. f.Body goes in as it is: it
// must be a JSON object or empty, which is written as {}. It is an error when
// f.Codec is not JSON. Source: idl/README.md, Transports.
func AppendText(dst []byte, f Frame) ([]byte, error) {
	if f.Codec != idl.CodecJSON {
		return dst, fmt.Errorf("a text frame has a JSON body, this one is %s", f.Codec)
	}
	dst = strconv.AppendUint(append(dst, `{"version":`...), uint64(version(f.Codec)), 10)
	dst = strconv.AppendInt(append(dst, `,"action":`...), int64(f.Action), 10)
	dst = strconv.AppendUint(append(dst, `,"sequence_id":`...), uint64(f.Sequence), 10)
	dst = append(dst, `,"body":`...)
	if len(f.Body) == 0 {
		dst = append(dst, "{}"...)
	}
	return append(append(dst, f.Body...), '}'), nil
}

// textFrame is what a text message may say; null counts as absent, other keys
// are ignored.
type textFrame struct {
	Version  *uint32         `json:"version"`
	Action   json.RawMessage `json:"action"`
	Sequence uint32          `json:"sequence_id"`
	Body     json.RawMessage `json:"body"`
}

// ParseText reads one text message, which is one frame in JSON. The action is a
// number or a name, which named looks up (nil knows no names); an unknown name
// gives Unnamed. Body is a copy, so p is free after the call; it is JSON, but whether it
// is what the action takes is for whoever decodes it: one that is no object fails the
// action, not the session. Every error is a *CloseError.
func ParseText(p []byte, named func(string) (idl.Action, bool)) (Frame, error) {
	t, err := parseObject(p)
	if err != nil {
		return Frame{}, err
	}
	if t.Version != nil {
		if err := textDialect(*t.Version); err != nil {
			return Frame{}, err
		}
	}
	action, err := parseAction(t.Action, named)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Codec: idl.CodecJSON, Action: action, Sequence: t.Sequence}
	if !absent(t.Body) {
		f.Body = t.Body
	}
	return f, nil
}

func parseObject(p []byte) (textFrame, error) {
	var t textFrame
	err := json.Unmarshal(p, &t)
	wrong, mistyped := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case mistyped && wrong.Field != "":
		kind, _, _ := strings.Cut(wrong.Value, " ") // a number comes with all its digits
		return t, malformed("not a text frame: a JSON %s does not fit %s", kind, wrong.Field)
	case mistyped, err == nil && bytes.TrimLeft(p, " \t\r\n")[0] != '{':
		return t, malformed("not a text frame: it is no JSON object")
	case err != nil:
		return t, malformed("not a text frame: %v", err)
	}
	return t, nil
}

// textDialect refuses the versions that a text message cannot have.
func textDialect(v uint32) error {
	codec, err := dialect(v)
	if err != nil {
		return err
	}
	if codec != idl.CodecJSON {
		return unsupported("version %d: a text frame has a JSON body, its version is %d", v, version(idl.CodecJSON))
	}
	return nil
}

func parseAction(raw json.RawMessage, named func(string) (idl.Action, bool)) (idl.Action, error) {
	if absent(raw) {
		return 0, nil
	}
	if raw[0] != '"' {
		n, err := strconv.ParseUint(string(raw), 10, 8)
		if err != nil {
			return 0, malformed("not a text frame: action is a number from 0 to 255 or a name")
		}
		return idl.Action(n), nil
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return 0, malformed("not a text frame: %v", err)
	}
	if named == nil {
		return Unnamed, nil
	}
	if a, ok := named(name); ok {
		return a, nil
	}
	return Unnamed, nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

func malformed(format string, args ...any) error {
	return &CloseError{Reason: idl.CloseMalformed, Text: fmt.Sprintf(format, args...)}
}
