package plugin

import (
	"context"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl"
)

// This file is what chats, groups and rooms have in common: the sender's ID of a
// message, a resend, and pages of a log.

// maxClientID is the longest client message ID in octets. Source: idl/chat.proto.
const maxClientID = 64

// ValidateClientID checks what a sender calls a message, the request's client_id.
func ValidateClientID(id string) error {
	if len(id) < 1 || len(id) > maxClientID {
		return im.Invalid("client_id", "must have 1-%d characters, has %d", maxClientID, len(id))
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return im.Invalid("client_id", "may hold A-Z a-z 0-9 . _ - only")
		}
	}
	return nil
}

// Resent finds the message that the caller has committed under this client ID before:
// the answer of an Answered function, which has set call.Digest. It refuses an ID that was
// used for something else.
func Resent(ctx context.Context, s timeline.Store, call *Call, clientID string) (done timeline.Committed, found bool, err error) {
	done, was, found, err := s.Find(ctx, call.User, clientID)
	switch {
	case err != nil:
		return done, false, Stored(ctx, err)
	case found && was != call.Digest:
		return done, false, Stored(ctx, timeline.ErrConflict)
	}
	done.Duplicate = found
	return done, found, nil
}

// Span is the part of a log that a request for history names: backward from
// BeforeSeq (0: the end), or forward from AfterSeq when that is set.
type Span struct{ BeforeSeq, AfterSeq int64 }

// History reads a span of a log. Its errors are refusals.
func History(ctx context.Context, s timeline.Store, c im.ConversationID, span Span, limit int) (page timeline.Page[im.Message], err error) {
	switch {
	case span.BeforeSeq < 0:
		return page, im.Invalid("before_seq", "must not be negative")
	case span.AfterSeq < 0:
		return page, im.Invalid("after_seq", "must not be negative")
	case span.BeforeSeq > 0 && span.AfterSeq > 0:
		return page, im.Invalid("after_seq", "give before_seq or after_seq, not both")
	case span.AfterSeq > 0:
		page, err = s.Log(ctx, c, span.AfterSeq, limit)
	default:
		page, err = s.LogBefore(ctx, c, span.BeforeSeq, limit)
	}
	if err != nil {
		return page, Stored(ctx, err)
	}
	return page, nil
}

// PageLimit applies the rule for a request's limit: 0 asks for as many as usual.
func PageLimit(asked int32, usual, most int) (int, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked < 0 || int(asked) > most:
		return 0, im.Invalid("limit", "must be 1-%d", most)
	}
	return int(asked), nil
}

// Fits gives how many of the first items make up a page of at most so many octets, at
// least one if there is one.
func Fits[T any](items []T, octets int, size func(T) int) int {
	for i, item := range items {
		if octets -= size(item); octets < 0 && i > 0 {
			return i
		}
	}
	return len(items)
}

// SizeOf is about what a text, or a stored body, takes in codec c, and no less: in JSON a
// quote, a bracket, a control character or a separator of lines grows to as many as six
// octets.
func SizeOf[T string | []byte](text T, c idl.Codec) int {
	size := len(text)
	if c != idl.CodecJSON {
		return size
	}
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ', b == '<', b == '>', b == '&':
			size += len(`\u003c`) - 1
		case b == '"', b == '\\':
			size++
		case b == 0xe2 && i+2 < len(text) && text[i+1] == 0x80 && text[i+2]&^1 == 0xa8: // U+2028, U+2029
			size += len(`\u2028`) - 3
		}
	}
	return size
}
