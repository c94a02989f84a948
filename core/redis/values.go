package redis

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strconv"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Every value of a timeline begins with its format and a checksum, which also
// covers where the value belongs: one that was cut, changed, or put elsewhere is
// not taken for an entry. Decoders say ok or not ok, and what is not ok counts as
// missing: the record has it.
const (
	format   = 1
	headLen  = 1 + 4 // format, checksum
	idLen    = len(im.MessageID{})
	maxInbox = 64 // inboxes of a message that is remembered in the window; larger fan-outs ask the record
)

// seal writes format and checksum over the first headLen octets of value.
func seal(value []byte, where string) {
	value[0] = format
	binary.LittleEndian.PutUint32(value[1:], checksum(where, value[headLen:]))
}

// unseal gives what follows the head, if the value is whole and belongs to where.
func unseal(value, where string) (rest string, ok bool) {
	if len(value) < headLen || value[0] != format {
		return "", false
	}
	rest = value[headLen:]
	sum := binary.LittleEndian.Uint32([]byte(value[1:headLen]))
	return rest, sum == checksum(where, []byte(rest))
}

func checksum(where string, rest []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, []byte(where)), table, rest)
}

// Where values belong, for their checksums.
func ofLog(c im.ConversationID) string { return "l" + string(c) }
func ofInbox(user im.UserID) string    { return "i" + user.String() }
func ofWindow(sender im.UserID, clientID string) string {
	return "w" + sender.String() + " " + clientID
}

// encodeMessage makes the member of a log.
func encodeMessage(m *im.Message) []byte {
	b := make([]byte, headLen, headLen+idLen+2*binary.MaxVarintLen64+2+len(m.ClientID)+len(m.Body))
	b = binary.AppendUvarint(b, uint64(m.Seq))
	b = append(b, m.ID[:]...)
	b = binary.AppendUvarint(b, uint64(m.Sender))
	b = binary.AppendUvarint(b, uint64(len(m.ClientID)))
	b = append(b, m.ClientID...)
	b = append(b, m.Body...)
	seal(b, ofLog(m.Conversation))
	return b
}

// decodeMessage reads a member of the log of c. The message shares nothing with
// the value.
func decodeMessage(value string, c im.ConversationID) (m im.Message, ok bool) {
	rest, ok := unseal(value, ofLog(c))
	if !ok {
		return im.Message{}, false
	}
	d := decoder{rest: rest}
	m = im.Message{Conversation: c, Seq: d.int(), ID: d.id(), Sender: im.UserID(d.int()), ClientID: d.name()}
	if d.corrupt || m.Seq < 1 {
		return im.Message{}, false
	}
	m.Time, m.Body = m.ID.Time(), []byte(d.rest)
	return m, true
}

// encodeEntry makes the member of user's inbox.
func encodeEntry(user im.UserID, e *timeline.EntryRef) []byte {
	b := make([]byte, headLen, headLen+idLen+2*binary.MaxVarintLen64+len(e.Conversation))
	b = binary.AppendUvarint(b, uint64(e.InboxSeq))
	b = append(b, e.ID[:]...)
	b = binary.AppendUvarint(b, uint64(e.Seq))
	b = append(b, e.Conversation...)
	seal(b, ofInbox(user))
	return b
}

func decodeEntry(value string, user im.UserID) (e timeline.EntryRef, ok bool) {
	rest, ok := unseal(value, ofInbox(user))
	if !ok {
		return timeline.EntryRef{}, false
	}
	d := decoder{rest: rest}
	e.InboxSeq, e.ID, e.Seq = d.int(), d.id(), d.int()
	e.Conversation = im.ConversationID(d.rest)
	if d.corrupt || e.InboxSeq < 1 || e.Seq < 1 {
		return timeline.EntryRef{}, false
	}
	return e, true
}

// hint is the value of the idempotency window: where the message of a client ID
// is, and what it was committed with.
type hint struct {
	digest    [32]byte
	id        im.MessageID
	ref       timeline.Ref
	inboxSeqs []int64
}

func encodeHint(sender im.UserID, clientID string, h *hint) []byte {
	b := make([]byte, headLen, headLen+len(h.digest)+idLen+(3+len(h.inboxSeqs))*binary.MaxVarintLen64+len(h.ref.Conversation))
	b = append(b, h.digest[:]...)
	b = append(b, h.id[:]...)
	b = binary.AppendUvarint(b, uint64(h.ref.Seq))
	b = binary.AppendUvarint(b, uint64(len(h.inboxSeqs)))
	for _, seq := range h.inboxSeqs {
		b = binary.AppendUvarint(b, uint64(seq))
	}
	b = append(b, h.ref.Conversation...)
	seal(b, ofWindow(sender, clientID))
	return b
}

func decodeHint(value string, sender im.UserID, clientID string) (h hint, ok bool) {
	rest, ok := unseal(value, ofWindow(sender, clientID))
	if !ok {
		return hint{}, false
	}
	d := decoder{rest: rest}
	copy(h.digest[:], d.octets(len(h.digest)))
	h.id, h.ref.Seq = d.id(), d.int()
	n := d.int()
	if d.corrupt || n > maxInbox || h.ref.Seq < 1 {
		return hint{}, false
	}
	h.inboxSeqs = make([]int64, n)
	for i := range h.inboxSeqs {
		h.inboxSeqs[i] = d.int()
	}
	h.ref.Conversation = im.ConversationID(d.rest)
	return h, !d.corrupt
}

// decoder reads a value from its front. After something that does not fit it is
// corrupt, and gives zeros.
type decoder struct {
	rest    string
	corrupt bool
}

func (d *decoder) octets(n int) string {
	if n > len(d.rest) {
		d.corrupt, d.rest = true, ""
		return ""
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) id() (id im.MessageID) {
	copy(id[:], d.octets(idLen))
	return id
}

func (d *decoder) name() string {
	n := d.int()
	if n > int64(len(d.rest)) {
		d.corrupt, d.rest = true, ""
		return ""
	}
	return d.octets(int(n))
}

// int reads a number as binary.AppendUvarint writes it, in its shortest form.
func (d *decoder) int() int64 {
	n, shift := uint64(0), uint(0)
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		b := d.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 || b == 0 && i > 0 {
			break
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n > math.MaxInt64 {
				break
			}
			d.rest = d.rest[i+1:]
			return int64(n)
		}
		shift += 7
	}
	d.corrupt, d.rest = true, ""
	return 0
}

// score is a seq as Redis takes it.
func score(seq int64) string { return strconv.FormatInt(seq, 10) }
