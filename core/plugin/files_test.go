package plugin_test

import (
	"slices"
	"strings"
	"testing"

	"freeim/core/plugin"
)

func TestFileOf(t *testing.T) {
	const id = "ABCDEFGHJKLMNPQRSTUVWXYZ23"
	if got, is := plugin.FileOf("file:" + id); !is || got != id {
		t.Errorf("got %q, %v", got, is)
	}
	for _, no := range []string{"", id, "file:", "file:" + id[1:], "file:" + id + "4", "file:" + strings.ToLower(id), "file:///etc/passwd", "File:" + id,
		"file:../" + id[3:], "file:" + id[1:] + "\x00", "file:" + id[1:] + "0", "https://x.example/" + id} {
		if got, is := plugin.FileOf(no); is {
			t.Errorf("%q is taken for the file %q", no, got)
		}
	}
	if got := plugin.FilesOf("https://x.example/a", "file:"+id, ""); !slices.Equal(got, []string{id}) {
		t.Errorf("got %q", got)
	}
}
