package sql

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/timeline"
)

// maxStatement is about where a statement of many rows ends and the next begins,
// in octets.
const maxStatement = 256 << 10

// maxList is how many values an IN may have.
const maxList = 500

// script is the text of several statements, cut into packets that the server
// takes. Values are written into it, which spares a round trip for preparing and
// one for each statement. The zero value, with a limit, is empty.
type script struct {
	limit   int // of a packet, about, in octets
	packets []packet
	packet      // the one being written
	start   int // where in its text the statement begins
	rows    int // of the statement; 0: none is open

	head, tail string // of the statement of many rows
	most       int    // rows in it
	read       reader
}

// packet is what is sent in one go, and who reads its results.
type packet struct {
	text    []byte
	readers []reader
}

func (s *script) reset() {
	s.packets, s.text, s.readers, s.rows = s.packets[:0], s.text[:0], s.readers[:0], 0
}

// statement adds a whole statement; read is nil when it has no result.
func (s *script) statement(text string, read reader) {
	s.text = append(append(s.text, text...), ';')
	if read != nil {
		s.readers = append(s.readers, read)
	}
}

// begin starts a statement of many rows or values: head, the rows, which row
// separates, and tail. When they are too many it becomes several statements, each
// of whose results goes to read; nil: they have none.
func (s *script) begin(head, tail string, read reader) {
	s.head, s.tail, s.read, s.most = head, tail, read, math.MaxInt
	if strings.HasSuffix(head, " IN (") {
		s.most = maxList
	}
}

// row makes room for the next row: it writes what stands before it.
func (s *script) row() {
	if s.rows > 0 && len(s.text)-s.start < maxStatement && s.rows < s.most {
		s.text = append(s.text, ',')
		s.rows++
		return
	}
	s.end()
	if len(s.text) >= s.limit {
		s.packets = append(s.packets, s.packet)
		s.packet = packet{}
	}
	s.start, s.rows = len(s.text), 1
	s.text = append(s.text, s.head...)
}

// end closes the statement of many rows, if there was a row.
func (s *script) end() {
	if s.rows == 0 {
		return
	}
	s.statement(s.tail, s.read)
	s.rows = 0
}

// all are the packets; they are valid until reset.
func (s *script) all() []packet { return append(s.packets, s.packet) }

func (s *script) raw(text string) { s.text = append(s.text, text...) }

func (s *script) int(n int64) { s.text = strconv.AppendInt(s.text, n, 10) }

func (s *script) name(n string) { s.text = appendQuoted(s.text, n) }

func (s *script) bytes(b []byte) { s.text = appendQuoted(s.text, b) }

// appendQuoted writes octets as a literal. The connection's character set is
// binary and its sql_mode leaves backslashes their meaning, see recordSession.
func appendQuoted[T string | []byte](dst []byte, octets T) []byte {
	dst = append(dst, '\'')
	plain := 0
	for i := range len(octets) {
		var escaped byte
		switch octets[i] {
		case 0:
			escaped = '0'
		case '\n':
			escaped = 'n'
		case '\r':
			escaped = 'r'
		case 26:
			escaped = 'Z'
		case '\'', '"', '\\':
			escaped = octets[i]
		default:
			continue
		}
		dst = append(append(dst, octets[plain:i]...), '\\', escaped)
		plain = i + 1
	}
	return append(append(dst, octets[plain:]...), '\'')
}

var errCorrupt = fmt.Errorf("a value in the record: %w", timeline.ErrCorrupt)

// appendSeqs writes the inbox seqs of a message for its resends.
func appendSeqs(dst []byte, seqs []int64) []byte {
	for _, seq := range seqs {
		dst = binary.AppendUvarint(dst, uint64(seq))
	}
	return dst
}

func decodeSeqs(value []byte) (seqs []int64, err error) {
	for len(value) > 0 {
		seq, n := binary.Uvarint(value)
		if n <= 0 || seq > math.MaxInt64 {
			return nil, errCorrupt
		}
		seqs, value = append(seqs, int64(seq)), value[n:]
	}
	return seqs, nil
}

// idOf reads a message ID.
func idOf(value []byte) (id im.MessageID, err error) {
	if len(value) != len(id) {
		return id, errCorrupt
	}
	copy(id[:], value)
	return id, nil
}

// columns reads the values of a row one after the other. After one that has
// another type it is corrupt, and gives zeros.
type columns struct {
	row     []driver.Value
	corrupt bool
}

func (c *columns) next() (v any) {
	if len(c.row) == 0 {
		c.corrupt = true
		return nil
	}
	v, c.row = c.row[0], c.row[1:]
	return v
}

func (c *columns) int() int64 {
	n, ok := c.next().(int64)
	c.corrupt = c.corrupt || !ok
	return n
}

// bytes aliases the row; nil for NULL.
func (c *columns) bytes() []byte {
	v := c.next()
	b, ok := v.([]byte)
	c.corrupt = c.corrupt || !ok && v != nil
	return b
}

func (c *columns) name() string { return string(c.bytes()) }

func (c *columns) id() im.MessageID {
	id, err := idOf(c.bytes())
	c.corrupt = c.corrupt || err != nil
	return id
}

func (c *columns) end() error {
	if c.corrupt || len(c.row) > 0 {
		return errCorrupt
	}
	return nil
}
