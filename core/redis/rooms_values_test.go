package redis

import (
	"fmt"
	"strings"
	"testing"
)

// FuzzRooms: what is read of a room's field is what was written, and nothing else.
func FuzzRooms(f *testing.F) {
	f.Add("1764000000000 " + sortable(7) + " 1764000015000 2 10,20")
	f.Add("1 " + sortable(-1) + " 0 0 -")
	f.Add("1 2 3 4")
	f.Add("1 " + sortable(0) + " 0 9007199254740993 1,,2")
	f.Fuzz(func(t *testing.T, line string) {
		p, ok := decodePart("edge", line)
		if !ok {
			return
		}
		joining := strings.Split(line, " ")[2]
		if written := fmt.Sprintf("%d %s %s %d %s", p.until, sortable(p.Epoch), joining, p.members, writeUsers(p.users)); written != line {
			t.Errorf("%q is written %q", line, written)
		}
	})
}
