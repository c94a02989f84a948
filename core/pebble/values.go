package pebble

import (
	"encoding/binary"
	"math"

	"freeim/core/im"
)

// idLen is the length of a message ID in a value.
const idLen = len(im.MessageID{})

// entry is one of the entries that an inbox key holds.
type entry struct {
	ID           im.MessageID
	Conversation []byte // aliases the value
	Seq          int64
}

func (e entry) append(dst []byte) []byte {
	dst = append(dst, e.ID[:]...)
	dst = appendName(dst, string(e.Conversation))
	return binary.AppendUvarint(dst, uint64(e.Seq))
}

// decodeRun appends to dst the entries of the inbox key of a seq: one at least, whose seqs follow
// each other. The last one has the key's.
func decodeRun(dst []entry, value []byte, seq int64) ([]entry, error) {
	d := decoder{rest: value}
	for n := int64(0); n == 0 || len(d.rest) > 0; n++ {
		dst = append(dst, entry{ID: d.id(), Conversation: d.name(), Seq: d.int()})
		if n >= seq {
			return dst, errCorrupt // it would begin before the first seq
		}
	}
	return dst, d.end()
}

// appendMessage appends the value of a log key, but for its ID, which the
// committer knows: idLen octets are left free before it.
func appendMessage(dst []byte, sender im.UserID, clientID string, body []byte) []byte {
	dst = append(dst, make([]byte, idLen)...)
	dst = appendInt(dst, int64(sender))
	dst = appendName(dst, clientID)
	return append(dst, body...)
}

// decodeMessage reads the value of the log key of c and seq. The body aliases
// value.
func decodeMessage(value []byte, c im.ConversationID, seq int64) (im.Message, error) {
	d := decoder{rest: value}
	id, sender, clientID := d.id(), im.UserID(d.fixed()), string(d.name())
	if d.corrupt {
		return im.Message{}, errCorrupt
	}
	return im.Message{
		ID: id, Conversation: c, Seq: seq, Sender: sender, ClientID: clientID,
		Time: id.Time(), Body: d.rest[:len(d.rest):len(d.rest)],
	}, nil
}

// record is the value of a de-duplication key.
type record struct {
	Digest       [32]byte
	Conversation im.ConversationID
	Seq          int64
	InboxSeqs    []int64
}

func (r record) append(dst []byte) []byte {
	dst = append(dst, r.Digest[:]...)
	dst = appendName(dst, string(r.Conversation))
	dst = binary.AppendUvarint(dst, uint64(r.Seq))
	dst = binary.AppendUvarint(dst, uint64(len(r.InboxSeqs)))
	for _, seq := range r.InboxSeqs {
		dst = binary.AppendUvarint(dst, uint64(seq))
	}
	return dst
}

func decodeRecord(value []byte) (record, error) {
	d := decoder{rest: value}
	var r record
	copy(r.Digest[:], d.bytes(len(r.Digest)))
	r.Conversation, r.Seq = im.ConversationID(d.name()), d.int()
	n := d.int()
	if n > int64(len(d.rest)) { // each takes an octet at least
		return record{}, errCorrupt
	}
	r.InboxSeqs = make([]int64, n)
	for i := range r.InboxSeqs {
		r.InboxSeqs[i] = d.int()
	}
	return r, d.end()
}

// filed is the value of a receipt key.
type filed struct {
	Conversation im.ConversationID
	By           im.UserID
	Seq          int64
}

func (f filed) append(dst []byte) []byte {
	dst = appendName(dst, string(f.Conversation))
	dst = appendInt(dst, int64(f.By))
	return binary.AppendUvarint(dst, uint64(f.Seq))
}

func decodeFiled(value []byte) (filed, error) {
	d := decoder{rest: value}
	f := filed{Conversation: im.ConversationID(d.name()), By: im.UserID(d.fixed()), Seq: d.int()}
	return f, d.end()
}

// decodeInt reads the value of a position or a latest key.
func decodeInt(value []byte) (int64, error) {
	d := decoder{rest: value}
	n := d.int()
	return n, d.end()
}

// decoder reads a value from its front. After something that does not fit it is
// corrupt, and gives zeros.
type decoder struct {
	rest    []byte
	corrupt bool
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.rest) {
		d.corrupt, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) id() (id im.MessageID) {
	copy(id[:], d.bytes(idLen))
	return id
}

func (d *decoder) name() []byte {
	n := d.bytes(1)
	if d.corrupt {
		return nil
	}
	return d.bytes(int(n[0]))
}

func (d *decoder) fixed() int64 {
	b := d.bytes(8)
	if d.corrupt {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func (d *decoder) int() int64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > math.MaxInt64 {
		d.corrupt, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return int64(n)
}

// end is errCorrupt unless everything was read and fitted.
func (d *decoder) end() error {
	if d.corrupt || len(d.rest) > 0 {
		return errCorrupt
	}
	return nil
}
