package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What is in the repository is what the table says.
func TestCurrent(t *testing.T) {
	dir, names := t.TempDir(), []string{"README.md", "im.d.lua", ".luarc.json"}
	read := func(dir, name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(read("..", "README.md")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if read(dir, name) != read("..", name) {
			t.Errorf("scripts/%s is not what the table says: make gen", name)
		}
	}
}

func TestInsert(t *testing.T) {
	got, err := insert("a\n"+begin+"old\n"+end+"b\n", begin, "new\n")
	if want := "a\n" + begin + "new\n\n" + end + "b\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", begin, end + begin} {
		if _, err := insert(text, begin, "new"); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}
