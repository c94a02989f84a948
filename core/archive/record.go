package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Record is one piece of an archive, by value: a Begin, one of timeline's items,
// a Plugin, a Table or a Row.
type Record any

// Begin is the first record.
type Begin struct {
	Made time.Time // to the millisecond
}

// Plugin says which version a plugin's tables have; all come before the first
// Table.
type Plugin struct {
	Name    string
	Version int64
}

// Table is followed by its rows.
type Table struct {
	Plugin  string
	Name    string
	Columns []string
}

// Row is a row of the last Table: for each column nil, an int64, a float64, a
// string or a []byte.
type Row []any

// The kinds of records, as they are written. The list is append-only.
const (
	kindBegin  = 1
	kindState  = 2
	kindStored = 3
	kindListed = 4
	kindHeld   = 5
	kindFiled  = 6
	kindPlugin = 7
	kindTable  = 8
	kindRow    = 9
)

// The kinds of values in a Row.
const (
	valueNull  = 0
	valueInt   = 1
	valueFloat = 2
	valueText  = 3
	valueBytes = 4
)

// errRecord is returned for a record that no writer of this format has written.
var errRecord = errors.New("a record cannot be read")

// appendRecord appends a record's kind and content to dst.
func appendRecord(dst []byte, r Record) ([]byte, error) {
	switch r := r.(type) {
	case Begin:
		dst = appendInt(append(dst, kindBegin), r.Made.UnixMilli())
	case timeline.State:
		dst = appendText(append(dst, kindState), r.Epoch)
		dst = append(dst, r.Newest[:]...)
	case timeline.Stored:
		dst = appendStored(append(dst, kindStored), r)
	case timeline.Listed:
		dst = appendInt(appendInt(append(dst, kindListed), int64(r.User)), r.InboxSeq)
		dst = append(dst, r.ID[:]...)
		dst = appendInt(appendText(dst, string(r.Conversation)), r.Seq)
	case timeline.Held:
		dst = appendReceipt(append(dst, kindHeld), r.Receipt)
	case timeline.Filed:
		dst = appendInt(appendInt(append(dst, kindFiled), int64(r.User)), r.Place)
		dst = appendReceipt(dst, r.Receipt)
	case Plugin:
		dst = appendInt(appendText(append(dst, kindPlugin), r.Name), r.Version)
	case Table:
		dst = appendText(appendText(append(dst, kindTable), r.Plugin), r.Name)
		dst = appendInt(dst, int64(len(r.Columns)))
		for _, column := range r.Columns {
			dst = appendText(dst, column)
		}
	case Row:
		return appendRow(append(dst, kindRow), r)
	default:
		return nil, fmt.Errorf("a %T is no record", r)
	}
	return dst, nil
}

func appendStored(dst []byte, m timeline.Stored) []byte {
	dst = append(dst, m.ID[:]...)
	dst = appendInt(appendText(dst, string(m.Conversation)), m.Seq)
	dst = appendText(appendInt(dst, int64(m.Sender)), m.ClientID)
	dst = append(dst, m.Digest[:]...)
	dst = appendInt(dst, int64(len(m.InboxSeqs)))
	for _, seq := range m.InboxSeqs {
		dst = appendInt(dst, seq)
	}
	return appendText(dst, string(m.Body))
}

func appendReceipt(dst []byte, r timeline.Receipt) []byte {
	dst = appendText(appendInt(dst, int64(r.By)), string(r.Conversation))
	return appendInt(dst, r.Seq)
}

func appendRow(dst []byte, row Row) ([]byte, error) {
	dst = appendInt(dst, int64(len(row)))
	for i, value := range row {
		switch value := value.(type) {
		case nil:
			dst = append(dst, valueNull)
		case int64:
			dst = binary.AppendVarint(append(dst, valueInt), value)
		case float64:
			dst = binary.BigEndian.AppendUint64(append(dst, valueFloat), math.Float64bits(value))
		case string:
			dst = appendText(append(dst, valueText), value)
		case []byte:
			dst = appendText(append(dst, valueBytes), string(value))
		default:
			return nil, fmt.Errorf("value %d of a row is a %T", i+1, value)
		}
	}
	return dst, nil
}

