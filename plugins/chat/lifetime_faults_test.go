package chat_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// failingFiles are files that cannot be released until they are mended.
type failingFiles struct {
	plugintest.Files
	failing atomic.Bool
	refused atomic.Int32
}

func (f *failingFiles) Release(ctx context.Context, tx *stdsql.Tx, holder string, ids ...string) error {
	if f.failing.Load() {
		f.refused.Add(1)
		return errors.New("planted fault")
	}
	return f.Files.Release(ctx, tx, holder, ids...)
}

// A step that failed is taken again: nothing that it should have deleted is left.
func TestLifetimeSweepFails(t *testing.T) {
	files := new(failingFiles)
	files.failing.Store(true)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory, {Name: plugin.ServiceFiles, Service: files}}})
	a := h.As(alice, "phone", idl.CodecJSON)
	if _, err := settle(a, im.ChatOf(alice, bob), time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		file := "file:" + files.Add(alice, "image/png")
		m := sends(t, a, &chatpb.SendRequest{ClientId: fmt.Sprint("m", i), ToUserId: int64(bob), Kind: kindImage, Text: "goes", Media: &chatpb.Media{File: file}})
		if _, err := edit(a, m, "goes, edited", 0); err != nil {
			t.Fatal(err)
		}
	}
	toldAll(t, h)
	h.Advance(2 * time.Hour)
	eventually(t, "a step fails", func() bool { return files.refused.Load() > 0 })
	kept := func() string {
		return fmt.Sprint(len(files.References(t)), rows(t, h, "SELECT COUNT(*) FROM chat_versions"))
	}
	if got := kept(); got != "3 3" {
		t.Errorf("got %s", got)
	}
	files.failing.Store(false)
	eventually(t, "it is taken again", func() bool {
		h.Advance(time.Minute)
		return kept() == "0 0"
	})
}

// What was held, or scheduled, while one lifetime held has the one that holds when it is committed.
func TestLifetimeOfWhatWaits(t *testing.T) {
	r := reviewed(t, "")
	a, b := r.As(alice, "phone", idl.CodecJSON), r.As(bob, "phone", idl.CodecProtobuf)
	ab := im.ChatOf(alice, bob)
	if _, err := settle(a, ab, time.Hour); err != nil {
		t.Fatal(err)
	}
	if held := send(t, a, bob, "m1", "late, held"); held.HeldId == "" {
		t.Fatalf("got %v", held)
	}
	later(t, r.Host, a, "m2", "scheduled")
	if _, err := settle(a, ab, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	r.Advance(2*time.Hour + time.Second)
	var texts []*chatpb.Message
	eventually(t, "both are sent", func() bool {
		page, _ := history(t, b, &chatpb.HistoryRequest{ConversationId: string(ab)})
		texts = slices.DeleteFunc(page.Messages, func(m *chatpb.Message) bool { return m.Event != "" })
		return len(texts) == 2
	})
	for _, m := range texts {
		if m.ExpiresMs != m.TimeMs+24*3600_000 || m.Text == "" {
			t.Errorf("got %v", m)
		}
	}
}
