package archive

import (
	"bytes"
	"fmt"
	"testing"

	"freeim/core/timeline"
)

// FuzzRecord: the decoder never panics nor reads past its record, and what it
// takes is written so that it reads the same again.
func FuzzRecord(f *testing.F) {
	for _, r := range []Record{
		Begin{}, timeline.State{Epoch: "x"}, timeline.Stored{InboxSeqs: []int64{1, 2}}, timeline.Listed{}, timeline.Held{}, timeline.Filed{},
		Plugin{Name: "a", Version: 1}, Table{Plugin: "a", Name: "b", Columns: []string{"c"}}, Row{nil, int64(1), 1.5, "x", []byte("y")},
	} {
		b, err := appendRecord(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, r)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", r, err)
		}
		second, err := decodeRecord(again)
		if err != nil || fmt.Sprintf("%#v", second) != fmt.Sprintf("%#v", r) {
			t.Errorf("%#v was read, then %#v, %v", r, second, err)
		}
		if third, _ := appendRecord(nil, second); !bytes.Equal(third, again) {
			t.Errorf("%x was written, then %x", again, third)
		}
	})
}
