package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"freeim/edge/client"
	"freeim/idl"
)

// plain is err for a person who did not write the program.
func plain(err error) string {
	if q, quit := errors.AsType[*client.Quit](err); quit {
		return "the server ended the session: " + reason(q)
	}
	if r, refused := errors.AsType[*client.Refusal](err); refused {
		return safe(refusal(r))
	}
	if errors.Is(err, client.ErrNotInRoom) {
		return "you are not in that room; /room NAME goes in"
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrSilent) {
		return "the server does not answer"
	}
	return safe(err.Error())
}

// refusal is what a server's no means. Its message is in words of the wire
// specification; what is known here is said without it.
func refusal(r *client.Refusal) string {
	switch r.Code {
	case idl.CodeBadCredentials:
		return "account name or password is wrong"
	case idl.CodeAlreadyExists:
		if r.Action == idl.ActionSignUp {
			return "the account name is taken; leave out -signup to sign in"
		}
		return with("that exists already", r.Message)
	case idl.CodeUnauthenticated:
		return "the sign-in is not valid any more; give -password to sign in again"
	case idl.CodeInvalidArgument:
		return invalid(r.Field, r.Message)
	case idl.CodeNotFound:
		return with("not found", r.Message)
	case idl.CodePermissionDenied:
		return with("not allowed", r.Message)
	case idl.CodeConflict:
		return with("that contradicts what is there", r.Message)
	case idl.CodeLimitExceeded:
		return with("a limit is reached", r.Message)
	case idl.CodeTooLarge:
		return "that is too long"
	case idl.CodeRateLimited:
		return "too much at once; try again " + when(r.RetryAfter)
	case idl.CodeUnavailable:
		return "the server has no room for this now; try again " + when(r.RetryAfter)
	case idl.CodeDeadlineExceeded:
		return "the server took too long; try again " + when(r.RetryAfter)
	case idl.CodeInternal:
		return "something went wrong on the server; try again " + when(r.RetryAfter)
	case idl.CodeRejected:
		if r.Message != "" {
			return r.Message // a rule's own words
		}
		return "a rule of the server's refuses it"
	case idl.CodeUnknownAction, idl.CodeMalformedBody:
		return "the server does not understand this; it may be of another version"
	}
	return with("the server refuses it", r.Message)
}

// with adds a detail to a sentence, if there is one that says more.
func with(sentence, detail string) string {
	if detail == "" {
		return sentence
	}
	return sentence + ": " + detail
}

// invalid says what is wrong with a part of a request.
func invalid(field, message string) string {
	name := map[string]string{
		"account": "the account name", "password": "the password", "nickname": "the display name", "text": "the message",
		"room": "the name of the room", "device.id": "the ID of the device (-device)", "limit": "the number of messages",
		"to_user_id": "the person to write to", "user_id": "the user ID",
	}[field]
	if name == "" && field != "" {
		name = "the " + strings.NewReplacer("_", " ", ".", " ").Replace(field)
	}
	switch verb, _, _ := strings.Cut(message, " "); {
	case name == "":
		return with("that is not valid", message)
	case message == "":
		return name + " is not valid"
	case verb == "must" || verb == "may" || verb == "is":
		return name + " " + message
	}
	return name + ": " + message
}

// when is the server's advice, which is for a moment when it gives none.
func when(d time.Duration) string {
	if d <= 0 {
		return "in a moment"
	}
	return fmt.Sprintf("in %v", max(d.Round(time.Second), time.Second))
}

func reason(q *client.Quit) string {
	switch q.Reason {
	case idl.CloseKicked:
		return "you signed in on another device of this type; a person is signed in on one of each (-type tablet makes a second terminal)"
	case idl.CloseReplaced:
		return "this device connected a second time"
	case idl.CloseSignedOut:
		return "signed out"
	case idl.CloseRemoved:
		return "the operators of this server ended the session"
	}
	if q.Message != "" {
		return safe(q.Message)
	}
	return safe(q.Error())
}
