package files_test

import (
	"strings"
	"testing"

	"freeim/idl/files"
)

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := files.NewID()
		if !files.IsID(id) || seen[id] {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
		if dir, name, ok := strings.Cut(files.Path(id), "/"); !ok || len(dir) != 2 || name != id {
			t.Errorf("the path of %s is %s", id, files.Path(id))
		}
	}
	for _, no := range []string{"", "A", strings.Repeat("A", 25), strings.Repeat("A", 27), strings.Repeat("a", 26), strings.Repeat("0", 26),
		"../" + strings.Repeat("A", 23), strings.Repeat("A", 12) + "/" + strings.Repeat("A", 13), strings.Repeat("A", 25) + "\n", strings.Repeat("É", 13)} {
		if files.IsID(no) {
			t.Errorf("%q is taken for an ID", no)
		}
	}
}
