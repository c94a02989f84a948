package pebble

import (
	"encoding/binary"
	"fmt"
	"math"

	"freeim/core/im"
	"freeim/core/timeline"
)

// The keys. Numbers are big-endian, so that keys sort as their numbers do; a
// conversation ID inside a key has its length in one octet before it.
//
//	m <name>                       meta: format, epoch, last (the newest message ID)
//	l <conversation> <seq 8>       a message, with its body: the only copy
//	i <user 8> <inbox seq 8>       inbox entries up to that one, a run of them: which messages
//	d <sender 8> <client ID>       de-duplication: which message, its digest and inbox seqs
//	p <by 8> <conversation>        up to which seq a person holds a conversation
//	r <user 8> <receipt seq 8>     a receipt for user
//	v <conversation>               the least version of drafts that are committed to it
//	x <user 8> <by 8> <conversation>  where user's newest receipt of that person and conversation is
//
// Head seqs are not stored: they are the last key of their range.
const (
	kindMeta     = 'm'
	kindLog      = 'l'
	kindInbox    = 'i'
	kindDedupe   = 'd'
	kindPosition = 'p'
	kindReceipt  = 'r'
	kindLatest   = 'x'
	kindVersion  = 'v'
)

// maxName is the longest conversation ID or client ID in octets.
const maxName = 255

// errCorrupt is returned for a value that this package cannot have written.
var errCorrupt = fmt.Errorf("a value in the database: %w", timeline.ErrCorrupt)

func metaKey(name string) []byte { return append([]byte{kindMeta}, name...) }

// logPrefix appends the prefix of a conversation's log to dst.
func logPrefix(dst []byte, c im.ConversationID) []byte {
	return appendName(append(dst, kindLog), string(c))
}

func logKey(dst []byte, c im.ConversationID, seq int64) []byte {
	return appendInt(logPrefix(dst, c), seq)
}

// userPrefix appends the prefix of a timeline of user's: of kindInbox or
// kindReceipt.
func userPrefix(dst []byte, kind byte, user im.UserID) []byte {
	return appendInt(append(dst, kind), int64(user))
}

func userKey(dst []byte, kind byte, user im.UserID, seq int64) []byte {
	return appendInt(userPrefix(dst, kind, user), seq)
}

func dedupeKey(dst []byte, sender im.UserID, clientID string) []byte {
	return append(appendInt(append(dst, kindDedupe), int64(sender)), clientID...)
}

func versionKey(dst []byte, c im.ConversationID) []byte {
	return append(append(dst, kindVersion), c...)
}

func positionKey(dst []byte, by im.UserID, c im.ConversationID) []byte {
	return append(appendInt(append(dst, kindPosition), int64(by)), c...)
}

func latestKey(dst []byte, user, by im.UserID, c im.ConversationID) []byte {
	return append(appendInt(appendInt(append(dst, kindLatest), int64(user)), int64(by)), c...)
}

// rangeEnd appends the first key after all keys of a timeline with that prefix:
// no seq is math.MaxInt64.
func rangeEnd(prefix []byte) []byte {
	return appendInt(prefix[:len(prefix):len(prefix)], math.MaxInt64)
}

// seqOf is the seq at the end of a timeline's key.
func seqOf(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key[len(key)-8:]))
}

func appendInt(dst []byte, n int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(n)) }

func appendName(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s))), s...)
}
