package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// ErrClosed is what calls and sends end with when Close was called.
var ErrClosed = errors.New("client is closed")

// ErrSilent ends a connection on which a request was not answered within
// Options.AnswerTimeout. Answers come in the order of the requests, so nothing
// behind it would have been answered either.
var ErrSilent = errors.New("server does not answer")

// Refusal is an action that the server refused; the session goes on.
type Refusal struct {
	Action     idl.Action // what was refused
	Code       idl.Code
	Message    string        // for developers, not for display
	Field      string        // the body's field that is wrong, where one is
	RetryAfter time.Duration // 0: trying again unchanged is no use, or no advice
}

func (r *Refusal) Error() string {
	text := fmt.Sprintf("%v refused: %v", r.Action, r.Code)
	if r.Field != "" {
		text += ": " + r.Field
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}

// CodeOf is the code of the Refusal in err, or idl.CodeUnknown when there is none.
func CodeOf(err error) idl.Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return idl.CodeUnknown
}

func refusal(action idl.Action, e *wirepb.Error) *Refusal {
	return &Refusal{
		Action: action, Code: e.Code, Message: e.Message, Field: e.Field,
		RetryAfter: milliseconds(e.RetryAfterMs),
	}
}

// fate is what becomes of a request that was refused.
type fate int

const (
	final   fate = iota // it stays refused
	later               // the same request again, after a pause
	unclear             // it may have happened: again a few times, then final
	signIn              // the session has no valid Auth any more
)

// fateOf reads a code as idl/wire.proto explains it.
func fateOf(c idl.Code) fate {
	switch c {
	case idl.CodeUnavailable, idl.CodeRateLimited, idl.CodeDeadlineExceeded:
		return later
	case idl.CodeInternal, idl.CodeUnknown:
		return unclear
	case idl.CodeUnauthenticated:
		return signIn
	}
	return final
}

// adviceOf is the RetryAfter of the Refusal in err, if any.
func adviceOf(err error) time.Duration {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.RetryAfter
	}
	return 0
}

// Quit is the end of a connection as the server gave it. It is an error: what
// the connection's calls fail with, and what a Session ends with when Reconnect
// is false.
type Quit struct {
	Reason     idl.CloseReason
	Message    string        // for developers
	Reconnect  bool          // whether connecting again makes sense
	RetryAfter time.Duration // wait at least this long
	Jitter     time.Duration // and up to this much longer, at random
}

func (q *Quit) Error() string {
	text := fmt.Sprintf("server closed the session: %v", q.Reason)
	if q.Message != "" {
		text += ": " + q.Message
	}
	return text
}

// pause is how long to wait before the next connection.
func (q *Quit) pause() time.Duration {
	if q.Jitter <= 0 {
		return q.RetryAfter
	}
	return q.RetryAfter + rand.N(q.Jitter)
}

func quit(q *wirepb.Quit) *Quit {
	return &Quit{
		Reason: q.Reason, Message: q.Message, Reconnect: q.Reconnect,
		RetryAfter: milliseconds(q.RetryAfterMs), Jitter: milliseconds(q.JitterMs),
	}
}

// longest is the longest time taken from the wire: a server cannot put a client
// to sleep for good.
const longest = 24 * time.Hour

func milliseconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), longest.Milliseconds())) * time.Millisecond
}
