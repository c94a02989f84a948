package plugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
)

func refused(err error, code idl.Code, field string) bool {
	no, ok := errors.AsType[*im.Error](err)
	return ok && no.Code == code && no.Field == field
}

func TestValidateClientID(t *testing.T) {
	for _, good := range []string{"a", "Z-9_.", strings.Repeat("x", 64)} {
		if err := plugin.ValidateClientID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", strings.Repeat("x", 65), "a b", "a\x00", "é", "a/b"} {
		if err := plugin.ValidateClientID(bad); !refused(err, idl.CodeInvalidArgument, "client_id") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// onePage is a store with one message, which it was sent as "m1" with digest 1.
type onePage struct {
	timeline.Store
	asked string
	fault error
}

func (s *onePage) Find(_ context.Context, _ im.UserID, id string) (c timeline.Committed, digest [32]byte, found bool, err error) {
	return timeline.Committed{Message: im.Message{Seq: 1}}, [32]byte{1}, id == "m1", s.fault
}

func (s *onePage) Log(context.Context, im.ConversationID, int64, int) (p timeline.Page[im.Message], err error) {
	s.asked = "forward"
	return p, s.fault
}

func (s *onePage) LogBefore(context.Context, im.ConversationID, int64, int) (p timeline.Page[im.Message], err error) {
	s.asked = "backward"
	return p, s.fault
}

func TestResent(t *testing.T) {
	s, call := new(onePage), &plugin.Call{Digest: [32]byte{1}}
	if done, found, err := plugin.Resent(t.Context(), s, call, "m1"); !found || err != nil || !done.Duplicate || done.Seq != 1 {
		t.Errorf("got %+v, %v, %v", done, found, err)
	}
	if done, found, err := plugin.Resent(t.Context(), s, call, "m2"); found || err != nil || done.Duplicate {
		t.Errorf("a new one: got %+v, %v, %v", done, found, err)
	}
	call.Digest = [32]byte{2}
	if _, found, err := plugin.Resent(t.Context(), s, call, "m1"); found || !refused(err, idl.CodeConflict, "client_id") {
		t.Errorf("another message: got %v, %v", found, err)
	}
	s.fault = errors.New("away")
	if _, found, err := plugin.Resent(t.Context(), s, call, "m1"); found || !refused(err, idl.CodeUnavailable, "") {
		t.Errorf("no store: got %v, %v", found, err)
	}
}

func TestHistory(t *testing.T) {
	for _, row := range []struct {
		name  string
		span  plugin.Span
		fault error
		want  string // the way that is read, or the field that is refused
	}{
		{"the end", plugin.Span{}, nil, "backward"},
		{"before", plugin.Span{BeforeSeq: 5}, nil, "backward"},
		{"after", plugin.Span{AfterSeq: 5}, nil, "forward"},
		{"both", plugin.Span{BeforeSeq: 5, AfterSeq: 5}, nil, "after_seq"},
		{"before zero", plugin.Span{BeforeSeq: -1}, nil, "before_seq"},
		{"after less than zero", plugin.Span{AfterSeq: -1}, nil, "after_seq"},
		{"a fault", plugin.Span{}, errors.New("away"), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &onePage{fault: row.fault}
			_, err := plugin.History(t.Context(), s, "r_x", row.span, 3)
			code := idl.CodeInvalidArgument
			if row.fault != nil {
				code = idl.CodeUnavailable
			}
			if err == nil && s.asked != row.want || err != nil && !refused(err, code, row.want) {
				t.Errorf("read %s, got %v", s.asked, err)
			}
		})
	}
}

func TestPages(t *testing.T) {
	for _, row := range []struct {
		asked int32
		want  int
	}{{0, 50}, {1, 1}, {100, 100}, {101, 0}, {-1, 0}} {
		n, err := plugin.PageLimit(row.asked, 50, 100)
		if n != row.want || (err != nil) != (row.want == 0) || err != nil && !refused(err, idl.CodeInvalidArgument, "limit") {
			t.Errorf("%d: got %d, %v", row.asked, n, err)
		}
	}
	self := func(n int) int { return n }
	for _, row := range []struct {
		items []int
		want  int
	}{{nil, 0}, {[]int{5, 5}, 2}, {[]int{5, 6}, 1}, {[]int{11, 1}, 1}, {[]int{1, 1, 9}, 2}} {
		if n := plugin.Fits(row.items, 10, self); n != row.want {
			t.Errorf("%v: got %d, want %d", row.items, n, row.want)
		}
	}
}

// TestSizeOf: never less than what the encoder makes of it.
func TestSizeOf(t *testing.T) {
	for _, text := range []string{"", "plain", `"quoted\"`, "<b>&</b>", "a\nb\tc\x00\x7f", "héllo 界", "a\u2028b\u2029", "\u2027\u202a"} {
		encoded, err := idl.Append(nil, idl.CodecJSON, &textBody{text})
		if got, want := plugin.SizeOf(text, idl.CodecJSON), len(encoded)-len(`{"t":""}`); err != nil || got < want {
			t.Errorf("%q: got %d, it takes %d (%v)", text, got, want, err)
		}
		if got := plugin.SizeOf([]byte(text), idl.CodecProtobuf); got != len(text) {
			t.Errorf("%q in protobuf: got %d", text, got)
		}
	}
}

type textBody struct {
	T string `json:"t"`
}

func (*textBody) Marshal(in []byte) ([]byte, error) { return in, nil }
func (*textBody) Unmarshal([]byte) error            { return nil }