func appendInt(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decodeRecord reads a record that fills b. A message's body aliases b.
func decodeRecord(b []byte) (Record, error) {
	if len(b) == 0 {
		return nil, errRecord
	}
	d := decoder{rest: b[1:]}
	var r Record
	switch b[0] {
	case kindBegin:
		r = Begin{Made: time.UnixMilli(d.int()).UTC()}
	case kindState:
		r = timeline.State{Epoch: d.text(), Newest: d.id()}
	case kindStored:
		r = d.stored()
	case kindListed:
		r = timeline.Listed{User: im.UserID(d.int()), InboxSeq: d.int(), ID: d.id(),
			Conversation: im.ConversationID(d.text()), Seq: d.int()}
	case kindHeld:
		r = timeline.Held{Receipt: d.receipt()}
	case kindFiled:
		r = timeline.Filed{User: im.UserID(d.int()), Place: d.int(), Receipt: d.receipt()}
	case kindPlugin:
		r = Plugin{Name: d.text(), Version: d.int()}
	case kindTable:
		t := Table{Plugin: d.text(), Name: d.text()}
		t.Columns = make([]string, d.count())
		for i := range t.Columns {
			t.Columns[i] = d.text()
		}
		r = t
	case kindRow:
		r = d.row()
	default:
		return nil, fmt.Errorf("a record is of kind %d, which this version does not know", b[0])
	}
	if d.broken || len(d.rest) > 0 {
		return nil, errRecord
	}
	return r, nil
}

// decoder reads from the front of rest. After something that does not fit it is
// broken, and gives zeros.
type decoder struct {
	rest   []byte
	broken bool
}

func (d *decoder) fail() { d.broken, d.rest = true, nil }

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// blob is octets behind their number.
func (d *decoder) blob() []byte {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return nil
	}
	d.rest = d.rest[size:]
	return d.bytes(n)
}

func (d *decoder) text() string { return string(d.blob()) }

func (d *decoder) id() (id im.MessageID) {
	copy(id[:], d.bytes(uint64(len(id))))
	return id
}

// count is the number of things that follow, each of which takes an octet at
// least.
func (d *decoder) count() int {
	n := d.int()
	if n < 0 || n > int64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) stored() timeline.Stored {
	var m timeline.Stored
	m.ID = d.id()
	m.Conversation, m.Seq = im.ConversationID(d.text()), d.int()
	m.Sender, m.ClientID = im.UserID(d.int()), d.text()
	m.Time = m.ID.Time()
	copy(m.Digest[:], d.bytes(uint64(len(m.Digest))))
	if n := d.count(); n > 0 {
		m.InboxSeqs = make([]int64, n)
	}
	for i := range m.InboxSeqs {
		m.InboxSeqs[i] = d.int()
	}
	m.Body = d.blob()
	return m
}

func (d *decoder) receipt() timeline.Receipt {
	return timeline.Receipt{By: im.UserID(d.int()), Conversation: im.ConversationID(d.text()), Seq: d.int()}
}

func (d *decoder) row() Row {
	row := make(Row, d.count())
	for i := range row {
		kind := d.bytes(1)
		if d.broken {
			return nil
		}
		switch kind[0] {
		case valueNull:
		case valueInt:
			row[i] = d.int()
		case valueFloat:
			if b := d.bytes(8); b != nil {
				row[i] = math.Float64frombits(binary.BigEndian.Uint64(b))
			}
		case valueText:
			row[i] = d.text()
		case valueBytes:
			row[i] = append([]byte{}, d.blob()...)
		default:
			d.fail()
			return nil
		}
	}
	return row
}
