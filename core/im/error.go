package im

import (
	"errors"
	"fmt"
	"time"

	"freeim/idl"
)

// Error is a refusal with a code that the client sees. Handlers return it;
// dispatch turns it, and every other error, into the wire's Error in one place.
type Error struct {
	Code       idl.Code
	Field      string        // the request's field that is wrong, if one is
	Reason     string        // for the client's developer; never a secret, never an internal fault's text
	RetryAfter time.Duration // advice; 0: none
	Err        error         // the cause, for the log only; may be nil
}

func (e *Error) Error() string {
	text := e.Code.String() + ": " + e.Reason
	if e.Field != "" {
		text = e.Code.String() + ": " + e.Field + ": " + e.Reason
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf is an Error with a formatted reason.
func Errorf(code idl.Code, format string, args ...any) *Error {
	return &Error{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Invalid is the refusal of one field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: idl.CodeInvalidArgument, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Unavailable is "not now": cause goes to the log, the client tries again after
// retry with the same IDs.
func Unavailable(retry time.Duration, cause error) *Error {
	return &Error{Code: idl.CodeUnavailable, Reason: "try again", RetryAfter: retry, Err: cause}
}

// CodeOf is the code that err carries, CodeInternal for an error without one,
// CodeUnknown for nil.
func CodeOf(err error) idl.Code {
	if err == nil {
		return idl.CodeUnknown
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Code
	}
	return idl.CodeInternal
}
