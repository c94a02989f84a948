package chat_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
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
