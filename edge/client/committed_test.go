package client

import (
	"testing"

	"freeim/idl/kitex_gen/chatpb"
)

// The sender's own entry says when the message disappears, as that of everybody else does.
func TestCommittedExpires(t *testing.T) {
	e := committed(&chatpb.SendRequest{ClientId: "m", Text: "secret"}, &chatpb.SendReply{MessageId: "M1", Seq: 1, TimeMs: 1000, ExpiresMs: 61_000}, 7)
	if e.ExpiresMs != 61_000 || e.Text != "secret" || e.SenderId != 7 {
		t.Errorf("got %v", e)
	}
}
