package sql_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// While an import runs, and for ever if its process dies in it, the record does
// not open and takes no other import. The process's death is what a test
// cannot see of an import that has not ended yet.
func TestRecordIsMarkedInAnImport(t *testing.T) {
	dsn := engines.Database(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	other := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	boom := errors.New("boom")
	err := r.Import(t.Context(), func(add func(timeline.Item) error) error {
		if err := add(timeline.State{Epoch: "x"}); err != nil {
			return err
		}
		for seq := range int64(3000) { // more than a transaction
			m := im.Message{Conversation: "g_1", Seq: seq + 1, Sender: 1, Body: make([]byte, 1<<10)}
			if err := add(timeline.Stored{Message: m}); err != nil {
				return err
			}
		}
		ms, err := other.Messages(t.Context(), []timeline.Ref{{Conversation: "g_1", Seq: 1}})
		if err != nil || len(ms) != 1 {
			t.Errorf("nothing was written yet: %v, %v", ms, err)
		}
		third, err := sql.OpenRecord(t.Context(), sql.RecordOptions{DSN: dsn, IDs: im.NewIDGenerator(nil), Log: quiet})
		if !errors.Is(err, timeline.ErrUnfinished) {
			t.Errorf("opened in the middle of an import: %v, %v", third, err)
		}
		if err := other.Import(t.Context(), func(func(timeline.Item) error) error { return nil }); err == nil {
			t.Error("two imports at once")
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
}

// A context that ends in the middle leaves an empty record, not a marked one.
func TestRecordImportCancelled(t *testing.T) {
	dsn := engines.Database(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Import(ctx, func(add func(timeline.Item) error) error {
		err := add(timeline.State{})
		for seq := int64(1); err == nil; seq++ {
			if seq == 2500 {
				cancel()
			}
			err = add(timeline.Stored{Message: im.Message{Conversation: "g_1", Seq: seq, Sender: 1, ClientID: fmt.Sprint(seq), Body: make([]byte, 1<<10)}})
		}
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	again := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	c, err := again.Append(t.Context(), timeline.Draft{Conversation: "g_1", Sender: 1, ClientID: "1"})
	if err != nil || c.Seq != 1 || c.Duplicate {
		t.Errorf("got %+v, %v, want the first message of an empty record", c, err)
	}
}
