package main

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

func TestPlain(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&client.Refusal{Action: idl.ActionSignUp, Code: idl.CodeAlreadyExists, Field: "account", Message: "the name is taken"}, "the account name is taken; leave out -signup to sign in"},
		{&client.Refusal{Action: idl.ActionRoomInfo, Code: idl.CodeAlreadyExists, Field: "room", Message: "there is a room of that name"}, "that exists already: there is a room of that name"},
		{&client.Refusal{Code: idl.CodeInvalidArgument, Field: "account", Message: "must be 3-32 of a-z 0-9 . _ -, a letter first"}, "the account name must be 3-32 of a-z 0-9 . _ -, a letter first"},
		{&client.Refusal{Code: idl.CodeInvalidArgument, Field: "moderation.until_ms", Message: "must lie ahead"}, "the moderation until ms must lie ahead"},
		{&client.Refusal{Code: idl.CodeInvalidArgument, Field: "room", Message: "give one"}, "the name of the room: give one"},
		{&client.Refusal{Code: idl.CodeInvalidArgument, Field: "room"}, "the name of the room is not valid"},
		{&client.Refusal{Code: idl.CodeInvalidArgument}, "that is not valid"},
		{&client.Refusal{Code: idl.CodePermissionDenied, Field: "room", Message: "muted in the room"}, "not allowed: muted in the room"},
		{&client.Refusal{Code: idl.CodeRateLimited, RetryAfter: 2400 * time.Millisecond}, "too much at once; try again in 2s"},
		{&client.Refusal{Code: idl.CodeRateLimited, RetryAfter: time.Millisecond}, "too much at once; try again in 1s"},
		{&client.Refusal{Code: idl.CodeUnavailable}, "the server has no room for this now; try again in a moment"},
		{&client.Refusal{Code: idl.CodeRejected, Message: "no \x1b[2Jshouting"}, "no �[2Jshouting"},
		{fmt.Errorf("find: %w", context.DeadlineExceeded), "the server does not answer"},
		{fmt.Errorf("%q: %w", "lobby", client.ErrNotInRoom), "you are not in that room; /room NAME goes in"},
		{&client.Quit{Reason: idl.CloseShutdown, Message: "drain"}, "the server ended the session: drain"},
	}
	for _, tt := range tests {
		if got := plain(tt.err); got != tt.want {
			t.Errorf("%v:\ngot  %s\nwant %s", tt.err, got, tt.want)
		}
	}
}

// No code that the server may answer is shown by its name.
func TestPlainNamesNoCode(t *testing.T) {
	name := regexp.MustCompile(`[A-Z]{3}|_`)
	for code := range wirepb.Code_name {
		if got := plain(&client.Refusal{Code: wirepb.Code(code)}); name.MatchString(got) {
			t.Errorf("code %d is shown as %q", code, got)
		}
	}
}
