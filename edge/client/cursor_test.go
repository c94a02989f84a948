package client_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"freeim/edge/client"
)

func TestStores(t *testing.T) {
	stores := map[string]client.CursorStore{
		"memory": new(client.MemoryStore),
		"file":   client.FileStore{Path: filepath.Join(t.TempDir(), "cursor.json")},
	}
	cursors := []client.Cursor{
		{},
		{User: 5, Epoch: "e1", InboxSeq: 1<<53 - 1, ReceiptsHead: 9, Unacked: map[string]int64{"c_1_2": 4}},
		{User: 5, Epoch: "e2"},
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			if got, err := store.Load(t.Context()); err != nil || !reflect.DeepEqual(got, client.Cursor{}) {
				t.Errorf("before the first Save: got %+v, %v", got, err)
			}
			for _, want := range cursors {
				if err := store.Save(t.Context(), want); err != nil {
					t.Fatal(err)
				}
				if got, err := store.Load(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			}
		})
	}
}

func TestFileStoreLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	store := client.FileStore{Path: filepath.Join(dir, "cursor.json")}
	for seq := range int64(3) {
		if err := store.Save(t.Context(), client.Cursor{InboxSeq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Name() != "cursor.json" {
		t.Errorf("got files %v", files)
	}
	info, err := files[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
}

func TestFileStoreFaults(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte(`{"inbox_seq":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (client.FileStore{Path: broken}).Load(t.Context()); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("a broken file: got %v, want its name", err)
	}
	if _, err := (client.FileStore{Path: dir}).Load(t.Context()); err == nil {
		t.Error("a directory was read as a cursor")
	}
	nowhere := client.FileStore{Path: filepath.Join(dir, "not", "there")}
	if err := nowhere.Save(t.Context(), client.Cursor{}); err == nil {
		t.Error("saved into a directory that is not there")
	}
	if err := (client.FileStore{Path: dir}).Save(t.Context(), client.Cursor{}); err == nil {
		t.Error("saved over a directory")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "not")); !os.IsNotExist(err) && err != fs.ErrNotExist {
		t.Errorf("got %v", err)
	}
}
