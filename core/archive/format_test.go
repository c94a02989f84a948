package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"freeim/core/archive"
	"freeim/core/im"
	"freeim/core/timeline"
)

var some = im.NewIDGenerator(func() time.Time { return time.UnixMilli(1_700_000_000_000) }).Next("c_1_2")

// sample has a record of every kind.
func sample() []archive.Record {
	message := im.Message{ID: some, Conversation: "c_1_2", Seq: 1, Sender: 1, ClientID: "a", Time: some.Time(), Body: []byte("hello")}
	bare := im.Message{ID: some, Conversation: "c_1_2", Seq: 2, Sender: 2, Time: some.Time(), Body: []byte{}}
	return []archive.Record{
		archive.Begin{Made: time.UnixMilli(1_700_000_000_123).UTC()},
		timeline.State{Epoch: "e1", Newest: some},
		timeline.Stored{Message: message, Digest: [32]byte{1, 2, 3}, InboxSeqs: []int64{1, 1 << 40}},
		timeline.Stored{Message: bare},
		timeline.Listed{User: 1, InboxSeq: 1, ID: some, Conversation: "c_1_2", Seq: 1},
		timeline.Held{Receipt: timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: 1}},
		timeline.Filed{User: 1, Place: 3, Receipt: timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: 1}},
		archive.Plugin{Name: "account", Version: 1},
		archive.Plugin{Name: "idle"},
		archive.Table{Plugin: "account", Name: "users", Columns: []string{"id", "name"}},
		archive.Row{int64(-5), "O'Hara"},
		archive.Row{nil, []byte{0, 0xff}},
		archive.Row{math.Inf(-1), ""},
		archive.Table{Plugin: "account", Name: "empty", Columns: []string{"id"}},
	}
}

func written(t testing.TB, records []archive.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatalf("write %+v: %v", r, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Written() != int64(out.Len()) {
		t.Errorf("%d octets were written, it says %d", out.Len(), w.Written())
	}
	return out.Bytes()
}

// readAll gives what could be read, and why it ended: nil at a good end.
func readAll(b []byte) (records []archive.Record, err error) {
	r, err := archive.NewReader(bytes.NewReader(b))
	for err == nil {
		var record archive.Record
		if record, err = r.Next(); err == nil {
			if m, ok := record.(timeline.Stored); ok {
				m.Body = bytes.Clone(m.Body)
				record = m
			}
			records = append(records, record)
		}
	}
	if err == io.EOF {
		return records, nil
	}
	return records, err
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	got, err := readAll(written(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("record %d: got %#v, want %#v", i, got[i], want[i])
		}
	}
}

// An archive of many blocks, with one record that is larger than a block.
func TestManyBlocks(t *testing.T) {
	records := sample()[:2]
	for seq := range int64(3000) {
		m := im.Message{Conversation: "g_1", Seq: seq + 1, Sender: 1, Body: bytes.Repeat([]byte{byte(seq)}, 300)}
		if seq == 1000 {
			m.Body = make([]byte, 1<<20)
		}
		records = append(records, timeline.Stored{Message: m})
	}
	got, err := readAll(written(t, records))
	if err != nil || len(got) != len(records) {
		t.Fatalf("got %d records, %v, want %d", len(got), err, len(records))
	}
	for i, r := range got[2:] {
		if want := records[i+2].(timeline.Stored); !bytes.Equal(r.(timeline.Stored).Body, want.Body) {
			t.Fatalf("message %d has another body", want.Seq)
		}
	}
}

// Cut anywhere, with any bit turned, or with more behind it, an archive is
// refused.
func TestDamaged(t *testing.T) {
	good := written(t, sample())
	for n := range good {
		if _, err := readAll(good[:n]); !errors.Is(err, archive.ErrDamaged) {
			t.Fatalf("cut to %d of %d octets: got %v", n, len(good), err)
		}
	}
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := readAll(bad); err == nil {
			t.Fatalf("with bit %d of octet %d turned it is taken", bit%8, bit/8)
		}
	}
	for name, bad := range map[string][]byte{
		"something behind": append(bytes.Clone(good), 0),
		"twice":            append(bytes.Clone(good), good...),
		"something else":   []byte(strings.Repeat("CREATE TABLE things;\n", 100)),
	} {
		if _, err := readAll(bad); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	later := bytes.Replace(good, []byte("archive 1"), []byte("archive 2"), 1)
	if _, err := readAll(later); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("of a later version: got %v", err)
	}
}

