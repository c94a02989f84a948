package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"freeim/core/timeline"
)

// The octets of an archive: the line magic; blocks, each its compressed length
// and a CRC-32C of the compressed octets in four octets each, big-endian, and
// then these octets, raw DEFLATE of whole records, each behind its length as a
// uvarint; four octets of zero; and the SHA-256 of everything before it. Nothing
// follows. A changed format changes the number in the line.
const magic = "freeim archive 1\n"

const (
	fullBlock = 256 << 10 // octets after which a block is written
	maxRecord = 8 << 20   // octets of one record
	maxBlock  = 16 << 20  // octets in a block before and after compression

	// What a reader keeps to its end is bounded too: a small archive could name much.
	maxName   = 255   // octets in the name of a plugin, a table or a column
	maxNames  = 4096  // plugins, columns of a table
	maxTables = 65536 // tables
)

// ErrDamaged is in the error for an archive that is not what a writer wrote:
// cut short or altered.
var ErrDamaged = errors.New("the archive is damaged")

// Writer writes an archive. After an error nothing more is written.
type Writer struct {
	out     io.Writer
	sum     hash.Hash // of everything written
	order   order
	block   []byte // records that were not written yet
	record  []byte // scratch
	packed  bytes.Buffer
	deflate *flate.Writer
	written int64
	err     error
}

// NewWriter begins an archive on out. The caller must Close it.
func NewWriter(out io.Writer) (*Writer, error) {
	w := &Writer{out: out, sum: sha256.New()}
	var err error
	if w.deflate, err = flate.NewWriter(&w.packed, flate.BestSpeed); err != nil {
		return nil, err
	}
	return w, w.put([]byte(magic))
}

// Write adds a record, in the order that Reader gives them.
func (w *Writer) Write(r Record) error {
	if w.err == nil {
		w.err = w.write(r)
	}
	return w.err
}

func (w *Writer) write(r Record) (err error) {
	if err := w.order.next(r); err != nil {
		return err
	}
	if w.record, err = appendRecord(w.record[:0], r); err != nil {
		return err
	}
	if len(w.record) > maxRecord {
		return fmt.Errorf("a record has %d octets, an archive holds up to %d", len(w.record), maxRecord)
	}
	w.block = binary.AppendUvarint(w.block, uint64(len(w.record)))
	w.block = append(w.block, w.record...)
	if len(w.block) >= fullBlock {
		return w.flush()
	}
	return nil
}

// flush writes the block.
func (w *Writer) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	w.packed.Reset()
	w.deflate.Reset(&w.packed)
	if _, err := w.deflate.Write(w.block); err != nil {
		return err
	}
	if err := w.deflate.Close(); err != nil {
		return err
	}
	w.block = w.block[:0]
	head := binary.BigEndian.AppendUint32(nil, uint32(w.packed.Len()))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(w.packed.Bytes(), crc32.MakeTable(crc32.Castagnoli)))
	if err := w.put(head); err != nil {
		return err
	}
	return w.put(w.packed.Bytes())
}

func (w *Writer) put(b []byte) error {
	w.sum.Write(b)
	n, err := w.out.Write(b)
	w.written += int64(n)
	return err
}

// Close ends the archive: without it what was written is damaged. It does not
// close what it is written to.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.end()
	}
	return w.err
}

func (w *Writer) end() error {
	if err := w.order.end(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.put(make([]byte, 4)); err != nil {
		return err
	}
	return w.put(w.sum.Sum(nil))
}

// Written is how many octets were written.
func (w *Writer) Written() int64 { return w.written }

// Reader reads an archive, and trusts nothing in it.
type Reader struct {
	in      *bufio.Reader
	sum     hash.Hash // of everything read
	order   order
	block   []byte // records of the block that were not read yet
	packed  []byte
	inflate io.ReadCloser
	plain   bytes.Buffer
	read    int64
	err     error
}

// NewReader begins to read an archive.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 64<<10), sum: sha256.New(), inflate: flate.NewReader(bytes.NewReader(nil))}
	line := make([]byte, len(magic))
	err := r.take(line)
	switch {
	case errors.Is(err, ErrDamaged) || err == nil && string(line[:len(magic)-3]) != magic[:len(magic)-3]:
		return nil, fmt.Errorf("%w, or no archive of freeim at all: it does not begin with %q", ErrDamaged, magic)
	case err == nil && string(line) != magic:
		return nil, fmt.Errorf("the archive is of another version: it begins with %q, this program reads %q", line, magic)
	}
	return r, err
}

// Next gives the next record; what it points to is valid until the next call.
// io.EOF comes when the archive is at its end and has proved to be whole. Records
// before that may be of an archive that proves to be damaged later.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	record, err := r.next()
	r.err = err
	return record, err
}

