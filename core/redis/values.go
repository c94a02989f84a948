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
//
// A message of which the body was erased has a format of its own: addScript lets nothing that still has the body
// take its place.
const (
	format   = 1
	erased   = 2
	headLen  = 1 + 4 // format, checksum
	idLen    = len(im.MessageID{})
	maxInbox = 64 // inboxes of a message that is remembered in the window; larger fan-outs ask the record
)

// seal makes and checks the checksums of what belongs to one place. It keeps its
// buffer, so it is for one goroutine.
type seal struct {
	place  uint32 // the checksum of the place's name
	buffer []byte
}

// The places. Names that belong to different kinds of value never are the same.

func (s *seal) atLog(c im.ConversationID) {
	s.at(append(append(s.buffer[:0], 'l'), c...))
}

func (s *seal) atInbox(user im.UserID) {
	s.at(strconv.AppendInt(append(s.buffer[:0], 'i'), int64(user), 10))
}

func (s *seal) atWindow(sender im.UserID, clientID string) {
	s.at(append(append(strconv.AppendInt(append(s.buffer[:0], 'w'), int64(sender), 10), ' '), clientID...))
}

func (s *seal) at(name []byte) {
	s.buffer = name
	s.place = crc32.Checksum(name, crc32.MakeTable(crc32.Castagnoli))
}

// write puts format and checksum into the first headLen octets of value.
func (s *seal) write(value []byte) {
	value[0] = format
	binary.LittleEndian.PutUint32(value[1:], crc32.Update(s.place, crc32.MakeTable(crc32.Castagnoli), value[headLen:]))
}

// open gives what follows the head, if the value is whole and belongs to the place.
func (s *seal) open(value string) (rest string, ok bool) {
	if len(value) < headLen || value[0] != format {
		return "", false
	}
	return s.check(value)
}

// check is open for a value whose format is known.
func (s *seal) check(value string) (rest string, ok bool) {
	s.buffer = append(s.buffer[:0], value[1:]...)
	sum := binary.LittleEndian.Uint32(s.buffer)
	return value[headLen:], sum == crc32.Update(s.place, crc32.MakeTable(crc32.Castagnoli), s.buffer[headLen-1:])
}

// message makes the member of a log.
func (s *seal) message(m *im.Message) []byte {
	s.atLog(m.Conversation)
	b := make([]byte, headLen, headLen+idLen+2*binary.MaxVarintLen64+2+len(m.ClientID)+len(m.Body))
	b = binary.AppendUvarint(b, uint64(m.Seq))
	b = append(b, m.ID[:]...)
	b = binary.AppendUvarint(b, uint64(m.Sender))
	b = binary.AppendUvarint(b, uint64(len(m.ClientID)))
	b = append(b, m.ClientID...)
	b = append(b, m.Body...)
	s.write(b)
	return b
}

// erasedMessage makes the member of a log of a message that was erased.
func (s *seal) erasedMessage(m *im.Message) []byte {
	b := s.message(m)
	b[0] = erased
	return b
}

// readMessage reads a member of the log of c, which s is at. The message shares
// nothing with the value that could be changed.
func (s *seal) readMessage(value string, c im.ConversationID) (m im.Message, ok bool) {
	if len(value) < headLen || value[0] != format && value[0] != erased {
		return im.Message{}, false
	}
	rest, ok := s.check(value)
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

// entry makes the member of user's inbox.
func (s *seal) entry(user im.UserID, e *timeline.EntryRef) []byte {
	s.atInbox(user)
	b := make([]byte, headLen, headLen+idLen+2*binary.MaxVarintLen64+len(e.Conversation))
	b = binary.AppendUvarint(b, uint64(e.InboxSeq))
	b = append(b, e.ID[:]...)
	b = binary.AppendUvarint(b, uint64(e.Seq))
	b = append(b, e.Conversation...)
	s.write(b)
	return b
}

// readEntry reads a member of the inbox that s is at.
func (s *seal) readEntry(value string) (e timeline.EntryRef, ok bool) {
	rest, ok := s.open(value)
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

// hint makes the value of a client ID.
func (s *seal) hint(sender im.UserID, clientID string, h *hint) []byte {
	s.atWindow(sender, clientID)
	b := make([]byte, headLen, headLen+len(h.digest)+idLen+(3+len(h.inboxSeqs))*binary.MaxVarintLen64+len(h.ref.Conversation))
	b = append(b, h.digest[:]...)
	b = append(b, h.id[:]...)
	b = binary.AppendUvarint(b, uint64(h.ref.Seq))
	b = binary.AppendUvarint(b, uint64(len(h.inboxSeqs)))
	for _, seq := range h.inboxSeqs {
		b = binary.AppendUvarint(b, uint64(seq))
	}
	b = append(b, h.ref.Conversation...)
	s.write(b)
	return b
}

// readHint reads the value of the client ID that s is at.
func (s *seal) readHint(value string) (h hint, ok bool) {
	rest, ok := s.open(value)
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