// Blocks that were taken out, doubled or swapped are each good in themselves.
func TestBlocksMoved(t *testing.T) {
	records := sample()[:2]
	for user := range im.UserID(60_000) {
		records = append(records, timeline.Held{Receipt: timeline.Receipt{Conversation: "g_1", By: user + 1, Seq: 1}})
	}
	good := written(t, records)
	var blocks [][]byte
	rest := good[len("freeim archive 1\n"):]
	for n := 0; ; rest = rest[n:] {
		n = int(rest[0])<<24 | int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		if n == 0 {
			break
		}
		n += 8
		blocks = append(blocks, rest[:n])
	}
	if len(blocks) < 3 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	for name, order := range map[string][]int{"one left out": {0, 2}, "one twice": {0, 1, 1, 2}, "swapped": {0, 2, 1}} {
		bad := []byte("freeim archive 1\n")
		for _, i := range order {
			bad = append(bad, blocks[i]...)
		}
		if _, err := readAll(append(bad, rest...)); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What is out of order is not written.
func TestWriterRefuses(t *testing.T) {
	begin, state := sample()[0], sample()[1]
	for name, records := range map[string][]archive.Record{
		"no beginning":           {state},
		"two beginnings":         {begin, begin},
		"no state":               {begin, sample()[2]},
		"two states":             {begin, state, state},
		"a hole in a log":        {begin, state, sample()[3]},
		"a plugin first":         {begin, archive.Plugin{Name: "account", Version: 1}},
		"a plugin twice":         {begin, state, archive.Plugin{Name: "a"}, archive.Plugin{Name: "a"}},
		"a table of nobody":      {begin, state, archive.Table{Plugin: "a", Name: "b", Columns: []string{"c"}}},
		"a long plugin":          {begin, state, archive.Plugin{Name: strings.Repeat("a", 256)}},
		"a long table":           {begin, state, archive.Plugin{Name: "a"}, archive.Table{Plugin: "a", Name: strings.Repeat("b", 256), Columns: []string{"c"}}},
		"a wide table":           {begin, state, archive.Plugin{Name: "a"}, archive.Table{Plugin: "a", Name: "b", Columns: make([]string, 4097)}},
		"a row of no table":      {begin, state, archive.Row{int64(1)}},
		"a message after tables": append(sample(), sample()[2]),
		"a short row":            append(sample(), archive.Row{}),
		"a value of odd type":    append(sample(), archive.Row{time.Now()}),
		"no record":              {begin, state, "hello"},
		"a record too large":     {begin, state, timeline.Stored{Message: im.Message{Conversation: "g", Seq: 1, Body: make([]byte, 9<<20)}}},
		"a position of nobody":   {begin, state, timeline.Held{Receipt: timeline.Receipt{Conversation: "g", Seq: 1}}},
		"receipts out of order":  append(sample()[:7:7], sample()[6]),
		"an inbox with a hole":   append(sample()[:4:4], timeline.Listed{User: 1, InboxSeq: 2, Conversation: "c_1_2", Seq: 1}),
		"a conversation unnamed": {begin, state, timeline.Stored{Message: im.Message{Seq: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := archive.NewWriter(io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range records {
				err := w.Write(r)
				if i < len(records)-1 && err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
				if i == len(records)-1 && err == nil {
					t.Error("it was written")
				}
			}
			if err := w.Close(); err == nil {
				t.Error("closed without an error")
			}
		})
	}
	w, err := archive.NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(begin), w.Close()); err == nil {
		t.Error("an archive without timelines is closed without an error")
	}
}

// FuzzReader: whatever comes, the reader ends with a record, an end or an error.
func FuzzReader(f *testing.F) {
	good := written(f, sample())
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("freeim archive 1\n"))
	f.Add([]byte("freeim archive 1\n\x00\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := readAll(b)
		if err != nil {
			return
		}
		again, err := readAll(written(t, records))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", records) {
			t.Errorf("%+v was read, and written %+v, %v", records, again, err)
		}
	})
}