func (r *Reader) next() (Record, error) {
	if len(r.block) == 0 {
		if err := r.load(); err != nil {
			return nil, err
		}
	}
	n, size := binary.Uvarint(r.block)
	if size <= 0 || n > maxRecord || n > uint64(len(r.block)-size) {
		return nil, fmt.Errorf("%w: a record does not end with its block", ErrDamaged)
	}
	b := r.block[size : size+int(n)]
	r.block = r.block[size+int(n):]
	record, err := decodeRecord(b)
	if err == nil {
		err = r.order.next(record)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return record, nil
}

// load reads a block, or the end: io.EOF.
func (r *Reader) load() error {
	var head [8]byte
	if err := r.take(head[:4]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n == 0 {
		return r.end()
	}
	if n > maxBlock {
		return fmt.Errorf("%w: a block of %d octets", ErrDamaged, n)
	}
	if err := r.take(head[4:]); err != nil {
		return err
	}
	if err := r.body(int(n)); err != nil {
		return err
	}
	if crc32.Checksum(r.packed, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(head[4:]) {
		return fmt.Errorf("%w: a block is not what was written (octets %d to %d)", ErrDamaged, r.read-int64(n), r.read)
	}
	return r.unpack()
}

// body reads n octets into packed, without trusting n to be there.
func (r *Reader) body(n int) error {
	r.packed = r.packed[:0]
	for n > 0 {
		step := min(n, 1<<20)
		old := len(r.packed)
		r.packed = append(r.packed, make([]byte, step)...)
		if err := r.take(r.packed[old:]); err != nil {
			return err
		}
		n -= step
	}
	return nil
}

func (r *Reader) unpack() error {
	src := bytes.NewReader(r.packed)
	if err := r.inflate.(flate.Resetter).Reset(src, nil); err != nil {
		return err
	}
	r.plain.Reset()
	n, err := r.plain.ReadFrom(io.LimitReader(r.inflate, maxBlock+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: a block cannot be unpacked: %w", ErrDamaged, err)
	case n > maxBlock || n == 0 || src.Len() > 0:
		return fmt.Errorf("%w: a block has a wrong length", ErrDamaged)
	}
	r.block = r.plain.Bytes()
	return nil
}

// end checks that the archive is whole.
func (r *Reader) end() error {
	want := r.sum.Sum(nil)
	got := make([]byte, len(want))
	if err := r.take(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its check sum is another one", ErrDamaged)
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	if err := r.order.end(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return io.EOF
}

// take reads all of b.
func (r *Reader) take(b []byte) error {
	n, err := io.ReadFull(r.in, b)
	r.read += int64(n)
	r.sum.Write(b[:n])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends after %d octets, in the middle", ErrDamaged, r.read)
	}
	return err
}

// Read is how many octets were read.
func (r *Reader) Read() int64 { return r.read }

// order holds the records of an archive to their order: Begin, the timelines'
// items in theirs, Plugins, and Tables with their Rows.
type order struct {
	begun   bool
	items   timeline.Order
	stated  bool // the timelines' state was there
	plugins map[string]bool
	tables  map[string]bool
	columns int // of the last table; 0: there was none
}

func (o *order) next(r Record) error {
	if _, first := r.(Begin); first == o.begun {
		return errors.New("its first record is not its beginning, or comes twice")
	}
	o.begun = true
	switch r := r.(type) {
	case Begin:
		return nil
	case timeline.Item:
		if o.plugins != nil {
			return fmt.Errorf("a %T comes after the timelines", r)
		}
		o.stated = true
		return o.items.Next(r)
	case Plugin:
		return o.plugin(r)
	case Table:
		return o.table(r)
	case Row:
		if len(r) != o.columns || o.columns == 0 {
			return fmt.Errorf("a row of %d values in a table of %d columns", len(r), o.columns)
		}
		return nil
	}
	return fmt.Errorf("a %T is no record", r)
}

func (o *order) plugin(p Plugin) error {
	if o.plugins == nil {
		o.plugins, o.tables = map[string]bool{}, map[string]bool{}
	}
	if !o.stated || len(o.tables) > 0 || o.plugins[p.Name] || p.Version < 0 {
		return fmt.Errorf("plugin %q comes twice or at the wrong place", p.Name)
	}
	if len(p.Name) > maxName || len(o.plugins) == maxNames {
		return fmt.Errorf("a plugin has a name of %d octets, or there are over %d", len(p.Name), maxNames)
	}
	o.plugins[p.Name] = true
	return nil
}

func (o *order) table(t Table) error {
	if !o.plugins[t.Plugin] || o.tables[t.Name] || len(t.Columns) == 0 {
		return fmt.Errorf("table %q comes twice, without its plugin or without columns", t.Name)
	}
	if len(t.Name) > maxName || len(o.tables) == maxTables || len(t.Columns) > maxNames {
		return fmt.Errorf("a table has a name of %d octets or %d columns, or there are over %d", len(t.Name), len(t.Columns), maxTables)
	}
	o.tables[t.Name] = true
	o.columns = len(t.Columns)
	return nil
}

func (o *order) end() error {
	if !o.stated {
		return errors.New("there are no timelines in it")
	}
	return nil
}
